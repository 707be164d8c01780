/**
 * When checkpoints may be: one per interval under load, and a few without a wait after a quieter time.
 * @module
 */

/** Checkpoints that may follow each other without a wait, so that lines as frequent as checkpoints need none. */
const AT_ONCE = 4;

/** No reader notices a shorter interval. */
const LEAST_MS = 5;
/** No byte waits longer, whatever checkpoints cost. */
const MOST_MS = 50;
/** Share of the time that checkpoints may take before they become rarer. */
export const SHARE = { OF_WORK: 1 / 20, OF_WAITING: 1 / 5 };
/** For so long it is counted what they take. */
const WINDOW_MS = 50;
/** A window may be an exception: the interval grows by no more than this after one. */
const MOST_GROWTH = 2;

/** An interval as long as checkpoints cost at this moment, all uploads of a process together. */
export class AffordableInterval {
  readonly #share: number;
  #intervalMs = LEAST_MS;
  #spentMs = 0;
  #sinceMs = -Infinity;

  /** @param share The share of the time they may take: more where they do not work then, but wait for others. */
  constructor(share: number) {
    this.#share = share;
  }

  /**
   * Counts a checkpoint.
   * @param costMs How long it took, in ms.
   * @param nowMs The time.
   * @returns Time until the next one of the same resource, in ms.
   */
  after(costMs: number, nowMs: number): number {
    this.#spentMs += costMs;
    const elapsedMs = nowMs - this.#sinceMs;
    if (elapsedMs < WINDOW_MS) return this.#intervalMs;
    const growth = Math.min(this.#spentMs / elapsedMs / this.#share, MOST_GROWTH);
    this.#intervalMs = Math.min(Math.max(LEAST_MS, this.#intervalMs * growth), MOST_MS);
    this.#spentMs = 0;
    this.#sinceMs = nowMs;
    return this.#intervalMs;
  }
}

/** The pace of one resource's checkpoints. */
export class CheckpointPace {
  readonly #interval: number | AffordableInterval;
  #intervalMs = 0;
  /** When the next one would be due if there were exactly one per interval. */
  #dueMs = -Infinity;

  /** @param interval Time between two of them under load: always the same, in ms, or what they cost. */
  constructor(interval: number | AffordableInterval) {
    this.#interval = interval;
  }

  /** Time until the next one may be, in ms; none is left when it may be now. */
  untilNextMs(nowMs: number): number {
    return this.#dueMs - (AT_ONCE - 1) * this.#intervalMs - nowMs;
  }

  /**
   * There was one.
   * @param nowMs The time.
   * @param costMs How long it took, in ms.
   */
  made(nowMs: number, costMs: number): void {
    const intervalMs = this.#intervalMs = typeof this.#interval === "number"
      ? this.#interval
      : this.#interval.after(costMs, nowMs);
    // Within one interval from now, also where the one before was longer.
    const latestMs = nowMs + AT_ONCE * intervalMs;
    this.#dueMs = Math.min(Math.max(this.#dueMs, nowMs) + intervalMs, latestMs);
  }
}
