/**
 * Errors as RFC 9457 has them, with our code and the id of the request.
 * @module
 */
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { ERRORS, type StreamError } from "../protocol.ts";
import { requestId } from "./observer.ts";

/** The response that tells an error (PROTOCOL.md 5). */
export function problem(c: Context, { code, message }: StreamError): Response {
  const status = ERRORS[code].http as ContentfulStatusCode;
  c.header("content-type", "application/problem+json");
  const instance = `urn:request:${requestId(c)}`;
  return c.body(JSON.stringify({ title: code, status, detail: message, code, instance }), status);
}
