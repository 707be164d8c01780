/**
 * Many who use the doors of several servers at once that share what they have, while calls of storage and catalog take
 * their time, are refused, are not answered, or one server is cut off; and what must hold of all that they are told.
 */
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals } from "@std/assert";
import { createServer, loadRuntime } from "../../../mod.ts";
import type { Catalog, CatalogTime } from "../../../src/catalog.ts";
import { MemoryCatalog, MemoryRecords } from "../../../src/catalog/memory.ts";
import { isFinal } from "../../../src/protocol.ts";
import type { Resources } from "../../../src/resources.ts";
import type { StreamServer } from "../../../src/server.ts";
import { MemoryLogs, MemoryStorage } from "../../../src/storage/memory.ts";
import type { Chance } from "../random.ts";
import type { Answer, Asked, Asking } from "./doors/asking.ts";
import { StreamDoors } from "./doors/streams.ts";
import { UploadDoors } from "./doors/uploads.ts";
import { override } from "../storage.ts";
import { type Refusal, slowCatalog, slowStorage } from "./slow.ts";

/** What happens to calls: nothing; writes are refused for a while; some are not answered then; one server is cut off. */
export type Trouble = "none" | "refused" | "unanswered" | "cut";

/** How it is done. */
export interface DoorsGiven {
  chance: Chance;
  nodes: number;
  trouble: Trouble;
}

/** Who does something at the same time, and how often each. */
const ACTORS = 8;
const STEPS = 25;
/** About so many calls are made meanwhile; for so many there is trouble. */
const CALLS = 500;
const LONGEST_TROUBLE = 200;
const REFUSED = ["create", "update", "append", "recover", "delete"];
const UNANSWERED = ["create", "update", "recover", "delete", "createContext", "closeContext"];
const LEASE_MS = 60;
/** Clocks are so far apart. */
const DAY_MS = 24 * 3_600_000;
const DEADLINE_MS = 20_000;
/** Room for most of what is uploaded. */
const MOST_BYTES = 500;
/** Answers that say what is wrong. */
const REFUSALS = [400, 403, 404, 409, 410, 413, 416, 422, 423, 460, 503, 507];

class Doors {
  readonly #given: DoorsGiven;
  readonly #logs = new MemoryLogs();
  readonly #records = new MemoryRecords();
  readonly #servers: StreamServer[] = [];
  readonly #sweeps: boolean;
  readonly #uploads: UploadDoors;
  readonly #streams: StreamDoors;
  readonly #first: number;
  readonly #last: number;
  #time: { time: CatalogTime; atMs: number } | null = null;
  #calls = 0;
  #cutUntilMs = 0;
  #isOver = false;

  constructor(given: DoorsGiven) {
    const { chance, trouble } = this.#given = given;
    this.#sweeps = chance.happens(0.3);
    this.#first = chance.whole(1, CALLS);
    this.#last = this.#first + chance.whole(1, LONGEST_TROUBLE);
    const asking: Asking = {
      chance,
      sweeps: this.#sweeps,
      refuses: trouble !== "none",
      ask: (method, path, asked = {}) => this.#ask(method, path, asked),
    };
    this.#uploads = new UploadDoors(asking);
    this.#streams = new StreamDoors(asking);
  }

