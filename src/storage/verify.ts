/**
 * Looks at a data directory as it is: which logs there are, and whether a log's index tells the truth.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Dirent } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { LineCounter } from "./line_counter.ts";
import { arrivalsPath, INDEX_ENTRY_BYTES, indexPath, logPath } from "./layout.ts";

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

/** What was found in a data directory. */
export interface FoundFile {
  /** Id in the name of a data file; null for what belongs to no log. */
  id: string | null;
  /** Where it is, which need not be where it belongs. */
  path: string;
}

/** Names of the directories that hold logs, on both levels. */
const LEVEL = /^..$/;
/** What a server keeps beside them. */
const OURS =
  /^((catalog|lock)\.sqlite(-wal|-shm|-journal|-reserve)?|server\.pid|secret\.key|lost\+found|deleted)$/;

/**
 * All data files in a directory, and what is neither that nor an index beside one nor a server's.
 *
 * @param directory Directory of a `FileStorage`.
 */
export function findFiles(directory: string): AsyncGenerator<FoundFile, void, void> {
  return findBelow(directory, 2);
}

async function* findBelow(path: string, levels: number): AsyncGenerator<FoundFile, void, void> {
  const entries = await readdir(path, { withFileTypes: true });
  if (levels === 0) return yield* findIn(path, entries);
  for (const entry of entries) {
    const below = join(path, entry.name);
    if (entry.isDirectory() && LEVEL.test(entry.name)) yield* findBelow(below, levels - 1);
    else if (!OURS.test(entry.name)) yield { id: null, path: below };
  }
}

function* findIn(directory: string, entries: Dirent[]): Generator<FoundFile, void, void> {
  const names = new Set(entries.map(({ name }) => name));
  for (const entry of entries) {
    const { name } = entry;
    const indexOf = /^(.+)\.(?:idx(?:\.new)?|times)$/.exec(name)?.[1];
    if (indexOf?.endsWith(".bin") && names.has(indexOf)) continue;
    const id = entry.isFile() && name.endsWith(".bin") ? name.slice(0, -".bin".length) : null;
    yield { id, path: join(directory, name) };
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
export async function setAside(directory: string, { path }: FoundFile): Promise<void> {
  const aside = join(directory, "lost+found");
  await mkdir(aside, { recursive: true });
  for (const file of [path, indexPath(path), arrivalsPath(path)]) {
    await rename(file, join(aside, basename(file))).catch(() => {});
  }
}

/** Time since a log was last written, in ms; null when it is there no more. */
export async function ageMs({ path }: FoundFile): Promise<number | null> {
  const found = await stat(path).catch(() => null);
  return found === null ? null : Date.now() - found.mtimeMs;
}

/** The index entries of the line breaks in the next bytes. */
function entriesOf(counter: LineCounter, bytes: Uint8Array): Uint8Array {
  const entries: Uint8Array[] = [];
  counter.add(bytes, (found) => entries.push(found.slice()));
  return Buffer.concat(entries);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
