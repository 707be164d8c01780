/**
 * Deletes finished resources that are too old or too many, oldest first.
 * @module
 */
import type { ResourceQuery } from "../catalog.ts";
import { toStreamError } from "../protocol.ts";
import type { ResourceView } from "./reading/cache.ts";

/** Limits of what is kept. */
export interface RetentionOptions {
  /** Finished resources are deleted so long after their end, in ms; never by default. */
  retentionMs?: number;
  /** Finished resources are deleted while all resources together hold more bytes; never by default. */
  maxTotalBytes?: number;
}

/** All resources of a server, to be swept. */
export interface Sweepable {
  /** Bytes of all resources. */
  readonly totalBytes: number;
  /** Records with their newest statuses. */
  list(query: ResourceQuery): Promise<ResourceView[]>;
  /** Deletes a resource with its bytes. */
  delete(id: string): Promise<void>;
}

/** Records looked at together. */
const PAGE = 100;

/**
 * Deletes what need not be kept; what is being uploaded stays, whatever its age.
 *
 * @param resources All resources.
 * @param options What is kept.
 * @param nowMs The time, in ms since 1970.
 * @returns How many were deleted.
 */
export async function sweep(
  resources: Sweepable,
  { retentionMs = Infinity, maxTotalBytes = Infinity }: RetentionOptions,
  nowMs: number,
): Promise<number> {
  let deleted = 0;
  let after: { createdAtMs: number; id: string } | undefined;
  for (;;) {
    const records = await resources.list({
      transferStatuses: ["COMPLETED", "FAILED"],
      order: "oldest",
      limit: PAGE,
      after,
    });
    for (const record of records) {
      const isOld = nowMs - record.updatedAtMs > retentionMs;
      if (!isOld && resources.totalBytes <= maxTotalBytes) {
        // Whatever began later ended later, too.
        if (nowMs - record.createdAtMs <= retentionMs) return deleted;
      } else if (await deleteIfThere(resources, record.id)) deleted++;
    }
    if (records.length < PAGE) return deleted;
    after = records[records.length - 1];
  }
}

/** Somebody else may have been faster, and what is just being completed is not deleted yet. */
async function deleteIfThere(resources: Sweepable, id: string): Promise<boolean> {
  try {
    await resources.delete(id);
    return true;
  } catch (error) {
    const { code } = toStreamError(error);
    if (code === "NOT_FOUND" || code === "WRONG_STATE") return false;
    throw error;
  }
}
