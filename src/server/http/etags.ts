/**
 * ETags of content.
 * @module
 */
import type { ResourceView } from "../../resources.ts";

/** How content is coded on its way. */
export type Coding = "identity" | "gzip";

/**
 * The ETag of what an id has. A status may come again where records are brought back from a copy, and two contents may
 * be made to have one digest: each life of the id has its own, so that nobody takes one for another.
 */
export function etagOf({ digest, status }: ResourceView, coding: Coding): string {
  const { transferStatus, epoch, sequence, life } = status;
  const state = `${life}.${epoch}.${sequence}`;
  if (transferStatus !== "COMPLETED") {
    return transferStatus === "FAILED" ? `"${state}"` : `W/"${state}"`;
  }
  const content = digest === null ? state : `${life}.${digest.algorithm}-${digest.value}`;
  return coding === "identity" ? `"${content}"` : `"${content}-${coding}"`;
}
