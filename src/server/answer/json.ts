/**
 * Answers of JSON.
 * @module
 */
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";

/**
 * Answers with JSON that ends with a line break, as terminals want it.
 * @param c The request.
 * @param value What is told.
 * @param status The status; 200 by default.
 * @param type The media type; `application/json` by default.
 */
export function json(
  c: Context,
  value: unknown,
  status: ContentfulStatusCode = 200,
  type: string = "application/json",
): Response {
  return c.body(`${JSON.stringify(value)}\n`, status, { "content-type": type });
}
