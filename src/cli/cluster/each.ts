/**
 * Many things that each wait for the engine again and again.
 * @module
 */

/** As many are under way at the same time. */
const AT_ONCE = 16;

/**
 * Does something with each of them.
 * @param many All of them.
 * @param step What is done with one.
 * @throws What a step throws, and the others are left.
 */
export async function eachOf<T>(
  many: AsyncGenerator<T, void, void>,
  step: (one: T) => Promise<void>,
): Promise<void> {
  const worker = async () => {
    for await (const one of many) await step(one);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
