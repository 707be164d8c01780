/**
 * Which part of a resource is read: bytes, lines, the end, or what came since a time; and its way to an output.
 * @module
 */
import { type Download, getLines, type ReadOptions } from "../client.ts";
import { isFinal, StreamError } from "../protocol.ts";
import { type Options, UsageError } from "./command.ts";
import type { Output } from "./output/output.ts";
import type { NamedResource } from "./references.ts";

/** What is to be read. */
export type Selection =
  | { by: "bytes"; from: number; to: number | undefined }
  | { by: "lines"; start: number; count: number }
  | { by: "tail"; count: number }
  | { by: "since"; timeMs: number };
/** What needs no question about times any more. */
export type Located = Exclude<Selection, { by: "since" }>;

/**
 * Where a selection begins: its line, and its first byte.
 * @throws {StreamError} NO_LINE_ACCESS for a resource whose lines are not counted.
 */
export async function located(
  download: Download,
  { reference, ...credentials }: NamedResource,
  selection: Selection,
): Promise<{ selection: Located; firstLine: number }> {
  if (download.status.numberOfLines === null) throw noLineAccess();
  switch (selection.by) {
    case "bytes":
      return { selection, firstLine: 0 };
    case "lines":
      return { selection, firstLine: selection.start };
    case "tail": {
      const { firstLine, from } = await tailStart(download, selection.count);
      return { selection: { by: "bytes", from, to: undefined }, firstLine };
    }
    case "since": {
      const { timeMs } = selection;
      const found = await getLines(reference, { ...credentials, timeMs, count: 0 });
      const { startingLineIndex: firstLine, startOffset: from } = found;
      return { selection: { by: "bytes", from, to: undefined }, firstLine };
    }
  }
}

/**
 * What options select; everything by default.
 * @throws {UsageError} When they select in several ways, or in none that there is.
 */
export function selectionOf(options: Options): Selection {
  const from = options.number("from");
  const to = options.number("to");
  const lines = options.text("lines");
  const tail = options.number("tail");
  const since = options.number("since");
  const ways = [from ?? to, lines, tail, since].filter((way) => way !== undefined);
  if (ways.length > 1) {
    throw new UsageError(
      "--from/--to, --lines, --tail and --since each select by themselves: give one",
    );
  }
  if (since !== undefined) return { by: "since", timeMs: since };
  if (tail !== undefined) return { by: "tail", count: tail };
  if (lines === undefined) {
    if (to !== undefined && to < (from ?? 0)) {
      throw new UsageError(`--to ${to} is before --from ${from}`);
    }
    return { by: "bytes", from: from ?? 0, to };
  }
  const match = /^(\d+):(\d+)$/.exec(lines);
  if (match === null) throw options.wrong("lines", "that is not START:COUNT");
  return { by: "lines", start: Number(match[1]), count: Number(match[2]) };
}

/**
 * Copies what was selected.
 * @param download The resource.
 * @param selection What of it.
 * @param live Whether what is still to come is waited for.
 * @param output Where to.
 * @throws {StreamError} RANGE_NOT_AVAILABLE for a beginning that is not there, and all that a download throws.
 */
export async function copy(
  download: Download,
  selection: Located,
  live: boolean,
  output: Output,
): Promise<void> {
  const end = live ? undefined : download.status.currentSize;
  switch (selection.by) {
    case "bytes": {
      const { from, to = Infinity } = selection;
      const last = Math.min(to, end ?? Infinity);
      if (last < from) throw pastEnd(`byte ${from}`, `${end} bytes`);
      return await copyBytes(download, { from, to: last === Infinity ? undefined : last }, output);
    }
    case "tail": {
      if (!download.locatesLines) {
        const start = Math.max(0, (download.status.numberOfLines ?? 0) - selection.count);
        return await copyText(download, { start, count: Infinity }, live, output);
      }
      const { from } = await tailStart(download, selection.count);
      return await copyBytes(download, { from, to: end }, output);
    }
    case "lines":
      return await copyLines(download, selection, live, output);
  }
}

/** Where the last n lines begin; a line that is not complete yet is not counted. */
async function tailStart(
  download: Download,
  count: number,
): Promise<{ firstLine: number; from: number }> {
  const { numberOfLines, currentSize } = download.status;
  if (count === 0) return { firstLine: numberOfLines ?? 0, from: currentSize };
  const { startingLineIndex, startOffset } = await download.locateLines(-count, 0);
  return { firstLine: startingLineIndex, from: startOffset };
}

async function copyBytes(download: Download, range: ReadOptions, output: Output): Promise<void> {
  const reading = download.read({ ...range, reuseBuffer: true });
  for await (const bytes of reading) await output.write(bytes);
}

async function copyLines(
  download: Download,
  { start, count }: { start: number; count: number },
  live: boolean,
  output: Output,
): Promise<void> {
  if (!download.locatesLines) return await copyText(download, { start, count }, live, output);
  if (live) await linesBeyond(download, start);
  // Read before the lines are located: it may be final a moment later, when more of them are there.
  const { transferStatus } = download.status;
  const { startingLineIndex, linesCount, startOffset, endOffset } = await download.locateLines(
    start,
    count,
  );
  if (startingLineIndex < start) throw pastEnd(`line ${start}`, `${startingLineIndex} lines`);
  if (linesCount === count || !live || isFinal(transferStatus)) {
    return await copyBytes(download, { from: startOffset, to: endOffset }, output);
  }
  let missing = count;
  for await (const bytes of download.read({ from: startOffset, reuseBuffer: true })) {
    const end = endOfLine(bytes, missing);
    await output.write(bytes.subarray(0, end.offset));
    missing -= end.lines;
    if (missing === 0) return;
  }
}

/** Lines from a server that only gives them as text, as they come. */
async function copyText(
  download: Download,
  { start, count }: { start: number; count: number },
  live: boolean,
  output: Output,
): Promise<void> {
  const encoder = new TextEncoder();
  let next = start, available = 0;
  for await (const { numberOfLines, transferStatus } of download.statuses()) {
    if (numberOfLines === null) throw noLineAccess();
    available = numberOfLines;
    const end = Math.min(start + count, available);
    for await (const line of download.lines(next, Math.max(0, end - next))) {
      await output.write(encoder.encode(line));
      next++;
    }
    if (next === start + count || !live || isFinal(transferStatus)) break;
  }
  if (available < start) throw pastEnd(`line ${start}`, `${available} lines`);
}

function noLineAccess(): StreamError {
  return new StreamError(
    "NO_LINE_ACCESS",
    "the resource was uploaded without line access: upload text with push --text",
  );
}

/** Waits until a line begins, or the resource ends. */
async function linesBeyond(download: Download, lineIndex: number): Promise<void> {
  for await (const { numberOfLines, transferStatus } of download.statuses()) {
    if (numberOfLines === null || numberOfLines >= lineIndex || isFinal(transferStatus)) return;
  }
}

/** Where the n-th line ends, or how many lines do in all the bytes. */
function endOfLine(bytes: Uint8Array, n: number): { offset: number; lines: number } {
  let lines = 0;
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) {
    if (++lines === n) return { offset: at + 1, lines };
  }
  return { offset: bytes.length, lines };
}

function pastEnd(what: string, size: string): StreamError {
  return new StreamError("RANGE_NOT_AVAILABLE", `${what} is not there: the resource has ${size}`);
}
