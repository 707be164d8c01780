/**
 * Several things at once, but not too many.
 * @module
 */

/**
 * Does something with each item, with some at a time.
 *
 * @param items The items, asked for when there is room for another.
 * @param limit How many at a time.
 * @param step What is done with one.
 * @throws The first error of the items or of a step, after the steps that run have ended; no other one is begun.
 */
export async function inParallel<T>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  step: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  try {
    for await (const item of items) {
      if (failures.length > 0) break;
      const run = step(item).catch((error) => void failures.push(error))
        .finally(() => running.delete(run));
      running.add(run);
      if (running.size >= limit) await Promise.race(running);
    }
  } finally {
    await Promise.all(running);
  }
  if (failures.length > 0) throw failures[0];
}
