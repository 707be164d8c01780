/**
 * Long messages of the engine, each whole and in memory of its own: its client puts what comes in parts together in
 * memory that grows, three times what a message needs, and each page of that is new.
 * @module
 */
import { joined } from "../byte_queue.ts";

/** From so many bytes on, headers included, a message comes so. */
export const LONG_BYTES = 32 * 1024;

/** No engine sends more: what says so is left to the client, which refuses it. */
const MOST_BYTES = 64 * 1024 * 1024;
/** Longest line that is waited for. */
const LINE_BYTES = 1024 * 1024;

const NONE = new Uint8Array(0);
const LINE_BREAK = 10;
const SPACE = 32;
const [ZERO, NINE] = [48, 57];
/** `MSG` and `HMSG`, in letters of either case. */
const MESSAGES = [..."MmHh"].map((letter) => letter.charCodeAt(0));

/** Cuts what a connection brings anew (https://docs.nats.io/reference/reference-protocols/nats-protocol). */
export class LongMessages {
  /** A line whose end has not come. */
  #line: Uint8Array = NONE;
  /** Bytes of a short message that have not come. */
  #left = 0;
  /** A long message, of which so much has come. */
  #message: Uint8Array | null = null;
  #filled = 0;

  /**
   * Takes what came next.
   * @param chunk Some bytes, cut anywhere.
   * @returns Whether what was handed out shares memory with them.
   * @throws {Error} For a line without an end.
   */
  *take(chunk: Uint8Array): Generator<Uint8Array, boolean> {
    let rest = this.#line.length === 0 ? chunk : joined(this.#line, chunk);
    let isShared = false;
    this.#line = NONE;
    while (rest.length > 0) {
      if (this.#message !== null) {
        rest = rest.subarray(this.#fill(this.#message, rest));
        if (this.#filled < this.#message.length) break;
        yield this.#message;
        this.#message = null;
        continue;
      }
      const short = rest.subarray(0, this.#shortBytes(rest));
      if (short.length > 0) {
        isShared ||= short.buffer === chunk.buffer;
        yield short;
      }
      rest = rest.subarray(short.length);
      if (rest.length > 0) this.#begin(rest);
      if (this.#message === null) break;
    }
    return isShared;
  }

  /** How much comes before a long message, or before a line that has not ended. */
  #shortBytes(bytes: Uint8Array): number {
    let at = 0;
    for (;;) {
      const passed = Math.min(this.#left, bytes.length - at);
      this.#left -= passed;
      at += passed;
      const lineEnd = bytes.indexOf(LINE_BREAK, at) + 1;
      if (lineEnd === 0) return at;
      const payloadBytes = payloadBytesOf(bytes.subarray(at, lineEnd));
      if (isLong(payloadBytes)) return at;
      this.#left = payloadBytes;
      at = lineEnd;
    }
  }

  /** Begins a long message, or keeps a line until the rest of it comes. */
  #begin(bytes: Uint8Array): void {
    const lineEnd = bytes.indexOf(LINE_BREAK) + 1;
    if (lineEnd > 0) {
      this.#message = new Uint8Array(lineEnd + payloadBytesOf(bytes.subarray(0, lineEnd)));
      this.#filled = 0;
    } else if (bytes.length <= LINE_BYTES) {
      // The `slice` of what a socket brings is no copy.
      this.#line = joined(bytes);
    } else throw new Error(`the engine sent a line of more than ${LINE_BYTES} bytes`);
  }

  /** @returns How much of it was a part of the message. */
  #fill(message: Uint8Array, bytes: Uint8Array): number {
    const part = bytes.subarray(0, message.length - this.#filled);
    message.set(part, this.#filled);
    this.#filled += part.length;
    return part.length;
  }
}

function isLong(payloadBytes: number): boolean {
  return payloadBytes >= LONG_BYTES && payloadBytes <= MOST_BYTES;
}

/** What comes behind a line, `\r\n` included: the last word of a message's line says so; 0 behind all others. */
function payloadBytesOf(line: Uint8Array): number {
  if (!MESSAGES.includes(line[0])) return 0;
  let bytes = 0;
  for (let at = line.length - 3, unit = 1; at > 0 && line[at] !== SPACE; at--, unit *= 10) {
    if (line[at] < ZERO || line[at] > NINE) return 0;
    bytes += (line[at] - ZERO) * unit;
  }
  return bytes + 2;
}
