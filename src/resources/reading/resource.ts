/**
 * One resource as its readers see it: the newest status, the bytes and lines below it, and word of every change.
 * @module
 */
import {
  isFinal,
  isNewer,
  type ResourceMetadata,
  type ResourceStatus,
  StreamError,
} from "../../protocol.ts";
import type { LogReader, Storage } from "../../storage.ts";
import { Buffers } from "./buffers.ts";
import type { Meter } from "../meter.ts";

/** Newest bytes of a log kept in memory for followers at its tail, per resource. */
const RECENT_BYTES = 256 * 1024;

const LINE_BREAK = 10;
/** Step of a look for line breaks. */
const SCAN_BYTES = 256 * 1024;

/** Memory is the process's, not a resource's. */
const buffers = new Buffers();

/** Called with every new status. */
export type StatusWatcher = (status: ResourceStatus) => void;

/** Memory that all resources together may spend on their newest bytes. */
export interface RecentBudget {
  /** Bytes left. */
  freeBytes: number;
}

interface Block {
  byteOffset: number;
  bytes: Uint8Array;
}

/** A resource that somebody has open. */
export class Resource {
  readonly #storage: Storage;
  readonly #recentBudget: RecentBudget;
  readonly #watchers = new Set<StatusWatcher>();
  #status: ResourceStatus;
  #deleted = false;
  #recent: Block[] = [];
  #recentBytes = 0;
  #reader: Promise<LogReader> | null;

  /** Use `Resources.open`. */
  constructor(
    /** Id of the resource. */
    readonly id: string,
    /** Metadata that the upload announced. */
    readonly metadata: ResourceMetadata,
    status: ResourceStatus,
    storage: Storage,
    recentBudget: RecentBudget,
    /** Measures what is read. */
    readonly meter: Meter,
    reader: Promise<LogReader> | null,
  ) {
    this.#reader = reader;
    this.#status = status;
    this.#storage = storage;
    this.#recentBudget = recentBudget;
  }

  /** The newest status. */
  get status(): ResourceStatus {
    return this.#status;
  }

  /** Number of those who watch. */
  get watchers(): number {
    return this.#watchers.size;
  }

