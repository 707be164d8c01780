/**
 * A bucket of the engine: values by key, each changed by whoever knows the number of its last change.
 *
 * An answer may be lost, and a request that got none may still be carried out: presence proves, absence never does.
 * So every change carries a name of its own, and whether it was made only an acknowledgement, the value itself or a
 * refusal tells.
 * @module
 */
import { headers } from "@nats-io/transport-node";
import { JetStreamApiError, type StoredMsg } from "@nats-io/jetstream";
import { StreamError } from "../protocol.ts";
import {
  type Engine,
  isFull,
  isOverLimits,
  isRefusal,
  isTooLong,
  NO_ROOM_IN_ACCOUNT,
} from "./engine.ts";
import { Probes } from "./probes.ts";

/** How long a deletion is told to nodes that were away, in days of 24 hours. */
export const MARKER_HOURS = 7 * 24;

/** After so long without an answer a request is made again. */
const ANSWER_MS = 1000;
/** Code of an answer that there is nothing. */
const NONE = 404;
/** Values that are read together. */
const MOST_AT_ONCE = 1000;

/** Code of a message that a stream does not take for its length. */
const TOO_LARGE = 10054;

/** Key that nothing is kept under. */
const PROBE_KEY = "probe";

/** Header with the name of a change. */
const CHANGE_HEADER = "Stream-Change";

/** What a key has. */
export interface Entry {
  /** Number of its last change. */
  sequence: number;
  /** The value; null when it was deleted. */
  value: Uint8Array | null;
  /** Name of the change that made it. */
  change: string;
}

/** How a change went: its number, or what was there instead. */
export type Outcome = { sequence: number } | { found: Entry | null };

/** Headers of a message, wherever it comes from. */
interface MessageHeaders {
  get(name: string): string;
}

/** Values by key. */
export class Bucket {
  readonly #engine: Engine;
  /** Name of the stream that is the bucket. */
  readonly stream: string;
  readonly #prefix: string;
  readonly #waitMs: number;
  readonly #probes: Probes;

  /**
   * @param engine Where it is.
   * @param name Its name.
   * @param waitMs How long a stalled engine is waited for, in ms.
   */
  constructor(engine: Engine, readonly name: string, waitMs: number) {
    this.#engine = engine;
    this.#waitMs = waitMs;
    this.#probes = new Probes(engine);
    this.stream = `KV_${name}`;
    this.#prefix = `$KV.${name}.`;
  }

