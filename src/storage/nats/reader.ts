/**
 * Positional reads of a log in the engine, whoever writes it.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import type { LogReader } from "../../storage.ts";
import type { MessageCache } from "./cache.ts";
import { deleted } from "./exchange.ts";
import { type IndexEntry, LogIndex } from "./index.ts";
import type { Lanes } from "./lanes.ts";
import {
  decodeMessage,
  HOME,
  type Lane,
  laneOf,
  type LogMessage,
  type LogState,
  plain,
  positionOf,
  segmentOf,
  sequenceOf,
  SPARE,
  stateBehind,
  type StoredMessage,
} from "./message.ts";

/** Bytes of one answer of the engine, and bytes that are read ahead for somebody who reads on and on. */
const BATCH_BYTES = 4 * 1024 * 1024;
/** A log that grew by so much since somebody looked has new pages of its index. */
const PAGED_BYTES = 16 * 1024 * 1024;
/** Pages, and messages, of one answer. */
const BATCH_MESSAGES = 500;
/** Answers in a row that bring nothing: then the leader is asked. */
const LAGGING = 3;

/** Between two looks at replicas while leaders are asked, in ms. */
const PAUSE_MS = 100;

const LINE_BREAK = 10;

/** Where a log ends, as far as somebody knows. */
interface End {
  readonly size: number;
  readonly lineBreaks: number;
}

/** Reads one log, of one life of its id. */
export class NatsReader implements LogReader {
  readonly #lanes: Lanes;
  readonly #cache: MessageCache;
  readonly #birth: number;
  /** Name of the log: another one may have come to the same places, in a stream that was made again. */
  readonly #name: string;
  readonly #lineAccess: boolean;
  readonly #index = new LogIndex();
  /** Up to where nothing of the index is cut off any more: parts of an append that counts as a whole may be, before its end. */
  #sure: End = { size: 0, lineBreaks: 0 };
  /** Sequence of the last page that was looked at. */
  #paged = 0;
  /** Segment that is being read, and sequences of the last messages of either stream that were looked at. */
  #segment = 0;
  readonly #scanned: [home: number, spare: number];
  #growing: Promise<boolean> | null = null;
  /** Where the last read ended. */
  #readUntil = 0;

  constructor(lanes: Lanes, first: LogMessage, cache: MessageCache) {
    this.#lanes = lanes;
    this.#cache = cache;
    this.#birth = first.sequence;
    this.#name = `${lanes.id} ${first.timeMs}`;
    this.#scanned = [first.sequence, 0];
    this.#lineAccess = first.lineAccess;
  }

