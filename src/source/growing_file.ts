/**
 * Files that grow while they are read.
 * @module
 */
import { existsSync, type FSWatcher, watch } from "node:fs";
import { FileChanged, type OpenFile } from "./open_file.ts";
import type { WatchedProcess } from "./process.ts";
import { CHUNK_BYTES, type Chunks } from "./source.ts";

/** Time between two looks at a file that just grew; small writes are gathered for as long. */
export const BUSY_POLL_MS = 5;
/** A file that has not grown for so long is watched: looking every 5 ms costs 8 % of a core. */
const BUSY_MS = 50;
/** Time between two looks at a watched file; not every file system tells of changes. */
const QUIET_POLL_MS = 50;
/** A file that was replaced is read until it has not grown for so long, or less where more files wait: its writer may not know yet. */
const REPLACED_MS = 1000;

/** Where reading starts, and how much is read at once. */
export interface FileOptions {
  /** Offset of the first byte to read; 0 by default. */
  from?: number | undefined;
  /** Bytes that are read at once, and the longest chunk, 1 to 1 MiB; 64 KiB by default. */
  bufferBytes?: number | undefined;
  /**
   * Whether all chunks are in one buffer, each valid until the next one is read: enough for an upload, which copies or
   * sends what is written to it. False by default: each has its own.
   */
  reuseBuffer?: boolean | undefined;
}

/** Where following starts, how often it looks, and what ends it, whichever comes first. */
export interface GrowingFileOptions extends FileOptions {
  /**
   * Time between two looks at the file, in ms, where nothing else tells of its growth. By default 5 while it grows;
   * later 50, and what the file system tells comes at once.
   */
  pollIntervalMs?: number | undefined;
  /** The producer is done when it aborts: what is there is read, then the stream ends. */
  stop?: AbortSignal | undefined;
  /** Ends the stream when the file has not grown for so many milliseconds. */
  untilIdleMs?: number | undefined;
  /** Ends the stream when the process with this id is gone, a zombie included, and what it wrote is read. */
  untilPid?: number | undefined;
  /** Ends the stream when something exists at this path and what is there by then is read. */
  untilFile?: string | undefined;
}

/** A file that others have to be read after, as it was replaced at its path. */
export interface Successors {
  /** Since when there is one, or none to come, as `performance.now()` tells times; null while neither is so. */
  readonly sinceMs: number | null;
  /** How many there are by now. */
  readonly count: number;
  /** Hears that the file has grown. */
  grew(): void;
}

/** The bytes of a file while it grows. */
export class GrowingFile implements Chunks {
  readonly #file: OpenFile;
  readonly #options: GrowingFileOptions;
  readonly #successors: Successors | null;
  readonly #bufferBytes: number;
  readonly #producer: WatchedProcess | null;
  readonly #bell = new Bell();
  readonly #ring = () => this.#bell.ring();
  #watcher: FSWatcher | null | undefined;
  #grownAtMs = performance.now();
  #caughtUp = false;
  #isLast = false;
  #end = Infinity;
  #closed = false;

  /** The same file from its beginning, when what was read is not in it any more; only where there may be successors. */
  rewritten: OpenFile | null = null;

  /**
   * @param file The file.
   * @param producer What may end it.
   * @param options How it is read.
   * @param successors Files that come after it; null where another file at its path is an error.
   */
  constructor(
    file: OpenFile,
    producer: WatchedProcess | null,
    options: GrowingFileOptions,
    successors: Successors | null = null,
  ) {
    this.#successors = successors;
    this.#file = file;
    this.#producer = producer;
    this.#options = options;
    this.#bufferBytes = options.bufferBytes ?? CHUNK_BYTES;
    options.stop?.addEventListener("abort", this.#ring);
  }

  async next(): Promise<Uint8Array | null> {
    try {
      return await this.#next();
    } catch (error) {
      if (this.#successors === null || !(error instanceof FileChanged)) throw error;
      this.rewritten = await this.#file.again();
      return null;
    }
  }

  async #next(): Promise<Uint8Array | null> {
    while (true) {
      if (this.#caughtUp && !isOver(this.#options, this.#producer)) await this.#change();
      if (this.#closed) return null;
      // Measured before reading, so that a producer that goes on cannot hold up the end.
      if (!this.#isLast && isOver(this.#options, this.#producer)) await this.#measureEnd();
      const chunk = await this.#file.read(this.#end);
      this.#caughtUp = chunk === null || chunk.length < this.#bufferBytes;
      if (chunk !== null) return this.#grown(chunk);
      const isEnd = this.#isLast || this.#isIdle();
      await this.#file.look(isEnd);
      if (this.#successors === null) await this.#file.expectSameFile();
      if (isEnd) return null;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#options.stop?.removeEventListener("abort", this.#ring);
    this.#watcher?.close();
    this.#ring();
    await this.#file.close();
  }

  /** Where to end; where the system tells a size that cannot be right, at the first end of the file. */
  async #measureEnd(): Promise<void> {
    await this.#file.look();
    this.#isLast = true;
    if (this.#file.size > 0 && this.#file.size >= this.#file.offset) this.#end = this.#file.size;
  }

  #isIdle(): boolean {
    const { untilIdleMs = Infinity } = this.#options;
    const nowMs = performance.now();
    const { sinceMs, count = 0 } = this.#successors ?? {};
    const quietMs = nowMs - Math.max(this.#grownAtMs, sinceMs ?? Infinity);
    return nowMs - this.#grownAtMs >= untilIdleMs || quietMs >= REPLACED_MS / Math.max(1, count);
  }

  #grown(chunk: Uint8Array): Uint8Array {
    this.#grownAtMs = performance.now();
    this.#successors?.grew();
    this.#watcher?.close();
    this.#watcher = undefined;
    return chunk;
  }

  /** Waits until the file may have grown; a busy one is not watched, as each write would be an event. */
  async #change(): Promise<void> {
    const { pollIntervalMs } = this.#options;
    const isBusy = performance.now() - this.#grownAtMs < Math.max(BUSY_MS, pollIntervalMs ?? 0);
    if (isBusy) await this.#bell.wait(pollIntervalMs ?? BUSY_POLL_MS);
    else if (this.#watcher !== undefined) await this.#bell.wait(pollIntervalMs ?? QUIET_POLL_MS);
    // No waiting this time: what was written before the watch began is there to be read.
    else this.#watcher = watched(this.#file.path, this.#ring);
  }
}

/** Whether nothing is added any more, as the options tell, beside what is there by now. */
export function isOver(
  { stop, untilFile }: Pick<GrowingFileOptions, "stop" | "untilFile">,
  producer: WatchedProcess | null,
): boolean {
  return stop?.aborted === true || producer?.isGone() === true ||
    untilFile !== undefined && existsSync(untilFile);
}

/** Wakes who waits; a ring that nobody waited for is kept for the next one. */
class Bell {
  #rung = Promise.withResolvers<void>();

  ring(): void {
    this.#rung.resolve();
  }

  async wait(timeoutMs: number): Promise<void> {
    const timer = setTimeout(() => this.ring(), timeoutMs);
    await this.#rung.promise;
    clearTimeout(timer);
    this.#rung = Promise.withResolvers<void>();
  }
}

/** A watch on a file; null where there is none to be had, then looking at it must do. */
function watched(path: string, changed: () => void): FSWatcher | null {
  try {
    return watch(path, { persistent: false }, changed).on("error", () => {});
  } catch {
    return null;
  }
}
