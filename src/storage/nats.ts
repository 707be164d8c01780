/**
 * Logs in the engine that nodes share, NATS JetStream (ARCHITECTURE.md, several nodes).
 *
 * An append is one message, stored by a majority of the members when it returns: written, readable and durable are one.
 * Every message expects the one before it, so that a greater epoch, once its first message is stored, shuts all others
 * out. Where the engine takes nothing, an append waits.
 * @module
 */
import type { Engine } from "../cluster/engine.ts";
import { ownerSubject, placeOf, shardsOf } from "../cluster/logs.ts";
import { Probes } from "../cluster/probes.ts";
import { checkRights } from "../cluster/rights.ts";
import { isResourceId, type ResourceStatus, StreamError, toStreamError } from "../protocol.ts";
import type {
  FollowedTail,
  LogOptions,
  LogReader,
  LogWriter,
  Storage,
  TailListener,
} from "../storage.ts";
import { MessageCache } from "./nats/cache.ts";
import { claim, endOf, missing } from "./nats/claim.ts";
import { begin, LEFT_MS, replace } from "./nats/begin.ts";
import { fenced, LogExchange } from "./nats/exchange.ts";
import { Lanes, newestOf, spareOf } from "./nats/lanes.ts";
import {
  encodeHead,
  laneOf,
  type LogMessage,
  type LogState,
  positionOf,
  segmentOf,
} from "./nats/message.ts";
import { Patience, within } from "./nats/patience.ts";
import { NatsReader } from "./nats/reader.ts";
import { Survey } from "./nats/survey.ts";
import { Tail } from "./nats/tail.ts";
import { NatsWriter, type OwnedLog } from "./nats/writer.ts";

/** For how long an upload that runs, and bytes that are to go, wait for an engine that takes nothing, in ms. */
const PATIENCE_MS = 10 * 60_000;
/** The same for whoever reads on: nobody waits longer for an answer on which nothing comes (PROTOCOL.md 2.3). */
const READ_MS = 60_000;
/** The same for whoever begins something, in ms: an election takes 4 to 9 s. */
const ANSWER_MS = 12_000;
/** A stream that takes nothing for so long is left for the spare one, in ms. */
const STALL_MS = 600;

const NOTHING: LogState = { size: 0, lineBreaks: 0, isLineOpen: false };

/** Settings of the storage. */
export interface NatsStorageOptions {
  /** For how long whoever begins something waits for an engine that does not answer, in ms; 12 000 by default. */
  answerMs?: number;
  /** After how long an upload goes on in its spare stream, in ms; 600 by default. */
  stallMs?: number;
}

/** Storage in the engine; the engine is closed by whoever connected to it. */
export class NatsStorage implements Storage {
  readonly #engine: Engine;
  readonly #shards: number;
  /** Of uploads that run, and of bytes that are to go. */
  readonly #patience: Patience = new Patience(PATIENCE_MS);
  /** Of those who read on. */
  readonly #reading: Patience = new Patience(READ_MS);
  /** Of those who begin something. */
  readonly #asking: Patience;
  readonly #probes: Probes;
  readonly #cache = new MessageCache();
  readonly #writers = new Map<string, NatsWriter>();
  readonly #tails = new Map<string, Tail>();
  readonly #ends: (() => void)[] = [];
  readonly #stallMs: number;
  readonly #survey: Survey;
  #moves = 0;

