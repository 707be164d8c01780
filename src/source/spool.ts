/**
 * Keeps what a pipe delivers while it cannot be sent: in memory first, then in a temporary file.
 * @module
 */
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHUNK_BYTES, type Chunks, pull } from "./source.ts";

/** Bytes kept in memory before the file is used. */
const MEMORY_BYTES = 8 * 1024 * 1024;
/** A reader that takes something so often is waited for: the file costs more than it would save. */
const PATIENCE_MS = 20;

/**
 * Reads a stream ahead of whoever reads the result, up to a limit; then the producer has to wait.
 *
 * @param source What a pipe delivers.
 * @param limitBytes Most bytes to keep.
 * @returns The same bytes.
 */
export function spool(
  source: ReadableStream<Uint8Array>,
  limitBytes: number,
): ReadableStream<Uint8Array> {
  return pull(new Spool(source, limitBytes));
}

class Spool implements Chunks {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #limitBytes: number;
  readonly #memory: Uint8Array[] = [];
  readonly #filling: Promise<void>;
  #memoryBytes = 0;
  #takenAtMs = -Infinity;
  #overflow: Overflow | null = null;
  #ended = false;
  #closed = false;
  #failure: unknown = null;
  #wake: (() => void) | null = null;
  #room: (() => void) | null = null;

  constructor(source: ReadableStream<Uint8Array>, limitBytes: number) {
    this.#reader = source.getReader();
    this.#limitBytes = limitBytes;
    this.#filling = this.#fill().catch((error) => this.#failure = error).finally(() => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  async next(): Promise<Uint8Array | null> {
    for (;;) {
      const chunk = this.#fromMemory() ?? await this.#overflow?.read() ?? null;
      if (chunk !== null) {
        this.#takenAtMs = performance.now();
        this.#room?.();
        return chunk;
      }
      if (this.#failure !== null) throw this.#failure;
      if (this.#ended) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  #fromMemory(): Uint8Array | null {
    const chunk = this.#memory.shift() ?? null;
    this.#memoryBytes -= chunk?.length ?? 0;
    return chunk;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#room?.();
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
      await this.#keep(value);
      this.#wake?.();
      while (this.#kept >= this.#limitBytes && !this.#closed) {
        await new Promise<void>((resolve) => this.#room = resolve);
      }
    }
  }

  /** In order: as long as the file holds something, what comes goes behind it. */
  async #keep(chunk: Uint8Array): Promise<void> {
    if (await this.#fitsInMemory(chunk.length)) {
      this.#memory.push(chunk);
      this.#memoryBytes += chunk.length;
      return;
    }
    this.#overflow ??= await Overflow.open(this.#limitBytes + CHUNK_BYTES);
    await this.#overflow.write(chunk);
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

  private constructor(
    private readonly file: FileHandle,
    private readonly directory: string,
    private readonly capacityBytes: number,
  ) {}

  static async open(capacityBytes: number): Promise<Overflow> {
    const directory = await mkdtemp(join(tmpdir(), "stream-spool-"));
    const file = await open(join(directory, "spool"), "wx+", 0o600);
    return new Overflow(file, directory, capacityBytes);
  }

  async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      const length = Math.min(chunk.length - at, this.capacityBytes - this.#writeAt);
      const { bytesWritten } = await this.file.write(chunk, at, length, this.#writeAt);
      at += bytesWritten;
      this.#writeAt = (this.#writeAt + bytesWritten) % this.capacityBytes;
      this.bytes += bytesWritten;
    }
  }

  /** The next bytes; null when there are none now. */
  async read(): Promise<Uint8Array | null> {
    if (this.bytes === 0) return null;
    const length = Math.min(CHUNK_BYTES, this.bytes, this.capacityBytes - this.#readAt);
    const chunk = new Uint8Array(length);
    const { bytesRead } = await this.file.read(chunk, 0, length, this.#readAt);
    this.#readAt = (this.#readAt + bytesRead) % this.capacityBytes;
    this.bytes -= bytesRead;
    return chunk.subarray(0, bytesRead);
  }

  async close(): Promise<void> {
    await this.file.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}
