/**
 * Windows of lines out of a resource, page by page (PROTOCOL.md 4.3).
 * @module
 */
import { type LinePosition, StreamError } from "../../protocol.ts";
import type { Resource } from "./resource.ts";

const LINE_BREAK = 10;

/** One page of lines. */
export interface LinePage {
  /** Text of the lines, each with its line break; the first and the last may be pieces of a line. */
  lines: string[];
  /** Where the next page begins; null when the window ends here. */
  next: LinePosition | null;
}

/** Limits of a page. */
export interface PageLimits {
  /** Lines of the window, from its first. */
  linesCount: number;
  /** Bytes of text in one page. */
  pageBytes: number;
  /** Lines in one page. */
  pageLines: number;
}

/**
 * Reads one page of lines; a line longer than a page comes in pieces, cut between characters.
 *
 * @param resource The resource.
 * @param from Where the page begins.
 * @param limits What it may hold.
 * @returns The page; lines that are not there yet end the window.
 * @throws {StreamError} NO_LINE_ACCESS, LINES_NOT_AVAILABLE.
 */
export async function readLinePage(
  resource: Resource,
  from: LinePosition,
  limits: PageLimits,
): Promise<LinePage> {
  const available = resource.status.numberOfLines ?? 0;
  const windowEnd = Math.min(from.lineIndex + limits.linesCount, available);
  const lastLine = Math.min(windowEnd, from.lineIndex + limits.pageLines);
  const lineStart = await resource.lineStart(from.lineIndex);
  if (lastLine <= from.lineIndex) return { lines: [], next: null };
  const start = lineStart + from.byteOffset;
  const end = await resource.lineStart(lastLine);
  if (from.byteOffset > 0 && start >= await resource.lineStart(from.lineIndex + 1)) {
    throw new StreamError(
      "LINES_NOT_AVAILABLE",
      `byte ${from.byteOffset} of line ${from.lineIndex} is past its end`,
    );
  }
  const bytes = await readExactly(resource, start, Math.min(end - start, limits.pageBytes));
  if (start + bytes.length === end) {
    const next = lastLine < windowEnd ? { lineIndex: lastLine, byteOffset: 0 } : null;
    const lines = splitLines(bytes);
    if (lines.length !== lastLine - from.lineIndex) throw miscounted(resource, from, lastLine);
    return { lines, next };
  }
  return cutPage(bytes, from);
}

function miscounted({ id }: Resource, { lineIndex }: LinePosition, end: number): StreamError {
  return new StreamError(
    "INDEX_DAMAGED",
    `the line index of ${id} is damaged between lines ${lineIndex} and ${end}: stream check --repair builds it anew`,
  );
}

/** A page that is full before its last line: whole lines or, if not even one fits, a piece of it. */
function cutPage(bytes: Uint8Array, from: LinePosition): LinePage {
  const end = bytes.lastIndexOf(LINE_BREAK) + 1;
  if (end > 0) {
    const lines = splitLines(bytes.subarray(0, end));
    return { lines, next: { lineIndex: from.lineIndex + lines.length, byteOffset: 0 } };
  }
  // A page that cannot hold even one character goes on with what it has.
  const piece = bytes.subarray(0, wholeCharacters(bytes) || bytes.length);
  const byteOffset = from.byteOffset + piece.length;
  return { lines: splitLines(piece), next: { lineIndex: from.lineIndex, byteOffset } };
}

/** Length of bytes without a character of UTF-8 that is cut at their end. */
export function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= 4 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back];
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return back < length ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/** Where lines are. */
export interface LineWindow {
  /** Index of the first line. */
  startingLineIndex: number;
  /** Number of lines. */
  linesCount: number;
  /** Where the first line begins. */
  startOffset: number;
  /** Where the last line ends. */
  endOffset: number;
}

/**
 * Finds lines, as far as they are there.
 *
 * @param resource The resource.
 * @param start Index of the first line; negative from the end.
 * @param count Number of lines.
 * @throws {StreamError} NO_LINE_ACCESS.
 */
export async function locateLines(
  resource: Resource,
  start: number,
  count: number,
): Promise<LineWindow> {
  const available = resource.status.numberOfLines ?? 0;
  const first = Math.min(start < 0 ? Math.max(0, available + start) : start, available);
  const last = Math.min(first + count, available);
  return {
    startingLineIndex: first,
    linesCount: last - first,
    startOffset: await resource.lineStart(first),
    endOffset: await resource.lineStart(last),
  };
}

/**
 * The line that holds a byte.
 *
 * @param resource The resource.
 * @param byteOffset The byte.
 * @param first A line that begins there or before.
 * @param last A line that begins behind.
 */
export async function lineAt(
  resource: Resource,
  byteOffset: number,
  first: number,
  last: number,
): Promise<LinePosition> {
  while (last - first > 1) {
    const middle = Math.floor((first + last) / 2);
    if (await resource.lineStart(middle) <= byteOffset) first = middle;
    else last = middle;
  }
  return { lineIndex: first, byteOffset: byteOffset - await resource.lineStart(first) };
}

/** Reads bytes that the newest status shows, in one piece. */
export async function readExactly(
  resource: Resource,
  byteOffset: number,
  byteCount: number,
): Promise<Uint8Array> {
  const first = await resource.read(byteOffset, byteCount);
  if (first.length === byteCount) return first;
  const bytes = new Uint8Array(byteCount);
  bytes.set(first);
  for (let filled = first.length; filled < byteCount;) {
    const piece = await resource.read(byteOffset + filled, byteCount - filled);
    bytes.set(piece, filled);
    filled += piece.length;
  }
  return bytes;
}

/** Decoded at once: a line break is a character of its own, whatever malformed bytes stand before it. */
function splitLines(bytes: Uint8Array): string[] {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  const lines: string[] = [];
  for (let start = 0; start < text.length;) {
    const end = text.indexOf("\n", start) + 1 || text.length;
    lines.push(text.slice(start, end));
    start = end;
  }
  return lines;
}
