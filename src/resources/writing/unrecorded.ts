/**
 * Ends of uploads that their logs tell and their records do not: the catalog refused them and its node is gone, or it was
 * restored to how it was before.
 * @module
 */
import type { ResourceRecord } from "../../catalog.ts";
import type { ResourceStatus } from "../../protocol.ts";
import { annotationAt } from "../intent.ts";
import { restoreDigest } from "./restore.ts";
import type { TakeoverParts } from "./takeover.ts";

/**
 * Has a record tell how its upload ended.
 * @param parts Where log and record are.
 * @param record The record as it is.
 * @param status The end, as those who follow the log were told.
 * @throws {StreamError} CONFLICT when the record changed meanwhile; NOT_FOUND, NOT_READY, STORAGE_FAILED.
 */
export async function recordEnd(
  { storage, catalog, clock }: TakeoverParts,
  record: ResourceRecord,
  status: ResourceStatus,
): Promise<void> {
  const { transferStatus, currentSize: size, numberOfLines: lines, durableSize } = status;
  const { epoch, sequence, failure, outcome } = status;
  const digest = transferStatus === "COMPLETED" ? await digestOf({ ...record, size }) : null;
  await catalog.update(record.id, record.revision, {
    ...{ transferStatus, size, lines, durableSize, epoch, sequence, failure, digest },
    ...(outcome === undefined ? {} : { outcome }),
    ...(record.intent ? { annotation: annotationAt(record, size), intent: null } : {}),
    digestState: null,
    owner: null,
    updatedAtMs: clock.nowMs,
  });

  async function digestOf(whole: ResourceRecord) {
    const { running } = await restoreDigest(storage, whole);
    return { algorithm: running.algorithm, value: running.value() };
  }
}
