/**
 * The engine that nodes of a cluster share: NATS JetStream (https://docs.nats.io/nats-concepts/jetstream).
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  credsAuthenticator,
  InvalidArgumentError,
  type NatsConnection,
  PermissionViolationError,
  TimeoutError,
} from "@nats-io/transport-node";
import {
  jetstream,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
  type StreamConfig,
  type StreamInfo,
  type StreamInfoRequestOptions,
} from "@nats-io/jetstream";
import { StreamError } from "../protocol.ts";
import { connectClient } from "./transport.ts";

/** A member that does not answer so often is left for another one. */
const PING_MS = 500;
const MOST_PINGS = 2;
/** One that takes a connection and says nothing stands still, in ms. */
const REACHED_MS = 2000;
/** A request that the engine does not answer within so long is made again, after a moment, in ms. */
const ANSWER_MS = 1000;
const AGAIN_MS = 50;
/** For how long a stream may have no leader, in ms. */
const LEADER_WITHIN_MS = 15_000;
/** Members agree on a new stream, and make its files, in ms. */
const MADE_MS = 10_000;
/** Members that have just started take each other for absent: what they refuse for that is tried again for so long, in ms. */
const MADE_WITHIN_MS = 30_000;
const MADE_AGAIN_MS = 500;
/** Code for a stream that does not exist. */
const STREAM_MISSING = 10059;
/** Codes of what passes: no peer is there to hold a stream; the engine is not ready. */
const NO_PEERS = 10005;
const UNAVAILABLE = 10008;
/** Who refuses a connection says so again with each attempt, in ms. */
const REFUSED_MS = 5000;
/** What members refuse all the time is told again after so long, in ms. */
const TOLD_AGAIN_MS = 60_000;
/** A member that is connected and answers nothing for so long is left for another one, but not more often, in ms. */
const SILENCE_MS = 1500;
const PATIENCE_MS = 3000;

/** Buckets of the records of resources; the id says which. */
export const RECORD_BUCKETS: readonly string[] = ["rec-0", "rec-1", "rec-2", "rec-3"];
/** Bucket of upload contexts. */
export const CONTEXT_BUCKET = "ctx";
/** Bucket of what holds for the whole cluster. */
export const SETTINGS_BUCKET = "cluster";
/** Bucket of the nodes that are there, and of who does what only one may do. */
export const NODE_BUCKET = "nodes";

/** A connection to the engine; it goes to another member when its own is gone. */
export class Engine {
  /** Publishes to streams. */
  readonly js: JetStreamClient;
  readonly #inFlight = new Set<(error: StreamError) => void>();
  readonly #waiting = new Set<() => void>();
  readonly #reconnected = new Set<() => void>();
  readonly #refusals = new Set<(subject: string) => void>();
  readonly #limited = new Set<(reason: string) => void>();
  #refusedAtMs = -Infinity;
  #toldAtMs = -Infinity;
  #isConnected = true;
  /** What a member said last that it refuses. */
  #refusal: string | null = null;
  #answeredAtMs = performance.now();
  #leftAtMs = -Infinity;

  /** Use {@link connectEngine}. */
  constructor(
    /** The connection. */
    readonly nc: NatsConnection,
    /** Reads and manages streams. */
    readonly jsm: JetStreamManager,
  ) {
    this.js = jetstream(nc, { timeout: ANSWER_MS });
    void this.#observe();
  }

  /** Whether a member is connected. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Why members refuse the connection; null where there is one, or nobody says. */
  get refusal(): string | null {
    const isOld = performance.now() - this.#refusedAtMs > REFUSED_MS;
    return this.#isConnected || isOld ? null : this.#refusal;
  }

