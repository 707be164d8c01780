/**
 * One resource of a single server into a cluster.
 *
 * A log that is there is gone on with, and never made anew: whatever is cut off, and whoever copies the same resource at
 * the same moment, what one of them proved to be whole stays so. The record is made last, and only if nothing that the id
 * had in the cluster was deleted since the copy was begun.
 * @module
 */
import { Buffer } from "node:buffer";
import { stat } from "node:fs/promises";
import type { Catalog, ResourceRecord } from "../../catalog.ts";
import type { NatsCatalog } from "../../catalog/nats.ts";
import { MESSAGE_BYTES } from "../../cluster/logs.ts";
import { createDigest, DIGEST_VERSION } from "../../digest.ts";
import { isFinal, StreamError, toStreamError } from "../../protocol.ts";
import { annotationAt, lifeOf, restoreDigest } from "../../resources.ts";
import type { LogReader, LogWriter, Storage } from "../../storage.ts";
import { logPath } from "../../storage/layout.ts";

/** The data directory of a single server. */
export interface Source {
  directory: string;
  storage: Storage;
  catalog: Catalog;
}

/** Where nodes keep what they share. */
export interface Destination {
  storage: Storage;
  catalog: NatsCatalog;
}

/**
 * Copies a resource.
 * @param record Its record, in the data directory.
 * @param from The data directory.
 * @param to The cluster.
 * @param count Hears of bytes that were copied.
 * @returns False when it is there already.
 * @throws {StreamError} CONFLICT where the cluster has something else of this id; FENCED where another command goes on
 * with this resource; CHECKSUM_MISMATCH, OFFSET_LOST for one that is damaged; NOT_READY, STORAGE_FAILED.
 */
export async function copyResource(
  record: ResourceRecord,
  from: Source,
  to: Destination,
  count: (byteCount: number) => void,
): Promise<boolean> {
  const { id, contextId } = record;
  const { record: there, sequence } = await to.catalog.look(id);
  if (there !== null) {
    checkSame(there, record);
    return false;
  }
  const isOver = isFinal(record.transferStatus);
  const left = isOver ? record : await asLeft(record, from);
  const log = await own(record, to);
  if (log === null) return await copyResource(record, from, to, count);
  const { epoch, writer } = log;
  try {
    await copyLog(left, from.storage, to.storage, writer, count);
    if (contextId !== null) await copyContext(contextId, from.catalog, to.catalog);
    const lines = isOver || left.lines === null ? left.lines : writer.lineBreaks;
    const copy = { ...left, durableSize: left.size, lines, epoch, owner: null, revision: 0 };
    await to.catalog.create(copy, sequence);
    return true;
  } catch (error) {
    const isLost = ["CONFLICT", "DELETED", "FENCED"].includes(toStreamError(error).code);
    const made = isLost ? await to.catalog.get(id) : null;
    if (made === null) throw error;
    checkSame(made, record);
    // Who resumes it has to come behind this owner of its log.
    if (!isFinal(made.transferStatus) && made.epoch < epoch) {
      await to.catalog.update(id, made.revision, { epoch });
    }
    return false;
  } finally {
    await writer.close();
  }
}

/** @throws {StreamError} CONFLICT where the cluster's record is of another life. */
function checkSame(there: ResourceRecord, { createdAtMs }: ResourceRecord): void {
  if (there.createdAtMs === createdAtMs) return;
  throw new StreamError("CONFLICT", "the cluster has another one of this id");
}

/**
 * Takes over what was copied of a log before, or begins it; whoever else copies it is shut out.
 * @returns Null where it has a record by now, which may be of an upload that runs, and where another life of the id had
 * left a log.
 */
