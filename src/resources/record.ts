/**
 * What the catalog keeps of a resource: how a record begins, how it is found, and the status it shows.
 * @module
 */
import type { Announcement, Catalog, ResourceRecord } from "../catalog.ts";
import type { RunningDigest } from "../digest.ts";
import { isResourceId, type ResourceStatus, StreamError } from "../protocol.ts";
import type { LogOptions } from "../storage.ts";
import type { QuotaSubject } from "./quota.ts";

/** A record with the newest status, which a running upload has not written to the catalog yet. */
export type ResourceView = ResourceRecord & {
  /** The newest status. */
  status: ResourceStatus;
};

/** The record of a resource that begins now. */
export function newRecord(
  { id, metadata, contextId }: QuotaSubject,
  digest: RunningDigest,
  secretHash: string | null,
  announced: Announcement,
  nowMs: number,
): ResourceRecord {
  return {
    id,
    metadata,
    contextId,
    createdAtMs: nowMs,
    transferStatus: "INITIATED",
    size: 0,
    durableSize: 0,
    lines: metadata.supportsLineAccess ? 0 : null,
    epoch: 1,
    sequence: 0,
    failure: null,
    digest: null,
    digestState: { algorithm: digest.algorithm, byteOffset: 0, state: digest.save() },
    secretHash,
    announced,
    updatedAtMs: nowMs,
    revision: 0,
  };
}

/**
 * The record of a resource.
 * @throws {StreamError} NOT_FOUND.
 */
export async function findRecord(catalog: Catalog, id: string): Promise<ResourceRecord> {
  const record = isResourceId(id) ? await catalog.get(id) : null;
  if (record === null) throw notFound(id);
  return record;
}

/** The status a record shows. */
export function statusOf(record: ResourceRecord): ResourceStatus {
  return {
    transferStatus: record.transferStatus,
    currentSize: record.size,
    numberOfLines: record.lines,
    durableSize: record.durableSize,
    epoch: record.epoch,
    sequence: record.sequence,
    failure: record.failure,
  };
}

/** How the log of a resource is opened. */
export function logOptions(record: ResourceRecord): LogOptions {
  return { lineAccess: record.metadata.supportsLineAccess, epoch: record.epoch };
}

/** There is no such resource. */
export function notFound(id: string): StreamError {
  const shown = id.length > 80 ? `${id.slice(0, 80)}…` : id;
  return new StreamError("NOT_FOUND", `there is no resource ${JSON.stringify(shown)}`);
}
