/**
 * Deletes finished resources that are too old or too many, oldest first.
 * @module
 */
import type { EndedQuery, ResourceQuery } from "../catalog.ts";
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
  /** Finished resources that ended before a time, the one that ended first first. */
  listEnded(query: EndedQuery): Promise<ResourceView[]>;
  /** Deletes a resource with its bytes, if it is of this life of its id. */
  delete(id: string, options: { life: string }): Promise<void>;
}

/** Records looked at together. */
const PAGE = 100;

/**
 * Deletes what need not be kept; what is being uploaded stays, whatever its age.
 *
 * @param resources All resources.
 * @param options What is kept.
 * @param nowMs The time by which they age, in ms since 1970 ({@link SteadyClock}).
 * @returns How many were deleted.
 */
export async function sweep(
  resources: Sweepable,
  { retentionMs = Infinity, maxTotalBytes = Infinity }: RetentionOptions,
  nowMs: number,
): Promise<number> {
  const beforeMs = nowMs - retentionMs;
  const old = retentionMs === Infinity ? 0 : await deleteFrom(
    resources,
    (after) => resources.listEnded({ beforeMs, limit: PAGE, after }),
    () => true,
  );
  const transferStatuses = ["COMPLETED", "FAILED"] as const;
  const tooMuch = () => resources.totalBytes > maxTotalBytes;
  const oldest = !tooMuch() ? 0 : await deleteFrom(
    resources,
    (after) => resources.list({ transferStatuses, order: "oldest", limit: PAGE, after }),
    tooMuch,
  );
  return old + oldest;
}

/** Deletes what a list has, page by page, as long as that is wanted. */
async function deleteFrom(
  resources: Sweepable,
  pageAfter: (after: ResourceView | undefined) => Promise<ResourceView[]>,
  isWanted: () => boolean,
): Promise<number> {
  let deleted = 0;
  let after: ResourceView | undefined;
  for (;;) {
    const records = await pageAfter(after);
    for (const record of records) {
      if (!isWanted()) return deleted;
      if (await deleteIfThere(resources, record)) deleted++;
    }
    if (records.length < PAGE) return deleted;
    after = records[records.length - 1];
  }
}

/** Somebody else may have been faster, and use its id again; what is just being completed is not deleted yet. */
async function deleteIfThere(
  resources: Sweepable,
  { id, status: { life } }: ResourceView,
): Promise<boolean> {
  try {
    await resources.delete(id, { life });
    return true;
  } catch (error) {
    const { code } = toStreamError(error);
    if (["NOT_FOUND", "DELETED", "WRONG_STATE"].includes(code)) return false;
    throw error;
  }
}