  async start(): Promise<void> {
    for (let node = 0; node < this.#given.nodes; node++) await this.#open(node);
  }

  /** One who does something, again and again. */
  async act(): Promise<void> {
    for (let step = 0; step < STEPS; step++) await this.#step();
  }

  /** All end; a server that starts then finds everything in order. */
  async settle(): Promise<void> {
    this.#isOver = true;
    await this.close();
    const { resources } = await this.#open(0);
    const views = () => resources.list({ limit: 1000 });
    const untilMs = performance.now() + DEADLINE_MS;
    const isInOrder = async () =>
      (await views()).every(({ ownedBy, owner, status }) =>
        isFinal(status.transferStatus) || owner?.waits || ownedBy === "ANYBODY" && owner === null
      );
    while (!await isInOrder()) {
      assert(performance.now() < untilMs, "some uploads are taken over by nobody");
      await sleep(1);
    }
    await this.#streams.readAll();
    await this.#uploads.readAll();
    const bytes = (await views()).reduce((sum, { status }) => sum + status.currentSize, 0);
    assertEquals(resources.totalBytes, bytes);
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.close()));
  }

  async #open(node: number): Promise<StreamServer> {
    const { chance, nodes } = this.#given;
    const shiftMs = chance.pick([-DAY_MS, 0, DAY_MS]);
    const clock = () => Date.now() + shiftMs;
    const shared = override<Catalog>(new MemoryCatalog(this.#records), {
      lastTime: () => Promise.resolve(this.#lastTime(clock())),
      keepTime: (time) => Promise.resolve(void (this.#time = { time, atMs: Date.now() })),
    });
    const meeting = { pause: () => this.#pause(node), meets: (name: string) => this.#meets(name) };
    const server = createServer({
      runtime: await loadRuntime(),
      storage: slowStorage(new MemoryStorage(this.#logs), meeting),
      catalog: slowCatalog(shared, meeting),
      nodeId: `node-${node}`,
      clock,
      retentionMs: DAY_MS / 2,
      ...(nodes === 1 ? {} : { leaseMs: LEASE_MS }),
      checkpointIntervalMs: 0,
      resumeWindowMs: chance.pick([5, 60_000]),
      maxUploads: 12,
      ...(this.#sweeps ? { maxTotalBytes: MOST_BYTES } : {}),
    });
    this.#servers.push(server);
    await server.recover();
    return server;
  }

  async #step(): Promise<void> {
    const [uploads, streams] = [this.#uploads, this.#streams];
    const { chance } = this.#given;
    const steps = [
      ...[() => uploads.beginTus(), () => uploads.beginHttp(), () => uploads.put()],
      ...[() => uploads.append(), () => uploads.append(), () => uploads.append()],
      ...[() => uploads.look(), () => uploads.read(), () => uploads.read()],
      ...[() => streams.create(), () => streams.produce(), () => streams.produce()],
      ...[() => streams.append(), () => streams.append()],
      ...[() => streams.read(), () => streams.read(), () => streams.read()],
    ];
    const rare = [
      ...[() => uploads.giveUp(), () => uploads.delete(), () => uploads.contexts.close()],
      ...[() => streams.close(), () => streams.delete(), () => this.#sweep()],
    ];
    await chance.pick(chance.happens(0.1) ? rare : steps)();
  }

  /** The time that a server kept last, as servers of a cluster are told of it. */
  #lastTime(nowMs: number): CatalogTime {
    const { time, atMs } = this.#time ??= {
      time: { steadyMs: nowMs, wallMs: nowMs },
      atMs: Date.now(),
    };
    const leastMs = nowMs - (Date.now() - atMs) - (time.doubtMs ?? 0);
    return { ...time, wallMs: nowMs < time.wallMs ? leastMs : Math.max(time.wallMs, leastMs) };
  }

  /** Deletes what is finished, where there is too much. */
  async #sweep(): Promise<void> {
    const { resources } = this.#given.chance.pick(this.#servers);
    await (resources as Resources).sweep().catch(() => {});
  }

  async #ask(method: string, path: string, { headers, body }: Asked): Promise<Answer> {
    const server = this.#given.chance.pick(this.#servers);
    const length = body === undefined || body instanceof ReadableStream
      ? {}
      : { "content-length": String(body.length) };
    const init = { method, headers: { ...headers, ...length }, body, duplex: "half" };
    const answer = await server.fetch(new Request(`http://localhost${path}`, init as RequestInit));
    const text = await answer.text().catch(() => null);
    const { status } = answer;
    assert(status < 300 || REFUSALS.includes(status), `${method} ${path}: ${status} ${text}`);
    // Others hear of it in the next turn.
    await turn();
    return { status, headers: answer.headers, text: text ?? "", isBroken: text === null };
  }

  #meets(name: string): Refusal {
    const { trouble, chance } = this.#given;
    const isNow = ++this.#calls >= this.#first && this.#calls <= this.#last && !this.#isOver;
    if (!isNow || trouble === "none") return null;
    if (trouble === "refused") return REFUSED.includes(name) ? "BEFORE" : null;
    if (trouble === "cut") {
      if (this.#cutUntilMs === 0) this.#cutUntilMs = performance.now() + 3 * LEASE_MS;
      return null;
    }
    const isIt = UNANSWERED.includes(name) && chance.happens(0.2);
    return isIt ? chance.pick(["AFTER", "LATE"] as const) : null;
  }

  async #pause(node: number): Promise<void> {
    for (let left = this.#given.chance.whole(0, 2); left > 0; left--) await turn();
    while (node === 0 && !this.#isOver && performance.now() < this.#cutUntilMs) await sleep(5);
  }
}

/** Lets them do it, and checks what must hold. */
export async function useDoors(given: DoorsGiven): Promise<void> {
  const doors = new Doors(given);
  await doors.start();
  try {
    await Promise.all(Array.from({ length: ACTORS }, () => doors.act()));
    await doors.settle();
  } finally {
    await doors.close();
  }
}
