/**
 * Where a log is in its directory, and how its line break index is written (ARCHITECTURE.md, storage).
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";

/** Length of one entry of the index: a big-endian position. */
export const INDEX_ENTRY_BYTES = 5;

/** Path of a log's data. */
export function logPath(directory: string, id: string): string {
  const hash = createHash("md5").update(id).digest("hex");
  return join(directory, hash.slice(0, 2), hash.slice(2, 4), `${id}.bin`);
}

/** What a file of a log is called where peers hear of it, too: its path below the directory, which is nobody's business. */
export function labelOf(path: string): string {
  return path.split("/").slice(-3).join("/");
}

/** Path of the index beside a log's data. */
export function indexPath(path: string): string {
  return `${path}.idx`;
}

/** Path of what tells when the bytes of a log arrived. */
export function arrivalsPath(path: string): string {
  return `${path}.times`;
}

/** Reads one entry of an index. */
export function decodeEntry(from: Uint8Array, at: number): number {
  const low = from[at + 1] << 24 | from[at + 2] << 16 | from[at + 3] << 8 | from[at + 4];
  return from[at] * 2 ** 32 + (low >>> 0);
}
