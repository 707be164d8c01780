/**
 * Many who do everything to a few resources at once, on nodes whose storage and catalog take their time for each call,
 * and may refuse some; and what must hold of all that they see.
 */
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals } from "@std/assert";
import { MemoryCatalog, MemoryRecords } from "../../../src/catalog/memory.ts";
import {
  type ErrorCode,
  isFinal,
  isNewer,
  type ResourceStatus,
  StreamError,
  toStreamError,
} from "../../../src/protocol.ts";
import {
  type OwnedUpload,
  type Registration,
  type Resource,
  Resources,
} from "../../../src/resources.ts";
import type { LogWriter, Storage } from "../../../src/storage.ts";
import { MemoryLogs, MemoryStorage } from "../../../src/storage/memory.ts";
import type { Chance } from "../random.ts";
import { readAll, registration } from "../resources.ts";
import { changed, override } from "../storage.ts";

/** Which calls are refused: none; one; or all that write, for a while, as on a full disk. */
export type Refusals = "none" | "one" | "writes";

/** How it is done. */
export interface Interleaving {
  chance: Chance;
  nodes: number;
  refusals: Refusals;
}

/** Who does something at the same time, and how often each. */
const ACTORS = 8;
const STEPS = 40;
/** About so many calls are made meanwhile; "writes" are refused for up to so many. */
const CALLS = 300;
const LONGEST_REFUSAL = 200;

/** Calls that take their time. */
const OF_CATALOG = [
  ...["create", "get", "update", "delete"] as const,
  ...["createContext", "getContext", "closeContext"] as const,
];
const OF_STORAGE = ["create", "recover", "openReader", "delete", "follow"] as const;
const OF_WRITER = ["append", "announce", "settle", "flush", "flushData"] as const;
const WRITES = ["create", "update", "append", "settle", "flush", "flushData"];

/** What may be said to whoever comes at a bad moment. */
const EXPECTED: readonly ErrorCode[] = [
  ...["NOT_FOUND", "WRONG_STATE", "CONFLICT", "NOT_OWNER", "FENCED", "DELETED"] as const,
  ...["CHECKSUM_MISMATCH", "ABORTED", "LIMIT_REACHED", "NOT_READY", "STORAGE_FAILED"] as const,
  ...["QUOTA_EXCEEDED", "CONTEXT_CLOSED", "CONTEXT_UNKNOWN"] as const,
];

const IDS = [crypto.randomUUID(), crypto.randomUUID()];
const SECRET = "s".repeat(40);
const LEASE_MS = 40;
/** What ended is kept for about as long as it takes a few steps. */
const RETENTION_MS = 5;
/** Room for most of what is uploaded: finished resources are deleted for what is new. */
const MOST_BYTES = 300;
const DEADLINE_MS = 20_000;

const gone = () => new StreamError("INTERRUPTED", "its owner is gone");

/** What every upload has at a position: it follows from the name of its life. */
function bytesOf(life: string, from: number, byteCount: number): Uint8Array {
  return Uint8Array.from({ length: byteCount }, (_, at) => {
    const place = from + at;
    return place % 7 === 6 ? 10 : life.charCodeAt(life.length - 1 - place % 3) + place % 5;
  });
}

/** An upload in the hands of somebody, on a node. */
type Held = OwnedUpload & { node: Resources };

class Interleaved {
  readonly nodes: Resources[];
  readonly #chance: Chance;
  readonly #logs = new MemoryLogs();
  readonly #records = new MemoryRecords();
  readonly #held: Held[] = [];
  readonly #reading = new Set<Promise<void>>();
  /** Those to which somebody appends bytes with an annotation. */
  readonly #appending = new Set<unknown>();
  /** What readers met that must not be. */
  readonly #failures: unknown[] = [];
  /** Lives of the uploads that were in contexts when they were closed. */
  readonly #closed = new Map<string, ReadonlySet<string>>();
  /** Contexts that uploads were in, the last one of which may be open. */
  #contexts = 1;
  readonly #isRefused: (call: number, name: string) => boolean;
  #calls = 0;
  #isOver = false;

  constructor({ chance, nodes, refusals }: Interleaving) {
    this.#chance = chance;
    this.#isRefused = refused(chance, refusals);
    this.nodes = Array.from({ length: nodes }, (_, index) =>
      new Resources({
        storage: this.#slowStorage(new MemoryStorage(this.#logs)),
        catalog: this.#slow(new MemoryCatalog(this.#records), OF_CATALOG),
        nodeId: `node-${index}`,
        ...(nodes === 1 ? {} : { leaseMs: LEASE_MS }),
        checkpointIntervalMs: 0,
        resumeWindowMs: 2,
        retentionMs: RETENTION_MS,
        maxUploads: 5,
        ...(chance.happens(0.5) ? {} : { maxTotalBytes: MOST_BYTES }),
      }));
  }

