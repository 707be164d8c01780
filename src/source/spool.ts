/**
 * Keeps what a pipe delivers while it cannot be sent: in memory first, then in a temporary file.
 * @module
 */
import { type FileHandle, mkdtemp, open, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ByteQueue } from "../byte_queue.ts";
import { reasonOf } from "../reasons.ts";
import { CHUNK_BYTES, type Chunks, pull } from "./source.ts";

/** Bytes kept in memory before the file is used. */
const MEMORY_BYTES = 8 * 1024 * 1024;
/** Share of what is free on the disk that the file may take: what is uploaded, and others, may need the rest. */
const MOST_OF_FREE = 0.5;
/** A reader that takes something so often is waited for: the file costs more than it would save. */
const PATIENCE_MS = 20;

/** What a spool does besides, and how. */
export interface SpoolOptions {
  /** Hears once why the producer has to wait earlier. */
  warn?: (message: string) => void;
  /**
   * Small chunks that come so soon after one another are handed on together, in ms: each costs as much as a large one.
   * 1 by default.
   */
  gatherMs?: number;
}

/**
 * Reads a stream ahead of the reader of the result, up to a limit; then the producer has to wait. It waits earlier
 * where the temporary file cannot be made, or has no room: nothing of that ends the stream.
 *
 * @param source What a pipe delivers.
 * @param limitBytes Most bytes to keep.
 * @param options Who hears of trouble, and how small chunks are gathered.
 * @returns The same bytes, copied; each chunk is valid until the next one is read.
 */
export function spool(
  source: ReadableStream<Uint8Array>,
  limitBytes: number,
  options: SpoolOptions = {},
): ReadableStream<Uint8Array> {
  return pull(new Spool(source, limitBytes, options));
}

class Spool implements Chunks {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #limitBytes: number;
  readonly #gatherMs: number;
  #warn: ((message: string) => void) | null;
  readonly #memory = new ByteQueue(0);
  readonly #filling: Promise<void>;
  /** Where in memory the reader's next chunk begins. */
  #takenTo = 0;
  #takenAtMs = -Infinity;
  #overflow: Overflow | null = null;
  #hasDisk = true;
  #ended = false;
  #closed = false;
  #failure: unknown = null;
  #wake: (() => void) | null = null;
  #room: (() => void) | null = null;
  /** Ends the wait for more to hand on together. */
  #gathered: (() => void) | null = null;