  /**
   * Hears of every new status, in order, before anybody else can read past it.
   * @returns Ends it.
   */
  watch(watcher: StatusWatcher): () => void {
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.#forgetRecent();
    };
  }

  /** Makes a status the newest one, unless a newer one was heard. */
  publish(status: ResourceStatus): void {
    if (status === this.#status || isNewer(this.#status, status)) return;
    // Whatever is said of another life of the id is nothing of this.
    if (status.life !== this.#status.life) return;
    // A new owner may have found less than an earlier one had told of.
    if (status.epoch !== this.#status.epoch) this.#forgetRecent();
    this.#status = status;
    this.#tell();
    if (isFinal(status.transferStatus)) this.#forgetRecent();
  }

  /** Whether the resource was deleted while somebody held it. */
  get deleted(): boolean {
    return this.#deleted;
  }

  /** Tells those who watch that there is nothing to read any more. */
  markDeleted(): void {
    this.#deleted = true;
    this.#tell();
  }

  /** Keeps a copy of bytes that were just written for the followers at the tail, unless they are many. */
  remember(byteOffset: number, blocks: readonly Uint8Array[]): void {
    if (this.#watchers.size === 0) return;
    const bytes = joined(blocks);
    if (bytes === null) return this.#forgetRecent();
    this.#recent.push({ byteOffset, bytes });
    this.#recentBytes += bytes.length;
    this.#recentBudget.freeBytes -= bytes.length;
    while (this.#recentBytes > RECENT_BYTES || this.#recentBudget.freeBytes < 0) {
      const oldest = this.#recent.shift();
      if (oldest === undefined) break;
      this.#recentBytes -= oldest.bytes.length;
      this.#recentBudget.freeBytes += oldest.bytes.length;
    }
  }

  /**
   * Reads some of the bytes that the newest status shows: without a copy at the tail, from storage elsewhere.
   * @param byteOffset Where to begin.
   * @param byteCount At most so many; fewer only where a block in memory ends.
   * @param buffer Memory for what comes from storage, at least as long; new memory by default.
   * @throws {StreamError} RANGE_NOT_AVAILABLE past the newest checkpoint.
   */
  async read(byteOffset: number, byteCount: number, buffer?: Uint8Array): Promise<Uint8Array> {
    this.#checkReadable(byteOffset, byteCount);
    const bytes = this.#recall(byteOffset, byteCount) ??
      await (await this.#log()).read(byteOffset, byteCount, buffer);
    this.meter.read(bytes.length);
    return bytes;
  }

  /**
   * Reads like `read`, possibly less, for somebody who is done with the bytes soon.
   * @param use What is done with them; when that is over, their memory is used for others.
   */
  async lend(
    byteOffset: number,
    byteCount: number,
    use: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    this.#checkReadable(byteOffset, byteCount);
    const recent = this.#recall(byteOffset, byteCount);
    if (recent !== null) {
      this.meter.read(recent.length);
      return await use(recent);
    }
    const log = await this.#log();
    await buffers.lend(byteCount, async (buffer) => {
      const bytes = await log.read(byteOffset, Math.min(byteCount, buffer.length), buffer);
      this.meter.read(bytes.length);
      await use(bytes);
    });
  }

  /**
   * Bytes that the newest status shows, at once and without a copy.
   * @param byteOffset Where they begin.
   * @param byteCount How many, all of them readable.
   * @returns Null where memory does not hold them in one piece.
   */
  recall(byteOffset: number, byteCount: number): Uint8Array | null {
    const bytes = this.#recall(byteOffset, byteCount);
    if (bytes === null || bytes.length < byteCount) return null;
    this.meter.read(bytes.length);
    return bytes;
  }

  /**
   * Where a line begins.
   * @param lineIndex Index of the line, from 0; the number of lines stands for the end.
   * @throws {StreamError} NO_LINE_ACCESS; LINES_NOT_AVAILABLE past the newest checkpoint; INDEX_DAMAGED.
   */
  async lineStart(lineIndex: number): Promise<number> {
    this.#checkThere();
    const { numberOfLines, currentSize, transferStatus } = this.#status;
    if (numberOfLines === null) {
      throw new StreamError(
        "NO_LINE_ACCESS",
        `resource ${this.id} was uploaded without line access: upload text with push --text or ?lines=true`,
      );
    }
    if (lineIndex > numberOfLines) {
      throw new StreamError(
        "LINES_NOT_AVAILABLE",
        `line ${lineIndex} is not there: ${numberOfLines} can be read`,
      );
    }
    if (lineIndex === 0) return 0;
    // The last line of a finished resource ends with its last byte, with or without a line break.
    if (lineIndex === numberOfLines && isFinal(transferStatus)) return currentSize;
    const log = await this.#log();
    if (transferStatus === "COMPLETED") await log.checkLines?.(numberOfLines, currentSize);
    return await log.lineBreak(lineIndex - 1) + 1;
  }

  /**
   * When lines arrived: each with its last byte.
   * @param first Index of the first line.
   * @param count How many, at least one, all of them readable.
   * @returns Times in ms since 1970; null where nobody knows.
   */
  async arrivals(first: number, count: number): Promise<(number | null)[]> {
    const from = await this.lineStart(first);
    // The last may be long; of thousands before it the bytes cost less than their entries in the index.
    const last = await this.lineStart(first + count - 1);
    const lasts: number[] = [];
    for (let at = from; at < last;) {
      const bytes = await this.read(at, Math.min(SCAN_BYTES, last - at));
      for (let found = -1; (found = bytes.indexOf(LINE_BREAK, found + 1)) !== -1;) {
        lasts.push(at + found);
      }
      at += bytes.length;
    }
    lasts.push(Math.max(0, await this.lineStart(first + count) - 1));
    return await (await this.#log()).arrivals?.(lasts) ?? lasts.map(() => null);
  }

  /**
   * Where the bytes begin that arrived at a time or later.
   * @param timeMs The time, in ms since 1970.
   * @returns Position of the first of them; null where all arrived before, or nobody knows.
   */
  async arrivedSince(timeMs: number): Promise<number | null> {
    this.#checkThere();
    return await (await this.#log()).arrivedSince?.(timeMs) ?? null;
  }

  /** Gives the log away to whoever closes it, or reads it next; null if nobody has read it. */
  leave(): Promise<LogReader> | null {
    this.#forgetRecent();
    const reader = this.#reader;
    this.#reader = null;
    return reader;
  }

  /** Releases the log; what is open may be opened again by the next read. */
  async close(): Promise<void> {
    await (await this.leave()?.catch(() => null))?.close();
  }

  #tell(): void {
    for (const watcher of [...this.#watchers]) {
      try {
        watcher(this.#status);
      } catch { /* A watcher's fault is not the upload's. */ }
    }
  }

  #checkReadable(byteOffset: number, byteCount: number): void {
    this.#checkThere();
    const end = byteOffset + byteCount;
    if (end <= this.#status.currentSize) return;
    throw new StreamError(
      "RANGE_NOT_AVAILABLE",
      `bytes ${byteOffset} to ${end} are not all there: ${this.#status.currentSize} can be read`,
    );
  }

  /** Part of some bytes, from their first on, that the newest blocks have. */
  #recall(byteOffset: number, byteCount: number): Uint8Array | null {
    const block = this.#recent.findLast((recent) =>
      byteOffset >= recent.byteOffset && byteOffset < recent.byteOffset + recent.bytes.length
    );
    if (block === undefined) return null;
    const start = byteOffset - block.byteOffset;
    return block.bytes.subarray(start, start + byteCount);
  }

  #checkThere(): void {
    if (this.#deleted) throw new StreamError("DELETED", `resource ${this.id} was deleted`);
  }

  /** The log; one that cannot be opened now may be opened by the next read. */
  async #log(): Promise<LogReader> {
    const opening = this.#reader ??= this.#storage.openReader(this.id, this.#status.life);
    try {
      return await opening;
    } catch (error) {
      if (this.#reader === opening) this.#reader = null;
      throw error;
    }
  }

  #forgetRecent(): void {
    this.#recentBudget.freeBytes += this.#recentBytes;
    this.#recentBytes = 0;
    this.#recent = [];
  }
}

/** Blocks in one piece of memory of its own; null where they are too many to be kept. */
function joined(blocks: readonly Uint8Array[]): Uint8Array | null {
  const byteCount = blocks.reduce((sum, { length }) => sum + length, 0);
  if (byteCount > RECENT_BYTES) return null;
  const bytes = new Uint8Array(byteCount);
  let at = 0;
  for (const block of blocks) {
    bytes.set(block, at);
    at += block.length;
  }
  return bytes;
}
