/**
 * Ends of uploads that their records do not tell: their logs do, as the catalog refused them and its node is gone, or it was
 * restored to how it was before; or their logs are gone.
 * @module
 */
import type { ResourceRecord } from "../../catalog.ts";
import { failureOf, type ResourceStatus, StreamError } from "../../protocol.ts";
import { annotationAt } from "../intent.ts";
import { lifeOf, statusOf } from "../status.ts";
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

/**
 * Has a record tell that its log is gone, or cannot be opened: then what was told last of it stands.
 * @param parts Where the record is.
 * @param record The record as it is, which may be behind the checkpoints of its log.
 * @param known What is known of the upload here; null where nobody has it open.
 * @param error What the log was refused with.
 * @returns The record as it is now.
 * @throws {StreamError} CONFLICT when the record changed meanwhile; NOT_READY, STORAGE_FAILED.
 */
export function recordLoss(
  { catalog, clock }: Pick<TakeoverParts, "catalog" | "clock">,
  record: ResourceRecord,
  known: ResourceStatus | null,
  error: StreamError,
): Promise<ResourceRecord> {
  const { epoch, sequence, size, durableSize, metadata: { supportsLineAccess } } = record;
  const last = known?.life === lifeOf(record) ? known : statusOf(record);
  const isGone = error.code === "NOT_FOUND";
  return catalog.update(record.id, record.revision, {
    transferStatus: "FAILED",
    sequence: Math.max(sequence, last.epoch === epoch ? last.sequence : 0) + 1,
    ...(last.currentSize <= size ? {} : {
      size: last.currentSize,
      lines: last.numberOfLines,
      durableSize: Math.max(durableSize, last.durableSize),
    }),
    ...(isGone ? { size: 0, durableSize: 0, lines: supportsLineAccess ? 0 : null } : {}),
    failure: failureOf(new StreamError("STORAGE_FAILED", error.message)),
    digestState: null,
    owner: null,
    updatedAtMs: clock.nowMs,
  });
}
