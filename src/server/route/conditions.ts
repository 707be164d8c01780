/**
 * Conditions of requests: ETags that are known, or that must be (RFC 9110, 13.1).
 * @module
 */
import { StreamError } from "../../protocol.ts";
import { inHeader, text } from "./parameters.ts";

/** ETags that the client knows. */
export const ifNoneMatch = inHeader("If-None-Match", "ETags that are known", text);
/** ETags of which there must be one. */
export const ifMatch = inHeader("If-Match", "ETags of which the content must have one", text);

/** If-None-Match of RFC 9110, 13.1.2: by weak comparison. */
export function isKnown(header: string | undefined, etag: string): boolean {
  const opaque = (tag: string) => tag.trim().replace(/^W\//, "");
  if (header === undefined) return false;
  return header.trim() === "*" || header.split(",").some((tag) => opaque(tag) === opaque(etag));
}

/**
 * If-Match of RFC 9110, 13.1.1: by strong comparison.
 * @param header The field.
 * @param etags Those of the content, one for each coding that is meant.
 * @throws {StreamError} WRONG_VERSION.
 */
export function checkMatch(header: string | undefined, ...etags: string[]): void {
  if (header === undefined || header.trim() === "*") return;
  const named = header.split(",").map((tag) => tag.trim());
  if (etags.some((etag) => !etag.startsWith("W/") && named.includes(etag))) return;
  throw new StreamError(
    "WRONG_VERSION",
    `the content is ${etags[0]}, which If-Match does not name`,
  );
}
