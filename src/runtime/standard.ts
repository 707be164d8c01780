/**
 * Standard output and error, which this process shares with others: whether a write to them blocks is up to all of them.
 * @module
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";

/**
 * A descriptor of our own, which blocks, for what stdout or stderr leads to. On Deno where another program made it one that
 * does not block: Deno says that there was no room, but not how much it had written until then. On Bun for every pipe:
 * `process.stdout` makes it one that does not block and leaves it so to whoever writes next.
 * @param descriptor 1 or 2.
 * @returns Null where none is needed, or none can be had.
 */
export function ownOf(descriptor: number): number | null {
  try {
    const stats = fstatSync(descriptor);
    const isNeeded = "Deno" in globalThis
      ? (stats.isFIFO() || stats.isCharacterDevice()) && !isBlocking(descriptor)
      : stats.isFIFO();
    return isNeeded ? openAgain(`/proc/self/fd/${descriptor}`) : null;
  } catch {
    return null;
  }
}

function isBlocking(descriptor: number): boolean {
  const [, flags] = /^flags:\s*(\d+)$/m
    .exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"))!;
  return (parseInt(flags, 8) & constants.O_NONBLOCK) === 0;
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
