/**
 * Files of a push that is given several, or directories.
 * @module
 */
import { lstat, readdir, stat } from "node:fs/promises";
import { basename, join, matchesGlob, resolve } from "node:path";
import { StreamError } from "../../protocol.ts";
import { REPLACED } from "../../runtime/raw_words.ts";

/** Files of one push, at most; each is a resource. */
const MAX_FILES = 10_000;

/** A file to push. */
export interface PushedFile {
  /** Where it is. */
  path: string;
  /** Name of its resource: that of the file, behind those of the folders within the directory that was given. */
  name: string;
}

/** Tells whether a path is a directory; one that is not there is none. */
export async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then((found) => found.isDirectory(), () => false);
}

/**
 * The files that are meant.
 *
 * @param paths Files and directories.
 * @param include Patterns of names that are taken from directories, such as `*.log`; all if there is none.
 * @param leftOut Hears of what is in a directory and cannot be read as a file, and why.
 * @returns The files, those of a directory in the order of their names; a directory that cannot be read is one of them.
 * @throws {StreamError} BAD_REQUEST for too many files, SOURCE_FAILED for none.
 */
export async function filesOf(
  paths: readonly string[],
  include: readonly string[],
  leftOut: (path: string, reason: string) => void,
): Promise<PushedFile[]> {
  const files: PushedFile[] = [];
  for (const path of paths) {
    if (!await isDirectory(path)) files.push({ path, name: basename(path) });
    else await addFiles(path, basename(resolve(path)), { include, leftOut }, files);
  }
  if (files.length === 0) {
    throw new StreamError("SOURCE_FAILED", `no file to push is in ${paths.join(", ")}`);
  }
  return files;
}

/** What is taken from directories, and who hears of what is not. */
interface Wanted {
  include: readonly string[];
  leftOut(path: string, reason: string): void;
}

async function addFiles(
  directory: string,
  name: string,
  wanted: Wanted,
  files: PushedFile[],
): Promise<void> {
  const entries = await readdir(directory).catch(() => null);
  // Pushed like a file it fails by itself, and the others are pushed.
  if (entries === null) return void files.push({ path: directory, name });
  for (const entry of entries.sort()) {
    const file = { path: join(directory, entry), name: `${name}/${entry}` };
    const found = await stat(file.path).catch(() => null);
    if (found?.isDirectory()) {
      // It may lead back to where it is.
      if (await isLink(file.path)) wanted.leftOut(file.path, "a link to a directory");
      else await addFiles(file.path, file.name, wanted, files);
    } else if (isIncluded(entry, wanted.include)) {
      // One whose name is not UTF-8 is not found by the name that the runtimes tell, and fails like that.
      if (found?.isFile() || found === null && entry.includes(REPLACED)) files.push(file);
      else wanted.leftOut(file.path, found === null ? "a link to nothing" : "no regular file");
    }
    if (files.length > MAX_FILES) {
      throw new StreamError("BAD_REQUEST", `${directory} has more than ${MAX_FILES} files`);
    }
  }
}

async function isLink(path: string): Promise<boolean> {
  return (await lstat(path)).isSymbolicLink();
}

function isIncluded(name: string, include: readonly string[]): boolean {
  return include.length === 0 || include.some((pattern) => matchesGlob(name, pattern));
}
