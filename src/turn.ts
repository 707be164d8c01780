/**
 * Turns of the event loop for what is done in slices.
 * @module
 */
import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";

/** Sockets have a turn so often. */
const SOCKETS_EVERY_MS = 4;
let socketsAtMs = 0;

/** Sockets have their turn now: something came from one. */
export function heardSocket(): void {
  socketsAtMs = performance.now();
}

/**
 * Lets others come between: one `setImmediate` after the other would starve the sockets on Deno (an echo beside slices
 * of 2 ms took 120 ms, docs/security.md), and timers cost 1 ms.
 */
export async function turn(): Promise<void> {
  if (performance.now() - socketsAtMs < SOCKETS_EVERY_MS) return await immediate();
  await sleep(0);
  heardSocket();
}
