/**
 * Measurements of resources.
 * @module
 */

/** Hears of what happens to bytes. Calls are made where bytes pass, and must cost nothing worth mentioning. */
export interface Meter {
  /** Bytes of an upload were written. */
  written(byteCount: number): void;
  /** A reader was given bytes. */
  read(byteCount: number): void;
  /** A checkpoint made bytes readable, so long after the first of them came in. */
  checkpointed(latencyMs: number): void;
  /** Storage took bytes, which took it so long. */
  appended(tookMs: number): void;
  /** An upload that somebody had begun goes on here, for a new owner. */
  takenOver(): void;
  /** Bytes were brought to disk, which took so long. */
  flushed(tookMs: number): void;
  /**
   * Somebody follows a resource.
   * @param lagBytes Tells how many readable bytes the follower was not sent yet.
   * @returns Ends it.
   */
  follows(lagBytes: () => number): () => void;
}

/** Measures nothing. */
export const NO_METER: Meter = {
  written() {},
  read() {},
  checkpointed() {},
  appended() {},
  takenOver() {},
  flushed() {},
  follows: () => () => {},
};
