/**
 * ETags of content, and what requests make of them (RFC 9110, 13.1).
 * @module
 */
import { StreamError } from "../../protocol.ts";
import type { ResourceView } from "../../resources.ts";
import { inHeader, text } from "../route/parameters.ts";

/** How content is coded on its way. */
export type Coding = "identity" | "gzip";

/** ETags of which the content must have one. */
export const ifMatch = inHeader("If-Match", "ETags of which the content must have one", text);

/** An id may be used again after a deletion, so that a status alone names no content. */
export function etagOf({ digest, status }: ResourceView, coding: Coding): string {
  const { transferStatus, epoch, sequence, life } = status;
  if (transferStatus !== "COMPLETED") {
    const tag = `"${life}.${epoch}.${sequence}"`;
    return transferStatus === "FAILED" ? tag : `W/${tag}`;
  }
  const content = digest === null
    ? `${life}.${epoch}.${sequence}`
    : `${digest.algorithm}-${digest.value}`;
  return coding === "identity" ? `"${content}"` : `"${content}-${coding}"`;
}

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