  private constructor(engine: Engine, shards: number, options: NatsStorageOptions) {
    this.#engine = engine;
    this.#shards = shards;
    this.#probes = new Probes(engine);
    this.#survey = new Survey(engine, shards);
    this.#asking = new Patience(options.answerMs ?? ANSWER_MS);
    this.#stallMs = options.stallMs ?? STALL_MS;
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
   * @param engine The engine, which has the streams of `logConfigs`.
   * @param options Settings.
   * @throws {StreamError} FORBIDDEN where this account may not do what nodes do; NOT_READY, WRONG_STATE.
   */
  static async open(engine: Engine, options: NatsStorageOptions = {}): Promise<NatsStorage> {
    await checkRights(engine);
    return new NatsStorage(engine, await shardsOf(engine), options);
  }

  /** Whether there is no connection to the engine, or somebody waits for it longer than usual. */
  get isStalled(): boolean {
    return !this.#engine.isConnected || this.#patiences.some(({ isStrained }) => isStrained);
  }

  /** How often an upload went on in its other stream, as nobody took anything in the one where it was. */
  get moves(): number {
    return this.#moves;
  }

  /** Makes a new, empty log, which no record names. */
  async create(id: string, { epoch, lineAccess, life }: LogOptions): Promise<LogWriter> {
    const lanes = this.#lanes(id);
    const writer = newWriter();
    const leaders = (await this.#survey.infos()).map((info) => info?.cluster?.leader);
    const spare = spareOf(id, leaders);
    lanes.meet({ spare });
    const log = { epoch, writer, spare, lineAccess, life, status: null, statusPosition: 0 };
    const name = `${writer}:0`;
    const head = { ...log, name, birth: 0, segment: 0, after: 0, before: NOTHING };
    const birth = await begin(lanes.home, head);
    return this.#own(id, { ...log, state: NOTHING, birth, ends: [birth, 0], position: birth });
  }

  /** Deletes a log to which nothing came for a minute, unless somebody takes it over at that moment. */
  async deleteLeft(id: string): Promise<boolean> {
    const lanes = this.#lanes(id);
    const ends = await lanes.ends();
    // Nothing else has it: what begins meanwhile stays.
    let life: string | undefined = crypto.randomUUID();
    if (ends !== null) {
      if (await lanes.home.ageOf(newestOf(ends)!) < LEFT_MS) return false;
      try {
        await replace(lanes.home, ends[0], { name: `${newWriter()}:0`, life });
      } catch (error) {
        const { code } = toStreamError(error);
        if (code === "CONFLICT") return false;
        // Where there is no room for that nobody can take it over, either.
        if (code !== "QUOTA_EXCEEDED") throw error;
        life = (await lanes.first())?.life;
      }
    }
    return await this.delete(id, life);
  }

  /** Whether a log has neither bytes nor a status, so that nobody was ever told of it. */
  async isBlank(id: string): Promise<boolean> {
    const last = await this.#lanes(id).newest();
    if (last === null) return true;
    return endOf(last).size === 0 && last.status === null && last.statusPosition === 0;
  }

  /** Takes over an existing log at its end. */
  async recover(id: string, options: LogOptions): Promise<LogWriter> {
    const lanes = this.#lanes(id);
    const { epoch, life } = options;
    const first = await this.#firstOf(lanes, life);
    const writer = newWriter();
    const { newest, ...place } = await claim(
      lanes,
      { epoch, birth: first.sequence },
      writer,
      () => {
        this.#engine.nc.publish(ownerSubject(id), String(epoch));
      },
    );
    const { birth, spare, lineAccess } = newest;
    const status = await newestStatus(lanes, newest);
    const state = await this.#end(id, first, newest, options);
    const log = { epoch, writer, birth, life, spare, lineAccess, state, ...status, ...place };
    if (state.size < endOf(newest).size) await cut(lanes, log);
    return this.#own(id, log);
  }

  /** Opens a log for reading. */
  async openReader(id: string, life?: string): Promise<LogReader> {
    return this.#reader(id, await this.#firstOf(this.#lanes(id), life));
  }

  /**
   * Deletes a log.
   * @throws {StreamError} NOT_READY when the engine does not do it soon; it is asked for some time yet.
   */
  async delete(id: string, life?: string): Promise<boolean> {
    if (!isResourceId(id)) return false;
    try {
      return await within(this.#asking.ms, this.#delete(id, life));
    } catch (error) {
      throw toStreamError(error, "NOT_READY");
    }
  }

  async #delete(id: string, life: string | undefined): Promise<boolean> {
    const lanes = this.#lanes(id, this.#patience);
    const first = await lanes.first();
    if (first !== null && life !== undefined && life !== (first.life ?? life)) return false;
    const birth = first?.sequence;
    const isDeleted = await this.#purge(lanes, birth);
    const writer = this.#writers.get(id);
    if (birth === undefined || birth === writer?.birth) writer?.deleted();
    this.#tails.get(id)?.deleted(birth);
    return isDeleted;
  }

  /** Follows the tail of a log, whichever node writes it. */
  async follow(id: string, listener: TailListener): Promise<FollowedTail> {
    const lanes = this.#lanes(id);
    let tail = this.#tails.get(id);
    if (tail === undefined) {
      const added: Tail = tail = new Tail(lanes, () => {
        if (this.#tails.get(id) === added) this.#tails.delete(id);
      });
      this.#tails.set(id, tail);
      const writer = this.#writers.get(id);
      if (writer !== undefined) tail.attach(writer);
    }
    return await tail.follow(listener);
  }

  /** The newest status of a log: whoever follows its tail on this node may be behind when a leader ends. */
  async newest(id: string): Promise<ResourceStatus | null> {
    const writer = this.#writers.get(id);
    // One that was cut off is not told that it has the log no more.
    if (writer?.isFresh) return writer.status;
    const lanes = this.#lanes(id);
    const last = await lanes.newest();
    return last && (await newestStatus(lanes, last)).status;
  }

  /** Bytes that can still be stored, if they go where there is least room. */
  async freeBytes(): Promise<number> {
    const infos = await this.#survey.infos();
    const free = infos.filter((info) => info !== undefined)
      .map(({ config, state }) => config.max_bytes - state.bytes);
    if (free.length === 0) throw new StreamError("NOT_READY", "the engine does not answer");
    return Math.max(0, Math.min(...free)) * this.#shards;
  }

  /** Ends all waiting and following. */
  close(): Promise<void> {
    for (const patience of this.#patiences) patience.end();
    for (const end of this.#ends.splice(0)) end();
    for (const tail of this.#tails.values()) tail.close();
    return Promise.resolve();
  }

  get #patiences(): readonly Patience[] {
    return [this.#patience, this.#reading, this.#asking];
  }

  #lanes(id: string, patience = this.#asking): Lanes {
    if (!isResourceId(id)) throw missing(id);
    const place = placeOf(id, this.#shards);
    return new Lanes(new LogExchange(this.#engine, id, place, patience, this.#probes));
  }

  /** A reader of a log that begins with a message. */
  #reader(id: string, first: LogMessage): NatsReader {
    const lanes = this.#lanes(id, this.#reading);
    lanes.meet(first);
    return new NatsReader(lanes, first, this.#cache);
  }

  /** The first message of a log of one life, whichever it is by default. */
  async #firstOf(lanes: Lanes, life?: string): Promise<LogMessage> {
    for (;;) {
      const first = await lanes.first();
      if (first === null) throw missing(lanes.id);
      if (life === undefined || life === (first.life ?? life)) return first;
      // A leader that was left behind still tells of another life of the id.
      const newest = await lanes.newest();
      if (newest === null || newest.birth === first.sequence) throw missing(lanes.id);
      await lanes.home.pause();
    }
  }

  #own(id: string, log: OwnedLog): LogWriter {
    const lanes = this.#lanes(id, this.#patience);
    lanes.meet(log);
    this.#writers.get(id)?.fence(log.epoch);
    const writer: NatsWriter = new NatsWriter(lanes, log, {
      stored: (message) => this.#tails.get(id)?.stored(writer, message),
      moved: () => this.#moves++,
      ended: () => {
        if (this.#writers.get(id) === writer) this.#writers.delete(id);
        this.#tails.get(id)?.detach(writer);
      },
    }, this.#stallMs);
    this.#writers.set(id, writer);
    this.#tails.get(id)?.attach(writer);
    return writer;
  }

  /** State of a log at its end, or where an append begins that is not whole. */
  async #end(
    id: string,
    first: LogMessage,
    newest: LogMessage,
    { whole }: LogOptions,
  ): Promise<LogState> {
    const end = endOf(newest);
    if (whole === undefined) return end;
    const { byteOffset, byteCount } = whole;
    if (end.size <= byteOffset || end.size >= byteOffset + byteCount) return end;
    return await this.#reader(id, first).stateAt(byteOffset);
  }

  /** Purges the log that began with a message wherever it is; the stream of that one last, as it names the other. */
  async #purge({ home, spare }: Lanes, birth: number | undefined): Promise<boolean> {
    const others = birth === undefined
      ? await this.#leftovers(home)
      : spare === null
      ? []
      : [spare];
    const purge = (exchange: LogExchange, index: number) => exchange.purge(marks[index]);
    let isPurged = false;
    let marks: number[];
    // An owner that nobody has told yet may append meanwhile.
    do {
      marks = await Promise.all([home, ...others].map((exchange) => exchange.mark()));
      // Another one has begun, and was stored before the marks.
      if ((await home.lastKnown())?.birth !== birth) return isPurged;
      const purged = await Promise.all(others.map((other, index) => purge(other, index + 1)));
      purged.push(await purge(home, 0));
      isPurged ||= purged.includes(true);
    } while (await home.lastKnown() !== null);
    return isPurged;
  }

  /** Streams with something of a log that is gone: an owner may have come there when it was deleted. */
  async #leftovers(home: LogExchange): Promise<LogExchange[]> {
    const found = await Promise.all(
      Array.from({ length: this.#shards }, async (_, shard) => {
        const exchange = home.elsewhere(shard);
        return (await exchange.newest()).last === null ? [] : [exchange];
      }),
    );
    return found.flat();
  }
}

/** The newest status of a log, and the position of the message that told it. */
async function newestStatus(lanes: Lanes, { status, statusPosition }: LogMessage) {
  if (status !== null || statusPosition === 0) return { status, statusPosition };
  return { status: (await lanes.message(statusPosition)).status, statusPosition };
}

/** Cuts off what is behind the state of a log that nobody else can write to any more. */
async function cut(lanes: Lanes, log: OwnedLog): Promise<void> {
  const { epoch, writer, position, ends } = log;
  const segment = segmentOf(position);
  const lane = laneOf(segment);
  const name = `${writer}:cut`;
  const head = { ...log, before: log.state, name, segment, after: 0, status: null };
  const lostTo = (last: LogMessage) => fenced(epoch, last.epoch);
  const attempt = { name, expected: ends[lane], lostTo };
  const exchange = lanes.at(lane)!;
  ends[lane] = await exchange.store(encodeHead(head), new Uint8Array(0), attempt);
  log.position = positionOf(segment, ends[lane]);
}

function newWriter(): string {
  return crypto.randomUUID().slice(0, 8);
}
