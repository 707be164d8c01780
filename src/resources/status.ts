/**
 * The status that a record shows.
 * @module
 */
import type { ResourceRecord } from "../catalog.ts";
import type { ResourceStatus } from "../protocol.ts";

/** Name of the life of an id that a record is of. */
export function lifeOf({ createdAtMs }: ResourceRecord): string {
  return createdAtMs.toString(36);
}

/** The status a record shows; a running upload may be further. */
export function statusOf(record: ResourceRecord): ResourceStatus {
  const { epoch, sequence } = record;
  return {
    transferStatus: record.transferStatus,
    currentSize: record.size,
    numberOfLines: record.lines,
    durableSize: record.durableSize,
    // What the record says is of the last owner that had the log.
    epoch: epoch + Math.min(sequence, 0),
    sequence: Math.max(sequence, 0),
    // Registrations get times that rise, so that with the id no other has this one.
    life: lifeOf(record),
    failure: record.failure,
    ...record.outcome === undefined ? {} : { outcome: record.outcome },
  };
}
