/**
 * Brings a log to where it belongs, so that at every moment it is whole somewhere.
 * @module
 */
import { existsSync } from "node:fs";
import { copyFile, link, mkdir, rename, rm, rmdir, stat, unlink, utimes } from "node:fs/promises";
import { dirname } from "node:path";
import { StreamError } from "../protocol.ts";
import { arrivalsPath, indexPath } from "./layout.ts";

/**
 * Gives a log and its index a second name where it belongs, or copies them where the file system cannot
 * do that. The first name stays until {@link dropOriginal}.
 *
 * @param from Path of the data.
 * @param to Path it should have.
 * @param copy Whether it is copied in any case.
 * @returns What was done; null when an earlier run did it already.
 * @throws {StreamError} CONFLICT when another file has that path, or when the data grows meanwhile.
 */
export async function bringLog(
  from: string,
  to: string,
  copy: boolean,
): Promise<"linked" | "copied" | null> {
  const [original, there] = await Promise.all([stat(from), stat(to).catch(() => null)]);
  const isSame = there?.size === original.size && wholeMs(there) === wholeMs(original);
  if (there !== null && !isSame) {
    throw new StreamError("CONFLICT", `there is another file at ${to}`);
  }
  await mkdir(dirname(to), { recursive: true });
  if (existsSync(indexPath(from)) && !existsSync(indexPath(to))) {
    await bringFile(indexPath(from), indexPath(to), copy);
  }
  return there === null ? await bringFile(from, to, copy) : null;
}

/**
 * Takes the first name from a log that {@link bringLog} gave a second one; a log that was copied keeps its original.
 *
 * @param from Path of the data before.
 * @param to Path of the data now.
 */
export async function dropOriginal(from: string, to: string): Promise<void> {
  // One name that is spelled in two ways must not be taken for two.
  if (await isSameFile(dirname(from), dirname(to)) || !await isSameFile(from, to)) return;
  await rm(indexPath(from), { force: true });
  // Times are known where they were noted only.
  await rm(arrivalsPath(from), { force: true });
  await unlink(from);
  for (const directory of [dirname(from), dirname(dirname(from))]) {
    await rmdir(directory).catch(() => {});
  }
}

async function bringFile(from: string, to: string, copy: boolean): Promise<"linked" | "copied"> {
  if (!copy && await link(from, to).then(() => true, () => false)) return "linked";
  const copying = `${to}.new`;
  try {
    const before = await stat(from);
    await copyFile(from, copying);
    if ((await stat(copying)).size !== before.size) {
      throw new StreamError("CONFLICT", `${from} is being written`);
    }
    const writtenAt = new Date(wholeMs(before));
    await utimes(copying, writtenAt, writtenAt);
    await rename(copying, to);
    return "copied";
  } finally {
    await rm(copying, { force: true });
  }
}

/** Time of the last write as precisely as a copy can keep it. */
function wholeMs({ mtimeMs }: { mtimeMs: number }): number {
  return Math.floor(mtimeMs);
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([stat(a), stat(b)]);
  return first.dev === second.dev && first.ino === second.ino;
}
