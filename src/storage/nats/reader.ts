/**
 * Positional reads of a log in the engine, whoever writes it.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import type { LogReader } from "../../storage.ts";
import type { MessageCache } from "./cache.ts";
import { deleted, type LogExchange } from "./exchange.ts";
import { type IndexEntry, LogIndex } from "./index.ts";
import {
  decodeMessage,
  type LogMessage,
  type LogState,
  plain,
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

const LINE_BREAK = 10;

/** Where a log ends, as far as somebody knows. */
interface End {
  readonly size: number;
  readonly lineBreaks: number;
}

/** Reads one log, of one life of its id. */
export class NatsReader implements LogReader {
  readonly #exchange: LogExchange;
  readonly #cache: MessageCache;
  readonly #birth: number;
  readonly #lineAccess: boolean;
  readonly #index = new LogIndex();
  /** Sequences of the last page and of the last message that were looked at. */
  #paged = 0;
  #scanned: number;
  #growing: Promise<boolean> | null = null;
  /** Where the last read ended. */
  #readUntil = 0;

  constructor(exchange: LogExchange, first: LogMessage, cache: MessageCache) {
    this.#exchange = exchange;
    this.#cache = cache;
    this.#birth = this.#scanned = first.sequence;
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
      const data = (await this.#data(entry)).subarray(0, entry.byteCount);
      const from = Math.max(0, byteOffset - entry.byteOffset);
      const piece = data.subarray(from, end - entry.byteOffset);
      bytes.set(piece, entry.byteOffset + from - byteOffset);
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
    const data = (await this.#data(entry)).subarray(0, entry.byteCount);
    let at = -1;
    for (let left = index - entry.lineBreaks; left >= 0; left--) {
      at = data.indexOf(LINE_BREAK, at + 1);
      if (at === -1) throw damaged(entry);
    }
    return entry.byteOffset + at;
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
    const data = (await this.#data(entry)).subarray(0, byteOffset - entry.byteOffset);
    const { byteOffset: size, lineBreaks } = entry;
    return stateBehind({ size, lineBreaks, isLineOpen: false }, data, this.#lineAccess);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Looks for more of the log until it holds what is wanted, or a leader says that it does not. */
  async #reach(holds: (end: End) => boolean, size: number, wanted: string): Promise<void> {
    while (!holds(this.#index)) {
      if (await this.#grow(size)) continue;
      const last = await this.#exchange.last();
      if (last === null || last.birth !== this.#birth) throw deleted(this.#exchange.id);
      const end = stateBehind(last.before, last.data, this.#lineAccess);
      if (!holds(end)) throw tooShort(wanted, end.size);
      // A replica that lags has it soon.
      await this.#exchange.pause();
    }
  }

  /** Looks for more of the log, once for all who wait. */
  #grow(size: number): Promise<boolean> {
    return this.#growing ??= this.#growNow(size).finally(() => this.#growing = null);
  }

  async #growNow(size: number): Promise<boolean> {
    const before = this.#scanned;
    if (this.#index.count === 0 || size - this.#index.size > PAGED_BYTES) await this.#addPages();
    if (this.#index.size < size) await this.#scan();
    return this.#scanned > before;
  }

  /** Takes the pages in that were stored since. */
  async #addPages(): Promise<void> {
    const { place } = this.#exchange;
    for (;;) {
      const limits = { batch: BATCH_MESSAGES };
      const pages = await this.#exchange.some(place.index, this.#paged + 1, limits);
      for (const page of pages) await this.#addPage(page);
      if (pages.length < BATCH_MESSAGES) return;
    }
  }

  async #addPage({ seq, header, data }: StoredMessage): Promise<void> {
    this.#paged = seq;
    if (Number(header.get("B")) !== this.#birth) return;
    const end = { size: Number(header.get("O")), lineBreaks: Number(header.get("L")) };
    // A page before it was lost.
    for (let lagging = 0; !this.#index.addPage(plain(data), end); lagging++) {
      if (await this.#scan()) lagging = 0;
      else if (lagging === LAGGING) return;
    }
    this.#scanned = Math.max(this.#scanned, this.#index.lastSequence);
  }

  /** Takes messages in that come behind those that are known. */
  async #scan(): Promise<boolean> {
    const { place, id } = this.#exchange;
    const from = this.#scanned + 1;
    const found = await this.#exchange.some(place.subject, from, {
      batch: BATCH_MESSAGES,
      max_bytes: BATCH_BYTES,
    });
    for (const message of found.map(decodeMessage)) {
      if (message.birth !== this.#birth) throw deleted(id);
      this.#add(message);
    }
    return found.length > 0;
  }

  #add({ sequence, before, data, timeMs }: LogMessage): void {
    const { size: byteOffset, lineBreaks } = before;
    if (byteOffset > this.#index.size) throw gap(this.#index.size, byteOffset);
    if (byteOffset < this.#index.size) this.#index.cut(byteOffset, lineBreaks);
    this.#scanned = sequence;
    if (data.length === 0) return;
    const behind = stateBehind(before, data, this.#lineAccess);
    const entry = { sequence, byteOffset, byteCount: data.length, lineBreaks, timeMs };
    this.#index.add(entry, behind.lineBreaks);
    this.#cache.add(this.#key(sequence), Promise.resolve(data), data.length);
  }

  /** Bytes of a message. */
  #data(entry: IndexEntry): Promise<Uint8Array> {
    const known = this.#cache.get(this.#key(entry.sequence));
    if (known !== undefined) return known;
    const reading = this.#readOne(entry);
    this.#cache.add(this.#key(entry.sequence), reading, entry.byteCount);
    return reading;
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
      if (this.#cache.get(this.#key(entry.sequence)) !== undefined) end();
      else {
        run.push(entry);
        runBytes += entry.byteCount;
        if (runBytes >= BATCH_BYTES) end();
      }
    }
    end();
  }

  #fetchRun(run: readonly IndexEntry[]): void {
    const reading = this.#readRun(run);
    for (const [index, { sequence, byteCount }] of run.entries()) {
      const bytes = reading.then((all) => all[index]);
      this.#cache.add(this.#key(sequence), bytes, byteCount);
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
    const message = await this.#exchange.at(entry.sequence);
    this.#check(message, entry);
    return message.data;
  }

  /** Reads consecutive messages; a replica that lags ends early, and says nothing. */
  async #readRun(run: readonly IndexEntry[]): Promise<Uint8Array[]> {
    const { place: { subject } } = this.#exchange;
    const all: Uint8Array[] = [];
    for (let lagging = 0; all.length < run.length;) {
      const before = all.length;
      const limits = { batch: run.length - all.length };
      const found = await this.#exchange.some(subject, run[all.length].sequence, limits);
      for (const message of found.map(decodeMessage)) {
        const entry = run[all.length];
        // Statuses come between, of which the index knows nothing.
        if (message.sequence < entry.sequence) continue;
        this.#check(message, entry);
        all.push(message.data);
      }
      lagging = all.length > before ? 0 : lagging + 1;
      if (lagging === LAGGING) all.push(await this.#readOne(run[all.length]));
    }
    return all;
  }

  #check({ sequence, birth, before, data }: LogMessage, entry: IndexEntry): void {
    if (birth !== this.#birth) throw deleted(this.#exchange.id);
    const isIt = sequence === entry.sequence && before.size === entry.byteOffset;
    if (!isIt || data.length < entry.byteCount) throw damaged(entry);
  }

  #key(sequence: number): string {
    return `${this.#exchange.place.stream}:${sequence}`;
  }
}

function tooShort(wanted: string, there: number): StreamError {
  return new StreamError("STORAGE_FAILED", `${wanted} found only ${there} bytes`);
}

function gap(from: number, to: number): StreamError {
  return new StreamError("STORAGE_FAILED", `the engine has no message of bytes ${from} to ${to}`);
}

function damaged({ sequence, byteOffset }: IndexEntry): StreamError {
  return new StreamError(
    "STORAGE_FAILED",
    `message ${sequence} of the engine is not that of byte ${byteOffset}`,
  );
}
