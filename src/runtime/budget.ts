/**
 * A budget of bytes that many share: who wants more than is left waits until others have given back.
 * @module
 */

/** Bytes that may be in use at the same time; those who wait are served in their order. */
export class Budget {
  #leftBytes: number;
  readonly #waiting: { bytes: number; resolve: () => void }[] = [];

  readonly #bytes: number;

  /** @param bytes All there is. */
  constructor(bytes: number) {
    this.#bytes = this.#leftBytes = bytes;
  }

  /**
   * Does something while it has a share.
   * @param bytes Size of the share; whoever wants more than there is waits for all.
   * @param use What is done, when the share is there.
   */
  async during(bytes: number, use: () => Promise<void>): Promise<void> {
    const share = Math.min(bytes, this.#bytes);
    await this.take(share);
    try {
      await use();
    } finally {
      this.giveBack(share);
    }
  }

  /**
   * Takes a share.
   * @param bytes Its size, no more than all.
   * @returns When it is there.
   */
  take(bytes: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, resolve });
    this.#serve();
    return promise;
  }

  /** Gives a share back. */
  giveBack(bytes: number): void {
    this.#leftBytes += bytes;
    this.#serve();
  }

  #serve(): void {
    while (this.#waiting.length > 0 && this.#waiting[0].bytes <= this.#leftBytes) {
      const { bytes, resolve } = this.#waiting.shift()!;
      this.#leftBytes -= bytes;
      resolve();
    }
  }
}

/** What long messages that are sent and not yet taken may hold, all connections of the process together. */
const UNTAKEN_BYTES = 128 * 1024 * 1024;
/** Long messages take their share of it before they are made. */
export const UNTAKEN: Budget = new Budget(UNTAKEN_BYTES);