  /** The key in a subject of this bucket. */
  keyOf(subject: string): string {
    return subject.slice(this.#prefix.length);
  }

  /**
   * What a key has, by the word of the leader; that it has nothing, by the word of one that a majority follows.
   * @param key The key.
   * @param fallback What is known while there is no leader, as nothing changes then; undefined when nothing is.
   * @throws {StreamError} NOT_READY when nobody answers.
   */
  async read(
    key: string,
    fallback: () => Promise<Entry | undefined> = () => Promise.resolve(undefined),
  ): Promise<Entry | null> {
    return await this.#insist(async () => {
      try {
        return await this.#readByLeader(key) ?? await this.#readSince(key);
      } catch (error) {
        const known = await fallback();
        if (known !== undefined) return known;
        throw error;
      }
    });
  }

  async #readByLeader(key: string): Promise<Entry | null> {
    const query = { last_by_subj: this.#prefix + key };
    const found = await this.#engine.request(() =>
      this.#engine.jsm.streams.getMessage(this.stream, query)
    );
    return found && entryOf(found.seq, found.header, found.data);
  }

  /** What a key has now: a leader that was left behind has nothing of what was made since. */
  async #readSince(key: string): Promise<Entry | null> {
    try {
      await this.#probes.send(this.#prefix + PROBE_KEY);
    } catch (error) {
      // A bucket that is full takes no probe; in it nothing is made, either.
      if (!isFull(error)) throw error;
    }
    return await this.#readByLeader(key);
  }

  /** The same while there is no leader, too: nothing changes then, but what nobody knows may just be late. */
  find(key: string): Promise<Entry | null> {
    return this.read(key, async () => await this.#readAnywhere(key) ?? undefined);
  }

  /** What a key has on any of the members, which may be late; null when that one knows nothing. */
  async #readAnywhere(key: string): Promise<Entry | null> {
    const query = { last_by_subj: this.#prefix + key };
    const found = await this.#engine.request(() =>
      this.#engine.jsm.direct.getMessage(this.stream, query)
    );
    return found && entryOf(found.seq, found.header, found.data);
  }

  /**
   * For how long a key has had its value, by the clocks of the engine.
   * @param key The key.
   * @returns The time, in ms; 0 when it has none.
   * @throws {StreamError} NOT_READY when nobody answers.
   */
  async ageOf(key: string): Promise<number> {
    const { streams } = this.#engine.jsm;
    const query = { last_by_subj: this.#prefix + key };
    return await this.#insist(async () => {
      const found = await this.#engine.request(() => streams.getMessage(this.stream, query));
      const { ts } = await this.#engine.request(() => streams.info(this.stream));
      return found === null ? 0 : Date.parse(ts!) - found.time.getTime();
    });
  }

  /**
   * When a key got what it has, by the clocks of the engine.
   * @param key The key.
   * @returns The time, in ms since 1970; null when it has nothing.
   * @throws {StreamError} NOT_READY when nobody answers.
   */
  async changedAtMs(key: string): Promise<number | null> {
    const { streams } = this.#engine.jsm;
    const query = { last_by_subj: this.#prefix + key };
    return await this.#insist(async () => {
      const found = await this.#engine.request(() => streams.getMessage(this.stream, query));
      return found === null ? null : found.time.getTime();
    });
  }

  /**
   * Changes a value.
   * @param key The key.
   * @param expected Number of its last change; 0 when it must have none.
   * @param value The value; null to delete it.
   * @param change Name of the change, which no other one has.
   * @throws {StreamError} NOT_READY when nobody answers, and nobody knows whether it was made; STORAGE_FAILED.
   */
  async write(
    key: string,
    expected: number,
    value: Uint8Array | null,
    change: string,
  ): Promise<Outcome> {
    const subject = this.#prefix + key;
    return await this.#insist(async () => {
      try {
        const options = { headers: headersOf(expected, value, change), timeout: ANSWER_MS };
        const ack = await this.#engine.request(() =>
          this.#engine.js.publish(subject, value ?? new Uint8Array(), options)
        );
        return { sequence: ack.seq };
      } catch (error) {
        this.#refuse(error);
        const found = await this.read(key);
        if (found?.change === change) return { sequence: found.sequence };
        if ((found?.sequence ?? 0) > expected) return { found };
        // Where nothing is to be seen of what refused it, who looked was behind.
        if (!isRefusal(error) || expected === 0) throw error;
        const now = found === null ? null : await this.#readSince(key);
        // A bucket that was restored has what was there before.
        if ((now?.sequence ?? 0) < expected) return { found: now };
        throw error;
      }
    });
  }

  /**
   * Sets a value, whatever it was.
   * @throws {StreamError} NOT_READY when nobody answers.
   */
  async put(key: string, value: Uint8Array): Promise<void> {
    await this.#insist(async () => {
      const options = { timeout: ANSWER_MS };
      await this.#engine.request(() => this.#engine.js.publish(this.#prefix + key, value, options));
    });
  }

  /** All values that some member has; for buckets of a few. */
  async all(): Promise<{ key: string; value: Uint8Array }[]> {
    const found = new Map<string, Uint8Array | null>();
    for (let next = 1;;) {
      const stored = await this.#batch(next);
      for (const { subject, seq, header, data } of stored) {
        found.set(this.keyOf(subject), entryOf(seq, header, data).value);
        next = seq + 1;
      }
      if (stored.length < MOST_AT_ONCE) break;
    }
    return [...found].flatMap(([key, value]) => value === null ? [] : [{ key, value }]);
  }

  /** Messages from a sequence on; the last one of each key is all there is. (By key no more than 1024 are told.) */
  async #batch(seq: number): Promise<StoredMsg[]> {
    const stored: StoredMsg[] = [];
    const options = { seq, batch: MOST_AT_ONCE };
    const messages = await this.#engine.jsm.direct.getBatch(this.stream, options);
    try {
      for await (const message of messages) stored.push(message);
    } catch (error) {
      // That there are none is told as an error, too.
      if (stored.length > 0 || (error as { code?: number }).code !== NONE) throw error;
    }
    return stored;
  }

  /**
   * Finds out whether it takes anything: that an account has no room is told to nobody else.
   * @throws {StreamError} QUOTA_EXCEEDED; what else the engine says as such.
   */
  async probe(): Promise<void> {
    try {
      await this.#probes.send(this.#prefix + PROBE_KEY);
    } catch (error) {
      if (!isOverLimits(error) && !isFull(error)) throw error;
      const message = isOverLimits(error) ? NO_ROOM_IN_ACCOUNT : fullText(this.name);
      throw new StreamError("QUOTA_EXCEEDED", message, { cause: error });
    }
  }

  #insist<T>(step: () => Promise<T>): Promise<T> {
    return this.#engine.insist(this.#waitMs, step);
  }

  /** Throws what will not change by trying again. */
  #refuse(error: unknown): void {
    if (isFull(error)) {
      throw new StreamError("STORAGE_FAILED", fullText(this.name), { cause: error });
    }
    const code = error instanceof JetStreamApiError ? error.code : 0;
    if (code === TOO_LARGE || isTooLong(error)) {
      throw new StreamError("STORAGE_FAILED", `a record is too large for bucket ${this.name}`, {
        cause: error,
      });
    }
  }
}

/** What a message of a bucket says. */
export function entryOf(
  sequence: number,
  found: MessageHeaders | undefined,
  data: Uint8Array,
): Entry {
  const operation = found?.get("KV-Operation") ?? "";
  const change = found?.get(CHANGE_HEADER) ?? "";
  // A marker of a deletion comes with an empty value, whatever is asked for.
  return { sequence, value: operation === "" ? data : null, change };
}

function fullText(name: string): string {
  return `bucket ${name} of the engine is full: give it more max_bytes`;
}

function headersOf(expected: number, value: Uint8Array | null, change: string) {
  const given = headers();
  given.set("Nats-Expected-Last-Subject-Sequence", String(expected));
  given.set(CHANGE_HEADER, change);
  if (value === null) {
    given.set("KV-Operation", "PURGE");
    given.set("Nats-Rollup", "sub");
    given.set("Nats-TTL", `${MARKER_HOURS}h`);
  }
  return given;
}
