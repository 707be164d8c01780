/**
 * Logs in files: `<directory>/<h0h1>/<h2h3>/<id>.bin`, h being the MD5 of the id, and beside it
 * `<id>.bin.idx` with the position of every line break as a 5-byte big-endian integer (ARCHITECTURE.md, storage).
 *
 * Appends go to the page cache synchronously, as that is 2 to 30 times cheaper than a thread's round trip
 * (ARCHITECTURE.md, measured). So do reads, as long as the page cache answers them; flushes, and reads while
 * the disk is waited for, are asynchronous.
 * @module
 */
import {
  closeSync,
  existsSync,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import { type FileHandle, mkdir, open, rmdir, statfs, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import { isResourceId, StreamError } from "../protocol.ts";
import type { LogOptions, LogReader, LogWriter, Storage } from "../storage.ts";
import { decodeEntry, INDEX_ENTRY_BYTES, indexPath, logPath } from "./layout.ts";
import { LineCounter } from "./lines.ts";

/** Index entries kept back before they are written; 8192 entries cost 40 KiB an upload. */
const INDEX_BUFFER_ENTRIES = 8192;
/** Step of a scan through existing data. */
const SCAN_BYTES = 256 * 1024;
/** Who reads more at once lets everybody else have a turn before. */
const SMALL_READ_BYTES = 64 * 1024;
/** A read that takes longer has waited for the disk, in ms. */
const CACHED_READ_MS = 1;
/** Part of the time that everybody may lose to such reads. */
const WAITING_SHARE = 0.01;
/** How often a directory that another deletion removed is made again. */
const CREATE_ATTEMPTS = 5;

/**
 * Storage in a directory of the local file system.
 *
 * @example
 * ```ts
 * import { FileStorage } from "@stream/live";
 *
 * const storage = new FileStorage(`/tmp/stream-example-${crypto.randomUUID()}`);
 * const id = crypto.randomUUID();
 * const log = await storage.create(id, { lineAccess: false, epoch: 1 });
 * await log.append(0, [new Uint8Array([1, 2, 3])]);
 * await log.close();
 * await storage.delete(id);
 * ```
 */
export class FileStorage implements Storage {
  readonly #directory: string;
  /** The newest epoch of every log that has a writer. */
  readonly #epochs = new Map<string, number>();
  readonly #disk: Disk = { asyncUntilMs: -Infinity };

  /**
   * Nothing is touched before the first call.
   * @param directory Where the logs are; made when the first one is.
   */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Makes a new, empty log. */
  async create(id: string, options: LogOptions): Promise<LogWriter> {
    const path = this.#path(id);
    const data = await attempt(`create ${path}`, () => createFile(path));
    try {
      const index = options.lineAccess ? openSync(indexPath(path), "wx+") : null;
      this.#epochs.set(id, options.epoch);
      return new FileWriter(path, data, index, () => this.#owner(id, options.epoch));
    } catch (error) {
      closeSync(data);
      await removeIfThere(() => unlink(path));
      throw failed(`create ${indexPath(path)}`, error);
    }
  }

  /** Takes over an existing log at its end. */
  async recover(id: string, options: LogOptions): Promise<LogWriter> {
    const path = this.#path(id);
    const current = this.#epochs.get(id) ?? 0;
    if (options.epoch <= current) throw fenced(options.epoch, current);
    const data = await attempt(`open ${path}`, () => openSync(path, "r+"));
    this.#epochs.set(id, options.epoch);
    let index: number | null = null;
    try {
      if (options.lineAccess) {
        index = openSync(indexPath(path), existsSync(indexPath(path)) ? "r+" : "wx+");
      }
      const writer = new FileWriter(path, data, index, () => this.#owner(id, options.epoch));
      writer.alignIndex();
      return writer;
    } catch (error) {
      closeSync(data);
      if (index !== null) closeSync(index);
      throw failed(`recover ${path}`, error);
    }
  }

  /** Opens a log for reading. */
  async openReader(id: string): Promise<LogReader> {
    const path = this.#path(id);
    const data = await attempt(`open ${path}`, () => open(path, "r"));
    // Both are opened now, so that a reader can go on after the log was deleted.
    const index = await open(indexPath(path), "r").catch(async (error) => {
      if (systemCode(error) === "ENOENT") return null;
      await data.close();
      throw failed(`open ${indexPath(path)}`, error);
    });
    return new FileReader(path, data, index, this.#disk);
  }

  /** Deletes a log, its index and directories that are empty then. */
  async delete(id: string): Promise<boolean> {
    if (!isResourceId(id)) return false;
    const path = this.#path(id);
    this.#epochs.delete(id);
    await removeIfThere(() => unlink(indexPath(path)));
    const existed = await removeIfThere(() => unlink(path));
    const removed = await removeIfThere(() => rmdir(dirname(path)));
    if (removed) await removeIfThere(() => rmdir(dirname(dirname(path))));
    return existed;
  }

  /** Bytes free for us on the directory's file system. */
  freeBytes(): Promise<number> {
    return attempt(`ask for the free space of ${this.#directory}`, async () => {
      await mkdir(this.#directory, { recursive: true });
      const { bavail, bsize } = await statfs(this.#directory);
      return bavail * bsize;
    });
  }

  /** Writers and readers are closed by those who opened them; nothing else is held. */
  close(): Promise<void> {
    this.#epochs.clear();
    return Promise.resolve();
  }

  #path(id: string): string {
    if (!isResourceId(id)) {
      throw new StreamError("NOT_FOUND", `there is no log ${JSON.stringify(id)}`);
    }
    return logPath(this.#directory, id);
  }

  #owner(id: string, epoch: number): void {
    const current = this.#epochs.get(id);
    if (current === undefined) throw new StreamError("DELETED", `the log ${id} was deleted`);
    if (current !== epoch) throw fenced(epoch, current);
  }
}

/** Appends to one data file and its index. */
class FileWriter implements LogWriter {
  size = 0;
  readonly #counter = new LineCounter();
  readonly #entries = new Uint8Array(INDEX_BUFFER_ENTRIES * INDEX_ENTRY_BYTES);
  #buffered = 0;
  #indexed = 0;
  #directorySynced = false;
  #closing: Promise<void> | null = null;

  constructor(
    private readonly path: string,
    private readonly data: number,
    private readonly index: number | null,
    /** Throws when somebody else owns the log now. */
    private readonly checkOwner: () => void,
  ) {}

  get lineBreaks(): number {
    return this.#counter.lineBreaks;
  }

  get lines(): number {
    return this.#counter.lines;
  }

  append(byteOffset: number, parts: readonly Uint8Array[]): Promise<void> {
    return attempt(`write ${this.path}`, () => {
      this.checkOwner();
      if (byteOffset !== this.size) {
        throw new StreamError(
          "CONFLICT",
          `an append at ${byteOffset} does not fit a log of ${this.size} bytes`,
        );
      }
      const before = this.#counter.save();
      let end = this.size;
      try {
        for (const part of parts) {
          writeFully(this.data, part, end);
          end += part.length;
          if (this.index !== null) this.#counter.add(part, (found) => this.#addEntries(found));
        }
      } catch (error) {
        this.#counter.restore(before);
        this.#cut(before.lineBreaks);
        throw error;
      }
      this.size = end;
    });
  }

  checkpoint(): Promise<void> {
    return attempt(`write ${indexPath(this.path)}`, () => this.#flushIndex());
  }

  async syncData(): Promise<void> {
    await attempt(`flush ${this.path}`, () => flush(this.data));
    if (this.#directorySynced) return;
    for (let depth = 0, at = dirname(this.path); depth < 3; depth++, at = dirname(at)) {
      await syncDirectory(at);
    }
    this.#directorySynced = true;
  }

  async sync(): Promise<void> {
    await this.checkpoint();
    const { index } = this;
    if (index !== null) await attempt(`flush ${indexPath(this.path)}`, () => flush(index));
    await this.syncData();
  }

  close(): Promise<void> {
    // Never twice: the system may have given the same numbers to other files since.
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.checkpoint();
    } finally {
      closeSync(this.data);
      if (this.index !== null) closeSync(this.index);
    }
  }

  /**
   * Stands at the end of an existing data file and makes the index agree with it: entries count as long as
   * they rise, as a page that a crash lost breaks their order; what comes behind is read from the data again.
   */
  alignIndex(): void {
    this.size = fstatSync(this.data).size;
    if (this.index === null) return;
    let entries = this.#risingEntries();
    while (entries > 0 && !this.#isLineBreak(this.#entryAt(entries - 1))) entries--;
    const end = entries === 0 ? 0 : this.#entryAt(entries - 1) + 1;
    this.#indexed = entries;
    this.#counter.restore({ size: end, lineBreaks: entries, endOfLastLine: end });
    ftruncateSync(this.index, entries * INDEX_ENTRY_BYTES);
    const buffer = new Uint8Array(SCAN_BYTES);
    for (let at = end; at < this.size;) {
      const count = readSync(this.data, buffer, 0, Math.min(buffer.length, this.size - at), at);
      if (count === 0) throw new Error(`the file ended at ${at}, not at ${this.size}`);
      this.#counter.add(buffer.subarray(0, count), (found) => this.#addEntries(found));
      at += count;
    }
    this.#flushIndex();
  }

  /** Entries from the first on that rise and stay within the data. */
  #risingEntries(): number {
    const buffer = new Uint8Array(INDEX_BUFFER_ENTRIES * INDEX_ENTRY_BYTES);
    let last = -1;
    for (let entries = 0;;) {
      const count = readSync(this.index!, buffer, 0, buffer.length, entries * INDEX_ENTRY_BYTES);
      const whole = Math.floor(count / INDEX_ENTRY_BYTES);
      for (let index = 0; index < whole; index++, entries++) {
        const entry = decodeEntry(buffer, index * INDEX_ENTRY_BYTES);
        if (entry <= last || entry >= this.size) return entries;
        last = entry;
      }
      if (whole < INDEX_BUFFER_ENTRIES) return entries;
    }
  }

  #entryAt(index: number): number {
    const entry = new Uint8Array(INDEX_ENTRY_BYTES);
    readSync(this.index!, entry, 0, INDEX_ENTRY_BYTES, index * INDEX_ENTRY_BYTES);
    return decodeEntry(entry, 0);
  }

  #isLineBreak(byteOffset: number): boolean {
    const byte = new Uint8Array(1);
    return readSync(this.data, byte, 0, 1, byteOffset) === 1 && byte[0] === 10;
  }

  #addEntries(entries: Uint8Array): void {
    for (let at = 0; at < entries.length;) {
      if (this.#buffered === INDEX_BUFFER_ENTRIES) this.#flushIndex();
      const start = this.#buffered * INDEX_ENTRY_BYTES;
      const some = entries.subarray(at, at + this.#entries.length - start);
      this.#entries.set(some, start);
      this.#buffered += some.length / INDEX_ENTRY_BYTES;
      at += some.length;
    }
  }

  #flushIndex(): void {
    if (this.#buffered === 0) return;
    const entries = this.#entries.subarray(0, this.#buffered * INDEX_ENTRY_BYTES);
    writeFully(this.index!, entries, this.#indexed * INDEX_ENTRY_BYTES);
    this.#indexed += this.#buffered;
    this.#buffered = 0;
  }

  /** Takes back what a failed append left in the files and in the index buffer. */
  #cut(lineBreaks: number): void {
    ftruncateSync(this.data, this.size);
    if (this.index === null) return;
    if (lineBreaks < this.#indexed) {
      ftruncateSync(this.index, lineBreaks * INDEX_ENTRY_BYTES);
      this.#indexed = lineBreaks;
    }
    this.#buffered = lineBreaks - this.#indexed;
  }
}

/** What all readers of a directory know of its disk. */
interface Disk {
  /** Until then reads are asynchronous, by `performance.now()`. */
  asyncUntilMs: number;
}

/** Reads one data file and its index. */
class FileReader implements LogReader {
  #closed = false;

  constructor(
    private readonly path: string,
    private readonly data: FileHandle,
    private readonly index: FileHandle | null,
    private readonly disk: Disk,
  ) {}

  read(byteOffset: number, byteCount: number, buffer?: Uint8Array): Promise<Uint8Array> {
    const bytes = buffer?.subarray(0, byteCount) ?? new Uint8Array(byteCount);
    return attempt(`read ${this.path}`, () => this.#read(this.data, byteOffset, bytes));
  }

  async lineBreak(index: number): Promise<number> {
    const path = indexPath(this.path);
    const file = this.index;
    if (file === null) throw new StreamError("STORAGE_FAILED", `there is no index ${path}`);
    const at = index * INDEX_ENTRY_BYTES;
    const entry = new Uint8Array(INDEX_ENTRY_BYTES);
    await attempt(`read ${path}`, () => this.#read(file, at, entry));
    return decodeEntry(entry, 0);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.data.close();
    await this.index?.close();
  }

  /** A thread's round trip costs several times what the page cache does. */
  async #read(file: FileHandle, position: number, bytes: Uint8Array): Promise<Uint8Array> {
    if (bytes.length > SMALL_READ_BYTES) await setImmediate();
    const startedAtMs = performance.now();
    // The system may have given a closed number to another file.
    if (this.#closed || startedAtMs < this.disk.asyncUntilMs) {
      return await readFully(file, position, bytes);
    }
    readFullySync(file.fd, position, bytes);
    const nowMs = performance.now();
    const tookMs = nowMs - startedAtMs;
    if (tookMs > CACHED_READ_MS) this.disk.asyncUntilMs = nowMs + tookMs / WAITING_SHARE;
    return bytes;
  }
}

async function createFile(path: string): Promise<number> {
  for (let attempts = 1;; attempts++) {
    await mkdir(dirname(path), { recursive: true });
    try {
      return openSync(path, "wx+");
    } catch (error) {
      // A deletion may remove the empty directory between the two calls.
      if (systemCode(error) !== "ENOENT" || attempts === CREATE_ATTEMPTS) throw error;
    }
  }
}

function writeFully(file: number, bytes: Uint8Array, position: number): void {
  for (let written = 0; written < bytes.length;) {
    written += writeSync(file, bytes, written, bytes.length - written, position + written);
  }
}

function readFullySync(file: number, position: number, bytes: Uint8Array): void {
  for (let filled = 0; filled < bytes.length;) {
    const count = readSync(file, bytes, filled, bytes.length - filled, position + filled);
    if (count === 0) throw new Error(`nothing at ${position + filled}`);
    filled += count;
  }
}

async function readFully(
  file: FileHandle,
  position: number,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  for (let filled = 0; filled < bytes.length;) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, position + filled);
    if (bytesRead === 0) throw new Error(`nothing at ${position + filled}`);
    filled += bytesRead;
  }
  return bytes;
}

function flush(file: number): Promise<void> {
  return new Promise((resolve, reject) =>
    fdatasync(file, (error) => error === null ? resolve() : reject(error))
  );
}

async function syncDirectory(path: string): Promise<void> {
  await attempt(`flush ${path}`, async () => {
    const handle = await open(path, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

async function removeIfThere(remove: () => Promise<void>): Promise<boolean> {
  try {
    await remove();
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTEMPTY" || code === "EEXIST") return false;
    throw failed("delete a log", error);
  }
}

async function attempt<T>(action: string, step: () => T | Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw failed(action, error);
  }
}

function failed(action: string, error: unknown): StreamError {
  if (error instanceof StreamError) return error;
  const code = systemCode(error) === "EEXIST"
    ? "CONFLICT"
    : systemCode(error) === "ENOENT"
    ? "NOT_FOUND"
    : "STORAGE_FAILED";
  return new StreamError(code, `cannot ${action}: ${(error as Error).message}`, { cause: error });
}

function systemCode(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}

function fenced(epoch: number, current: number): StreamError {
  return new StreamError("FENCED", `epoch ${epoch} is over: epoch ${current} owns the log`);
}
