/**
 * A budget of bytes that many share: who wants more than is left waits until others have given back.
 * @module
 */

/** Bytes that may be in use at the same time; those who wait are served in their order. */
export class Budget {
  #leftBytes: number;
  readonly #waiting: { bytes: number; resolve: () => void }[] = [];

  /** @param bytes All there is; nobody may want more. */
  constructor(bytes: number) {
    this.#leftBytes = bytes;
  }

  /**
   * Takes a share.
   * @param bytes Its size.
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
