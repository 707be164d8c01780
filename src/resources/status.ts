/**
 * The status that a record shows.
 * @module
 */
import type { ResourceRecord } from "../catalog.ts";
import type { ResourceStatus } from "../protocol.ts";

/** The status a record shows; a running upload may be further. */
export function statusOf(record: ResourceRecord): ResourceStatus {
  return {
    transferStatus: record.transferStatus,
    currentSize: record.size,
    numberOfLines: record.lines,
    durableSize: record.durableSize,
    epoch: record.epoch,
    sequence: record.sequence,
    // Registrations get times that rise, so that with the id no other has this one.
    life: record.createdAtMs.toString(36),
    failure: record.failure,
    ...record.outcome === undefined ? {} : { outcome: record.outcome },
  };
}
