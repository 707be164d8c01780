/**
 * Several streams as one.
 * @module
 */
import { type Chunks, pull } from "./source.ts";

/**
 * Joins streams in the order in which their chunks come; none of them can starve another.
 *
 * @param streams The streams; at most one chunk of each is read ahead.
 * @returns Their chunks; it ends with the last of them.
 */
export function merge(
  streams: readonly ReadableStream<Uint8Array>[],
): ReadableStream<Uint8Array> {
  return streams.length === 1 ? streams[0] : pull(new Merged(streams));
}

class Merged implements Chunks {
  readonly #idle: Set<ReadableStreamDefaultReader<Uint8Array>>;
  readonly #readers: ReadableStreamDefaultReader<Uint8Array>[];
  readonly #arrived: Uint8Array[] = [];
  #reading = 0;
  #failure: unknown = null;
  #wake: (() => void) | null = null;

  constructor(streams: readonly ReadableStream<Uint8Array>[]) {
    this.#readers = streams.map((stream) => stream.getReader());
    this.#idle = new Set(this.#readers);
  }

  async next(): Promise<Uint8Array | null> {
    for (;;) {
      const chunk = this.#arrived.shift();
      if (chunk !== undefined) return chunk;
      if (this.#failure !== null) throw this.#failure;
      for (const reader of this.#idle) this.#read(reader);
      if (this.#reading === 0) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#readers.map((reader) => reader.cancel().catch(() => {})));
  }

  /** One chunk; a stream is read again when all that arrived was taken. */
  async #read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    this.#idle.delete(reader);
    this.#reading++;
    try {
      const { done, value } = await reader.read();
      if (done) return;
      this.#arrived.push(value);
      this.#idle.add(reader);
    } catch (error) {
      this.#failure = error;
    } finally {
      this.#reading--;
      this.#wake?.();
    }
  }
}
