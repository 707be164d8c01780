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
  retentionMs?: number | undefined;
  /** Finished resources are deleted while all resources together hold more bytes; never by default. */
  maxTotalBytes?: number | undefined;
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

/** What became of resources that need not be kept. */
export interface Swept {
  /** So many were deleted. */
  deleted: number;
  /** So many others had deleted. */
  gone: number;
}

/** Records looked at together. */
const PAGE = 100;
/** A disk that does not let go of so many will not let go of others, either: they are tried the next time. */
const MOST_STUCK = 10;

/**
 * Deletes what need not be kept; what is being uploaded stays, whatever its age.
 *
 * @param resources All resources.
 * @param options What is kept.
 * @param nowMs The time by which they age, in ms since 1970 ({@link SteadyClock}).
 * @returns How many were deleted, here and meanwhile by others.
 */
export async function sweep(
  resources: Sweepable,
  { retentionMs = Infinity, maxTotalBytes = Infinity }: RetentionOptions,
  nowMs: number,
): Promise<Swept> {
  const swept: Swept = { deleted: 0, gone: 0 };
  const beforeMs = nowMs - retentionMs;
  if (retentionMs !== Infinity) {
    const pageAfter = (after?: ResourceView) =>
      resources.listEnded({ beforeMs, limit: PAGE, after });
    await deleteFrom(resources, pageAfter, () => true, swept);
  }
  const transferStatuses = ["COMPLETED", "FAILED"] as const;
  const tooMuch = (goneBytes: number) => resources.totalBytes - goneBytes > maxTotalBytes;
  if (tooMuch(0)) {
    const pageAfter = (after?: ResourceView) =>
      resources.list({ transferStatuses, order: "oldest", limit: PAGE, after });
    await deleteFrom(resources, pageAfter, tooMuch, swept);
  }
  return swept;
}

/**
 * Deletes what a list has, page by page, as long as that is wanted.
 * @param isWanted Whether another one is to be deleted, though others have deleted so many bytes, which may count still.
 */
async function deleteFrom(
  resources: Sweepable,
  pageAfter: (after?: ResourceView) => Promise<ResourceView[]>,
  isWanted: (goneBytes: number) => boolean,
  swept: Swept,
): Promise<void> {
  let goneBytes = 0, stuck = 0;
  let after: ResourceView | undefined;
  for (;;) {
    const records = await pageAfter(after);
    for (const record of records) {
      if (!isWanted(goneBytes)) return;
      const outcome = await deleteIfThere(resources, record, stuck < MOST_STUCK);
      if (outcome === "stuck") stuck++;
      else if (outcome !== null) swept[outcome]++;
      if (outcome === "gone") goneBytes += record.status.currentSize;
    }
    if (records.length < PAGE) return;
    after = records[records.length - 1];
  }
}

/**
 * Somebody else may have been faster, and use its id again; what is just being completed is not deleted yet.
 * @param mayStick Whether the others are deleted where the disk does not let go of this one.
 */
async function deleteIfThere(
  resources: Sweepable,
  { id, status: { life } }: ResourceView,
  mayStick: boolean,
): Promise<keyof Swept | "stuck" | null> {
  try {
    await resources.delete(id, { life });
    return "deleted";
  } catch (error) {
    const { code } = toStreamError(error);
    if (code === "WRONG_STATE") return null;
    if (code === "NOT_FOUND" || code === "DELETED") return "gone";
    if (code === "STORAGE_FAILED" && mayStick) return "stuck";
    throw error;
  }
}
