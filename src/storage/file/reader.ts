/**
 * Those who read a log: at once, as long as the page cache answers.
 * @module
 */
import { readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import process from "node:process";
import { setImmediate } from "node:timers/promises";
import type { LogReader } from "../../storage.ts";
import { ARRIVAL_BYTES, type ArrivalEntries, arrivalsOf, arrivedSince } from "../arrivals.ts";
import { arrivalsPath, labelOf } from "../layout.ts";
import { attempt } from "./errors.ts";
import { IndexReader } from "./index_reader.ts";

/** Who reads more at once lets everybody else have a turn before. */
const SMALL_READ_BYTES = 64 * 1024;
/** A read that takes longer has waited for something, in ms. */
const CACHED_READ_MS = 1;
/** No processor keeps anybody waiting for longer: this was a disk, even one whose blocks nobody counts. */
const PREEMPTED_READ_MS = 20;
/** Part of the time that everybody may lose to such reads. */
const WAITING_SHARE = 0.01;

/** What all readers of a directory know of its disk: whether reads need a thread, as they may have to wait. */
export class Disk {
  #waitsUntilMs = -Infinity;
  #blocksRead: number;

  /** @param countBlocks Counts what this process has read from disks; the page cache does not count. */
  constructor(private readonly countBlocks = () => process.resourceUsage().fsRead) {
    this.#blocksRead = countBlocks();
  }

  /** Whether it had to be waited for lately. */
  isWaiting(nowMs: number): boolean {
    return nowMs < this.#waitsUntilMs;
  }

  /** Hears how long everybody waited for a read. */
  waited(tookMs: number, nowMs: number): void {
    if (tookMs <= CACHED_READ_MS) return;
    const before = this.#blocksRead;
    this.#blocksRead = this.countBlocks();
    // On a busy machine it may just as well have waited for a processor.
    if (this.#blocksRead === before && tookMs <= PREEMPTED_READ_MS) return;
    this.#waitsUntilMs = nowMs + tookMs / WAITING_SHARE;
  }
}

/** Reads one data file and its index. */
export class FileReader implements LogReader {
  #closed = false;
  readonly #label: string;
  #times: FileHandle | null = null;
  readonly #index: IndexReader;

  constructor(
    private readonly path: string,
    private readonly data: FileHandle,
    index: FileHandle | null,
    private readonly disk: Disk,
    private readonly settleArrivals: () => void,
  ) {
    this.#label = labelOf(path);
    this.#index = new IndexReader(path, data, index, async (file, position, byteCount) => {
      const bytes = new Uint8Array(byteCount);
      return bytes.subarray(0, await this.#readSome(file, position, bytes));
    });
  }

  read(byteOffset: number, byteCount: number, buffer?: Uint8Array): Promise<Uint8Array> {
    const bytes = buffer?.subarray(0, byteCount) ?? new Uint8Array(byteCount);
    return attempt(`read ${this.#label}`, () => this.#read(this.data, byteOffset, bytes));
  }

  lineBreak(index: number): Promise<number> {
    return attempt(`read the index of ${this.#label}`, () => this.#index.lineBreak(index));
  }

  checkLines(lines: number, size: number): Promise<void> {
    return attempt(`read the index of ${this.#label}`, () => this.#index.check(lines, size));
  }

  async arrivals(byteOffsets: readonly number[]): Promise<(number | null)[]> {
    const entries = await this.#arrivals();
    return entries === null ? byteOffsets.map(() => null) : await arrivalsOf(entries, byteOffsets);
  }

  async arrivedSince(timeMs: number): Promise<number | null> {
    const entries = await this.#arrivals();
    return entries === null ? null : await arrivedSince(entries, timeMs);
  }

  /** Null where no notes were taken. */
  async #arrivals(): Promise<ArrivalEntries | null> {
    const path = arrivalsPath(this.path);
    this.settleArrivals();
    this.#times ??= await open(path, "r").catch(() => null);
    const file = this.#times;
    if (file === null) return null;
    const count = Math.floor((await file.stat()).size / ARRIVAL_BYTES);
    const read = (from: number, entries: number) =>
      attempt(
        `read the times of ${this.#label}`,
        () => this.#read(file, from * ARRIVAL_BYTES, new Uint8Array(entries * ARRIVAL_BYTES)),
      );
    return { count, read };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#times?.close();
    await this.data.close();
    await this.#index.close();
  }

  async #read(file: FileHandle, position: number, bytes: Uint8Array): Promise<Uint8Array> {
    const filled = await this.#readSome(file, position, bytes);
    if (filled < bytes.length) throw new Error(`nothing at ${position + filled}`);
    return bytes;
  }

  /**
   * Fills the bytes as far as the file goes; a thread's round trip costs several times what the page cache does.
   * @returns How many.
   */
  async #readSome(file: FileHandle, position: number, bytes: Uint8Array): Promise<number> {
    if (bytes.length > SMALL_READ_BYTES) await setImmediate();
    const startedAtMs = performance.now();
    // The system may have given a closed number to another file.
    if (this.#closed || this.disk.isWaiting(startedAtMs)) {
      return await fill(file, position, bytes);
    }
    const filled = fillSync(file.fd, position, bytes);
    if (filled < bytes.length) return filled;
    const nowMs = performance.now();
    this.disk.waited(nowMs - startedAtMs, nowMs);
    return filled;
  }
}

function fillSync(file: number, position: number, bytes: Uint8Array): number {
  let filled = 0;
  while (filled < bytes.length) {
    const count = readSync(file, bytes, filled, bytes.length - filled, position + filled);
    if (count === 0) break;
    filled += count;
  }
  return filled;
}

async function fill(file: FileHandle, position: number, bytes: Uint8Array): Promise<number> {
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}
