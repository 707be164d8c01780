/**
 * Logs in memory, for tests and for servers that need not outlive their process.
 * @module
 */
import { StreamError } from "../protocol.ts";
import type { LogOptions, LogReader, LogWriter, Storage } from "../storage.ts";
import { decodeEntry, INDEX_ENTRY_BYTES } from "./layout.ts";
import { LineCounter } from "./line_counter.ts";

/** One log: what was appended, in order. */
class MemoryLog {
  readonly parts: { byteOffset: number; bytes: Uint8Array }[] = [];
  readonly breaks: number[] = [];
  readonly counter = new LineCounter();
  size = 0;
  deleted = false;

  constructor(public options: LogOptions) {}

  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.parts.push({ byteOffset: this.size, bytes });
    if (this.options.lineAccess) this.counter.add(bytes, (entries) => this.#addBreaks(entries));
    this.size += bytes.length;
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
  readonly #logs = new Map<string, MemoryLog>();

  /** Makes a new, empty log. */
  create(id: string, options: LogOptions): Promise<LogWriter> {
    return attempt(() => {
      if (this.#logs.has(id)) throw new StreamError("CONFLICT", `the log ${id} exists already`);
      const log = new MemoryLog({ ...options });
      this.#logs.set(id, log);
      return writer(log, options.epoch);
    });
  }

  /** Takes over an existing log at its end. */
  recover(id: string, options: LogOptions): Promise<LogWriter> {
    return attempt(() => {
      const log = this.#get(id);
      if (options.epoch <= log.options.epoch) throw fenced(options.epoch, log.options.epoch);
      log.options = { ...options };
      return writer(log, options.epoch);
    });
  }

  /** Opens a log for reading. */
  openReader(id: string): Promise<LogReader> {
    return attempt(() => reader(this.#get(id)));
  }

  /** Deletes a log. */
  delete(id: string): Promise<boolean> {
    const log = this.#logs.get(id);
    if (log !== undefined) log.deleted = true;
    return Promise.resolve(this.#logs.delete(id));
  }

  /** Memory has no limit that it would tell. */
  freeBytes(): Promise<number> {
    return Promise.resolve(Infinity);
  }

  /** Forgets every log. */
  close(): Promise<void> {
    this.#logs.clear();
    return Promise.resolve();
  }

  #get(id: string): MemoryLog {
    const log = this.#logs.get(id);
    if (log === undefined) throw new StreamError("NOT_FOUND", `there is no log ${id}`);
    return log;
  }
}

function writer(log: MemoryLog, epoch: number): LogWriter {
  const done = () => Promise.resolve();
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
    append: (byteOffset, parts) =>
      attempt(() => {
        if (log.deleted) throw new StreamError("DELETED", "the log was deleted");
        if (epoch !== log.options.epoch) throw fenced(epoch, log.options.epoch);
        if (byteOffset !== log.size) throw misplaced(byteOffset, log.size);
        for (const part of parts) log.append(part);
      }),
    checkpoint: done,
    syncData: done,
    sync: done,
    close: done,
  };
}

function reader(log: MemoryLog): LogReader {
  return {
    read: (byteOffset, byteCount) =>
      attempt(() => {
        if (byteOffset + byteCount > log.size) throw tooShort(byteOffset + byteCount, log.size);
        const bytes = new Uint8Array(byteCount);
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
    close: () => Promise.resolve(),
  };
}

/** Runs a synchronous step so that what it throws rejects the promise. */
function attempt<T>(step: () => T): Promise<T> {
  return new Promise((resolve) => resolve(step()));
}

function fenced(epoch: number, current: number): StreamError {
  return new StreamError("FENCED", `epoch ${epoch} is over: epoch ${current} owns the log`);
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
