/**
 * Logs that no record names: what a lost catalog leaves behind.
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Catalog } from "../catalog.ts";
import type { ServerLog } from "../server.ts";
import { logPath } from "../storage/layout.ts";
import { findFiles, type FoundFile } from "../storage/verify.ts";

/** A data file of a directory. */
export type FoundLog = FoundFile & { id: string };

/** More than these are not counted at a start. */
const MOST_COUNTED = 100_000;

/** Path of the catalog in a data directory. */
export function catalogPath(directory: string): string {
  return join(directory, "catalog.sqlite");
}

/**
 * Data files that no record names, or that are not where their record would look for them.
 * @param directory The data directory.
 * @param catalog Its records.
 */
export async function* unknownLogs(
  directory: string,
  catalog: Catalog,
): AsyncGenerator<FoundLog, void, void> {
  for await (const { id, path } of findFiles(directory)) {
    if (id !== null && !await isKnown(directory, catalog, { id, path })) yield { id, path };
  }
}

/** Whether a record names a data file. */
export async function isKnown(
  directory: string,
  catalog: Catalog,
  { id, path }: FoundLog,
): Promise<boolean> {
  return path === logPath(directory, id) && await catalog.get(id) !== null;
}

/**
 * Whether the write-ahead log of a catalog must have been lost: a server that was killed leaves it behind. To be asked
 * before the catalog is opened, and before the directory is taken.
 * @param directory The data directory.
 */
export function hasLostUpdates(directory: string): boolean {
  return existsSync(join(directory, "server.pid")) && !existsSync(`${catalogPath(directory)}-wal`);
}

/**
 * Says it loudly when a catalog that is empty, or lost updates, does not know all data files.
 * @param directory The data directory.
 * @param catalog Its records.
 * @param log Hears of it.
 * @param lostUpdates Whether the write-ahead log was lost; without that only an empty catalog is looked at.
 */
export async function warnOfLostRecords(
  directory: string,
  catalog: Catalog,
  log: ServerLog,
  lostUpdates: boolean,
): Promise<void> {
  const isEmpty = (await catalog.list({ limit: 1 })).length === 0;
  if (!isEmpty && !lostUpdates) return;
  let count = 0;
  for await (const _ of unknownLogs(directory, catalog)) if (++count === MOST_COUNTED) break;
  if (count === 0) return;
  const files = count === MOST_COUNTED ? `${count} data files or more` : `${count} data files`;
  const what = isEmpty ? "the catalog is empty" : "the catalog lost its newest updates";
  log.error("records are missing", {
    message: `${what}, and ${files} have no record: nobody can read them. Stop the server, put ` +
      `catalog.sqlite and catalog.sqlite-wal back from a backup, or run ` +
      `stream check --rebuild --data ${directory} (docs/durability.md)`,
  });
}
