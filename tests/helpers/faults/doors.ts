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
import type { Resources, ResourceView } from "../../../src/resources.ts";
import type { Runtime, Upgrade } from "../../../src/runtime.ts";
import type { StreamServer } from "../../../src/server.ts";
import type { Storage } from "../../../src/storage.ts";
import { MemoryLogs, MemoryStorage } from "../../../src/storage/memory.ts";
import type { Chance } from "../random.ts";
import type { Answer, Asked, Asking } from "./doors/asking.ts";
import { ACCESS, credential } from "./doors/grants.ts";
import { SessionDoors } from "./doors/sessions.ts";
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
  /** What a node shares with the others; logs and records in memory by default. */
  shared?: Shared;
}

/** What a node shares with the others, opened anew for each. */
export interface Shared {
  open(): Promise<{ storage: Storage; catalog: Catalog }>;
  leaseMs: number;
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
const REFUSALS = [400, 401, 403, 404, 409, 410, 413, 416, 422, 423, 460, 503, 507];

/** Places among those of a server that one client may have. */
const MAX_UPLOADS = 12;
const MAX_CLIENT_UPLOADS = 8;
const ADDRESSES = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];

/** Lines of the metrics that tell of places. */
const HELD = /^stream_client_(?:connections|uploads) \d+$/gm;

/** Whose requests are at servers that everybody may use. */
const NOBODY = { token: null, isBrief: false };

/** What comes with a request: where it comes from, and who opens a session. */
type Env = { address: string } & Pick<Asked, "opens">;

class Doors {
  readonly #given: DoorsGiven;
  readonly #shared: Shared;
  readonly #servers: StreamServer[] = [];
  readonly #sweeps: boolean;
  readonly #uploads: UploadDoors;
  readonly #streams: StreamDoors;
  readonly #sessions: SessionDoors;
  readonly #isGuarded: boolean;
  readonly #first: number;
  readonly #last: number;
  #time: { time: CatalogTime; atMs: number } | null = null;
  #calls = 0;
  #cutUntilMs = 0;
  #isOver = false;

  constructor(given: DoorsGiven) {
    const { chance, trouble, shared = inMemory() } = this.#given = given;
    this.#shared = shared;
    this.#sweeps = chance.happens(0.3);
    this.#isGuarded = chance.happens(0.5);
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
    this.#sessions = new SessionDoors(asking, this.#uploads);
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
    // Of an owner lists do not tell all.
    const isInOrder = async ({ id, status }: ResourceView) => {
      if (isFinal(status.transferStatus)) return true;
      const { ownedBy, owner, status: now } = await resources.get(id);
      return isFinal(now.transferStatus) || owner?.waits || ownedBy === "ANYBODY" && owner === null;
    };
    const areInOrder = async () =>
      (await Promise.all((await views()).map(isInOrder))).every(Boolean);
    while (!await areInOrder()) {
      assert(performance.now() < untilMs, "some uploads are taken over by nobody");
      await sleep(1);
    }
    await this.#streams.readAll();
    await this.#uploads.readAll();
    const bytes = (await views()).reduce((sum, { status }) => sum + status.currentSize, 0);
    assertEquals(resources.totalBytes, bytes);
  }

