/**
 * How often a peer may do what costs it nothing.
 * @module
 */

/** Something that may be done so often at once, and then again after some time. */
export class Allowance {
  readonly #burst: number;
  readonly #everyMs: number;
  readonly #now: () => number;
  #left: number;
  #atMs: number;

  /**
   * @param burst How often at once.
   * @param everyMs One more is allowed after so long.
   * @param now The clock, in ms.
   */
  constructor(burst: number, everyMs: number, now: () => number = () => performance.now()) {
    this.#burst = burst;
    this.#everyMs = everyMs;
    this.#now = now;
    this.#left = burst;
    this.#atMs = now();
  }

  /**
   * Takes one.
   * @returns 0, or the time in ms after which there would be one; then none was taken.
   */
  take(): number {
    const nowMs = this.#now();
    this.#left = Math.min(this.#burst, this.#left + (nowMs - this.#atMs) / this.#everyMs);
    this.#atMs = nowMs;
    if (this.#left < 1) return (1 - this.#left) * this.#everyMs;
    this.#left--;
    return 0;
  }
}
