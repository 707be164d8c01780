/**
 * Bytes of an upload between its source and the server: what waits for credit, and what may be needed again
 * (PROTOCOL.md 3.3).
 * @module
 */
import { LIMITS, StreamError } from "../../protocol.ts";
import { ByteQueue } from "../../byte_queue.ts";

/** The bytes that are under way, and how far each side is. */
export class SendWindow {
  /** From the first byte that is not acknowledged to the last one that was delivered. */
  readonly #bytes: ByteQueue;
  #accepted = 0;
  #sent: number;
  #limit: number;
  /** Bytes that the server has and the source delivers again. */
  #known: number;

  /**
   * Begins where the server says.
   * @param byteOffset Bytes that the server has.
   * @param limit Byte up to which may be sent.
   */
  constructor(byteOffset: number, limit: number) {
    this.#bytes = new ByteQueue(byteOffset);
    this.#known = this.#sent = byteOffset;
    this.#limit = limit;
  }

  /** Bytes that the source delivered. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Bytes that the server has. */
  get acknowledged(): number {
    return this.#bytes.start;
  }

  /** Byte after the last one that was sent. */
  get sent(): number {
    return this.#sent;
  }

  /** Whether everything was sent that was delivered. */
  get isDrained(): boolean {
    return this.#sent === this.#bytes.end;
  }

  /** Bytes that were delivered and not yet sent. */
  get unsentBytes(): number {
    return this.#bytes.end - this.#sent;
  }

  /** Copies a chunk of the source; what the server has of it is left out. */
  accept(chunk: Uint8Array): void {
    const known = Math.min(chunk.length, Math.max(0, this.#known - this.#accepted));
    this.#accepted += chunk.length;
    this.#bytes.append(chunk.subarray(known));
  }

  /**
   * The next piece that may be sent, which counts as sent then; null when there is none. It changes once it was
   * acknowledged.
   * @param mostBytes Length of the longest piece; 64 KiB by default.
   */
  next(mostBytes: number = LIMITS.dataMessageBytes): Uint8Array | null {
    if (this.isDrained || this.#sent >= this.#limit) return null;
    const piece = this.#bytes.view(this.#sent, Math.min(mostBytes, this.#limit - this.#sent));
    this.#sent += piece.length;
    return piece;
  }

  /**
   * Hears of new credit.
   * @param limit Byte up to which may be sent.
   * @param acknowledged Bytes that the server has.
   */
  grant(limit: number, acknowledged: number): void {
    this.#limit = limit;
    this.#bytes.dropBefore(Math.min(acknowledged, this.#sent));
  }

  /**
   * Goes on where the server says, on another connection.
   * @param byteOffset Bytes that the server has.
   * @param limit Byte up to which may be sent.
   * @throws {StreamError} OFFSET_LOST when it has less than it acknowledged.
   */
  continueAt(byteOffset: number, limit: number): void {
    const acknowledged = this.#bytes.start;
    if (byteOffset < acknowledged) {
      const message = `the server acknowledged ${acknowledged} bytes and now has ${byteOffset}`;
      throw new StreamError("OFFSET_LOST", message);
    }
    // Another process with our token may have sent more than we were given.
    this.#bytes.dropBefore(byteOffset);
    this.#sent = this.#known = byteOffset;
    this.#limit = limit;
  }

  /** @throws {StreamError} CONFLICT when the source ended before what the server has. */
  checkWhole(): void {
    if (this.#accepted >= this.#known) return;
    const message = `the server has ${this.#known} bytes of this upload; the source has ` +
      `${this.#accepted}: it is not the same one, and nothing was changed`;
    throw new StreamError("CONFLICT", message);
  }
}
