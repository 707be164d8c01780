/**
 * How long data messages are: as long as the way has proved to carry soon.
 * @module
 */
import { LIMITS } from "./limits.ts";

/** Where a message is acknowledged within so long, longer ones may follow, in ms: of a slow way little is heard by long ones. */
const FAST_MS = 1000;

/**
 * The length of data messages on one connection: short at first, and longer where they are acknowledged soon, so that
 * one comes whole before silence ends a slow connection.
 *
 * @example
 * ```ts
 * import { MessageLength } from "@stream/live/protocol";
 *
 * const length = new MessageLength(262_144);
 * length.sent(8192);
 * length.acknowledged(8192);
 * console.log(length.bytes); // 16384
 * ```
 */
export class MessageLength {
  readonly #mostBytes: number;
  #bytes: number = LIMITS.shortMessageBytes;
  /** A message whose acknowledgement tells how fast the way is. */
  #probe: { endOffset: number; sentAtMs: number } | null = null;

  /**
   * Begins with short ones.
   * @param mostBytes What both ends agreed on.
   */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  /** Length of the longest message now. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * A message was sent.
   * @param endOffset Byte after its last.
   */
  sent(endOffset: number): void {
    this.#probe ??= { endOffset, sentAtMs: performance.now() };
  }

  /**
   * The other end has bytes.
   * @param byteOffset Byte after the last one.
   */
  acknowledged(byteOffset: number): void {
    if (this.#probe === null || byteOffset < this.#probe.endOffset) return;
    const tookMs = performance.now() - this.#probe.sentAtMs;
    if (tookMs < FAST_MS) this.#bytes = Math.min(this.#bytes * 2, this.#mostBytes);
    this.#probe = null;
  }
}
