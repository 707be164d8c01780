/**
 * Memory that reads are made into again and again, as making it anew costs more than the read itself.
 * @module
 */

/** Size of a buffer: the processor time of a byte is a third of that in reads of 256 KiB. */
const BUFFER_BYTES = 1024 * 1024;
/** Buffers there are at most. */
const MAX_BUFFERS = 32;
/** Size of one that is made anew while all others are in use. */
const SMALL_BYTES = 256 * 1024;
/** Size for those who want no more: thousands may hold one for as long as they take nothing. */
const PIECE_BYTES = 64 * 1024;
/** Idle ones of these that are kept. */
const MAX_IDLE_PIECES = 64;

/** Buffers for those who are done with what they read soon. */
export class Buffers {
  readonly #idle: Uint8Array[] = [];
  readonly #idlePieces: Uint8Array[] = [];
  #made = 0;

  /**
   * Lends a buffer.
   * @param byteCount How much is wanted; the buffer may be shorter, or longer.
   * @param use What is done with it; when that is over, others use its memory.
   */
  async lend<T>(byteCount: number, use: (buffer: Uint8Array) => Promise<T>): Promise<T> {
    const buffer = byteCount <= PIECE_BYTES
      ? this.#idlePieces.pop() ?? new Uint8Array(PIECE_BYTES)
      : this.#idle.pop() ?? this.#make();
    try {
      return await use(buffer);
    } finally {
      if (buffer.length === BUFFER_BYTES) this.#idle.push(buffer);
      else if (buffer.length === PIECE_BYTES && this.#idlePieces.length < MAX_IDLE_PIECES) {
        this.#idlePieces.push(buffer);
      }
    }
  }

  #make(): Uint8Array {
    if (this.#made === MAX_BUFFERS) return new Uint8Array(SMALL_BYTES);
    this.#made++;
    return new Uint8Array(BUFFER_BYTES);
  }
}
