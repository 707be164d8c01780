/**
 * ETags of content.
 * @module
 */
import type { ResourceView } from "../../resources.ts";

/** How content is coded on its way. */
export type Coding = "identity" | "gzip";

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
