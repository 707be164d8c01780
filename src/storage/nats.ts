/**
 * Logs in the engine that nodes share, NATS JetStream (ARCHITECTURE.md, several nodes).
 *
 * An append is one message, stored by a majority of the members when it returns: written, readable and durable are one.
 * Every message expects the one before it, so that a greater epoch, once its first message is stored, shuts all others
 * out. Where the engine takes nothing, an append waits.
 * @module
 */
import type { Engine } from "../cluster/engine.ts";
import { ownerSubject, placeOf, shardsOf, streamOf } from "../cluster/logs.ts";
import { isResourceId, StreamError } from "../protocol.ts";
import type {
  FollowedTail,
  LogOptions,
  LogReader,
  LogWriter,
  Storage,
  TailListener,
} from "../storage.ts";
import { MessageCache } from "./nats/cache.ts";
import { fenced, LogExchange, Patience } from "./nats/exchange.ts";
import { encodeHead, type LogMessage, type LogState, stateBehind } from "./nats/message.ts";
import { NatsReader } from "./nats/reader.ts";
import { Tail } from "./nats/tail.ts";
import { NatsWriter, type OwnedLog } from "./nats/writer.ts";

/** For how long an engine that takes nothing is waited for, in ms. */
const PATIENCE_MS = 10 * 60_000;
/** Free space is looked at so often, in ms. */
const FREE_SPACE_MS = 5000;

const NOTHING: LogState = { size: 0, lineBreaks: 0, isLineOpen: false };

/** Settings of the storage. */
export interface NatsStorageOptions {
  /** For how long an engine that takes nothing is waited for, in ms; ten minutes by default. */
  patienceMs?: number;
}

/** Storage in the engine; the engine is closed by whoever connected to it. */
export class NatsStorage implements Storage {
  readonly #engine: Engine;
  readonly #shards: number;
  readonly #patience: Patience;
  readonly #cache = new MessageCache();
  readonly #writers = new Map<string, NatsWriter>();
  readonly #tails = new Map<string, Tail>();
  readonly #ends: (() => void)[] = [];
  #free: { bytes: Promise<number>; atMs: number } | null = null;