  constructor(
    source: ReadableStream<Uint8Array>,
    limitBytes: number,
    { warn = () => {}, gatherMs = 1 }: SpoolOptions,
  ) {
    this.#warn = warn;
    this.#gatherMs = gatherMs;
    this.#reader = source.getReader();
    this.#limitBytes = limitBytes;
    this.#filling = this.#fill().catch((error) => this.#failure = error).finally(() => {
      this.#ended = true;
      this.#wake?.();
      this.#gathered?.();
    });
  }

  async next(): Promise<Uint8Array | null> {
    this.#memory.dropBefore(this.#takenTo);
    for (;;) {
      const chunk = await this.#fromMemory() ?? await this.#overflow?.read() ?? null;
      if (chunk !== null) {
        this.#takenAtMs = performance.now();
        this.#room?.();
        return chunk;
      }
      // Something may have come during the wait for the file.
      if (this.#kept > 0) continue;
      if (this.#failure !== null) throw this.#failure;
      if (this.#ended) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  async #fromMemory(): Promise<Uint8Array | null> {
    if (this.#memoryBytes === 0) return null;
    const sinceMs = performance.now() - this.#takenAtMs;
    if (sinceMs < this.#gatherMs && !this.#isPlenty()) await this.#gather(this.#gatherMs - sinceMs);
    const chunk = this.#memory.view(this.#takenTo, CHUNK_BYTES);
    this.#takenTo += chunk.length;
    return chunk;
  }

  /** Whether nothing is gained by waiting for more. */
  #isPlenty(): boolean {
    return this.#ended || this.#closed || this.#memoryBytes >= CHUNK_BYTES ||
      this.#kept >= this.#limitBytes || this.#kept > this.#memoryBytes;
  }

  async #gather(forMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, forMs);
      this.#gathered = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#gathered = null;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#room?.();
    this.#gathered?.();
    await this.#reader.cancel().catch(() => {});
    // It may be about to make the file.
    await this.#filling;
    await this.#overflow?.close();
  }

  /** Reads as long as there is room. */
  async #fill(): Promise<void> {
    while (!this.#closed) {
      const { done, value } = await this.#reader.read();
      if (done) return;
      for (let rest = value; rest.length > 0 && !this.#closed;) {
        const taken = await this.#keep(rest);
        this.#wake?.();
        if (this.#isPlenty()) this.#gathered?.();
        rest = rest.subarray(taken);
        if (rest.length > 0 && this.#kept > 0 && !this.#closed) await this.#taken();
      }
      while (this.#kept >= this.#limitBytes && !this.#closed) await this.#taken();
    }
  }

  /** Waits until the reader took something. */
  async #taken(): Promise<void> {
    await new Promise<void>((resolve) => this.#room = resolve);
  }

  /**
   * In order: as long as the file holds something, what comes goes behind it.
   * @returns How many bytes found room.
   */
  async #keep(chunk: Uint8Array): Promise<number> {
    if (await this.#fitsInMemory(chunk.length)) {
      this.#memory.append(chunk);
      return chunk.length;
    }
    if (!this.#hasDisk) return 0;
    try {
      this.#overflow ??= await Overflow.open(this.#limitBytes + CHUNK_BYTES);
    } catch (error) {
      this.#hasDisk = false;
      this.#warnOnce(`no temporary file can be made in ${tmpdir()}: ${reasonOf(error)}`);
      return 0;
    }
    const taken = await this.#overflow.write(chunk, (error) => {
      this.#warnOnce(`the temporary file in ${tmpdir()} takes no more: ${reasonOf(error)}`);
    });
    const { isFull, isCut } = this.#overflow;
    if (isFull && isCut) this.#warnOnce(`half of what was free in ${tmpdir()} is used`);
    return taken;
  }

  #warnOnce(reason: string): void {
    this.#warn?.(`${reason}; the producer of the pipe has to wait earlier`);
    this.#warn = null;
  }

  /** Waits for room as long as somebody takes what is there. */
  async #fitsInMemory(length: number): Promise<boolean> {
    for (;;) {
      const isOverflowing = (this.#overflow?.bytes ?? 0) > 0;
      if (!isOverflowing && this.#memoryBytes + length <= MEMORY_BYTES) return true;
      if (this.#closed || performance.now() - this.#takenAtMs > PATIENCE_MS) return false;
      await this.#takenSoon();
    }
  }

  #takenSoon(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, PATIENCE_MS);
      this.#room = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  get #memoryBytes(): number {
    return this.#memory.end - this.#takenTo;
  }

  get #kept(): number {
    return this.#memoryBytes + (this.#overflow?.bytes ?? 0);
  }
}

/** A temporary file used as a ring: it never grows beyond its capacity, however much passes. */
class Overflow {
  /** Bytes written and not yet read. */
  bytes = 0;
  #readAt = 0;
  #writeAt = 0;
  readonly #chunk = new Uint8Array(CHUNK_BYTES);

  private constructor(
    private readonly file: FileHandle,
    private readonly directory: string,
    private readonly capacityBytes: number,
    /** Whether that is less than was asked for. */
    readonly isCut: boolean,
  ) {}

  static async open(wantedBytes: number): Promise<Overflow> {
    const directory = await mkdtemp(join(tmpdir(), "stream-spool-"));
    try {
      const { blocks, bavail, bsize } = await statfs(directory);
      // Some file systems do not say how much they hold.
      const freeBytes = blocks === 0 ? Infinity : bavail * bsize;
      const capacityBytes = Math.min(wantedBytes, Math.floor(freeBytes * MOST_OF_FREE));
      const file = await open(join(directory, "spool"), "wx+", 0o600);
      return new Overflow(file, directory, capacityBytes, capacityBytes < wantedBytes);
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** Whether it has no room left. */
  get isFull(): boolean {
    return this.bytes >= this.capacityBytes;
  }

  /**
   * Writes behind what is there.
   * @param chunk The bytes.
   * @param failed Hears why there was no room for all of them.
   * @returns How many were written.
   */
  async write(chunk: Uint8Array, failed: (error: unknown) => void): Promise<number> {
    // What an empty file has of the disk is used again.
    if (this.bytes === 0) this.#readAt = this.#writeAt = 0;
    let at = 0;
    try {
      while (at < chunk.length && !this.isFull) {
        const room = this.capacityBytes - Math.max(this.bytes, this.#writeAt);
        const length = Math.min(chunk.length - at, room);
        const { bytesWritten } = await this.file.write(chunk, at, length, this.#writeAt);
        at += bytesWritten;
        this.#writeAt = (this.#writeAt + bytesWritten) % this.capacityBytes;
        this.bytes += bytesWritten;
      }
    } catch (error) {
      failed(error);
    }
    return at;
  }

  /** The next bytes, valid until the next call; null when there are none now. */
  async read(): Promise<Uint8Array | null> {
    if (this.bytes === 0) return null;
    const length = Math.min(CHUNK_BYTES, this.bytes, this.capacityBytes - this.#readAt);
    const { bytesRead } = await this.file.read(this.#chunk, 0, length, this.#readAt);
    this.#readAt = (this.#readAt + bytesRead) % this.capacityBytes;
    this.bytes -= bytesRead;
    return this.#chunk.subarray(0, bytesRead);
  }

  async close(): Promise<void> {
    await this.file.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}
