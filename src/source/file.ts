/**
 * Files as sources: read to their end, or followed while they grow.
 * @module
 */
import { existsSync, type FSWatcher, watch } from "node:fs";
import { basename } from "node:path";
import { StreamError } from "../protocol.ts";
import { OpenFile } from "./open_file.ts";
import { WatchedProcess } from "./process.ts";
import { CHUNK_BYTES, type Chunks, pull, type Source } from "./source.ts";

/** Time between two looks at a file that just grew; small writes are gathered for as long. */
const BUSY_POLL_MS = 5;
/** A file that has not grown for so long is watched: looking every 5 ms costs 8 % of a core. */
const BUSY_MS = 50;
/** Time between two looks at a watched file; not every file system tells of changes. */
const QUIET_POLL_MS = 50;

/** Most bytes that a buffer may have: each chunk that waits to be sent holds one. */
const MAX_BUFFER_BYTES = 1024 * 1024;

/** The longest time between two looks: a day. */
const MAX_POLL_MS = 24 * 60 * 60 * 1000;

/** Where reading starts, and how much is read at once. */
export interface FileOptions {
  /** Offset of the first byte to read; 0 by default. */
  from?: number;
  /** Bytes that are read at once, and the longest chunk, 1 to 1 MiB; 64 KiB by default. */
  bufferBytes?: number;
}

/** Where following starts, how often it looks, and what ends it, whichever comes first. */
export interface GrowingFileOptions extends FileOptions {
  /**
   * Time between two looks at the file, in ms, where nothing else tells of its growth. By default 5 while it grows;
   * later 50, and what the file system tells comes at once.
   */
  pollIntervalMs?: number;
  /** The producer is done when it aborts: what is there is read, then the stream ends. */
  stop?: AbortSignal;
  /** Ends the stream when the file has not grown for so many milliseconds. */
  untilIdleMs?: number;
  /** Ends the stream when the process with this id is gone, a zombie included, and what it wrote is read. */
  untilPid?: number;
  /** Ends the stream when something exists at this path and what is there by then is read. */
  untilFile?: string;
}

/**
 * Opens a file, a named pipe or a device to be read until its end.
 *
 * @param path Path of the file.
 * @param options Where to start, and how much to read at once, in bytes.
 * @returns The source; its stream fails with SOURCE_FAILED when the file shrinks or is rewritten while it is read.
 * @throws {StreamError} SOURCE_FAILED, naming the path, when it is missing, a directory, not permitted or
 * shorter than the start; BAD_REQUEST for a buffer that cannot be.
 *
 * @example
 * ```ts
 * import { openFile } from "@stream/live";
 * import { writeFile } from "node:fs/promises";
 *
 * const path = `/tmp/stream-example-${crypto.randomUUID()}.log`;
 * await writeFile(path, "first\nsecond\n");
 * const { stream, size, name } = await openFile(path, { from: 6 });
 * console.log(await new Response(stream).text(), size, name); // second 13 stream-example-….log
 * ```
 */
export async function openFile(path: string, options: FileOptions = {}): Promise<Source> {
  const file = await OpenFile.open(path, options.from ?? 0, checkBuffer(options));
  const stream = pull({
    async next() {
      const chunk = await file.read();
      if (chunk === null) await file.expectUnchanged();
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
 * @param options Where to start, in bytes, how often to look, and what ends it.
 * @returns The source; its stream fails with SOURCE_FAILED when the file shrinks, is replaced or is rewritten:
 * truncated and written again, or changed in place, so that the first or the last 1024 bytes that were read are not there.
 * @throws {StreamError} SOURCE_FAILED, naming the path, when it is missing, no regular file, not permitted
 * or shorter than the start; BAD_REQUEST for what is no id of a process, and for times and buffers that cannot be.
 *
 * @example
 * ```ts
 * import { openGrowingFile, push, UploadGroup } from "@stream/live";
 *
 * async function pushLog(server: string, path: string, uploads: UploadGroup) {
 *   const { stream, name } = await openGrowingFile(path, { stop: uploads.stopping, pollIntervalMs: 200 });
 *   const metadata = { filename: name, mimeType: "text/plain", supportsLineAccess: true };
 *   const upload = uploads.add(await push(server, metadata));
 *   await stream.pipeTo(upload.writable);
 * }
 * ```
 */
export async function openGrowingFile(
  path: string,
  options: GrowingFileOptions = {},
): Promise<Source> {
  const { untilPid } = options;
  checkInterval(options);
  const producer = untilPid === undefined ? null : new WatchedProcess(untilPid);
  const file = await OpenFile.open(path, options.from ?? 0, checkBuffer(options));
  if (!file.isRegular) {
    await file.close();
    throw new StreamError("SOURCE_FAILED", `${path} is no regular file and cannot be followed`);
  }
  return {
    stream: pull(new GrowingFile(file, producer, options)),
    size: null,
    name: basename(path),
  };
}

function checkBuffer({ bufferBytes = CHUNK_BYTES }: FileOptions): number {
  if (Number.isInteger(bufferBytes) && bufferBytes >= 1 && bufferBytes <= MAX_BUFFER_BYTES) {
    return bufferBytes;
  }
  throw new StreamError(
    "BAD_REQUEST",
    `a buffer of ${bufferBytes} bytes: bufferBytes is a whole number from 1 to ${MAX_BUFFER_BYTES}`,
  );
}

function checkInterval({ pollIntervalMs = BUSY_POLL_MS }: GrowingFileOptions): void {
  if (pollIntervalMs > 0 && pollIntervalMs <= MAX_POLL_MS) return;
  throw new StreamError(
    "BAD_REQUEST",
    `a file cannot be looked at every ${pollIntervalMs} ms: pollIntervalMs is more than 0, and a day at most`,
  );
}

/** The bytes of a file while it grows. */
class GrowingFile implements Chunks {
  readonly #file: OpenFile;
  readonly #options: GrowingFileOptions;
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

  constructor(file: OpenFile, producer: WatchedProcess | null, options: GrowingFileOptions) {
    this.#file = file;
    this.#producer = producer;
    this.#options = options;
    this.#bufferBytes = options.bufferBytes ?? CHUNK_BYTES;
    options.stop?.addEventListener("abort", this.#ring);
  }

  async next(): Promise<Uint8Array | null> {
    while (true) {
      if (this.#caughtUp && !this.#isDone()) await this.#change();
      if (this.#closed) return null;
      // Measured before reading, so that a producer that goes on cannot hold up the end.
      if (!this.#isLast && this.#isDone()) await this.#measureEnd();
      const chunk = await this.#file.read(this.#end);
      this.#caughtUp = chunk === null || chunk.length < this.#bufferBytes;
      if (chunk !== null) return this.#grown(chunk);
      const isOver = this.#isLast || this.#isIdle();
      await this.#file.look(isOver);
      await this.#file.expectSameFile();
      if (isOver) return null;
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

  #isDone(): boolean {
    const { stop, untilFile } = this.#options;
    return stop?.aborted === true || this.#producer?.isGone() === true ||
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
    const { pollIntervalMs } = this.#options;
    const isBusy = performance.now() - this.#grownAtMs < Math.max(BUSY_MS, pollIntervalMs ?? 0);
    if (isBusy) await this.#bell.wait(pollIntervalMs ?? BUSY_POLL_MS);
    else if (this.#watcher !== undefined) await this.#bell.wait(pollIntervalMs ?? QUIET_POLL_MS);
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
