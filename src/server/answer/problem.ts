/**
 * Errors as RFC 9457 has them, with our code and the id of the request.
 * @module
 */
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { ERRORS, MovedError, type StreamError } from "../../protocol.ts";
import { json } from "./json.ts";
import { requestId } from "../observer.ts";

/** When to ask again where what was asked is not ready, or ends and others go on, in s (RFC 9110, 10.2.3). */
const AGAIN_S = 1;

/**
 * The response that tells an error (PROTOCOL.md 5).
 * @param members What a problem type has besides.
 */
export function problem(
  c: Context,
  error: StreamError,
  members: Record<string, string | number> = {},
): Response {
  const { code, message } = error;
  const servers = error instanceof MovedError ? [...error.servers] : undefined;
  const status = ERRORS[code].http as ContentfulStatusCode;
  const instance = `urn:request:${requestId(c)}`;
  if (code === "NOT_READY" || code === "SHUTDOWN") c.header("retry-after", String(AGAIN_S));
  const told = { title: code, status, detail: message, code, instance, servers, ...members };
  return json(c, told, status, "application/problem+json");
}
