/**
 * Turns of the event loop for what is done in slices.
 * @module
 */
import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";

/** Sockets have a turn so often. */
const SOCKETS_EVERY_MS = 10;
let socketsAtMs = 0;

/** Lets others come between; one `setImmediate` after the other would starve the sockets on Deno, and timers cost 1 ms. */
export async function turn(): Promise<void> {
  if (performance.now() - socketsAtMs < SOCKETS_EVERY_MS) return await immediate();
  await sleep(0);
  socketsAtMs = performance.now();
}