  private constructor(engine: Engine, shards: number, { patienceMs }: NatsStorageOptions) {
    this.#engine = engine;
    this.#shards = shards;
    this.#patience = new Patience(patienceMs ?? PATIENCE_MS);
    const owners = engine.nc.subscribe(ownerSubject("*"), {
      callback: (error, { subject, data }) => {
        if (error !== null) return;
        const epoch = Number(new TextDecoder().decode(data));
        const writer = this.#writers.get(subject.slice(ownerSubject("").length));
        if (writer !== undefined && writer.epoch < epoch) writer.fence(epoch);
      },
    });
    this.#ends.push(() => owners.unsubscribe());
    this.#ends.push(engine.onReconnect(() => {
      for (const tail of this.#tails.values()) tail.reconnected();
    }));
  }

  /**
   * Opens the logs of an engine.
   * @param engine The engine, in which `ensureLogs` made their streams.
   * @param options Settings.
   * @throws {StreamError} NOT_READY, WRONG_STATE.
   */
  static async open(engine: Engine, options: NatsStorageOptions = {}): Promise<NatsStorage> {
    return new NatsStorage(engine, await shardsOf(engine), options);
  }

  /** Whether there is no connection to the engine, or somebody waits for it longer than usual. */
  get isStalled(): boolean {
    return !this.#engine.isConnected || this.#patience.isStrained;
  }

  /** Makes a new, empty log. */
  async create(id: string, { epoch, lineAccess }: LogOptions): Promise<LogWriter> {
    const exchange = this.#exchange(id);
    const writer = newWriter();
    const log = { epoch, writer, lineAccess, status: null, statusSequence: 0, state: NOTHING };
    const fields = encodeHead({ ...log, birth: 0, before: NOTHING });
    const lostTo = () => new StreamError("CONFLICT", `the log ${id} exists already`);
    const attempt = { writer, expected: 0, lostTo };
    const birth = await exchange.store(fields, new Uint8Array(0), attempt);
    return this.#own(exchange, { ...log, birth, sequence: birth });
  }

  /** Takes over an existing log at its end. */
  async recover(id: string, options: LogOptions): Promise<LogWriter> {
    const exchange = this.#exchange(id);
    const { epoch } = options;
    for (const writer = newWriter();;) {
      const last = await exchange.last();
      if (last === null) throw missing(id);
      if (last.epoch >= epoch) throw fenced(epoch, last.epoch);
      // An owner that goes on appending would be faster again and again.
      this.#engine.nc.publish(ownerSubject(id), String(epoch));
      const { status, statusSequence } = await newestStatus(exchange, last);
      const { birth, lineAccess } = last;
      const state = await this.#end(exchange, last, options);
      const head = {
        epoch,
        writer,
        birth,
        before: state,
        lineAccess,
        status: null,
        statusSequence,
      };
      const lostTo = () => new StreamError("CONFLICT", "another owner was faster");
      try {
        const attempt = { writer, expected: last.sequence, lostTo };
        const sequence = await exchange.store(encodeHead(head), new Uint8Array(0), attempt);
        const log = { ...head, state, status, sequence };
        return this.#own(exchange, log);
      } catch (error) {
        if (!(error instanceof StreamError) || error.code !== "CONFLICT") throw error;
      }
    }
  }

  /** Opens a log for reading. */
  async openReader(id: string): Promise<LogReader> {
    const exchange = this.#exchange(id);
    const first = await exchange.first();
    if (first === null) throw missing(id);
    return new NatsReader(exchange, first, this.#cache);
  }

  /** Deletes a log. */
  async delete(id: string): Promise<boolean> {
    if (!isResourceId(id)) return false;
    const isDeleted = await this.#exchange(id).purge();
    this.#writers.get(id)?.deleted();
    this.#tails.get(id)?.deleted();
    return isDeleted;
  }

  /** Follows the tail of a log, whichever node writes it. */
  async follow(id: string, listener: TailListener): Promise<FollowedTail> {
    const exchange = this.#exchange(id);
    let tail = this.#tails.get(id);
    if (tail === undefined) {
      const added: Tail = tail = new Tail(exchange, () => {
        if (this.#tails.get(id) === added) this.#tails.delete(id);
      });
      this.#tails.set(id, tail);
      const writer = this.#writers.get(id);
      if (writer !== undefined) tail.attach(writer);
    }
    return await tail.follow(listener);
  }

  /** Bytes that can still be stored, if they go where there is least room. */
  freeBytes(): Promise<number> {
    const nowMs = performance.now();
    if (this.#free === null || nowMs - this.#free.atMs > FREE_SPACE_MS) {
      this.#free = { bytes: this.#leastFree(), atMs: nowMs };
    }
    return this.#free.bytes;
  }

  /** Ends all waiting and following. */
  close(): Promise<void> {
    this.#patience.end();
    for (const end of this.#ends.splice(0)) end();
    for (const tail of this.#tails.values()) tail.close();
    return Promise.resolve();
  }

  #exchange(id: string): LogExchange {
    if (!isResourceId(id)) throw missing(id);
    return new LogExchange(this.#engine, id, placeOf(id, this.#shards), this.#patience);
  }

  #own(exchange: LogExchange, log: OwnedLog): LogWriter {
    const { id } = exchange;
    this.#writers.get(id)?.fence(log.epoch);
    const writer: NatsWriter = new NatsWriter(exchange, log, {
      stored: (message) => this.#tails.get(id)?.stored(writer, message),
      ended: () => {
        if (this.#writers.get(id) === writer) this.#writers.delete(id);
        this.#tails.get(id)?.detach(writer);
      },
    });
    this.#writers.set(id, writer);
    this.#tails.get(id)?.attach(writer);
    return writer;
  }

  /** State of a log at its end, or where an append begins that is not whole. */
  async #end(exchange: LogExchange, last: LogMessage, { whole }: LogOptions): Promise<LogState> {
    const end = stateBehind(last.before, last.data, last.lineAccess);
    if (whole === undefined) return end;
    const { byteOffset, byteCount } = whole;
    if (end.size <= byteOffset || end.size >= byteOffset + byteCount) return end;
    const first = await exchange.first();
    if (first === null) throw missing(exchange.id);
    return await new NatsReader(exchange, first, this.#cache).stateAt(byteOffset);
  }

  async #leastFree(): Promise<number> {
    const { streams } = this.#engine.jsm;
    const names = Array.from({ length: this.#shards }, (_, shard) => streamOf(shard));
    const infos = await Promise.all(
      names.map((name) => this.#engine.request(() => streams.info(name))),
    );
    const free = infos.map(({ config, state }) => config.max_bytes - state.bytes);
    return Math.max(0, Math.min(...free)) * this.#shards;
  }
}

/** The newest status of a log, and the sequence of the message that told it. */
async function newestStatus(exchange: LogExchange, last: LogMessage) {
  const { status, statusSequence } = last;
  if (status !== null || statusSequence === 0) return { status, statusSequence };
  return { status: (await exchange.at(statusSequence)).status, statusSequence };
}

function newWriter(): string {
  return crypto.randomUUID().slice(0, 8);
}

function missing(id: string): StreamError {
  return new StreamError("NOT_FOUND", `there is no log ${id}`);
}
