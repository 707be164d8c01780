/**
 * Timers of any length: those of the runtimes hold 24.8 days, and fire at once when more is asked for.
 * @module
 */

/** The longest delay that the timers of the runtimes take, in ms. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Calls a function once, after a delay of any length.
 *
 * @param delayMs The delay in ms; Infinity for never.
 * @param action Called then.
 * @returns Stops waiting; does nothing once the function was called.
 *
 * @example
 * ```ts
 * import { startTimer } from "./timer.ts";
 *
 * const stop = startTimer(30 * 86_400_000, () => console.log("a month is over"));
 * stop();
 * ```
 */
export function startTimer(delayMs: number, action: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  let leftMs = delayMs;
  const step = () => {
    const stepMs = Math.min(leftMs, LONGEST_TIMER_MS);
    leftMs -= stepMs;
    timer = setTimeout(leftMs > 0 ? step : action, stepMs);
  };
  step();
  return () => clearTimeout(timer);
}

/**
 * Waits for an end, but not for ever.
 *
 * @param limitMs How long at most, in ms; Infinity for as long as it takes.
 * @param end What is waited for.
 * @returns Whether it came in time.
 * @throws What it was rejected with in time.
 *
 * @example
 * ```ts
 * import { endsWithin } from "./timer.ts";
 *
 * if (!await endsWithin(10, Promise.withResolvers<void>().promise)) console.log("too late");
 * ```
 */
export async function endsWithin(limitMs: number, end: Promise<unknown>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const stopTimer = startTimer(limitMs, () => resolve(false));
  try {
    return await Promise.race([end.then(() => true), late]);
  } finally {
    stopTimer();
  }
}
