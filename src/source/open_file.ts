/**
 * A file that is read in order, and looked at again: what was read must still be there.
 * @module
 */
import type { BigIntStats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { joined } from "../byte_queue.ts";
import { StreamError } from "../protocol.ts";
import { reasonOf } from "../reasons.ts";
import { CHUNK_BYTES } from "./source.ts";

/** Length of what is compared: the first bytes that were read, and the last ones. */
const COMPARED_BYTES = 1024;
/** Bytes that are read in a row between two comparisons. */
const COMPARE_EVERY_BYTES = 16 * 1024 * 1024;

const NOTHING = new Uint8Array(0);

/** What reads need of a file handle. */
export interface ReadHandle {
  /** Reads at an offset, or where the last read ended. */
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ bytesRead: number }>;
  /** What the system says of it. */
  stat(options: { bigint: true }): Promise<BigIntStats>;
  /** Closes it. */
  close(): Promise<void>;
}

/** What was read is not in the file any more, or not at its path. */
export class FileChanged extends StreamError {
  /** @param message What happened. */
  constructor(message: string) {
    super("SOURCE_FAILED", message);
  }
}

/** A file that is read in order through one handle. */
export class OpenFile {
  /** Where the next read starts. */
  offset: number;
  /** Size that the system told last, in bytes; 0 of what is no regular file. */
  size: number;
  /** Path, for people. */
  readonly path: string;
  /** Whether it is a regular file. */
  readonly isRegular: boolean;
  readonly #handle: ReadHandle;
  readonly #isInOrder: boolean;
  readonly #from: number;
  readonly #bufferBytes: number;
  readonly #reuseBuffer: boolean;
  #opened: BigIntStats;
  #looked: BigIntStats;
  #head = new Uint8Array(0);
  #tail = new Uint8Array(0);
  #comparedAt: number;
  #isCaughtUp = false;
  #buffer: Uint8Array | null = null;
  #reading: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | null = null;

  /**
   * @param path Path, for people.
   * @param handle The file.
   * @param opened What the system says of it.
   * @param from Offset of the first byte to read.
   * @param isInOrder Whether reads begin where the one before ended, as those of an inherited descriptor must.
   * @param bufferBytes Read at once, in bytes.
   * @param reuseBuffer Whether what was read is valid until the next read only.
   */
  constructor(
    path: string,
    handle: ReadHandle,
    opened: BigIntStats,
    from: number,
    isInOrder: boolean = !opened.isFile(),
    bufferBytes: number = CHUNK_BYTES,
    reuseBuffer: boolean = false,
  ) {
    this.path = path;
    this.#reuseBuffer = reuseBuffer;
    this.#bufferBytes = bufferBytes;
    this.#handle = handle;
    this.#isInOrder = isInOrder;
    this.#opened = this.#looked = opened;
    this.isRegular = opened.isFile();
    this.size = this.isRegular ? Number(opened.size) : 0;
    this.offset = this.#from = this.#comparedAt = from;
  }

