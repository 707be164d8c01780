/**
 * Memory that answers are read into.
 * @module
 */
import type { Context } from "hono";
import type { ReadMemory } from "../../resources.ts";
import type { Runtime } from "../../runtime.ts";
import { SHORT_BYTES } from "../answer.ts";

/** Below this, new memory costs next to nothing. */
const SMALL_BYTES = 4096;
/** Idle memory that is kept, in pieces. */
const MAX_IDLE = 64;

const idle: Uint8Array[] = [];

/**
 * Memory for the content of an answer. That of a short one is used again when it was written: new memory costs a fault
 * a page, which on Deno was a fifth of what a range of 64 KiB took.
 * @param c The request.
 * @param runtime Knows when an answer was written.
 * @param byteCount Size of the content.
 */
export function memoryFor(c: Context, runtime: Runtime, byteCount: number): ReadMemory {
  const { raw } = c.req;
  const lends = runtime.copiesBody?.(raw) ?? false;
  if (byteCount < SMALL_BYTES || byteCount > SHORT_BYTES) return { lends };
  const written = runtime.written?.(raw) ?? null;
  if (written === null) return { lends };
  const memory = idle.pop() ?? new Uint8Array(SHORT_BYTES);
  void written.then(() => {
    if (idle.length < MAX_IDLE) idle.push(memory);
  });
  return { lends, memory };
}
