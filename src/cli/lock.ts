/**
 * One server per data directory: a file that names the process which holds it.
 * @module
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { StreamError } from "../protocol.ts";

/**
 * Takes a data directory for this process.
 *
 * @param directory The directory; made when missing.
 * @returns Gives it back.
 * @throws {StreamError} CONFLICT while another process that lives holds it; STORAGE_FAILED.
 */
export async function lockDirectory(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, "server.lock");
  try {
    await mkdir(directory, { recursive: true });
    await removeStale(path, directory);
    await writeFile(path, String(process.pid), { flag: "wx" });
  } catch (error) {
    if (error instanceof StreamError) throw error;
    const reason = (error as Error).message;
    throw new StreamError(
      "STORAGE_FAILED",
      `cannot use the data directory ${directory}: ${reason}`,
    );
  }
  return () => rm(path, { force: true });
}

async function removeStale(path: string, directory: string): Promise<void> {
  const holder = Number(await readFile(path, "utf8").catch(() => ""));
  // In a container every server has the same process id: a file with our own is an older server's.
  if (holder > 0 && holder !== process.pid && isAlive(holder)) {
    throw new StreamError(
      "CONFLICT",
      `the data directory ${directory} belongs to the running process ${holder}: stop it, or give another --data`,
    );
  }
  await rm(path, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}
