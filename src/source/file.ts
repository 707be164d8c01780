/**
 * Files as sources: read to their end, or followed while they grow.
 * @module
 */
import { existsSync, type FSWatcher, type Stats, watch } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { basename } from "node:path";
import process from "node:process";
import { StreamError, toStreamError } from "../protocol.ts";
import { CHUNK_BYTES, type Chunks, pull, type Source } from "./source.ts";

/** Time between two looks at a file that just grew; small writes are gathered for as long. */
const BUSY_POLL_MS = 5;
/** A file that has not grown for so long is watched: looking every 5 ms costs 8 % of a core. */
const BUSY_MS = 50;
/** Time between two looks at a watched file; not every file system tells of changes. */
const QUIET_POLL_MS = 50;

/** Where reading starts. */
export interface FileOptions {
  /** Offset of the first byte to read; 0 by default. */
  from?: number;
}

/** Where following starts and what ends it, whichever comes first. */
export interface GrowingFileOptions extends FileOptions {
  /** The producer is done when it aborts: what is there is read, then the stream ends. */
  stop?: AbortSignal;
  /** Ends the stream when the file has not grown for so many milliseconds. */
  untilIdleMs?: number;
  /** Ends the stream when the process with this id is gone and what it wrote is read. */
  untilPid?: number;
  /** Ends the stream when something exists at this path and what is there by then is read. */
  untilFile?: string;
}

/**
 * Opens a file, a named pipe or a device to be read until its end.
 *
 * @param path Path of the file.
 * @param options Where to start, in bytes.
 * @returns The source; its stream fails with SOURCE_FAILED when the file shrinks while it is read.
 * @throws {StreamError} SOURCE_FAILED, naming the path, when it is missing, a directory, not permitted or
 * shorter than the start.
 */
export async function openFile(path: string, options: FileOptions = {}): Promise<Source> {
  const file = await OpenFile.open(path, options.from ?? 0);
  const stream = pull({
    async next() {
      const chunk = await file.read();
      if (chunk === null) file.expectSize(file.offset);
      return chunk;
    },
    close: () => file.close(),
  });
  return { stream, size: file.isRegular ? file.size : null, name: basename(path) };
}

/**
 * Opens a file that is still being written and reads what is added within milliseconds.
 *
 * It ends as the options say, else never. A file that is removed is read on, as its producer may hold it
 * open, too; the stream fails as soon as another file has its path.
 *
 * @param path Path of the file.
 * @param options Where to start, in bytes, and what ends it.
 * @returns The source; its stream fails with SOURCE_FAILED when the file shrinks or is replaced.
 * @throws {StreamError} SOURCE_FAILED, naming the path, when it is missing, no regular file, not permitted
 * or shorter than the start.
 */
export async function openGrowingFile(
  path: string,
  options: GrowingFileOptions = {},
): Promise<Source> {
  const file = await OpenFile.open(path, options.from ?? 0);
  if (!file.isRegular) {
    await file.close();
    throw new StreamError("SOURCE_FAILED", `${path} is no regular file and cannot be followed`);
  }
  return { stream: pull(new GrowingFile(file, options)), size: null, name: basename(path) };
}

/** A file that is read in order through one handle. */
class OpenFile {
  /** Where the next read starts. */
  offset: number;
  /** The largest size seen. */
  size: number;
  readonly path: string;
  readonly isRegular: boolean;
  readonly #handle: FileHandle;
  readonly #opened: Stats;
  #buffer: Uint8Array | null = null;
  #reading: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | null = null;

  private constructor(path: string, handle: FileHandle, opened: Stats, from: number) {
    this.path = path;
    this.#handle = handle;
    this.#opened = opened;
    this.isRegular = opened.isFile();
    this.size = this.isRegular ? opened.size : 0;
    this.offset = from;
  }

