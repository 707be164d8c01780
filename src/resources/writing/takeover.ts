/**
 * Taking an unfinished upload over: its record and its log get a new owner, with the next epoch.
 * @module
 */
import type { Catalog, Owner, ResourceRecord } from "../../catalog.ts";
import { type ResourceStatus, StreamError, toStreamError } from "../../protocol.ts";
import type { LogWriter, Storage } from "../../storage.ts";
import type { SteadyClock } from "../steady_clock.ts";
import { annotationAt } from "../intent.ts";
import { lifeOf, statusOf } from "../status.ts";
import { fenced, isTaken } from "./owned_record.ts";

/** Parts of a takeover. */
export interface TakeoverParts {
  /** Where the log is. */
  storage: Storage;
  /** Where the record is. */
  catalog: Catalog;
  /** The time by which resources age. */
  clock: SteadyClock;
}

/** A log that was taken over. */
export interface TakenLog {
  /** The record as it is now. */
  record: ResourceRecord;
  /** Status that those who follow the log were told. */
  status: ResourceStatus;
  /** The log, opened for its new epoch. */
  writer: LogWriter;
}

/** The log of an upload cannot be opened; a catalog that refuses a claim says nothing of that. */
export class LogRefused extends StreamError {
  /** @param refusal What the storage said. */
  constructor(refusal: unknown) {
    const { code, message } = toStreamError(refusal);
    super(code, message, { cause: refusal });
  }
}

/**
 * Opens the log of an unfinished upload for its next epoch; the log says how much there is.
 *
 * @param parts Where log and record are.
 * @param record The record as it is.
 * @param durableSize Bytes that are known to be on disk.
 * @param owner Whose the upload is then.
 * @throws {LogRefused} NOT_FOUND, FENCED, NOT_READY, STORAGE_FAILED.
 * @throws {StreamError} CONFLICT when the record changed meanwhile, FENCED when somebody else was faster; NOT_READY,
 * STORAGE_FAILED.
 */
export async function takeLog(
  { storage, catalog, clock }: TakeoverParts,
  record: ResourceRecord,
  durableSize: number,
  owner: Owner,
): Promise<TakenLog> {
  const { id, metadata: { supportsLineAccess: lineAccess } } = record;
  // Claimed before it is used: after a failure halfway the next attempt has a greater one.
  const epoch = record.epoch + 1;
  const claim = { epoch, sequence: Math.min(record.sequence, 0) - 1, owner };
  const { revision } = await catalog.update(id, record.revision, claim);
  const { intent } = record;
  const options = { lineAccess, epoch, life: lifeOf(record), whole: intent ?? undefined };
  const writer = await storage.recover(id, options).catch((error) => {
    throw new LogRefused(error);
  });
  try {
    const taken = await catalog.update(id, revision, {
      sequence: 0,
      transferStatus: writer.size === 0 ? "INITIATED" : "IN_PROGRESS",
      size: writer.size,
      durableSize: Math.min(record.durableSize, writer.size),
      lines: lineAccess ? writer.lineBreaks : null,
      ...(intent ? { annotation: annotationAt(record, writer.size), intent: null } : {}),
      updatedAtMs: clock.nowMs,
    });
    const status = { ...statusOf(taken), durableSize: Math.min(durableSize, writer.size) };
    await writer.announce(status);
    return { record: taken, status, writer };
  } catch (error) {
    await writer.close();
    // Whoever claimed again what somebody else has claimed since would lose it to that one again.
    throw await isTaken(catalog, { id, epoch }, error) ? fenced() : error;
  }
}
