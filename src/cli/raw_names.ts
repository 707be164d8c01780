/**
 * Files whose names are not UTF-8. The runtimes hand such a name over with replacement characters, and Deno can open
 * none; a link whose own name is UTF-8 leads there.
 * @module
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";

/** A path that can be opened. */
export interface ReachablePath extends AsyncDisposable {
  path: string;
}

/** Links $1 to the path whose bytes $2 names in octal. */
const LINK = 'path=$(printf "$2."); path=${path%.}; case $path in /*) ;; *) path=$PWD/$path ;; ' +
  'esac; exec ln -s -- "$path" "$1"';

/**
 * A path by which the file can be opened that an argument of this process names.
 * @param path The argument as the runtime hands it over.
 * @returns The same path, or a link that is gone when this is disposed of.
 */
export async function reachable(path: string): Promise<ReachablePath> {
  const raw = path.includes("\ufffd") && !existsSync(path) ? rawArgument(path) : undefined;
  if (raw === undefined) return { path, [Symbol.asyncDispose]: () => Promise.resolve() };
  const directory = await mkdtemp(join(tmpdir(), "stream-name-"));
  const link = join(directory, basename(path));
  const octal = [...raw].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  await promisify(execFile)("sh", ["-c", LINK, "sh", link, octal]);
  return { path: link, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

/** The bytes of an argument, where the system tells them. */
function rawArgument(text: string): Uint8Array | undefined {
  let line: Uint8Array;
  try {
    line = readFileSync("/proc/self/cmdline");
  } catch {
    return undefined;
  }
  const decoder = new TextDecoder();
  for (let at = 0; at < line.length;) {
    const end = line.indexOf(0, at);
    const word = line.subarray(at, end < 0 ? line.length : end);
    if (decoder.decode(word) === text) return word;
    at += word.length + 1;
  }
  return undefined;
}
