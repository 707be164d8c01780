/**
 * The changes of a bucket, in order and without gaps, as they are made anywhere.
 *
 * The engine publishes each change after it is stored, to whoever hears at that moment. What was missed is fetched by
 * its number, and now and then the leader is asked whether anything was. No consumer of the engine is needed: those
 * stall for half a minute when their member is lost.
 * @module
 */
import type { StoredMsg, StreamState } from "@nats-io/jetstream";
import type { Msg, Subscription } from "@nats-io/transport-node";
import { StreamError } from "../../protocol.ts";
import { changesOf } from "../../cluster/buckets.ts";
import type { Engine } from "../../cluster/engine.ts";
import { type Bucket, type Entry, entryOf } from "../../cluster/bucket.ts";
import type { Position } from "./projection.ts";

/** How often the leader is asked for changes of which nothing was heard, in ms. */
const LOOK_MS = 2000;
/** Changes that are fetched together. */
const BATCH = 500;
/** A bucket that has less than this part of what it had was purged as a whole: somebody has to see to it. */
const MOST_PURGED = 0.5;
/** After a look for what was purged there is none for so many times as long as it took. */
const TIMES_BETWEEN = 200;
/** In a bucket that has more, what was purged is found when it is asked for only. */
const MOST_LOOKED_THROUGH = 100_000;
/** A member that does not send those within so long is lost, in ms. */
const BATCH_MS = 3000;

/** A change of a key. */
export interface Change {
  /** The key. */
  key: string;
  /** What it has now. */
  entry: Entry;
}

/** Who has a feed. */
export interface Fed {
  /** Takes changes, in their order; all of one call in the same turn. */
  take(changes: readonly Change[]): void;
  /** How many keys have a value by what was taken. */
  held(): number;
  /** Looks for values that somebody took from the bucket: it has less than what was taken leaves in it. */
  shrunk(): Promise<void>;
  /** Hears, again and again, that the bucket is not what it was. */
  lost(error: StreamError): void;
}

/** Hears the changes of a bucket. */
export class Feed {
  readonly #engine: Engine;
  readonly #bucket: Bucket;
  readonly #life: string;
  readonly #fed: Fed;
  readonly #subscription: Subscription;
  /** Number of the last change that was taken. */
  #sequence: number;
  /** Number of the newest change that was heard of. */
  #heard = 0;
  #filling: Promise<void> | null = null;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #unhear: () => void;
  #caughtUpAtMs = performance.now();
  /** The same by the clocks of the engine, as it forgets deletions by them. */
  #atMs: number;
  #filled = 0;
  /** Messages beside those that have a value, as many as were last known for sure: they get less by purges only, and with time. */
  #others: number;
  #looking = false;
  #looksFromMs = -Infinity;
  #closed = false;

