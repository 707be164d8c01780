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

/** Tells whether the content is of a media type, whose case means nothing (RFC 9110, 8.3.1). */
export function isOfType(c: Context, type: string): boolean {
  return contentType(c)?.toLowerCase() === type;
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

/** Fields of which the content is not what is stored, and the one value with which it is. */
const NOT_STORED = [
  ["Content-Encoding", "identity", "is not decoded here: send the bytes as they are"],
  ["Transfer-Encoding", "chunked", "is not decoded here: send the bytes as they are"],
  ["Content-Range", null, "is not heeded here: what goes on with an upload is a PATCH of its own"],
  ["Trailer", null, "is not read here: send what it names in the head"],
] as const;

/**
 * Refuses content that is not stored as it comes, and whole.
 * @throws {StreamError} BAD_REQUEST.
 */
export function checkPlain(c: Context): void {
  for (const [name, plain, advice] of NOT_STORED) {
    const value = c.req.header(name);
    if (value === undefined || value.toLowerCase() === plain) continue;
    throw new StreamError("BAD_REQUEST", `${name} ${value.slice(0, 80)} ${advice}`);
  }
}