  /**
   * Opens a file.
   * @param path Its path.
   * @param from Offset of the first byte to read.
   * @param bufferBytes Read at once, in bytes.
   * @param reuseBuffer Whether what was read is valid until the next read only.
   * @throws {StreamError} SOURCE_FAILED that names the path.
   */
  static async open(
    path: string,
    from: number,
    bufferBytes?: number,
    reuseBuffer?: boolean,
  ): Promise<OpenFile> {
    const handle: FileHandle = await open(path).catch((error) => {
      throw unreadable(path, error);
    });
    try {
      const stats = await handle.stat({ bigint: true });
      if (stats.isDirectory()) throw new StreamError("SOURCE_FAILED", `${path} is a directory`);
      const file = new OpenFile(path, handle, stats, from, undefined, bufferBytes, reuseBuffer);
      if (from <= file.size) return file;
      const message = `${path} has ${file.size} bytes, reading cannot start at byte ${from}`;
      throw new StreamError("SOURCE_FAILED", message);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /**
   * The next bytes before `end`; null when there are none now.
   * @throws {StreamError} SOURCE_FAILED; also when what was read before is not in the file any more.
   */
  async read(end = Infinity): Promise<Uint8Array | null> {
    if (this.offset === this.#from) {
      await this.look();
      this.#opened = this.#looked;
    }
    const buffer = this.#buffer ??= new Uint8Array(COMPARED_BYTES + this.#bufferBytes);
    const length = Math.min(this.#bufferBytes, end - this.offset);
    // Where the system tells no size, as in /proc, content may be made anew by each read.
    const before = this.#isInOrder || this.size === 0 ? NOTHING : this.#tail;
    const bytesRead = await this.#readBehind(before, buffer, length);
    const wasCaughtUp = this.#isCaughtUp;
    this.#isCaughtUp = bytesRead < length;
    if (bytesRead === 0) return null;
    // Looked at after the read: what is there now was there when these bytes were read.
    if (wasCaughtUp || this.offset - this.#comparedAt >= COMPARE_EVERY_BYTES) await this.look();
    this.offset += bytesRead;
    const chunk = buffer.subarray(before.length, before.length + bytesRead);
    this.#remember(chunk);
    if (this.#reuseBuffer) return chunk;
    // A few bytes are copied: a window full of short chunks would hold a whole buffer for each.
    if (bytesRead < this.#bufferBytes) return chunk.slice();
    this.#buffer = null;
    return chunk;
  }

  /**
   * Looks at the file as it is now, and compares what was read if anything changed.
   * @param always Whether to compare in any case.
   * @throws {StreamError} SOURCE_FAILED when the file shrank, or when what was read is not in it any more.
   */
  async look(always = false): Promise<void> {
    const before = this.#looked;
    const now = this.#looked = await this.#handle.stat({ bigint: true });
    this.size = this.isRegular ? Number(now.size) : 0;
    if (now.size < before.size) throw this.#shrank(Number(before.size));
    const isSame = now.mtimeNs === before.mtimeNs && now.size === before.size;
    // Some systems tell sizes that are not those of the content: nothing follows from them.
    if (isSame && !always || this.size < this.offset) return;
    this.#comparedAt = this.offset;
    await this.#compare(this.#from, this.#head);
    await this.#compare(this.offset - this.#tail.length, this.#tail);
  }

  /**
   * Looks at the file for the last time, when there was nothing more to read.
   * @throws {StreamError} SOURCE_FAILED as `look`, and when bytes were changed in place while they were read.
   */
  async expectUnchanged(): Promise<void> {
    await this.look(this.size === this.offset);
    const { mtimeNs, size } = this.#looked;
    const isAsLong = size === this.#opened.size && this.size === this.offset;
    if (isAsLong && mtimeNs !== this.#opened.mtimeNs) throw this.#rewritten();
  }

  /** Fails when there is another file at the path; there may be none. */
  async expectSameFile(): Promise<void> {
    const named = await stat(this.path, { bigint: true }).catch((error) => {
      if (error.code === "ENOENT") return this.#opened;
      throw unreadable(this.path, error);
    });
    if (this.isSame(named)) return;
    throw this.#changed(`was replaced by another file when ${this.offset} bytes`);
  }

  /** Tells whether a look at a path found this very file. */
  isSame({ ino, dev }: Pick<BigIntStats, "ino" | "dev">): boolean {
    return ino === this.#opened.ino && dev === this.#opened.dev;
  }

  /**
   * The same file once more, from its beginning, as it was truncated and is written anew; whatever its path leads to by
   * now. This one is over with that, and need not be closed.
   */
  async again(): Promise<OpenFile> {
    const stats = await this.#handle.stat({ bigint: true });
    this.#closing = Promise.resolve();
    return new OpenFile(this.path, this.#handle, stats, 0, false, this.#bufferBytes);
  }

  /** Closes the handle, but not under a read: its number could be another file's by then. */
  async close(): Promise<void> {
    this.#closing ??= this.#reading.then(() => this.#handle.close());
    // The read of a silent pipe may never end.
    if (this.isRegular) await this.#closing;
  }

  /**
   * Reads what comes next, and with it what was read before: between two reads the file may have become another one.
   * @returns How many bytes came behind those before.
   */
  async #readBehind(before: Uint8Array, buffer: Uint8Array, length: number): Promise<number> {
    const position = this.#isInOrder ? null : this.offset - before.length;
    const bytesRead = await this.#readAt(buffer, before.length + length, position);
    if (bytesRead < before.length) {
      await this.look();
      throw this.#shrank(this.offset);
    }
    if (before.some((byte, index) => byte !== buffer[index])) throw this.#rewritten();
    return bytesRead - before.length;
  }

  async #readAt(buffer: Uint8Array, length: number, position: number | null): Promise<number> {
    const reading = this.#handle.read(buffer, 0, length, position);
    this.#reading = reading.catch(() => {});
    const { bytesRead } = await reading.catch((error) => {
      throw unreadable(`${this.path} at byte ${position ?? this.offset}`, error);
    });
    return bytesRead;
  }

  /** Copies, as a view of a chunk would double what it costs on Bun. */
  #remember(chunk: Uint8Array): void {
    const missing = COMPARED_BYTES - this.#head.length;
    if (missing > 0) this.#head = joined(this.#head, chunk.slice(0, missing));
    const last = chunk.slice(-COMPARED_BYTES);
    const kept = Math.min(this.#tail.length, COMPARED_BYTES - last.length);
    this.#tail = kept === 0 ? last : joined(this.#tail.slice(this.#tail.length - kept), last);
  }

  async #compare(at: number, bytes: Uint8Array): Promise<void> {
    const found = new Uint8Array(bytes.length);
    const bytesRead = await this.#readAt(found, found.length, at);
    if (bytesRead < bytes.length) throw this.#shrank(this.offset);
    if (bytes.some((byte, index) => byte !== found[index])) throw this.#rewritten();
  }

  #shrank(fromSize: number): StreamError {
    return this.#changed(`shrank from ${fromSize} to ${this.size} bytes when ${this.offset}`);
  }

  #rewritten(): StreamError {
    const how = "was rewritten (truncated and written again, or changed in place)";
    return this.#changed(`${how} when ${this.offset} bytes`);
  }

  #changed(how: string): FileChanged {
    return new FileChanged(`${this.path} ${how} were read`);
  }
}

/** A source that cannot be read, and why. */
export function unreadable(what: string, error: unknown): StreamError {
  const message = `cannot read ${what}: ${reasonOf(error)}`;
  return new StreamError("SOURCE_FAILED", message, { cause: error });
}

/**
 * Refuses what cannot be followed before it is opened: that could wait for somebody who writes to it.
 * @param path Path, for people.
 * @param stats What the system says of it.
 * @throws {StreamError} SOURCE_FAILED.
 */
export function checkFollowed(
  path: string,
  stats: Pick<BigIntStats, "isFile" | "isDirectory">,
): void {
  // A directory is refused when it is opened.
  if (stats.isFile() || stats.isDirectory()) return;
  throw new StreamError(
    "SOURCE_FAILED",
    `${path} is no regular file and cannot be followed; a pipe or device is read to its end anyway`,
  );
}
