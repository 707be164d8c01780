/**
 * Bytes of an upload between its source and the server: what waits for credit, and what may be needed again
 * (PROTOCOL.md 3.3).
 * @module
 */
import { LIMITS, StreamError } from "../../protocol.ts";

/** Small pieces are joined up to this size: each would be a message by itself. */
const JOINED_BYTES = LIMITS.dataMessageBytes;

/** The bytes that are under way, and how far each side is. */
export class SendWindow {
  #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  #unacknowledged: Uint8Array[] = [];
  #accepted = 0;
  #sent: number;
  #acknowledged: number;
  #limit: number;
  /** Bytes that the server has and the source delivers again. */
  #known: number;

  /**
   * Begins where the server says.
   * @param byteOffset Bytes that the server has.
   * @param limit Byte up to which may be sent.
   */
  constructor(byteOffset: number, limit: number) {
    this.#known = this.#sent = this.#acknowledged = byteOffset;
    this.#limit = limit;
  }

  /** Bytes that the source delivered. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Whether everything was sent that was delivered. */
  get isDrained(): boolean {
    return this.#unsent.length === 0;
  }

  /** Bytes that were delivered and not yet sent. */
  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  /** Takes a chunk of the source; what the server has of it is left out. */
  accept(chunk: Uint8Array): void {
    const known = Math.min(chunk.length, Math.max(0, this.#known - this.#accepted));
    this.#accepted += chunk.length;
    if (known === chunk.length) return;
    this.#unsent.push(chunk.subarray(known));
    this.#unsentBytes += chunk.length - known;
  }

  /**
   * The next piece that may be sent, which counts as sent then; null when there is none.
   * @param mostBytes Length of the longest piece; 64 KiB by default.
   */
  next(mostBytes: number = LIMITS.dataMessageBytes): Uint8Array | null {
    if (this.#unsent.length === 0 || this.#sent >= this.#limit) return null;
    const first = this.#joinFirst();
    const piece = first.subarray(0, Math.min(mostBytes, this.#limit - this.#sent));
    if (piece.length === first.length) this.#unsent.shift();
    else this.#unsent[0] = first.subarray(piece.length);
    this.#unacknowledged.push(piece);
    this.#sent += piece.length;
    this.#unsentBytes -= piece.length;
    return piece;
  }

  /** Joins the first pieces that are small. */
  #joinFirst(): Uint8Array {
    let count = 0, byteCount = 0;
    for (const { length } of this.#unsent) {
      if (byteCount + length > JOINED_BYTES) break;
      byteCount += length;
      count++;
    }
    if (count < 2) return this.#unsent[0];
    const joined = new Uint8Array(byteCount);
    let at = 0;
    for (const piece of this.#unsent.splice(0, count)) {
      joined.set(piece, at);
      at += piece.length;
    }
    this.#unsent.unshift(joined);
    return joined;
  }

  /**
   * Hears of new credit.
   * @param limit Byte up to which may be sent.
   * @param acknowledged Bytes that the server has.
   */
  grant(limit: number, acknowledged: number): void {
    this.#limit = limit;
    this.#acknowledge(acknowledged);
  }

  /**
   * Goes on where the server says, on another connection.
   * @param byteOffset Bytes that the server has.
   * @param limit Byte up to which may be sent.
   * @throws {StreamError} OFFSET_LOST when it has less than it acknowledged.
   */
  continueAt(byteOffset: number, limit: number): void {
    if (byteOffset < this.#acknowledged) {
      const message =
        `the server acknowledged ${this.#acknowledged} bytes and now has ${byteOffset}`;
      throw new StreamError("OFFSET_LOST", message);
    }
    this.#unacknowledged.push(...this.#unsent);
    this.#acknowledge(byteOffset);
    this.#unsent = this.#unacknowledged;
    this.#unsentBytes = this.#unsent.reduce((sum, { length }) => sum + length, 0);
    this.#unacknowledged = [];
    // Another process with our token may have sent more than we were given.
    this.#sent = this.#acknowledged = this.#known = byteOffset;
    this.#limit = limit;
  }

  /** @throws {StreamError} SOURCE_FAILED when the source ended before what the server has. */
  checkWhole(): void {
    if (this.#accepted >= this.#known) return;
    const message = `the server has ${this.#known} bytes of this upload; the source has ` +
      `${this.#accepted}: it is not the same one`;
    throw new StreamError("SOURCE_FAILED", message);
  }

  /** Lets go of what the server has. */
  #acknowledge(byteOffset: number): void {
    let whole = 0;
    for (const piece of this.#unacknowledged) {
      if (this.#acknowledged + piece.length > byteOffset) break;
      this.#acknowledged += piece.length;
      whole++;
    }
    this.#unacknowledged.splice(0, whole);
    const part = byteOffset - this.#acknowledged;
    if (part <= 0 || this.#unacknowledged.length === 0) return;
    this.#unacknowledged[0] = this.#unacknowledged[0].subarray(part);
    this.#acknowledged = byteOffset;
  }
}
