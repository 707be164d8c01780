/**
 * Interim responses: what a client is told before its request is answered.
 * @module
 */
import type { Context } from "hono";
import type { Inform } from "../../runtime.ts";
import type { AnswerParts } from "../answer.ts";

export type { Inform } from "../../runtime.ts";

/** The means to send some to the client of a request; null where the runtime or the client has none. */
export function informerOf(c: Context, { runtime }: AnswerParts): Inform | null {
  return runtime.informer?.(c.req.raw) ?? null;
}
