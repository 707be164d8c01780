/**
 * Credit: how many bytes uploaders may have sent that are not yet written, each and all together.
 *
 * A granted byte cannot be taken back, so the sum of all grants is what memory must hold. Every upload
 * always gets the minimum; what is above it comes from a shared pool and grows only for those who use it.
 * @module
 */
import { LIMITS } from "../../protocol.ts";

/** An upload that uses half its window faster than this is given a larger one. */
const GROW_WITHIN_MS = 100;
/** One that needs longer than this gives half of it back. */
const SHRINK_AFTER_MS = 1000;
/** One that has used up its window waits for storage: so much is worth a try, as storage may take it in one step. */
const WAITING_WINDOW_BYTES = 1024 * 1024;
/** Window of a new upload, if the pool has it. */
const INITIAL_WINDOW_BYTES = 256 * 1024;
/** Bytes that wait for their checkpoint longer have left the processor's caches, and are written at a higher cost. */
const MAX_WRITE_AFTER_BYTES = 512 * 1024;

/** The server's budget of bytes above the minimum of each upload. */
export class CreditPool {
  /** Bytes that can still be granted. */
  freeBytes: number;

  /** @param sharedBytes The whole budget. */
  constructor(sharedBytes: number) {
    this.freeBytes = sharedBytes;
  }
}

/** The credit of one upload, in absolute offsets of its log (PROTOCOL.md 3.3). */
export class Credit {
  readonly #pool: CreditPool;
  /** Bytes that the upload could use, and those of them that the pool had. */
  #wantedBytes = INITIAL_WINDOW_BYTES;
  #windowBytes = 0;
  #sharedBytes = 0;
  #grantedAtMs: number;
  #limit: number;

  /**
   * @param pool The server's budget.
   * @param byteOffset Where the upload starts.
   * @param nowMs The time.
   */
  constructor(pool: CreditPool, byteOffset: number, nowMs: number) {
    this.#pool = pool;
    this.#limit = byteOffset;
    this.#grantedAtMs = nowMs;
    this.#grant(byteOffset);
  }

  /** The uploader may send the bytes before this offset. */
  get limit(): number {
    return this.#limit;
  }

  /** Bytes that the window holds at most, now. */
  get windowBytes(): number {
    return this.#windowBytes;
  }

  /** Bytes that may wait for a checkpoint before they are written. */
  get writeAfterBytes(): number {
    return Math.min(this.#windowBytes / 4, MAX_WRITE_AFTER_BYTES);
  }

  /**
   * Grants more when half the window is used up.
   * @param written Bytes that are out of memory.
   * @param nowMs The time.
   * @param isUsedUp Whether the uploader has sent all that it may, and waits.
   * @returns Whether the limit grew and must be announced.
   */
  advance(written: number, nowMs: number, isUsedUp = false): boolean {
    const unused = this.#limit - written;
    if (unused > this.#windowBytes / 2 && unused >= LIMITS.minUploadWindowBytes) return false;
    const elapsedMs = nowMs - this.#grantedAtMs;
    const leastBytes = isUsedUp ? WAITING_WINDOW_BYTES : LIMITS.minUploadWindowBytes;
    if (elapsedMs < GROW_WITHIN_MS || this.#wantedBytes < leastBytes) this.#wantedBytes *= 2;
    else if (elapsedMs > SHRINK_AFTER_MS) {
      this.#wantedBytes = Math.max(this.#wantedBytes / 2, leastBytes);
    }
    this.#wantedBytes = Math.min(this.#wantedBytes, LIMITS.uploadWindowBytes);
    this.#grantedAtMs = nowMs;
    return this.#grant(written);
  }

  /** Gives everything back to the pool. */
  release(): void {
    this.#pool.freeBytes += this.#sharedBytes;
    this.#sharedBytes = 0;
  }

  #grant(written: number): boolean {
    this.release();
    const before = this.#limit;
    const sharedBytes = Math.min(
      this.#wantedBytes - LIMITS.minUploadWindowBytes,
      this.#pool.freeBytes,
    );
    this.#limit = Math.max(before, written + LIMITS.minUploadWindowBytes + sharedBytes);
    this.#sharedBytes = Math.max(0, this.#limit - written - LIMITS.minUploadWindowBytes);
    this.#pool.freeBytes -= this.#sharedBytes;
    this.#windowBytes = this.#limit - written;
    return this.#limit > before;
  }
}
