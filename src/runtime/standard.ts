/**
 * Standard output and error that another program, which shares them, made descriptors that do not block.
 * @module
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";

/**
 * A descriptor of our own for a pipe or terminal that does not block. Deno says that there was no room, but not how much
 * it had written until then; other runtimes wait for room.
 * @param descriptor 1 or 2.
 * @returns One that blocks; null where none is needed, or none can be had.
 */
export function blockingInstead(descriptor: number): number | null {
  if (!("Deno" in globalThis)) return null;
  try {
    const [, flags] = /^flags:\s*(\d+)$/m
      .exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"))!;
    const stats = fstatSync(descriptor);
    const isShared = stats.isFIFO() || stats.isCharacterDevice();
    if (!isShared || (parseInt(flags, 8) & constants.O_NONBLOCK) === 0) return null;
    return openAgain(`/proc/self/fd/${descriptor}`);
  } catch {
    return null;
  }
}

/** A pipe whose reader has left would be waited for: as long as it is opened, we are one. */
function openAgain(path: string): number {
  const reader = openSync(path, constants.O_RDWR);
  try {
    return openSync(path, constants.O_WRONLY);
  } finally {
    closeSync(reader);
  }
}
