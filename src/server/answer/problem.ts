/**
 * Errors as RFC 9457 has them, with our code and the id of the request.
 * @module
 */
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { ERRORS, type StreamError } from "../../protocol.ts";
import { json } from "./json.ts";
import { requestId } from "../observer.ts";

/**
 * The response that tells an error (PROTOCOL.md 5).
 * @param members What a problem type has besides.
 */
export function problem(
  c: Context,
  { code, message }: StreamError,
  members: Record<string, string | number> = {},
): Response {
  const status = ERRORS[code].http as ContentfulStatusCode;
  const instance = `urn:request:${requestId(c)}`;
  const told = { title: code, status, detail: message, code, instance, ...members };
  return json(c, told, status, "application/problem+json");
}
