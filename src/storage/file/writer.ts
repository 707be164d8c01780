/**
 * The one who appends to a log: data, and the index of its line breaks.
 * @module
 */
import { closeSync, fdatasync, fstatSync, ftruncateSync, readSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { FLUSHES } from "../../flushes.ts";
import { type ResourceStatus, StreamError } from "../../protocol.ts";
import type { LogEnd, LogWriter } from "../../storage.ts";
import { arrivalsPath, decodeEntry, INDEX_ENTRY_BYTES, labelOf } from "../layout.ts";
import { LineCounter } from "../line_counter.ts";
import type { OwnedTail } from "../tails.ts";
import { ArrivalWriter } from "./arrivals.ts";
import { attempt } from "./errors.ts";

/** Index entries kept back before they are written: room for so many at first, and at most, which is 40 KiB an upload. */
const FIRST_BUFFER_ENTRIES = 64;
const INDEX_BUFFER_ENTRIES = 8192;
/** Unit of the system's page cache. */
const PAGE_BYTES = 4096;
/** Where parts are joined; they are written before anything else can happen. */
const joined = new Uint8Array(512 * 1024);
/** Step of a scan through existing data. */
const SCAN_BYTES = 256 * 1024;

/** Appends to one data file and its index. */
export class FileWriter implements LogWriter {
  size = 0;
  readonly #label: string;
  readonly #counter = new LineCounter();
  #entries = new Uint8Array(FIRST_BUFFER_ENTRIES * INDEX_ENTRY_BYTES);
  #buffered = 0;
  #indexed = 0;
  #directorySynced = false;
  #closing: Promise<void> | null = null;
  readonly #arrivals: ArrivalWriter | null;

  constructor(
    private readonly path: string,
    private readonly data: number,
    private readonly index: number | null,
    private readonly tail: OwnedTail,
    private readonly released: (writer: FileWriter) => void,
  ) {
    this.#label = labelOf(path);
    this.#arrivals = index === null ? null : new ArrivalWriter(arrivalsPath(path));
  }

  get lineBreaks(): number {
    return this.#counter.lineBreaks;
  }

  get lines(): number {
    return this.#counter.lines;
  }

  append(
    byteOffset: number,
    parts: readonly Uint8Array[],
    statusOf?: (end: LogEnd) => ResourceStatus,
  ): Promise<void> {
    return attempt(`write ${this.#label}`, () => {
      this.tail.check();
      if (byteOffset !== this.size) {
        throw new StreamError(
          "CONFLICT",
          `an append at ${byteOffset} does not fit a log of ${this.size} bytes`,
        );
      }
      const before = this.#counter.save();
      let end = this.size;
      try {
        for (const block of inBlocks(parts, end)) {
          writeFully(this.data, block, end);
          end += block.length;
        }
        if (this.index !== null) this.#indexBreaks(parts);
        if (statusOf !== undefined) this.#flushIndex();
      } catch (error) {
        this.#counter.restore(before);
        this.#cut(before.lineBreaks);
        throw error;
      }
      this.size = end;
      if (statusOf !== undefined) this.#arrivals?.note(end);
      if (parts.length > 0) this.tail.appended(byteOffset, parts);
      if (statusOf !== undefined) this.tail.tell(statusOf(this));
    });
  }

  announce(status: ResourceStatus): Promise<void> {
    return attempt(`write ${this.#label}`, () => {
      this.tail.check();
      this.tail.tell(status);
    });
  }

  #indexBreaks(parts: readonly Uint8Array[]): void {
    for (const part of parts) this.#counter.add(part, (found) => this.#addEntries(found));
  }

  settle(): Promise<void> {
    return attempt(`write the index of ${this.#label}`, () => {
      this.tail.check();
      this.#flushIndex();
      this.#arrivals?.settle();
    });
  }

  /** Writes down when bytes arrived, for somebody who reads that, and for the next owner. */
  settleArrivals(): void {
    this.#arrivals?.settle();
  }

  async flushData(): Promise<void> {
    await attempt(`flush ${this.#label}`, () => flush(this.data));
    if (this.#directorySynced) return;
    for (let depth = 0, at = dirname(this.path); depth < 3; depth++, at = dirname(at)) {
      await syncDirectory(at);
    }
    this.#directorySynced = true;
  }

  async flush(): Promise<void> {
    await this.settle();
    const { index } = this;
    if (index !== null) await attempt(`flush the index of ${this.#label}`, () => flush(index));
    await this.flushData();
  }

  close(): Promise<void> {
    // Never twice: the system may have given the same numbers to other files since.
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      // Entries that are left are those of bytes before the next owner, which has written them itself.
      await this.settle().catch((error) => {
        if (error.code !== "FENCED" && error.code !== "DELETED") throw error;
      });
    } finally {
      this.tail.release();
      this.released(this);
      this.#arrivals?.close();
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
    this.#arrivals?.align(this.size);
    if (this.index === null) return;
    let entries = this.#risingEntries();
    while (entries > 0 && !this.#isLineBreak(this.#entryAt(entries - 1))) entries--;
    const end = entries === 0 ? 0 : this.#entryAt(entries - 1) + 1;
    this.#indexed = entries;
    this.#counter.restore({ size: end, lineBreaks: entries, endOfLastLine: end });
    ftruncateSync(this.index, entries * INDEX_ENTRY_BYTES);
    const buffer = new Uint8Array(Math.min(SCAN_BYTES, this.size - end));
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
    const bufferBytes = Math.min(
      fstatSync(this.index!).size,
      INDEX_BUFFER_ENTRIES * INDEX_ENTRY_BYTES,
    );
    const buffer = new Uint8Array(bufferBytes);
    let last = -1;
    for (let entries = 0;;) {
      const count = readSync(this.index!, buffer, 0, buffer.length, entries * INDEX_ENTRY_BYTES);
      const whole = Math.floor(count / INDEX_ENTRY_BYTES);
      for (let index = 0; index < whole; index++, entries++) {
        const entry = decodeEntry(buffer, index * INDEX_ENTRY_BYTES);
        if (entry <= last || entry >= this.size) return entries;
        last = entry;
      }
      if (whole === 0) return entries;
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
      if (this.#buffered * INDEX_ENTRY_BYTES === this.#entries.length) this.#makeRoom();
      const start = this.#buffered * INDEX_ENTRY_BYTES;
      const some = entries.subarray(at, at + this.#entries.length - start);
      this.#entries.set(some, start);
      this.#buffered += some.length / INDEX_ENTRY_BYTES;
      at += some.length;
    }
  }

  #makeRoom(): void {
    const { length } = this.#entries;
    if (length === INDEX_BUFFER_ENTRIES * INDEX_ENTRY_BYTES) return this.#flushIndex();
    const larger = new Uint8Array(2 * length);
    larger.set(this.#entries);
    this.#entries = larger;
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

/** Joins parts that end within a page: larger writes cost the system less, and so do the reads after them. */
function* inBlocks(parts: readonly Uint8Array[], byteOffset: number): Generator<Uint8Array> {
  if (endWithPages(parts.slice(0, -1), byteOffset)) return yield* parts;
  let filled = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const some = part.subarray(at, at + joined.length - filled);
      joined.set(some, filled);
      at += some.length;
      filled += some.length;
      if (filled < joined.length) continue;
      yield joined;
      filled = 0;
    }
  }
  if (filled > 0) yield joined.subarray(0, filled);
}

function endWithPages(parts: readonly Uint8Array[], byteOffset: number): boolean {
  let end = byteOffset;
  return parts.every(({ length }) => (end += length) % PAGE_BYTES === 0);
}

function writeFully(file: number, bytes: Uint8Array, position: number): void {
  for (let written = 0; written < bytes.length;) {
    written += writeSync(file, bytes, written, bytes.length - written, position + written);
  }
}

function flush(file: number): Promise<void> {
  const flushNow = () =>
    new Promise<void>((resolve, reject) =>
      fdatasync(file, (error) => error === null ? resolve() : reject(error))
    );
  return FLUSHES.run(flushNow);
}

async function syncDirectory(path: string): Promise<void> {
  await attempt("flush the directory of a log", async () => {
    const handle = await open(path, "r");
    try {
      await FLUSHES.run(() => handle.sync());
    } finally {
      await handle.close();
    }
  });
}
