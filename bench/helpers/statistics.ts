/** What many measurements of one thing come to. */

/** A median and how far the others were from it. */
export interface Spread {
  median: number;
  min: number;
  max: number;
  repeats: number;
}

/** Median, least and most of repeats; there is at least one. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1
    ? sorted[middle]
    : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1], repeats: sorted.length };
}

/** The value that so many of 1 do not exceed; `sorted` rises and is not empty. */
export function percentile(sorted: ArrayLike<number>, part: number): number {
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)];
}
