/**
 * One server per data directory.
 *
 * The lock is SQLite's, on an empty database: the system gives it to one process, and takes it from one that
 * dies. A file with a process id does neither: two servers that start at once both find none, and
 * in two containers both may have the same id.
 * @module
 */
import { mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { StreamError } from "../protocol.ts";
import { reasonOf } from "../reasons.ts";

/**
 * Takes a data directory for this process.
 *
 * @param directory The directory; made when missing.
 * @returns Gives it back.
 * @throws {StreamError} CONFLICT while another process holds it; STORAGE_FAILED.
 */
export async function lockDirectory(directory: string): Promise<() => Promise<void>> {
  const holderPath = join(directory, "server.pid");
  try {
    await mkdir(directory, { recursive: true });
    const lockPath = join(directory, "lock.sqlite");
    await keepFromOthers(lockPath);
    const lock = takeLock(lockPath);
    if (lock === null) throw await heldBySomebody(directory, holderPath);
    await writeFile(holderPath, String(process.pid));
    return async () => {
      await rm(holderPath, { force: true });
      lock.close();
    };
  } catch (error) {
    if (error instanceof StreamError) throw error;
    const reason = reasonOf(error);
    throw new StreamError(
      "STORAGE_FAILED",
      `cannot use the data directory ${directory}: ${reason}`,
    );
  }
}

/** Whoever can open the file can hold the lock. */
async function keepFromOthers(path: string): Promise<void> {
  await using file = await open(path, "a", 0o600);
  const { mode } = await file.stat();
  if ((mode & 0o077) !== 0) await file.chmod(0o600);
}

/** Of two that begin at once both could be refused, if neither waited for a moment. */
const WAIT_MS = 300;

/** Null when somebody else has it. */
function takeLock(path: string): DatabaseSync | null {
  const database = new DatabaseSync(path);
  try {
    database.exec(`PRAGMA busy_timeout = ${WAIT_MS}; BEGIN EXCLUSIVE`);
    return database;
  } catch (error) {
    database.close();
    if ((error as Error).message === "database is locked") return null;
    throw error;
  }
}

async function heldBySomebody(directory: string, holderPath: string): Promise<StreamError> {
  const holder = await readFile(holderPath, "utf8").catch(() => "");
  return new StreamError(
    "CONFLICT",
    `the data directory ${directory} belongs to the running process ${holder}: ` +
      `stop it, or give another --data`,
  );
}
