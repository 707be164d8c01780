/**
 * The content of a request that brings bytes.
 * @module
 */
import type { Context } from "hono";
import { StreamError } from "../protocol.ts";
import type { Content } from "../session.ts";
import type { FaceParts } from "./face.ts";

/** The media type of the content, without parameters. */
export function contentType(c: Context): string | undefined {
  return c.req.header("content-type")?.split(";")[0].trim();
}

/** The length of the content; null when the request does not say. */
export function contentLength(c: Context): number | null {
  const length = c.req.header("content-length");
  return length === undefined || !/^\d+$/.test(length) ? null : Number(length);
}

/** The content of a request. */
export function contentOf(c: Context, { runtime }: Pick<FaceParts, "runtime">): Content {
  const byteCount = contentLength(c);
  const { raw } = c.req;
  if (byteCount !== null || runtime.hungUp === undefined) return { body: raw.body, byteCount };
  return { body: raw.body, byteCount, isAnswered: () => runtime.hungUp!(raw) };
}

/**
 * Refuses content that is not stored as it comes.
 * @throws {StreamError} BAD_REQUEST.
 */
export function checkCoding(c: Context): void {
  const coding = c.req.header("content-encoding");
  if (coding === undefined || coding === "identity") return;
  throw new StreamError(
    "BAD_REQUEST",
    `Content-Encoding ${coding} is not decoded here: send the bytes as they are`,
  );
}
