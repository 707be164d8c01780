/**
 * Looks at a data directory as it is: which logs there are, and whether a log's index tells the truth.
 * @module
 */
import { mkdir, open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { LineCounter } from "./lines.ts";
import { encodeEntry, INDEX_ENTRY_BYTES, indexPath, logPath } from "./layout.ts";

/** What a log really holds. */
export interface LogFacts {
  /** Bytes of the data file. */
  size: number;
  /** Lines among them, a last one without a line break included. */
  lines: number;
  /** Whether the index names exactly the line breaks; true where none is wanted. */
  indexIsRight: boolean;
}

/** Step of a scan. */
const SCAN_BYTES = 1024 * 1024;

/** A data file that was found. */
export interface FoundLog {
  /** Id in its name. */
  id: string;
  /** Where it is, which need not be where it belongs. */
  path: string;
}

/**
 * All data files in a directory.
 *
 * @param directory Directory of a `FileStorage`.
 */
export async function* findLogs(directory: string): AsyncGenerator<FoundLog, void, void> {
  const hashed = /^[0-9a-f]{2}$/;
  const below = async (path: string) =>
    (await readdir(path)).filter((name) => hashed.test(name)).map((name) => join(path, name));
  for (const first of await below(directory)) {
    for (const second of await below(first)) {
      for (const name of await readdir(second)) {
        if (!name.endsWith(".bin")) continue;
        yield { id: name.slice(0, -".bin".length), path: join(second, name) };
      }
    }
  }
}

/**
 * Reads a whole log.
 *
 * @param directory Directory of a `FileStorage`.
 * @param id Id of the log.
 * @param lineAccess Whether it should have an index.
 * @param each Called with its bytes, in order.
 * @returns What it holds; null when there is no such log.
 */
export async function inspectLog(
  directory: string,
  id: string,
  lineAccess: boolean,
  each: (bytes: Uint8Array) => void,
): Promise<LogFacts | null> {
  const path = logPath(directory, id);
  const data = await open(path, "r").catch(() => null);
  if (data === null) return null;
  const index = lineAccess ? await open(indexPath(path), "r").catch(() => null) : null;
  try {
    const counter = new LineCounter();
    const buffer = new Uint8Array(SCAN_BYTES);
    let indexIsRight = !lineAccess || index !== null;
    for (;;) {
      const { bytesRead } = await data.read(buffer, 0, buffer.length, counter.save().size);
      if (bytesRead === 0) break;
      const bytes = buffer.subarray(0, bytesRead);
      const before = counter.lineBreaks;
      const expected = entriesOf(counter, bytes);
      each(bytes);
      if (index === null) continue;
      const found = new Uint8Array(expected.length);
      const at = before * INDEX_ENTRY_BYTES;
      const read = await index.read(found, 0, found.length, at);
      if (read.bytesRead < found.length || !equal(found, expected)) indexIsRight = false;
    }
    const wanted = counter.lineBreaks * INDEX_ENTRY_BYTES;
    if (index !== null && (await index.stat()).size !== wanted) indexIsRight = false;
    return { size: counter.save().size, lines: counter.lines, indexIsRight };
  } finally {
    await data.close();
    await index?.close();
  }
}

/** Writes the index of a log anew; readers never see half of it. */
export async function rebuildIndex(directory: string, id: string): Promise<void> {
  const path = logPath(directory, id);
  const building = `${indexPath(path)}.new`;
  const counter = new LineCounter();
  const buffer = new Uint8Array(SCAN_BYTES);
  const data = await open(path, "r");
  try {
    await writeFile(building, new Uint8Array(0));
    for (;;) {
      const { bytesRead } = await data.read(buffer, 0, buffer.length, counter.save().size);
      if (bytesRead === 0) break;
      const entries = entriesOf(counter, buffer.subarray(0, bytesRead));
      await writeFile(building, entries, { flag: "a" });
    }
    await rename(building, indexPath(path));
  } finally {
    await data.close();
    await rm(building, { force: true });
  }
}

/** Moves a log that nobody knows out of the way, into `lost+found`. */
export async function setAside(directory: string, { path }: FoundLog): Promise<void> {
  const aside = join(directory, "lost+found");
  await mkdir(aside, { recursive: true });
  for (const file of [path, indexPath(path)]) {
    await rename(file, join(aside, basename(file))).catch(() => {});
  }
}

/** Time since a log was last written, in ms. */
export async function ageMs({ path }: FoundLog): Promise<number> {
  return Date.now() - (await stat(path)).mtimeMs;
}

/** The index entries of the line breaks in the next bytes. */
function entriesOf(counter: LineCounter, bytes: Uint8Array): Uint8Array {
  const found: number[] = [];
  counter.add(bytes, (at) => found.push(at));
  const entries = new Uint8Array(found.length * INDEX_ENTRY_BYTES);
  found.forEach((at, index) => encodeEntry(entries, index * INDEX_ENTRY_BYTES, at));
  return entries;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