  static async open(path: string, from: number): Promise<OpenFile> {
    const handle = await open(path).catch((error) => {
      throw unreadable(path, error);
    });
    try {
      const stats = await handle.stat();
      if (stats.isDirectory()) throw new StreamError("SOURCE_FAILED", `${path} is a directory`);
      const file = new OpenFile(path, handle, stats, from);
      if (from <= file.size) return file;
      const message = `${path} has ${file.size} bytes, reading cannot start at byte ${from}`;
      throw new StreamError("SOURCE_FAILED", message);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The next bytes before `end`; null when there are none now. */
  async read(end = Infinity): Promise<Uint8Array | null> {
    const buffer = this.#buffer ??= new Uint8Array(CHUNK_BYTES);
    const length = Math.min(buffer.length, end - this.offset);
    const reading = this.#handle.read(buffer, 0, length, this.isRegular ? this.offset : null);
    this.#reading = reading.catch(() => {});
    const { bytesRead } = await reading.catch((error) => {
      throw unreadable(`${this.path} at byte ${this.offset}`, error);
    });
    if (bytesRead === 0) return null;
    this.offset += bytesRead;
    this.size = Math.max(this.size, this.offset);
    // A few bytes are copied: a window full of short chunks would hold a buffer of 64 KiB for each.
    if (bytesRead < buffer.length) return buffer.slice(0, bytesRead);
    this.#buffer = null;
    return buffer;
  }

  /** Fails when the file is smaller than it was. */
  expectSize(size: number): void {
    if (size >= this.size) return;
    throw new StreamError(
      "SOURCE_FAILED",
      `${this.path} shrank from ${this.size} to ${size} bytes when ${this.offset} were read`,
    );
  }

  /** The size as it is now. */
  async measure(): Promise<number> {
    const { size } = await this.#handle.stat();
    this.expectSize(size);
    return this.size = size;
  }

  /** Fails when there is another file at the path; there may be none. */
  async expectSameFile(): Promise<void> {
    const named = await stat(this.path).catch((error) => {
      if (error.code === "ENOENT") return this.#opened;
      throw unreadable(this.path, error);
    });
    if (named.ino === this.#opened.ino && named.dev === this.#opened.dev) return;
    throw new StreamError(
      "SOURCE_FAILED",
      `${this.path} was replaced by another file when ${this.offset} bytes were read`,
    );
  }

  /** Closes the handle, but not under a read: its number could be another file's by then. */
  async close(): Promise<void> {
    this.#closing ??= this.#reading.then(() => this.#handle.close());
    // The read of a silent pipe may never end.
    if (this.isRegular) await this.#closing;
  }
}

/** The bytes of a file while it grows. */
class GrowingFile implements Chunks {
  readonly #file: OpenFile;
  readonly #options: GrowingFileOptions;
  readonly #bell = new Bell();
  readonly #ring = () => this.#bell.ring();
  #watcher: FSWatcher | null | undefined;
  #grownAtMs = performance.now();
  #caughtUp = false;
  #end = Infinity;
  #closed = false;

  constructor(file: OpenFile, options: GrowingFileOptions) {
    this.#file = file;
    this.#options = options;
    options.stop?.addEventListener("abort", this.#ring);
  }

  async next(): Promise<Uint8Array | null> {
    while (true) {
      if (this.#caughtUp && !this.#isDone()) await this.#change();
      if (this.#closed) return null;
      // Measured before reading, so that a producer that goes on cannot hold up the end.
      if (this.#end === Infinity && this.#isDone()) this.#end = await this.#file.measure();
      const chunk = await this.#file.read(this.#end);
      this.#caughtUp = chunk === null || chunk.length < CHUNK_BYTES;
      if (chunk !== null) return this.#grown(chunk);
      await this.#file.measure();
      await this.#file.expectSameFile();
      if (this.#end < Infinity || this.#isIdle()) return null;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#options.stop?.removeEventListener("abort", this.#ring);
    this.#watcher?.close();
    this.#ring();
    await this.#file.close();
  }

  #isDone(): boolean {
    const { stop, untilPid, untilFile } = this.#options;
    return stop?.aborted === true ||
      untilPid !== undefined && isGone(untilPid) ||
      untilFile !== undefined && existsSync(untilFile);
  }

  #isIdle(): boolean {
    return performance.now() - this.#grownAtMs >= (this.#options.untilIdleMs ?? Infinity);
  }

  #grown(chunk: Uint8Array): Uint8Array {
    this.#grownAtMs = performance.now();
    this.#watcher?.close();
    this.#watcher = undefined;
    return chunk;
  }

  /** Waits until the file may have grown; a busy one is not watched, as each write would be an event. */
  async #change(): Promise<void> {
    if (performance.now() - this.#grownAtMs < BUSY_MS) await this.#bell.wait(BUSY_POLL_MS);
    else if (this.#watcher !== undefined) await this.#bell.wait(QUIET_POLL_MS);
    // No waiting this time: what was written before the watch began is there to be read.
    else this.#watcher = watched(this.#file.path, this.#ring);
  }
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

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

const REASONS: Record<string, string> = {
  ENOENT: "there is no such file",
  EACCES: "permission is denied",
};

function unreadable(what: string, error: unknown): StreamError {
  const reason = REASONS[(error as NodeJS.ErrnoException).code ?? ""] ??
    toStreamError(error).message;
  return new StreamError("SOURCE_FAILED", `cannot read ${what}: ${reason}`, { cause: error });
}