  async read(byteOffset: number, byteCount: number, buffer?: Uint8Array): Promise<Uint8Array> {
    const end = byteOffset + byteCount;
    await this.#reach(({ size }) => size >= end, end, `a read up to ${end}`);
    const bytes = buffer?.subarray(0, byteCount) ?? new Uint8Array(byteCount);
    if (byteCount === 0) return bytes;
    const first = this.#index.ofByte(byteOffset);
    const last = this.#index.ofByte(end - 1);
    this.#fetch(first, last);
    for (let index = first; index <= last; index++) {
      const entry = this.#index.at(index);
      const from = Math.max(0, byteOffset - entry.byteOffset);
      await this.#look(entry, (data) => {
        const piece = data.subarray(from, end - entry.byteOffset);
        bytes.set(piece, entry.byteOffset + from - byteOffset);
      });
    }
    if (byteOffset === this.#readUntil) this.#readAhead(last + 1);
    this.#readUntil = end;
    return bytes;
  }

  async lineBreak(index: number): Promise<number> {
    const wanted = `line break ${index}`;
    if (!this.#lineAccess) throw tooShort(wanted, 0);
    await this.#reach(({ lineBreaks }) => lineBreaks > index, Infinity, wanted);
    const entry = this.#index.at(this.#index.ofLineBreak(index));
    return await this.#look(entry, (data) => {
      let at = -1;
      for (let left = index - entry.lineBreaks; left >= 0; left--) {
        at = data.indexOf(LINE_BREAK, at + 1);
        if (at === -1) throw damaged(entry);
      }
      return entry.byteOffset + at;
    });
  }

  async arrivals(byteOffsets: readonly number[]): Promise<(number | null)[]> {
    const end = 1 + Math.max(-1, ...byteOffsets);
    await this.#reach(({ size }) => size >= end, end, `a look up to ${end}`);
    return byteOffsets.map((byteOffset) => this.#index.at(this.#index.ofByte(byteOffset)).timeMs);
  }

  async arrivedSince(timeMs: number): Promise<number | null> {
    while (await this.#grow(Infinity)) { /* All of it. */ }
    const index = this.#index.since(timeMs);
    return index === this.#index.count ? null : this.#index.at(index).byteOffset;
  }

  /** State of the log at a position. */
  async stateAt(byteOffset: number): Promise<LogState> {
    await this.#reach(({ size }) => size >= byteOffset, byteOffset, `a look at ${byteOffset}`);
    if (byteOffset === 0) return { size: 0, lineBreaks: 0, isLineOpen: false };
    const entry = this.#index.at(this.#index.ofByte(byteOffset - 1));
    const { byteOffset: size, lineBreaks } = entry;
    const before = { size, lineBreaks, isLineOpen: false };
    return await this.#look(entry, (data) => {
      const part = data.subarray(0, byteOffset - size);
      return stateBehind(before, part, this.#lineAccess);
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Looks for more of the log until it holds what is wanted, or leaders say that it does not. */
  async #reach(holds: (end: End) => boolean, size: number, wanted: string): Promise<void> {
    let asking: Promise<LogMessage | null> | null = null;
    for (let lagging = 0; !holds(this.#sure);) {
      if (await this.#grow(size)) {
        lagging = 0;
        continue;
      }
      // A replica that lags has it soon.
      if (++lagging < LAGGING) {
        await this.#lanes.home.pause();
        continue;
      }
      asking ??= this.#lanes.last();
      asking.catch(() => {});
      // Where a leader is missing others may have it meanwhile.
      const pausing = this.#lanes.home.pause(PAUSE_MS).then(() => undefined);
      const last = await Promise.race([asking, pausing]);
      if (last === undefined) continue;
      asking = null;
      if (last === null || last.birth !== this.#birth) throw this.#deleted();
      const end = stateBehind(last.before, last.data, this.#lineAccess);
      if (!holds(end)) throw tooShort(wanted, end.size);
      // That is all there is of it, with a status or without one.
      if (this.#position === last.position) this.#sure = end;
      else await this.#lanes.home.pause();
    }
  }

  /** Looks for more of the log, once for all who wait. */
  #grow(size: number): Promise<boolean> {
    return this.#growing ??= this.#growNow(size).finally(() => this.#growing = null);
  }

  async #growNow(size: number): Promise<boolean> {
    const before = this.#index.lastPosition;
    if (this.#index.count === 0 || size - this.#index.size > PAGED_BYTES) await this.#addPages();
    const hasScanned = this.#sure.size < size && await this.#scan();
    return hasScanned || this.#index.lastPosition > before;
  }

  /** Takes the pages in that were stored since. */
  async #addPages(): Promise<void> {
    const { home } = this.#lanes;
    for (;;) {
      const limits = { batch: BATCH_MESSAGES };
      const pages = await home.some(home.place.index, this.#paged + 1, limits);
      for (const page of pages) await this.#addPage(page);
      if (pages.length < BATCH_MESSAGES) return;
    }
  }

  async #addPage({ seq, header, data }: StoredMessage): Promise<void> {
    this.#paged = seq;
    if (Number(header.get("B")) !== this.#birth) return;
    const end = { size: Number(header.get("O")), lineBreaks: Number(header.get("L")) };
    const from = this.#index.count;
    // A page before it was lost.
    for (let lagging = 0; !this.#index.addPage(plain(data), end); lagging++) {
      if (await this.#scan()) lagging = 0;
      else if (lagging === LAGGING) return;
    }
    for (let index = from; index < this.#index.count; index++) {
      this.#passed(this.#index.at(index).position);
    }
    if (end.size > this.#sure.size) this.#sure = end;
  }

  /** Takes messages in that come behind those that are known: of this segment, or the next one. */
  async #scan(): Promise<boolean> {
    const lane = laneOf(this.#segment);
    return await this.#scanIn(lane) || await this.#scanIn(lane === HOME ? SPARE : HOME);
  }

  /** @returns Whether anything came that was not looked at before. */
  async #scanIn(lane: Lane): Promise<boolean> {
    const exchange = this.#lanes.at(lane);
    if (exchange === null) return false;
    const before = this.#scanned[lane];
    const limits = { batch: BATCH_MESSAGES, max_bytes: BATCH_BYTES };
    const found = await exchange.some(exchange.place.subject, before + 1, limits);
    for (const message of found.map(decodeMessage)) {
      if (this.#belongs(message, lane) && message.segment >= this.#segment) {
        // Another segment begins when all is known that it comes after.
        if (message.segment > this.#segment && message.after > this.#position) break;
        this.#add(message);
        this.#passed(message.position);
      } else this.#scanned[lane] = message.sequence;
    }
    return this.#scanned[lane] > before;
  }

  /** Whether a message is of this log: another life of its id may have left some in the spare stream. */
  #belongs({ birth }: LogMessage, lane: Lane): boolean {
    if (birth > this.#birth || lane === HOME && birth !== this.#birth) throw this.#deleted();
    return birth === this.#birth;
  }

  /** Up to where everything is known. */
  get #position(): number {
    return positionOf(this.#segment, this.#scanned[laneOf(this.#segment)]);
  }

  #passed(position: number): void {
    const lane = laneOf(segmentOf(position));
    this.#segment = Math.max(this.#segment, segmentOf(position));
    this.#scanned[lane] = Math.max(this.#scanned[lane], sequenceOf(position));
  }

  #add({ position, before, data, timeMs, status }: LogMessage): void {
    const { size: byteOffset, lineBreaks } = before;
    if (byteOffset > this.#index.size) throw gap(this.#index.size, byteOffset);
    if (byteOffset < this.#index.size) this.#index.cut(byteOffset, lineBreaks);
    const behind = stateBehind(before, data, this.#lineAccess);
    if (status !== null) this.#sure = behind;
    else if (byteOffset < this.#sure.size) this.#sure = before;
    if (data.length === 0) return;
    const entry = { position, byteOffset, byteCount: data.length, lineBreaks, timeMs };
    this.#index.add(entry, behind.lineBreaks);
    this.#cache.add(this.#key(position), Promise.resolve(data), data.length);
  }

  /** Looks at the bytes of a message, and is done with them on return. */
  #look<T>(entry: IndexEntry, look: (data: Uint8Array) => T): Promise<T> {
    const key = this.#key(entry.position);
    if (!this.#cache.has(key)) this.#cache.add(key, this.#readOne(entry), entry.byteCount);
    return this.#cache.look(key, (data) => {
      if (data.length < entry.byteCount) throw damaged(entry);
      return look(data.subarray(0, entry.byteCount));
    });
  }

  /** Begins to read messages that are not there, several at a time. */
  #fetch(first: number, last: number): void {
    let run: IndexEntry[] = [];
    let runBytes = 0;
    const end = () => {
      if (run.length > 1) this.#fetchRun(run);
      run = [];
      runBytes = 0;
    };
    for (let index = first; index <= last; index++) {
      const entry = this.#index.at(index);
      if (this.#cache.has(this.#key(entry.position))) end();
      else {
        if (run.length > 0 && segmentOf(run[0].position) !== segmentOf(entry.position)) end();
        run.push(entry);
        runBytes += entry.byteCount;
        if (runBytes >= BATCH_BYTES) end();
      }
    }
    end();
  }

  #fetchRun(run: readonly IndexEntry[]): void {
    const reading = this.#readRun(run);
    for (const [index, { position, byteCount }] of run.entries()) {
      const bytes = reading.then((all) => all[index]);
      this.#cache.add(this.#key(position), bytes, byteCount);
    }
  }

  #readAhead(first: number): void {
    let bytes = 0, last = first;
    for (; last < this.#index.count && bytes < 2 * BATCH_BYTES; last++) {
      bytes += this.#index.at(last).byteCount;
    }
    this.#fetch(first, last - 1);
  }

  async #readOne(entry: IndexEntry): Promise<Uint8Array> {
    const message = await this.#lanes.message(entry.position);
    this.#check(message, entry);
    return message.data;
  }

  /** Reads consecutive messages of one segment; a replica that lags ends early, and says nothing. */
  async #readRun(run: readonly IndexEntry[]): Promise<Uint8Array[]> {
    const exchange = this.#laneOf(run[0].position);
    const all: Uint8Array[] = [];
    for (let lagging = 0; all.length < run.length;) {
      const before = all.length;
      const limits = { batch: run.length - all.length };
      const from = sequenceOf(run[all.length].position);
      const found = await exchange.some(exchange.place.subject, from, limits);
      for (const message of found.map(decodeMessage)) {
        const entry = run[all.length];
        // Statuses come between, of which the index knows nothing.
        if (message.position < entry.position) continue;
        this.#check(message, entry);
        all.push(message.data);
      }
      lagging = all.length > before ? 0 : lagging + 1;
      if (lagging === LAGGING) all.push(await this.#readOne(run[all.length]));
    }
    return all;
  }

  #check({ position, birth, before, data }: LogMessage, entry: IndexEntry): void {
    if (birth !== this.#birth) throw this.#deleted();
    const isIt = position === entry.position && before.size === entry.byteOffset;
    if (!isIt || data.length < entry.byteCount) throw damaged(entry);
  }

  #laneOf(position: number) {
    return this.#lanes.at(laneOf(segmentOf(position)))!;
  }

  #key(position: number): string {
    return `${this.#name} ${position}`;
  }

  #deleted(): StreamError {
    return deleted(this.#lanes.id);
  }
}

function tooShort(wanted: string, there: number): StreamError {
  return new StreamError("STORAGE_FAILED", `${wanted} found only ${there} bytes`);
}

function gap(from: number, to: number): StreamError {
  return new StreamError("STORAGE_FAILED", `the engine has no message of bytes ${from} to ${to}`);
}

function damaged({ position, byteOffset }: IndexEntry): StreamError {
  return new StreamError(
    "STORAGE_FAILED",
    `message ${position} of the engine is not that of byte ${byteOffset}`,
  );
}
