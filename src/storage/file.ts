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
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  type StatsFs,
  statSync,
} from "node:fs";
import { mkdir, open, rmdir, statfs, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { isResourceId, StreamError } from "../protocol.ts";
import type {
  FollowedTail,
  LogOptions,
  LogReader,
  LogWriter,
  Storage,
  TailListener,
} from "../storage.ts";
import { attempt, failed, systemCode } from "./file/errors.ts";
import { DeletionMarks } from "./file/marks.ts";
import { Disk, FileReader } from "./file/reader.ts";
import { FileWriter } from "./file/writer.ts";
import { arrivalsPath, indexPath, labelOf, logPath } from "./layout.ts";
import { bootId } from "./file/boot.ts";
import { type OwnedTail, Tails } from "./tails.ts";

/** What a file that can still be made counts: a disk without any is full, however many bytes are free. */
const BYTES_PER_FILE = 64 * 1024;
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
  /** The page cache lasts as long as the machine runs. */
  readonly boot: string = bootId();
  readonly #directory: string;
  readonly #tails = new Tails();
  readonly #disk = new Disk();
  readonly #marks: DeletionMarks;
  /** Who appends to a log at present. */
  readonly #writers = new Map<string, FileWriter>();

  /**
   * Nothing is touched before the first call.
   * @param directory Where the logs are; made when the first one is.
   */
  constructor(directory: string) {
    this.#directory = directory;
    this.#marks = new DeletionMarks(directory);
  }

  /** Makes a new, empty log. */
  async create(id: string, options: LogOptions): Promise<LogWriter> {
    const path = this.#path(id);
    const data = await attempt(`create ${labelOf(path)}`, () => createFile(path));
    try {
      const index = options.lineAccess ? openSync(indexPath(path), "wx+") : null;
      return this.#writer(id, path, data, index, this.#tails.create(id, options.epoch));
    } catch (error) {
      closeSync(data);
      await removeIfThere(() => unlink(path));
      throw failed(`create ${labelOf(indexPath(path))}`, error);
    }
  }

  /** Takes over an existing log at its end. */
  async recover(id: string, options: LogOptions): Promise<LogWriter> {
    const path = this.#path(id);
    const data = await attempt(`open ${labelOf(path)}`, () => openSync(path, "r+"));
    let index: number | null = null;
    try {
      // Nothing is waited for from here on, so that no other owner can come between.
      const tail = this.#tails.takeOver(id, options.epoch);
      this.#writers.get(id)?.settleArrivals();
      if (options.lineAccess) {
        index = openSync(indexPath(path), existsSync(indexPath(path)) ? "r+" : "wx+");
      }
      if (options.whole !== undefined) cutTorn(data, options.whole);
      const writer = this.#writer(id, path, data, index, tail);
      writer.alignIndex();
      return writer;
    } catch (error) {
      closeSync(data);
      if (index !== null) closeSync(index);
      throw failed(`recover ${labelOf(path)}`, error);
    }
  }

  /** Opens a log for reading. */
  async openReader(id: string): Promise<LogReader> {
    const path = this.#path(id);
    const data = await attempt(`open ${labelOf(path)}`, () => open(path, "r"));
    // Both are opened now, so that a reader can go on after the log was deleted.
    const index = await open(indexPath(path), "r").catch(async (error) => {
      if (systemCode(error) === "ENOENT") return null;
      await data.close();
      throw failed(`open ${labelOf(indexPath(path))}`, error);
    });
    const settle = () => this.#writers.get(id)?.settleArrivals();
    return new FileReader(path, data, index, this.#disk, settle);
  }

  /** Follows the tail of a log that this instance writes. */
  follow(id: string, listener: TailListener): Promise<FollowedTail> {
    return Promise.resolve(this.#tails.follow(id, listener));
  }

  /** Deletes a log, its index and directories that are empty then. */
  async delete(id: string): Promise<boolean> {
    if (!isResourceId(id)) return false;
    const path = this.#path(id);
    this.#tails.delete(id);
    this.#writers.delete(id);
    await removeIfThere(() => unlink(arrivalsPath(path)));
    await removeIfThere(() => unlink(indexPath(path)));
    const existed = await removeIfThere(() => unlink(path));
    const removed = await removeIfThere(() => rmdir(dirname(path)));
    if (removed) await removeIfThere(() => rmdir(dirname(dirname(path))));
    await this.#marks.remove(id);
    return existed;
  }

  /** Deletes a log that has no bytes, and that nobody appends to. */
  async deleteLeft(id: string): Promise<boolean> {
    const size = statSync(this.#path(id), { throwIfNoEntry: false })?.size;
    return size === 0 && !this.#writers.has(id) && await this.delete(id);
  }

  /** Notes that a log is about to be deleted. */
  doom(id: string): Promise<void> {
    return this.#marks.add(id, this.#path(id));
  }

  /** Takes that back. */
  spare(id: string): Promise<void> {
    return this.#marks.remove(id);
  }

  /** Logs that are about to be deleted. */
  doomed(): Promise<string[]> {
    return this.#marks.all((id) => this.#path(id));
  }

  /** Bytes free for us on the directory's file system. */
  freeBytes(): Promise<number> {
    return attempt("ask for the free space of the data directory", async () => {
      await mkdir(this.#directory, { recursive: true });
      return freeBytesOf(await statfs(this.#directory));
    });
  }

  /** Writers and readers are closed by those who opened them; nothing else is held. */
  close(): Promise<void> {
    this.#tails.clear();
    return Promise.resolve();
  }

  #writer(
    id: string,
    path: string,
    data: number,
    index: number | null,
    tail: OwnedTail,
  ): FileWriter {
    const released = (writer: FileWriter) => {
      if (this.#writers.get(id) === writer) this.#writers.delete(id);
    };
    const writer = new FileWriter(path, data, index, tail, released);
    this.#writers.set(id, writer);
    return writer;
  }

  #path(id: string): string {
    if (!isResourceId(id)) {
      throw new StreamError("NOT_FOUND", `there is no log ${JSON.stringify(id)}`);
    }
    return logPath(this.#directory, id);
  }
}

function createFile(path: string): number {
  for (let attempts = 1;; attempts++) {
    makeDirectory(dirname(path));
    try {
      return openSync(path, "wx+");
    } catch (error) {
      // A deletion may remove the empty directory between the two calls.
      if (systemCode(error) !== "ENOENT" || attempts === CREATE_ATTEMPTS) throw error;
    }
  }
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    // Deno says so of one that was there, and was removed before it looked again.
    if (systemCode(error) !== "EEXIST") throw error;
  }
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

/** Nobody was told of a part of such an append. */
function cutTorn(data: number, { byteOffset, byteCount }: NonNullable<LogOptions["whole"]>): void {
  const { size } = fstatSync(data);
  if (size > byteOffset && size < byteOffset + byteCount) ftruncateSync(data, byteOffset);
}

/** Bytes free for us on a file system, of which some limit the number of files. */
export function freeBytesOf(
  { bavail, bsize, files, ffree }: Pick<StatsFs, "bavail" | "bsize" | "files" | "ffree">,
): number {
  const free = bavail * bsize;
  return files === 0 ? free : Math.min(free, ffree * BYTES_PER_FILE);
}
