/**
 * When checkpoints may be: one per interval under load, and a few without a wait after a quieter time.
 * @module
 */

/** Checkpoints that may follow each other without a wait, so that lines as frequent as checkpoints need none. */
const AT_ONCE = 4;

/** The pace of one resource's checkpoints. */
export class CheckpointPace {
  readonly #intervalMs: number;
  /** When the next one would be due if there were exactly one per interval. */
  #dueMs = -Infinity;

  /** @param intervalMs Time between two of them under load, in ms. */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Time until the next one may be, in ms; none is left when it may be now. */
  untilNextMs(nowMs: number): number {
    return this.#dueMs - (AT_ONCE - 1) * this.#intervalMs - nowMs;
  }

  /** There was one. */
  made(nowMs: number): void {
    this.#dueMs = Math.max(this.#dueMs, nowMs) + this.#intervalMs;
  }
}
