/**
 * Bytes that were received and wait to be written.
 * @module
 */
import { ByteQueue } from "../../byte_queue.ts";

/** Least memory that the bytes of an upload take: hundreds of them may wait with a line or two. */
const LEAST_BYTES = 4096;

/** Bytes that wait, in memory that is used again, and since when. */
export class Received {
  readonly #bytes: ByteQueue;
  /** Where those begin that were not taken. */
  #taken: number;
  #sinceMs: number | null = null;

  /** @param offset Where the first byte will be in the log. */
  constructor(offset: number) {
    this.#bytes = new ByteQueue(offset, LEAST_BYTES);
    this.#taken = offset;
  }

  /** How many bytes there are. */
  get byteCount(): number {
    return this.#bytes.end - this.#taken;
  }

  /** When the first of them came; null when there are none. */
  get sinceMs(): number | null {
    return this.#sinceMs;
  }

  /** Copies the next bytes. */
  add(bytes: Uint8Array): void {
    this.#sinceMs ??= performance.now();
    this.#bytes.append(bytes);
  }

  /** Takes all of them out, in long pieces, which stay as they are until they are given back. */
  take(): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    while (this.#taken < this.#bytes.end) {
      const piece = this.#bytes.view(this.#taken, Infinity);
      pieces.push(piece);
      this.#taken += piece.length;
    }
    this.#sinceMs = null;
    return pieces;
  }

  /** Gives the memory of all back that were taken. */
  giveBack(): void {
    this.#bytes.dropBefore(this.#taken);
  }
}