  /** Ends all servers; nobody holds a place at any of them then. */
  async close(): Promise<void> {
    await Promise.all(
      this.#servers.splice(0).map(async (server) => {
        await server.close();
        const headers = { authorization: "Bearer one" };
        const answer = await server.fetch(new Request("http://localhost/metrics", { headers }), {});
        const metrics = await answer.text();
        assertEquals(metrics.match(HELD)?.map((line) => line.split(" ")[1]), ["0", "0"]);
      }),
    );
  }

  async #open(node: number): Promise<StreamServer> {
    const { chance, nodes } = this.#given;
    const shiftMs = chance.pick([-DAY_MS, 0, DAY_MS]);
    const clock = () => Date.now() + shiftMs;
    const { storage, catalog } = await this.#shared.open();
    const shared = override<Catalog>(catalog, {
      lastTime: () => Promise.resolve(this.#lastTime(clock())),
      keepTime: (time) => Promise.resolve(void (this.#time = { time, atMs: Date.now() })),
    });
    const meeting = { pause: () => this.#pause(node), meets: (name: string) => this.#meets(name) };
    const server = createServer({
      runtime: await runtimeOfDoors(),
      storage: slowStorage(storage, meeting),
      catalog: slowCatalog(shared, meeting),
      nodeId: `node-${node}`,
      clock,
      retentionMs: DAY_MS / 2,
      ...(nodes === 1 ? {} : { leaseMs: this.#shared.leaseMs }),
      checkpointIntervalMs: 0,
      resumeWindowMs: chance.pick([5, 60_000]),
      maxUploads: MAX_UPLOADS,
      maxClientUploads: MAX_CLIENT_UPLOADS,
      ...(this.#isGuarded ? { access: ACCESS } : {}),
      ...(this.#sweeps ? { maxTotalBytes: MOST_BYTES } : {}),
    });
    this.#servers.push(server);
    await server.recover();
    return server;
  }

  async #step(): Promise<void> {
    const [uploads, streams, sessions] = [this.#uploads, this.#streams, this.#sessions];
    const { chance } = this.#given;
    const steps = [
      ...[() => uploads.beginTus(), () => uploads.beginHttp(), () => uploads.put()],
      ...[() => uploads.append(), () => uploads.append(), () => uploads.append()],
      ...[() => uploads.look(), () => uploads.read(), () => uploads.read()],
      ...[() => streams.create(), () => streams.produce(), () => streams.produce()],
      ...[() => streams.append(), () => streams.append()],
      ...[() => streams.read(), () => streams.read(), () => streams.read()],
      ...[() => sessions.begin(), () => sessions.give(), () => sessions.give()],
      ...[() => sessions.finish(), () => sessions.follow(), () => sessions.follow()],
      ...[() => sessions.resume(), () => sessions.leave()],
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

  async #ask(method: string, path: string, { headers, body, opens }: Asked): Promise<Answer> {
    const { chance } = this.#given;
    const server = chance.pick(this.#servers);
    const { token, isBrief } = this.#isGuarded ? credential(chance) : NOBODY;
    const env: Env = { address: chance.pick(ADDRESSES), opens };
    const length = body === undefined || body instanceof ReadableStream
      ? {}
      : { "content-length": String(body.length) };
    const authorization: Record<string, string> = token === null
      ? {}
      : { authorization: `Bearer ${token}` };
    const all = { ...headers, ...length, ...authorization };
    const init = { method, headers: all, body, duplex: "half" };
    const request = new Request(`http://localhost${path}`, init as RequestInit);
    const answer = await server.fetch(request, env);
    const text = await answer.text().catch(() => null);
    const { status } = answer;
    assert(status < 300 || REFUSALS.includes(status), `${method} ${path}: ${status} ${text}`);
    // Others hear of it in the next turn.
    await turn();
    return { status, headers: answer.headers, text: text ?? "", isBroken: text === null, isBrief };
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

function inMemory(): Shared {
  const [logs, records] = [new MemoryLogs(), new MemoryRecords()];
  const open = () => ({ storage: new MemoryStorage(logs), catalog: new MemoryCatalog(records) });
  return { open: () => Promise.resolve(open()), leaseMs: LEASE_MS };
}

/** A runtime whose requests come without a socket. */
async function runtimeOfDoors(): Promise<Runtime> {
  return override<Runtime>(await loadRuntime(), {
    remoteAddress: (_, env) => (env as Partial<Env>).address ?? null,
    upgrade(_request, env, { open }: Upgrade) {
      (env as Env).opens!(open);
      return new Response(null, { status: 204 });
    },
  });
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
