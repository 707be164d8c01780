/**
 * Interim responses: what a client is told before its request is answered.
 * @module
 */
import type { Context } from "hono";
import type { Inform } from "../../runtime.ts";
import type { AnswerParts } from "../answer.ts";

export type { Inform } from "../../runtime.ts";

/** What proxies add to a request that they pass on. */
const PROXY_HEADERS = [
  "via",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
];

/**
 * The means to send some to the client of a request; null where the runtime or the client has none, or a proxy is between.
 *
 * nginx (1.22 to 1.30) takes an interim response that it does not know, 104 for one, for the final one, and waits for
 * the end of its body (findings/nginx-interim-response.sh).
 */
export function informerOf(c: Context, { runtime }: AnswerParts): Inform | null {
  if (PROXY_HEADERS.some((name) => c.req.header(name) !== undefined)) return null;
  return runtime.informer?.(c.req.raw) ?? null;
}
