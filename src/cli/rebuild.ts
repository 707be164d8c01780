/**
 * Records made anew from data files, after a catalog was lost.
 * @module
 */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import type { Catalog } from "../catalog.ts";
import { guessMimeType } from "../mime.ts";
import { isResourceId, LIMITS, StreamError } from "../protocol.ts";
import { FileStorage } from "../storage/file.ts";
import { indexPath, logPath } from "../storage/layout.ts";
import { inspectLog, rebuildIndex } from "../storage/verify.ts";
import type { FoundLog } from "./unknown_logs.ts";

/** Reason that resources have whose records were made anew: nobody knows what their uploaders meant to send. */
const FAILURE =
  "STORAGE_FAILED: the record was lost, and stream check --rebuild made this one of " +
  "the data file: name, type and context are unknown, and whether it is whole";

/**
 * Makes a record of a log that has none: FAILED, with all its bytes, flushed.
 * @param directory The data directory.
 * @param catalog Where the record goes.
 * @param found The log.
 * @returns Its size in bytes.
 * @throws {StreamError} CONFLICT for a file that can be no resource where it is.
 */
export async function rebuildRecord(
  directory: string,
  catalog: Catalog,
  { id, path }: FoundLog,
): Promise<number> {
  if (!isResourceId(id)) throw conflict("its name is no id of a resource");
  if (path !== logPath(directory, id)) throw conflict("it is not where its id belongs");
  const lineAccess = existsSync(indexPath(path));
  const facts = await inspectLog(directory, id, lineAccess, () => {});
  if (facts === null) throw conflict("it cannot be read");
  const { size } = facts;
  if (size > LIMITS.resourceBytes) throw conflict("it is larger than a resource may be, 1 TiB");
  if (!facts.indexIsRight) await rebuildIndex(directory, id);
  await flush(directory, id, lineAccess);
  const filename = `${id}.${lineAccess ? "log" : "bin"}`;
  await catalog.create({
    id,
    metadata: { filename, mimeType: guessMimeType(filename), supportsLineAccess: lineAccess },
    contextId: null,
    createdAtMs: Math.floor((await stat(path)).mtimeMs),
    transferStatus: "FAILED",
    size,
    durableSize: size,
    lines: lineAccess ? facts.lines : null,
    epoch: 1,
    sequence: 1,
    failure: FAILURE,
    digest: null,
    digestState: null,
    secretHash: null,
    ownedBy: "CONNECTION",
    announced: { size: null, checksum: null },
    owner: null,
    // Their age counts from now on, so that nothing is deleted by it before it was looked at.
    updatedAtMs: Date.now(),
    revision: 0,
  });
  await catalog.sync?.();
  return size;
}

async function flush(directory: string, id: string, lineAccess: boolean): Promise<void> {
  const storage = new FileStorage(directory);
  const log = await storage.recover(id, { lineAccess, epoch: 1 });
  try {
    await log.flush?.();
  } finally {
    await log.close();
  }
}

function conflict(why: string): StreamError {
  return new StreamError("CONFLICT", why);
}
