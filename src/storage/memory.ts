/**
 * Logs in memory, for tests and for servers that need not outlive their process.
 * @module
 */
import { setImmediate } from "node:timers";
import { StreamError } from "../protocol.ts";
import type {
  FollowedTail,
  LogOptions,
  LogReader,
  LogWriter,
  Storage,
  TailListener,
} from "../storage.ts";
import {
  ARRIVAL_BYTES,
  type ArrivalEntries,
  arrivalsOf,
  arrivedSince,
  decodeArrival,
  encodeArrival,
} from "./arrivals.ts";
import { decodeEntry, INDEX_ENTRY_BYTES } from "./layout.ts";
import { LineCounter } from "./line_counter.ts";
import { type Deliver, type OwnedTail, Tails } from "./tails.ts";

/** One log: what was appended, in order. */
class MemoryLog {
  readonly parts: { byteOffset: number; bytes: Uint8Array }[] = [];
  readonly breaks: number[] = [];
  readonly arrivals: Uint8Array[] = [];
  readonly counter: LineCounter = new LineCounter();
  size = 0;

  constructor(public options: LogOptions) {}

  get lineBreaks(): number {
    return this.counter.lineBreaks;
  }

  get lines(): number {
    return this.counter.lines;
  }

  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.parts.push({ byteOffset: this.size, bytes });
    if (this.options.lineAccess) this.counter.add(bytes, (entries) => this.#addBreaks(entries));
    this.size += bytes.length;
  }

  /** Notes when everything up to now arrived, for logs with lines. */
  note(): void {
    const last = this.arrivals.at(-1);
    const noted = last === undefined ? 0 : decodeArrival(last, 0).byteOffset;
    if (!this.options.lineAccess || this.size <= noted) return;
    this.arrivals.push(encodeArrival(Date.now(), true, this.size));
  }

