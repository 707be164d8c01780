/**
 * Messages that a node has read: ranges of a log come from the same message again and again.
 * @module
 */
import { giveBack } from "../../byte_queue.ts";
import { LONG_BYTES } from "../../cluster/long_messages.ts";

/** Memory of all of them. */
const CACHE_BYTES = 64 * 1024 * 1024;

interface Message {
  readonly bytes: Promise<Uint8Array>;
  readonly byteCount: number;
  /** Who looks at it. */
  lookers: number;
  /** Whether it is here no more: its memory is given back when nobody looks at it. */
  isGone: boolean;
}

/** The newest messages that were read, or are being read. */
export class MessageCache {
  readonly #messages = new Map<string, Message>();
  #freeBytes = CACHE_BYTES;

  /** Whether a message is there; it counts as read now. */
  has(key: string): boolean {
    const found = this.#messages.get(key);
    if (found === undefined) return false;
    this.#messages.delete(key);
    this.#messages.set(key, found);
    return true;
  }

  /**
   * Keeps the bytes of a message, unless they cannot be read.
   * @param key Which message.
   * @param bytes Its bytes, that nobody else looks at.
   * @param byteCount How many they are.
   */
  add(key: string, bytes: Promise<Uint8Array>, byteCount: number): void {
    this.#remove(key);
    const message = { bytes, byteCount, lookers: 0, isGone: false };
    this.#messages.set(key, message);
    this.#freeBytes -= byteCount;
    bytes.catch(() => this.#messages.get(key) === message && this.#remove(key));
    for (const oldest of this.#messages.keys()) {
      if (this.#freeBytes >= 0) break;
      this.#remove(oldest);
    }
  }

  /**
   * Looks at the bytes of a message that is there.
   * @param key Which message.
   * @param look Is done with them when it returns.
   * @returns What it returned.
   */
  async look<T>(key: string, look: (bytes: Uint8Array) => T): Promise<T> {
    const message = this.#messages.get(key)!;
    message.lookers++;
    try {
      return look(await message.bytes);
    } finally {
      message.lookers--;
      release(message);
    }
  }

  #remove(key: string): void {
    const message = this.#messages.get(key);
    if (message === undefined) return;
    this.#messages.delete(key);
    this.#freeBytes += message.byteCount;
    message.isGone = true;
    release(message);
  }
}

function release({ bytes, lookers, isGone }: Message): void {
  if (isGone && lookers === 0) bytes.then(giveMessageBack, () => {});
}

/** Shorter messages share their memory with others. */
function giveMessageBack({ buffer, length }: Uint8Array): void {
  if (length >= LONG_BYTES) giveBack(new Uint8Array(buffer));
}
