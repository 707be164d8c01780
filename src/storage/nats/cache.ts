/**
 * Messages that a node has read: ranges of a log come from the same message again and again.
 * @module
 */

/** Memory of all of them. */
const CACHE_BYTES = 64 * 1024 * 1024;

/** The newest messages that were read, or are being read. */
export class MessageCache {
  readonly #messages = new Map<string, { bytes: Promise<Uint8Array>; byteCount: number }>();
  #freeBytes = CACHE_BYTES;

  /** The bytes of a message; undefined when they are not there. */
  get(key: string): Promise<Uint8Array> | undefined {
    const found = this.#messages.get(key);
    if (found === undefined) return undefined;
    this.#messages.delete(key);
    this.#messages.set(key, found);
    return found.bytes;
  }

  /** Keeps the bytes of a message, unless they cannot be read. */
  add(key: string, bytes: Promise<Uint8Array>, byteCount: number): void {
    this.#remove(key);
    this.#messages.set(key, { bytes, byteCount });
    this.#freeBytes -= byteCount;
    bytes.catch(() => this.#messages.get(key)?.bytes === bytes && this.#remove(key));
    for (const oldest of this.#messages.keys()) {
      if (this.#freeBytes >= 0) break;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    this.#freeBytes += this.#messages.get(key)?.byteCount ?? 0;
    this.#messages.delete(key);
  }
}
