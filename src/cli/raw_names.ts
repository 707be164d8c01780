/**
 * Files whose names are not UTF-8. The runtimes hand such a name over with replacement characters, and Deno can open
 * none; a link whose own name is UTF-8 leads there.
 * @module
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { StreamError } from "../protocol.ts";
import { octal, rawArgument, REPLACED } from "../runtime/raw_words.ts";

/** A path that can be opened. */
export interface ReachablePath extends AsyncDisposable {
  path: string;
}

/** Links $1 to the path whose bytes $2 names in octal. */
const LINK =
  'path=$(printf %b. "$2"); path=${path%.}; case $path in /*) ;; *) path=$PWD/$path ;; ' +
  'esac; exec ln -s -- "$path" "$1"';

/**
 * A path by which the file can be opened that an argument of this process names.
 * @param path The argument as the runtime hands it over.
 * @returns The same path, or a link that is gone when this is disposed of.
 * @throws {StreamError} SOURCE_FAILED for one that no argument names.
 */
export async function reachable(path: string): Promise<ReachablePath> {
  if (!path.includes(REPLACED) || existsSync(path)) {
    return { path, [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  const raw = rawArgument(path);
  if (raw === undefined) {
    const message = `cannot read ${path}: there is no such file, or its name is not UTF-8; ` +
      "such a one has to be an argument itself";
    throw new StreamError("SOURCE_FAILED", message);
  }
  const directory = await mkdtemp(join(tmpdir(), "stream-name-"));
  const link = join(directory, basename(path));
  await promisify(execFile)("sh", ["-c", LINK, "sh", link, octal(raw)]);
  return { path: link, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}