  /**
   * Begins to hear; see `caughtUp`.
   * @param engine Where the bucket is.
   * @param bucket The bucket.
   * @param position How far it is known.
   * @param fed Who has it.
   */
  constructor(
    engine: Engine,
    bucket: Bucket,
    { life, sequence, atMs }: Position,
    fed: Fed,
  ) {
    this.#engine = engine;
    this.#bucket = bucket;
    this.#life = life;
    this.#sequence = sequence;
    // A copy that returns may have what was purged meanwhile.
    this.#others = sequence === 0 ? 0 : Infinity;
    this.#atMs = atMs;
    this.#fed = fed;
    this.#subscription = engine.nc.subscribe(changesOf(bucket.name), {
      callback: (error, message) => {
        if (error === null) this.#told(message);
      },
    });
    // What fails now is looked for again.
    const look = () =>
      void this.caughtUp().catch((error) => {
        if (error instanceof StreamError && error.code === "WRONG_STATE") fed.lost(error);
      });
    this.#timer = setInterval(look, LOOK_MS);
    this.#unhear = engine.onReconnect(look);
  }

  /** How far it has come. */
  get position(): Position {
    return { life: this.#life, sequence: this.#sequence, atMs: this.#atMs };
  }

  /** How full the bucket was when the leader was asked last: 1 for no room. */
  get filled(): number {
    return this.#filled;
  }

  /** For how long it may have missed something, in ms. */
  get lagMs(): number {
    return performance.now() - this.#caughtUpAtMs;
  }

  /**
   * Waits until everything was taken that was stored when this was called.
   * @throws {StreamError} WRONG_STATE when the bucket was deleted and made again, or purged; NOT_READY while it has no
   * leader.
   */
  async caughtUp(): Promise<void> {
    const askedAtMs = performance.now();
    const held = this.#fed.held(), heard = Math.max(this.#heard, this.#sequence);
    const { streams } = this.#engine.jsm;
    const { state, created, config, cluster, ts } = await streams.info(this.#bucket.stream);
    // Where there is none any member answers, with what it has.
    if (cluster !== undefined && !cluster.leader) throw leaderless(this.#bucket);
    if (created !== this.#life) throw lost(this.#bucket, "restored, or made anew");
    // What was deleted leaves a marker; a leader that was left behind has less.
    const isPurged = state.messages < MOST_PURGED * held && state.last_seq >= heard;
    if (isPurged) throw lost(this.#bucket, "purged");
    this.#filled = config.max_bytes > 0 ? state.bytes / config.max_bytes : 0;
    await this.reached(state.last_seq);
    this.#caughtUpAtMs = askedAtMs;
    this.#atMs = Date.parse(ts!);
    this.#compare(state);
  }

  #compare({ messages, last_seq: last }: StreamState): void {
    // What came since counts for one of both only.
    if (this.#sequence !== last || this.#heard > last) return;
    const others = messages - this.#fed.held();
    if (others >= this.#others) this.#others = others;
    else if (messages <= MOST_LOOKED_THROUGH) void this.#lookForPurged(others);
  }

  async #lookForPurged(others: number): Promise<void> {
    const fromMs = performance.now();
    if (this.#looking || fromMs < this.#looksFromMs) return;
    this.#looking = true;
    try {
      await this.#fed.shrunk();
      this.#others = others;
    } catch {
      /* It is looked for again. */
    } finally {
      this.#looksFromMs = fromMs + TIMES_BETWEEN * (performance.now() - fromMs);
      this.#looking = false;
    }
  }

  /** A change is known that it has not brought yet. */
  hears(sequence: number): void {
    this.#heard = Math.max(this.#heard, sequence);
  }

  /** Waits until a change was taken. */
  async reached(sequence: number): Promise<void> {
    this.hears(sequence);
    while (this.#sequence < sequence) await this.#fill();
  }

  /** Hears nothing any more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#unhear();
    this.#subscription.unsubscribe();
    await this.#filling?.catch(() => {});
  }

  #told({ headers, data }: Msg): void {
    if (this.#closed || headers === undefined) return;
    const sequence = Number(headers.get("Nats-Sequence"));
    this.hears(sequence);
    // While something is fetched, that goes on until it has this, too.
    if (sequence !== this.#sequence + 1 || this.#filling !== null) {
      if (sequence > this.#sequence) this.#fill().catch(() => {});
      return;
    }
    const key = this.#bucket.keyOf(headers.get("Nats-Subject"));
    try {
      this.#took([{ key, entry: entryOf(sequence, headers, data) }], sequence);
    } catch { /* It is fetched with the next one, or when the leader is asked. */ }
  }

  /** Fetches what was heard of, and not taken yet. */
  #fill(): Promise<void> {
    return this.#filling ??= this.#fetch().finally(() => this.#filling = null);
  }

  async #fetch(): Promise<void> {
    while (this.#sequence < this.#heard && !this.#closed) {
      const wanted = this.#heard;
      const connection = connectionOf(this.#engine);
      const found = await this.#batch();
      if (this.#closed) return;
      if (found.length > 0) {
        this.#took(found.map((each) => this.#change(each)), found.at(-1)!.seq);
        continue;
      }
      // A member that is late ends in silence; only the leader knows that there is no more.
      const query = { seq: this.#sequence + 1, next_by_subj: ">" };
      const next = await this.#engine.jsm.streams.getMessage(this.#bucket.stream, query);
      if (this.#closed) return;
      if (next !== null) {
        const entry = entryOf(next.seq, next.header, next.data);
        this.#took([{ key: this.#bucket.keyOf(next.subject), entry }], next.seq);
      } else if (connection === connectionOf(this.#engine)) {
        // A leader that was left behind, beyond another connection, would know less than what was heard of.
        this.#took([], wanted);
      }
    }
  }

  async #batch(): Promise<StoredMsg[]> {
    const found: StoredMsg[] = [];
    const messages = await this.#engine.jsm.direct.getBatch(this.#bucket.stream, {
      seq: this.#sequence + 1,
      batch: BATCH,
    });
    const timer = setTimeout(() => messages.stop(), BATCH_MS);
    try {
      for await (const message of messages) {
        // Each names the one before it.
        if (found.length > 0 && message.lastSequence !== found.at(-1)!.seq) break;
        found.push(message);
      }
    } catch {
      /* None at all are an error, too: the leader is asked then. */
    } finally {
      clearTimeout(timer);
    }
    return found;
  }

  #change({ seq, header, data, subject }: StoredMsg): Change {
    return { key: this.#bucket.keyOf(subject), entry: entryOf(seq, header, data) };
  }

  #took(changes: readonly Change[], sequence: number): void {
    this.#fed.take(changes);
    this.#sequence = Math.max(this.#sequence, sequence);
  }
}

function leaderless({ name }: Bucket): StreamError {
  return new StreamError("NOT_READY", `bucket ${name} of the engine has no leader`);
}

function lost({ name }: Bucket, how: string): StreamError {
  return new StreamError(
    "WRONG_STATE",
    `bucket ${name} of the engine was ${how}: see that it has its records, then restart this server`,
  );
}

/** Name of a connection: another one may lead to a member that knows less. */
function connectionOf({ nc }: Engine): string {
  return `${nc.info?.server_id} ${nc.info?.client_id}`;
}