  #addBreaks(entries: Uint8Array): void {
    for (let at = 0; at < entries.length; at += INDEX_ENTRY_BYTES) {
      this.breaks.push(decodeEntry(entries, at));
    }
  }

  /** Index of the part that holds a byte. */
  find(byteOffset: number): number {
    let low = 0, high = this.parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.parts[middle].byteOffset <= byteOffset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/**
 * Logs that several instances of {@link MemoryStorage} share, as nodes share an engine.
 *
 * @example
 * ```ts
 * import { MemoryLogs, MemoryStorage } from "@stream/live/server";
 *
 * const logs = new MemoryLogs();
 * const [one, other] = [new MemoryStorage(logs), new MemoryStorage(logs)];
 * const id = crypto.randomUUID();
 * const log = await one.create(id, { lineAccess: true, epoch: 1 });
 * await log.append(0, [new TextEncoder().encode("one\n")]);
 * const reader = await other.openReader(id);
 * console.log(new TextDecoder().decode(await reader.read(0, 4))); // one
 * ```
 */
export class MemoryLogs {
  /**
   * The logs by id.
   * @internal
   */
  readonly logs: Map<string, MemoryLog> = new Map();
  /**
   * Their tails.
   * @internal
   */
  readonly tails: Tails;

  /**
   * Starts without any.
   * @param deliver Hands what is told to those who follow, in order; in a later turn of the event loop by default.
   */
  constructor(deliver: Deliver | null = (tell) => void setImmediate(tell)) {
    this.tails = new Tails(deliver);
  }
}

/**
 * Storage in memory; nothing survives the process.
 *
 * @example
 * ```ts
 * import { MemoryStorage } from "@stream/live";
 *
 * const storage = new MemoryStorage();
 * const log = await storage.create(crypto.randomUUID(), { lineAccess: true, epoch: 1 });
 * await log.append(0, [new TextEncoder().encode("one\n")]);
 * console.log(log.lines); // 1
 * ```
 */
export class MemoryStorage implements Storage {
  readonly #logs: Map<string, MemoryLog>;
  readonly #tails: Tails;
  readonly #isShared: boolean;

  /**
   * Makes an empty storage, or one that shows what is shared.
   * @param shared Logs that other instances have, too; by default it has its own.
   */
  constructor(shared?: MemoryLogs) {
    const { logs, tails } = shared ?? new MemoryLogs(null);
    this.#logs = logs;
    this.#tails = tails;
    this.#isShared = shared !== undefined;
  }

  /** Makes a new, empty log. */
  create(id: string, options: LogOptions): Promise<LogWriter> {
    return attempt(() => {
      if (this.#logs.has(id)) throw new StreamError("CONFLICT", `the log ${id} exists already`);
      const log = new MemoryLog({ ...options });
      this.#logs.set(id, log);
      return writer(log, this.#tails.create(id, options.epoch));
    });
  }

  /** Takes over an existing log at its end. */
  recover(id: string, options: LogOptions): Promise<LogWriter> {
    return attempt(() => {
      const log = this.#get(id, options.life);
      const tail = this.#tails.takeOver(id, options.epoch);
      log.options = { ...options };
      return writer(log, tail);
    });
  }

  /** Opens a log for reading. */
  openReader(id: string, life?: string): Promise<LogReader> {
    return attempt(() => reader(this.#get(id, life)));
  }

  /** Deletes a log. */
  delete(id: string, life?: string): Promise<boolean> {
    return attempt(() => {
      if (this.#find(id, life) === undefined) return false;
      this.#tails.delete(id);
      return this.#logs.delete(id);
    });
  }

  /** Follows the tail of a log, whichever instance writes it. */
  follow(id: string, listener: TailListener): Promise<FollowedTail> {
    return attempt(() => this.#tails.follow(id, listener));
  }

  /** Forgets every log that no other instance has. */
  close(): Promise<void> {
    if (!this.#isShared) {
      this.#logs.clear();
      this.#tails.clear();
    }
    return Promise.resolve();
  }

  #get(id: string, life?: string): MemoryLog {
    const log = this.#find(id, life);
    if (log === undefined) throw new StreamError("NOT_FOUND", `there is no log ${id}`);
    return log;
  }

  #find(id: string, life: string | undefined): MemoryLog | undefined {
    const log = this.#logs.get(id);
    const isOther = life !== undefined && life !== (log?.options.life ?? life);
    return isOther ? undefined : log;
  }
}

function writer(log: MemoryLog, tail: OwnedTail): LogWriter {
  return {
    get size() {
      return log.size;
    },
    get lineBreaks() {
      return log.counter.lineBreaks;
    },
    get lines() {
      return log.counter.lines;
    },
    append: (byteOffset, parts, statusOf) =>
      attempt(() => {
        tail.check();
        if (byteOffset !== log.size) throw misplaced(byteOffset, log.size);
        const kept = parts.map((part) => new Uint8Array(part));
        for (const part of kept) log.append(part);
        if (statusOf !== undefined) log.note();
        if (kept.length > 0) tail.appended(byteOffset, kept);
        if (statusOf !== undefined) tail.tell(statusOf(log));
      }),
    announce: (status) =>
      attempt(() => {
        tail.check();
        tail.tell(status);
      }),
    close: () => attempt(() => tail.release()),
  };
}

function reader(log: MemoryLog): LogReader {
  return {
    read: (byteOffset, byteCount, buffer) =>
      attempt(() => {
        if (byteOffset + byteCount > log.size) throw tooShort(byteOffset + byteCount, log.size);
        const bytes = buffer?.subarray(0, byteCount) ?? new Uint8Array(byteCount);
        for (let index = log.find(byteOffset), filled = 0; filled < byteCount; index++) {
          const part = log.parts[index];
          const start = byteOffset + filled - part.byteOffset;
          const piece = part.bytes.subarray(start, start + byteCount - filled);
          bytes.set(piece, filled);
          filled += piece.length;
        }
        return bytes;
      }),
    lineBreak: (index) =>
      attempt(() => {
        if (index >= log.breaks.length) throw tooShort(index + 1, log.breaks.length);
        return log.breaks[index];
      }),
    arrivals: (byteOffsets) => arrivalsOf(entriesOf(log), byteOffsets),
    arrivedSince: (timeMs) => arrivedSince(entriesOf(log), timeMs),
    close: () => Promise.resolve(),
  };
}

function entriesOf({ arrivals }: MemoryLog): ArrivalEntries {
  const read = (from: number, count: number) => {
    const bytes = new Uint8Array(count * ARRIVAL_BYTES);
    for (let at = 0; at < count; at++) bytes.set(arrivals[from + at], at * ARRIVAL_BYTES);
    return Promise.resolve(bytes);
  };
  return { count: arrivals.length, read };
}

/** Runs a synchronous step so that what it throws rejects the promise. */
function attempt<T>(step: () => T): Promise<T> {
  return new Promise((resolve) => resolve(step()));
}

function misplaced(byteOffset: number, size: number): StreamError {
  return new StreamError(
    "CONFLICT",
    `an append at ${byteOffset} does not fit a log of ${size} bytes`,
  );
}

function tooShort(wanted: number, there: number): StreamError {
  return new StreamError("STORAGE_FAILED", `a read up to ${wanted} found only ${there}`);
}