  /** One who does something, again and again. */
  async act(): Promise<void> {
    for (let step = 0; step < STEPS; step++) {
      await this.#step(this.#chance.pick(this.nodes), this.#chance.pick(IDS)).catch(assertExpected);
    }
  }

  /** Everybody lets go, and nothing is refused any more: what is left must be in order. */
  async settle(): Promise<void> {
    this.#isOver = true;
    const [node] = this.nodes;
    for (const { appender, node } of this.#held.splice(0)) await node.interrupt(appender, gone());
    for (const id of IDS) {
      const view = await node.get(id).catch(() => null);
      // It would wait for whoever comes without an end.
      if (view?.ownedBy === "ANYBODY") await node.delete(id, { force: true }).catch(assertExpected);
    }
    const views = () => node.list({ limit: IDS.length });
    await until(
      "the end of all uploads",
      async () =>
        this.nodes.every(({ uploads }) => uploads === 0) &&
        (await views()).every(({ status }) => isFinal(status.transferStatus)),
    );
    await until("the end of all readers", () => this.#reading.size === 0);
    for (const failure of this.#failures) throw failure;
    const bytes = (await views()).reduce((sum, { status }) => sum + status.currentSize, 0);
    await until(
      "a right count of all bytes",
      () => this.nodes.every(({ totalBytes }) => totalBytes === bytes),
    );
  }

  async #step(node: Resources, id: string): Promise<void> {
    switch (this.#chance.whole(0, 12)) {
      case 0:
      case 1:
        return await this.#register(node, id);
      case 2:
      case 3:
        return this.#append();
      case 4:
        return await this.#complete();
      case 5: {
        const resumed = await node.resume(id, this.#chance.happens(0.9) ? SECRET : null);
        return void ("appender" in resumed && this.#held.push({ ...resumed, node }));
      }
      case 6:
        return await this.#letGo(({ node, appender }) => node.interrupt(appender, gone()));
      case 7: {
        const aborted = new StreamError("ABORTED", "it was given up");
        return await this.#letGo(({ appender }) => appender.fail(aborted));
      }
      case 8:
        return await node.delete(id, { force: this.#chance.happens(0.7) });
      case 9:
        return await this.#closeContext(node);
      case 10:
        return void await node.sweep();
      default: {
        const reading = this.#read(node, id).catch(assertExpected)
          .catch((error) => void this.#failures.push(error))
          .finally(() => this.#reading.delete(reading));
        this.#reading.add(reading);
      }
    }
  }

  async #register(node: Resources, id: string): Promise<void> {
    const contextId = this.#chance.happens(0.5) ? `context ${this.#contexts}` : null;
    const owned = await node.register(this.#registration(id, contextId));
    this.#held.push({ ...owned, node });
    const closed = contextId === null ? undefined : this.#closed.get(contextId);
    if (closed === undefined) return;
    const { life } = owned.appender.resource.status;
    const now = await node.get(id);
    // It was not there when the context was closed, and is in it all the same.
    if (now.status.life === life) assert(closed.has(life), "a closed context took an upload");
  }

  #registration(id: string, contextId: string | null): Registration {
    const ownedBy = this.#chance.pick(["SECRET", "SECRET", "CONNECTION", "ANYBODY"] as const);
    const secret = ownedBy === "SECRET" ? SECRET : undefined;
    return registration({ id, ownedBy, secret, contextId, makeContext: true });
  }

  /** Whoever closes a context finds all that is ever in it. */
  async #closeContext(node: Resources): Promise<void> {
    const contextId = `context ${this.#contexts}`;
    await node.closeContext(contextId);
    const views = await node.list({ contextId, limit: 2 * IDS.length });
    if (contextId !== `context ${this.#contexts}`) return;
    this.#contexts++;
    this.#closed.set(contextId, new Set(views.map(({ status: { life } }) => life)));
  }

  /** What is anybody's has an annotation that belongs to its bytes: how many they are. */
  async #append(): Promise<void> {
    if (this.#held.length === 0) return;
    const { appender } = this.#chance.pick(this.#held);
    if (appender.isOver) return;
    const { life } = appender.resource.status;
    const bytes = bytesOf(life, appender.received, this.#chance.whole(1, 50));
    if (appender.ownedBy !== "ANYBODY") return appender.append(bytes);
    if (this.#appending.has(appender)) return;
    this.#appending.add(appender);
    try {
      await appender.appendWhole(bytes, String(appender.received + bytes.length));
    } finally {
      this.#appending.delete(appender);
    }
  }

  #complete(): Promise<void> {
    return this.#letGo(async ({ appender }) => {
      const { received } = appender;
      const { size } = await appender.complete(this.#chance.happens(0.2) ? "00" : null, received);
      assertEquals(size, received);
    });
  }

  async #letGo(step: (upload: Held) => Promise<void>): Promise<void> {
    if (this.#held.length === 0) return;
    const [upload] = this.#held.splice(this.#chance.whole(0, this.#held.length - 1), 1);
    await step(upload);
  }

  /** Reads to the end, whatever that is. */
  async #read(node: Resources, id: string): Promise<void> {
    await using opened = await node.open(id);
    const { resource } = opened;
    await toldTheEnd(resource);
    if (resource.deleted) return;
    const { life, currentSize } = resource.status;
    assertEquals(await readAll(resource), bytesOf(life, 0, currentSize));
    const { ownedBy, annotation = "0", status } = await node.get(id);
    const isWhole = ownedBy === "ANYBODY" && status.life === life;
    if (isWhole) assertEquals(annotation, String(currentSize));
  }

  #slowStorage(inner: Storage): Storage {
    const writer = (log: LogWriter) => this.#slow(log, OF_WRITER);
    return this.#slow(changed(inner, { writer }), OF_STORAGE);
  }

  /** An object of which some calls take turns of the event loop, before and after, and may be refused. */
  #slow<T extends object>(inner: T, names: readonly (keyof T & string)[]): T {
    const slow: Partial<T> = {};
    for (const name of names) {
      const method = inner[name];
      if (typeof method !== "function") continue;
      const call = async (...args: unknown[]) => {
        await this.#pause();
        if (this.#isRefused(++this.#calls, name) && !this.#isOver) {
          throw new StreamError("STORAGE_FAILED", `${name} was refused`);
        }
        const result = await method.apply(inner, args);
        await this.#pause();
        return result;
      };
      slow[name] = call as T[typeof name];
    }
    return override(inner, slow);
  }

  async #pause(): Promise<void> {
    for (let left = this.#chance.whole(0, 2); left > 0; left--) await turn();
  }
}

/** Which calls are refused, by their number and name. */
function refused(chance: Chance, refusals: Refusals): (call: number, name: string) => boolean {
  const first = chance.whole(1, CALLS), last = first + chance.whole(1, LONGEST_REFUSAL);
  if (refusals === "none") return () => false;
  if (refusals === "one") return (call) => call === first;
  return (call, name) => call >= first && call <= last && WRITES.includes(name);
}

/** Waits for the end of a resource; all that is told of it until then has to fit together. */
async function toldTheEnd(resource: Resource): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let last = resource.status;
  const look = (status: ResourceStatus) => {
    if (resource.deleted) return resolve();
    try {
      assertFollows(status, last);
    } catch (error) {
      reject(error);
    }
    last = status;
    if (isFinal(status.transferStatus)) resolve();
  };
  const unwatch = resource.watch(look);
  try {
    look(resource.status);
    await promise;
  } finally {
    unwatch();
  }
}

function assertFollows(status: ResourceStatus, last: ResourceStatus): void {
  assertEquals(status.life, last.life);
  // A tail and a record may tell the same one.
  if (!isNewer(status, last)) assertEquals(status, { ...last, durableSize: status.durableSize });
  else assert(!isFinal(last.transferStatus), "something was told after the end");
  if (status.epoch === last.epoch) assert(status.currentSize >= last.currentSize);
}

function assertExpected(thrown: unknown): void {
  if (!EXPECTED.includes(toStreamError(thrown).code)) throw thrown;
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + DEADLINE_MS;
  while (!await isSo()) {
    assert(performance.now() < untilMs, `${what} did not come`);
    await sleep(1);
  }
}

/** Lets them do it, and checks what must hold. */
export async function interleave(how: Interleaving): Promise<void> {
  const interleaved = new Interleaved(how);
  try {
    for (const node of interleaved.nodes) await node.recover();
    await Promise.all(Array.from({ length: ACTORS }, () => interleaved.act()));
    await interleaved.settle();
  } finally {
    for (const node of interleaved.nodes) await node.close();
  }
}