  /**
   * Makes a request that fails as soon as the connection is gone: the client lets it run to its timeout.
   * @param step The request.
   * @throws {StreamError} NOT_READY without a connection, or when it breaks; nobody knows then what became of it.
   */
  async request<T>(step: () => Promise<T>): Promise<T> {
    // What is sent without a connection is never sent, and told to nobody (nats.js 3.4).
    if (!this.#isConnected) throw this.#away();
    const { promise, reject } = Promise.withResolvers<never>();
    this.#inFlight.add(reject);
    try {
      return await Promise.race([step(), promise]);
    } finally {
      this.#inFlight.delete(reject);
    }
  }

  /**
   * Makes a step as often as it takes: what stalls goes on.
   * @param waitMs For how long, in ms.
   * @param step What is done.
   * @throws {StreamError} NOT_READY when nobody answers; what else the step throws as such.
   */
  async insist<T>(waitMs: number, step: () => Promise<T>): Promise<T> {
    const untilMs = performance.now() + waitMs;
    for (;;) {
      try {
        const result = await step();
        this.answered();
        return result;
      } catch (error) {
        if (error instanceof StreamError && error.code !== "NOT_READY") throw error;
        this.unanswered();
        const leftMs = untilMs - performance.now();
        if (leftMs <= 0) throw notAnswering(error);
        await sleep(AGAIN_MS);
        await this.reach(leftMs);
      }
    }
  }

  /**
   * What is known of a stream; one that was made just now may have no leader yet.
   * @param stream Its name.
   * @param options What else is asked for.
   * @returns Null where there is none.
   * @throws {StreamError} NOT_READY when nobody answers.
   */
  async findStream(
    stream: string,
    options?: Partial<StreamInfoRequestOptions>,
  ): Promise<StreamInfo | null> {
    return await this.insist(LEADER_WITHIN_MS, async () => {
      try {
        return await this.request(() => this.jsm.streams.info(stream, options));
      } catch (error) {
        if (error instanceof JetStreamApiError && error.code === STREAM_MISSING) return null;
        throw error;
      }
    });
  }

  /**
   * What is known of a stream that nodes share.
   * @param stream Its name.
   * @param options What else is asked for.
   * @throws {StreamError} NOT_READY when nobody answers, or there is no such stream.
   */
  async streamInfo(
    stream: string,
    options?: Partial<StreamInfoRequestOptions>,
  ): Promise<StreamInfo> {
    const found = await this.findStream(stream, options);
    if (found !== null) return found;
    throw new StreamError(
      "NOT_READY",
      `the engine does not know ${stream}, which nodes share: see stream cluster init`,
    );
  }

  /**
   * Makes a stream, unless it is there already.
   * @param config What it is.
   */
  async addStream(config: Partial<StreamConfig> & { name: string }): Promise<void> {
    const { streams } = await jetstreamManager(this.nc, { timeout: MADE_MS, checkAPI: false });
    for (const untilMs = performance.now() + MADE_WITHIN_MS;;) {
      try {
        await streams.add(config);
        return;
      } catch (error) {
        if (!isPassing(error) || performance.now() > untilMs) throw error;
        await sleep(MADE_AGAIN_MS);
      }
    }
  }

  /**
   * Waits for a connection.
   * @param limitMs For how long.
   * @returns Whether there is one.
   */
  async reach(limitMs: number): Promise<boolean> {
    if (this.#isConnected) return true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    const timer = setTimeout(resolve, limitMs);
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(resolve);
    return this.#isConnected;
  }

  /**
   * Finds out what this account may not do: a refusal is told to nobody otherwise, or late.
   * @param step What is subscribed to, or published.
   * @returns Subjects of what was refused.
   * @throws {StreamError} FORBIDDEN where it may have no more of something.
   */
  async refusedIn(step: () => void): Promise<ReadonlySet<string>> {
    const refused = new Set<string>();
    let limit: string | null = null;
    const listener = (subject: string) => void refused.add(subject);
    const forget = this.onLimit((reason) => limit = reason);
    this.#refusals.add(listener);
    try {
      step();
      await this.nc.flush();
      // By another answer the refusals before the first one have been told, too.
      await this.nc.flush();
    } finally {
      this.#refusals.delete(listener);
      forget();
    }
    if (limit === null) return refused;
    throw new StreamError("FORBIDDEN", `the engine refuses what nodes need: ${limit}`);
  }

  /**
   * Hears that members refuse what has a limit: a connection, a subscription. Each is told once a minute.
   * @returns Ends it.
   */
  onLimit(listener: (reason: string) => void): () => void {
    this.#limited.add(listener);
    return () => this.#limited.delete(listener);
  }

  /** The engine answered something. */
  answered(): void {
    this.#answeredAtMs = performance.now();
  }

  /** The engine did not answer: a member that was cut off from the others keeps its clients, and is left here. */
  unanswered(): void {
    const nowMs = performance.now();
    if (!this.#isConnected || nowMs - this.#answeredAtMs < SILENCE_MS) return;
    if (nowMs - this.#leftAtMs < PATIENCE_MS) return;
    this.#leftAtMs = nowMs;
    void this.nc.reconnect().catch(() => {});
  }

  /**
   * Hears of every new connection: what was published meanwhile was missed.
   * @returns Ends it.
   */
  onReconnect(listener: () => void): () => void {
    this.#reconnected.add(listener);
    return () => this.#reconnected.delete(listener);
  }

  /** Ends the connection. */
  async close(): Promise<void> {
    await this.nc.close();
  }

  async #observe(): Promise<void> {
    for await (const status of this.nc.status()) {
      const { type } = status;
      if (type === "disconnect" || type === "close") this.#lost();
      if (type === "reconnect") this.#found();
      if (type !== "error") continue;
      const { error } = status;
      if (!(error instanceof PermissionViolationError)) this.#refused(error.message);
      else for (const listener of this.#refusals) listener(error.subject);
    }
    this.#lost();
  }

  #lost(): void {
    this.#isConnected = false;
    for (const reject of this.#inFlight) reject(this.#away());
    this.#inFlight.clear();
  }

  #refused(reason: string): void {
    const nowMs = performance.now();
    const isTold = reason === this.#refusal && nowMs - this.#toldAtMs < TOLD_AGAIN_MS;
    this.#refusal = reason;
    this.#refusedAtMs = nowMs;
    if (isTold) return;
    this.#toldAtMs = nowMs;
    for (const listener of this.#limited) listener(reason);
  }

  #away(): StreamError {
    const reason = this.refusal ?? "the connection to it is gone";
    return new StreamError("NOT_READY", `the engine does not answer: ${reason}`);
  }

  #found(): void {
    this.#isConnected = true;
    for (const resolve of this.#waiting) resolve();
    for (const listener of this.#reconnected) listener();
  }
}

/** Whether the engine refused something because it has no room. */
export function isFull(error: unknown): boolean {
  return error instanceof JetStreamApiError && FULL.includes(error.code);
}

/** Whether a stream has another last message than was expected. */
export function isRefusal(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE;
}

/** Whether a member takes no message that is so long, and the client did not even send it. */
export function isTooLong(error: unknown): boolean {
  return error instanceof InvalidArgumentError;
}

/** Whether an account may have less than it has, or no more: what is asked of it goes on when it is given more. */
export function isOverLimits(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === OVER_LIMITS;
}

/** Codes of the engine (https://github.com/nats-io/nats-server/blob/main/server/errors.json): a stream is full, its store is, its account is. */
const FULL = [10077, 10047, 10023];
const OVER_LIMITS = 10002;
const WRONG_LAST_SEQUENCE = 10071;

/**
 * Nobody answered for as long as somebody is waited for.
 * @param cause What went wrong the last time.
 */
export function notAnswering(cause: unknown): StreamError {
  if (cause instanceof StreamError && cause.code === "NOT_READY") return cause;
  if (isOverLimits(cause)) return new StreamError("NOT_READY", NO_ROOM_IN_ACCOUNT, { cause });
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new StreamError("NOT_READY", `the engine does not answer: ${reason}`, { cause });
}

/** What whoever needs room in an account is told. */
export const NO_ROOM_IN_ACCOUNT =
  "the account of the nodes has reached its limits in the engine: raise them";

/** How the engine is reached. */
export interface EngineOptions {
  /** Its members, as `enginesIn` reads them. */
  servers: readonly string[];
  /** Content of a file of credentials; none by default. */
  credentials?: Uint8Array;
}

/**
 * Connects to the engine.
 * @param options Its members, and what is presented there.
 * @throws {StreamError} UNREACHABLE.
 */
export async function connectEngine({ servers, credentials }: EngineOptions): Promise<Engine> {
  try {
    const nc = await connectClient({
      servers: [...servers],
      name: "stream",
      timeout: REACHED_MS,
      authenticator: credentials && credsAuthenticator(credentials),
      pingInterval: PING_MS,
      maxPingOut: MOST_PINGS,
      maxReconnectAttempts: -1,
      // A member that refuses a connection twice is no reason to stay away: it may be told otherwise by and by.
      ignoreAuthErrorAbort: true,
      // A trace of every request, which nobody reads, would cost more than the request.
      noAsyncTraces: true,
    });
    const jsm = await jetstreamManager(nc, { timeout: ANSWER_MS, checkAPI: false });
    return new Engine(nc, jsm);
  } catch (error) {
    const reason = (error as Error).message;
    throw new StreamError("UNREACHABLE", `the engine at ${servers.join(", ")}: ${reason}`, {
      cause: error,
    });
  }
}

/**
 * Reads the addresses of the members.
 * @param text `nats://a,b:4222,c`, or `tls://…`; the scheme may stand before each, as the engine's own tools take it.
 * @returns One address for each.
 * @throws {StreamError} BAD_REQUEST.
 */
export function enginesIn(text: string): string[] {
  const [scheme = ""] = /^(nats|tls):\/\//.exec(text) ?? [];
  const names = text.split(",")
    .map((part) => part.startsWith(scheme) ? part.slice(scheme.length) : part);
  const areNames = names.every((name) => /^(\[[\da-fA-F:]+\]|[\w.-]+)(:\d{1,5})?$/.test(name));
  if (scheme !== "" && areNames) return names.map((name) => scheme + name);
  throw new StreamError("BAD_REQUEST", `${text}: expected nats://HOST,HOST,HOST`);
}

/**
 * Which of several places has what belongs to an id.
 * @param id The id.
 * @param count How many places there are.
 * @returns Number of the place, from 0: the same on every node, for ever (FNV-1a).
 */
export function shardOf(id: string, count: number): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < id.length; at++) {
    hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193) >>> 0;
  }
  return hash % count;
}

/** Whether what was refused may be taken soon. */
function isPassing(error: unknown): boolean {
  if (error instanceof TimeoutError) return true;
  return error instanceof JetStreamApiError && [NO_PEERS, UNAVAILABLE].includes(error.code);
}
