/**
 * Records and contexts as rows.
 * @module
 */
import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import type { Intent, Ownership, ResourceRecord, UploadContext } from "../../catalog.ts";
import type { DigestAlgorithm, Outcome, TransferStatus } from "../../protocol.ts";
import type { Key } from "../matching.ts";

/** Columns of a record, in their order. */
export const COLUMNS = [
  "id",
  "filename",
  "mime_type",
  "line_access",
  "context_id",
  "created_at",
  "transfer_status",
  "size",
  "lines",
  "epoch",
  "sequence",
  "failure",
  "digest_algorithm",
  "digest_value",
  "state_algorithm",
  "state_offset",
  "state",
  "secret_hash",
  "updated_at",
  "revision",
  "announced_size",
  "announced_checksum",
  "durable_size",
  "owner_node",
  "owner_until",
  "exit_code",
  "exit_signal",
  "annotation",
  "state_version",
  "state_boot",
  "doubtful_from",
  "owned_by",
  "intent",
  "flushed_offset",
  "flushed_state",
];

/** Values of a row by the names of its columns. */
export type Row = Record<string, SQLInputValue>;

/** The place of a row in a list. */
export function keyOf({ id, created_at }: Record<string, SQLOutputValue>): Key {
  return { id: String(id), createdAtMs: Number(created_at) };
}

/** A record as a row. */
export function toRow(record: ResourceRecord): Row {
  return {
    id: record.id,
    filename: record.metadata.filename,
    mime_type: record.metadata.mimeType,
    line_access: record.metadata.supportsLineAccess ? 1 : 0,
    context_id: record.contextId,
    created_at: record.createdAtMs,
    transfer_status: record.transferStatus,
    size: record.size,
    lines: record.lines,
    epoch: record.epoch,
    sequence: record.sequence,
    failure: record.failure,
    digest_algorithm: record.digest?.algorithm ?? null,
    digest_value: record.digest?.value ?? null,
    state_algorithm: record.digestState?.algorithm ?? null,
    state_offset: record.digestState?.byteOffset ?? null,
    state: record.digestState?.state ?? null,
    secret_hash: record.secretHash,
    updated_at: record.updatedAtMs,
    revision: record.revision,
    announced_size: record.announced.size,
    announced_checksum: record.announced.checksum,
    durable_size: record.durableSize,
    owner_node: record.owner?.node ?? null,
    owner_until: finiteOrNull(record.owner?.untilMs),
    exit_code: record.outcome?.exitCode ?? null,
    exit_signal: record.outcome?.signal ?? null,
    annotation: record.annotation ?? null,
    state_version: record.digestState?.version ?? null,
    state_boot: record.digestState?.boot ?? null,
    doubtful_from: record.digestState?.doubtfulFrom ?? null,
    owned_by: record.ownedBy,
    intent: record.intent ? JSON.stringify(record.intent) : null,
    flushed_offset: record.digestState?.flushed?.byteOffset ?? null,
    flushed_state: record.digestState?.flushed?.state ?? null,
  };
}

/** What differs in the row of a record that was changed: each index is written anew of which a column is set, changed or not. */
export function changesIn(before: ResourceRecord, after: ResourceRecord): Row {
  const was = toRow(before);
  return Object.fromEntries(
    Object.entries(toRow(after)).filter(([column, value]) => value !== was[column]),
  );
}

/** What an UPDATE sets. */
export function assignmentsOf(row: Row): string {
  return Object.keys(row).map((column) => `${column} = :${column}`).join(", ");
}

/** A row as a record. */
export function fromRow(row: Record<string, SQLOutputValue>): ResourceRecord {
  return {
    id: String(row.id),
    metadata: {
      filename: String(row.filename),
      mimeType: String(row.mime_type),
      supportsLineAccess: row.line_access === 1,
    },
    contextId: row.context_id as string | null,
    createdAtMs: Number(row.created_at),
    transferStatus: row.transfer_status as TransferStatus,
    size: Number(row.size),
    lines: row.lines as number | null,
    epoch: Number(row.epoch),
    sequence: Number(row.sequence),
    failure: row.failure as string | null,
    ...outcomeIn(row),
    digest: row.digest_algorithm === null ? null : {
      algorithm: row.digest_algorithm as DigestAlgorithm,
      value: String(row.digest_value),
    },
    digestState: row.state_algorithm === null ? null : {
      algorithm: row.state_algorithm as DigestAlgorithm,
      byteOffset: Number(row.state_offset),
      state: row.state as Uint8Array,
      version: row.state_version as string | null,
      boot: row.state_boot as string | null,
      doubtfulFrom: row.doubtful_from as number | null,
      flushed: row.flushed_offset === null ? null : {
        byteOffset: Number(row.flushed_offset),
        state: row.flushed_state as Uint8Array,
      },
    },
    secretHash: row.secret_hash as string | null,
    announced: {
      size: row.announced_size as number | null,
      checksum: row.announced_checksum as string | null,
    },
    ownedBy: row.owned_by as Ownership,
    ...(row.annotation === null ? {} : { annotation: String(row.annotation) }),
    ...(row.intent === null ? {} : { intent: JSON.parse(String(row.intent)) as Intent }),
    durableSize: Number(row.durable_size),
    owner: row.owner_node === null ? null : {
      node: String(row.owner_node),
      untilMs: row.owner_until === null ? Infinity : Number(row.owner_until),
    },
    updatedAtMs: Number(row.updated_at),
    revision: Number(row.revision),
  };
}

/** Nothing where the uploader did not tell. */
function outcomeIn(
  { exit_code, exit_signal }: Record<string, SQLOutputValue>,
): { outcome?: Outcome } {
  const [exitCode, signal] = [exit_code as number | null, exit_signal as string | null];
  return exitCode === null && signal === null ? {} : { outcome: { exitCode, signal } };
}

/** A column of integers has no Infinity. */
function finiteOrNull(value: number | undefined): number | null {
  return value === undefined || value === Infinity ? null : value;
}

/** A row as an upload context. */
export function contextFromRow(row: Row): UploadContext {
  return {
    id: String(row.id),
    createdAtMs: Number(row.created_at),
    closedAtMs: row.closed_at as number | null,
    attributes: JSON.parse(String(row.attributes)),
  };
}