async function own(
  record: ResourceRecord,
  { storage, catalog }: Destination,
): Promise<{ epoch: number; writer: LogWriter } | null> {
  const { id, metadata: { supportsLineAccess: lineAccess } } = record;
  const life = lifeOf(record);
  for (let { epoch } = record;; epoch++) {
    try {
      return { epoch, writer: await storage.recover(id, { lineAccess, epoch, life }) };
    } catch (error) {
      const { code } = toStreamError(error);
      if (code === "NOT_FOUND") {
        try {
          return { epoch, writer: await storage.create(id, { lineAccess, epoch, life }) };
        } catch (refusal) {
          if (toStreamError(refusal).code !== "CONFLICT" || !await catalog.touch(id)) throw refusal;
          if (!await storage.deleteLeft?.(id)) throw refusal;
          return null;
        }
      }
      if (code !== "FENCED") throw error;
      if (await catalog.get(id) !== null) return null;
    }
  }
}

/**
 * Appends what a log does not have yet; all of it is held against the record's digest.
 * @throws {StreamError} CONFLICT where it has something else, CHECKSUM_MISMATCH.
 */
async function copyLog(
  record: ResourceRecord,
  from: Storage,
  to: Storage,
  writer: LogWriter,
  count: (byteCount: number) => void,
): Promise<void> {
  const { id, size, digest: wanted } = record;
  const digest = wanted === null ? null : await createDigest(wanted.algorithm);
  const take = (bytes: Uint8Array) => {
    digest?.update(bytes);
    count(bytes.length);
  };
  const kept = writer.size;
  if (kept > size) throw otherLog();
  const source = await from.openReader(id);
  try {
    if (kept > 0) await compare(source, to, record, kept, take);
    for (let at = kept; at < size;) {
      const bytes = await source.read(at, Math.min(MESSAGE_BYTES, size - at));
      await writer.append(at, [bytes]);
      take(bytes);
      at += bytes.length;
    }
  } finally {
    await source.close();
  }
  if (digest === null || digest.value() === wanted!.value) return;
  throw new StreamError("CHECKSUM_MISMATCH", "its bytes do not have the digest they had");
}

/** Holds what the cluster has of a log against its source. */
async function compare(
  source: LogReader,
  to: Storage,
  record: ResourceRecord,
  size: number,
  take: (bytes: Uint8Array) => void,
): Promise<void> {
  const copy = await to.openReader(record.id, lifeOf(record));
  try {
    for (let at = 0; at < size;) {
      const bytes = await source.read(at, Math.min(MESSAGE_BYTES, size - at));
      if (Buffer.compare(await copy.read(at, bytes.length), bytes) !== 0) throw otherLog();
      take(bytes);
      at += bytes.length;
    }
  } finally {
    await copy.close();
  }
}

function otherLog(): StreamError {
  const message = "the cluster has other bytes of this id, which no record names: " +
    "purge them there first (docs/cluster.md)";
  return new StreamError("CONFLICT", message);
}

/**
 * An upload that was not finished, as its log has it: what a server had told when it was killed its record may not count.
 * @throws {StreamError} OFFSET_LOST where the log lost what it held.
 */
async function asLeft(record: ResourceRecord, from: Source): Promise<ResourceRecord> {
  const { intent } = record;
  const path = logPath(from.directory, record.id);
  const bytes = await stat(path).then(({ size }) => size, () => record.size);
  const isTorn = intent && bytes > intent.byteOffset &&
    bytes < intent.byteOffset + intent.byteCount;
  const size = isTorn ? intent.byteOffset : bytes;
  const { running, doubtfulFrom } = await restoreDigest(from.storage, { ...record, size });
  const digestState = {
    algorithm: running.algorithm,
    byteOffset: size,
    state: running.save(),
    version: DIGEST_VERSION,
    boot: null,
    doubtfulFrom,
    flushed: null,
  };
  return {
    ...record,
    size,
    transferStatus: size === 0 ? "INITIATED" : "IN_PROGRESS",
    digestState,
    ...(intent ? { annotation: annotationAt(record, size), intent: null } : {}),
  };
}

async function copyContext(id: string, from: Catalog, to: Catalog): Promise<void> {
  const context = await from.getContext(id);
  if (context === null) return;
  await to.createContext(id, context.attributes);
  if (context.closedAtMs !== null) await to.closeContext(id);
}
