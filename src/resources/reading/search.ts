/**
 * Searches the lines of a resource for a text or a regular expression, in bounded memory and linear time.
 *
 * Bytes are looked at as Latin-1 text, a character a byte: both runtimes find text in strings faster than
 * bytes in arrays, and positions stay byte offsets (ARCHITECTURE.md, search).
 * @module
 */
import { Buffer } from "node:buffer";
import type { SearchEnd, SearchMatch, SearchProgress } from "../../protocol.ts";
import { STEPS, STEPS_MS } from "../../turn.ts";
import { readExactly } from "./lines.ts";
import type { Finder, Span } from "./pattern.ts";
import type { Resource } from "./resource.ts";

const LINE_BREAK = 10;
const CARRIAGE_RETURN = 13;
/** Read at once; the longest step without a look at the clock, where nothing matches. */
const WINDOW_BYTES = 128 * 1024;
/** Text of one match; what people read of a line. */
const TEXT_BYTES = 4096;

/** Where a search begins and when it ends at the latest. */
export interface SearchBounds {
  /** First line; negative from the end. */
  from: number;
  /** Line behind the last one; what is there by default. */
  to?: number;
  /** Matches at most. */
  limit: number;
  /** Time at most, in ms. */
  budgetMs: number;
  /** Longest time without a word of how far it has come, in ms; never such a word by default. */
  progressMs?: number;
}

/**
 * Searches what is there now.
 *
 * @param resource The resource.
 * @param finder What is looked for.
 * @param bounds Where it begins and ends.
 * @param signal Ends it.
 * @returns Matches in the order of lines, some at a time, and how it ended.
 * @throws {StreamError} NO_LINE_ACCESS, LINES_NOT_AVAILABLE; the signal's reason.
 */
export function search(
  resource: Resource,
  finder: Finder,
  bounds: SearchBounds,
  signal: AbortSignal,
): AsyncGenerator<(SearchMatch | SearchProgress)[], SearchEnd, void> {
  return new Search(resource, finder, bounds, signal).run();
}

/** A window of a log that begins with a line, or within a long one. */
interface Window {
  byteOffset: number;
  bytes: Uint8Array;
  /** The same, a character a byte. */
  text: string;
}

/** One search. */
class Search {
  readonly #deadlineMs: number;
  #sliceEndMs: number;
  #left: number;
  #toldMs: number;
  /** The line looked at. */
  #line = 0;
  #partialLines = 0;
  /** Whether the next window begins within a line. */
  #inside = false;

  constructor(
    private readonly resource: Resource,
    private readonly finder: Finder,
    private readonly bounds: SearchBounds,
    private readonly signal: AbortSignal,
  ) {
    const nowMs = performance.now();
    this.#deadlineMs = nowMs + bounds.budgetMs;
    this.#sliceEndMs = nowMs + STEPS_MS;
    this.#left = bounds.limit;
    this.#toldMs = nowMs;
  }

  async *run(): AsyncGenerator<(SearchMatch | SearchProgress)[], SearchEnd, void> {
    const all = this.resource.status.numberOfLines ?? 0;
    const { from, to = all } = this.bounds;
    const lines = Math.min(all, to);
    this.#line = from < 0 ? Math.max(0, all + from) : from;
    let at = await this.resource.lineStart(this.#line);
    const end = await this.resource.lineStart(Math.max(lines, this.#line));
    while (at < end) {
      const bytes = await readExactly(this.resource, at, Math.min(WINDOW_BYTES, end - at));
      const isLast = at + bytes.length === end;
      const whole = isLast ? bytes.length : bytes.lastIndexOf(LINE_BREAK) + 1;
      const matches: SearchMatch[] = [];
      const before = this.#line;
      if (whole > 0) await this.#searchLines(windowOf(at, bytes.subarray(0, whole)), matches);
      at = whole > 0 ? at + whole : await this.#searchPiece(windowOf(at, bytes), matches);
      this.#inside = this.#line === before;
      if (matches.length > 0) yield matches;
      if (performance.now() > this.#sliceEndMs) await this.#pause();
      if (this.#isProgressDue()) yield [{ searchedLines: this.#line }];
      if (this.#isOver()) break;
    }
    if (this.#inside) this.#skipLine();
    const truncated = this.#line < lines;
    return { nextLine: this.#line, truncated, partialLines: this.#partialLines };
  }

  #isProgressDue(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#toldMs < (this.bounds.progressMs ?? Infinity)) return false;
    this.#toldMs = nowMs;
    return true;
  }

  #isOver(): boolean {
    return this.#left === 0 || performance.now() > this.#deadlineMs;
  }

  async #pause(): Promise<void> {
    await STEPS.next("searches");
    this.signal.throwIfAborted();
    this.#sliceEndMs = performance.now() + STEPS_MS;
  }

  /** Looks at whole lines, but for the first, which may have begun before; ends early when the search is over. */
  async #searchLines(window: Window, matches: SearchMatch[]): Promise<void> {
    const { text } = window;
    let counted = 0;
    for (let at = 0; at < text.length;) {
      const candidate = this.finder.candidate(text, at);
      if (candidate === -1) break;
      const start = candidate === 0 ? 0 : text.lastIndexOf("\n", candidate - 1) + 1;
      const lineBreak = text.indexOf("\n", candidate);
      const end = lineBreak === -1 ? text.length : lineBreak;
      this.#line += lineBreaksIn(text, counted, start);
      counted = start;
      this.#look(window, start, end, candidate, matches);
      at = end + 1;
      if (performance.now() > this.#sliceEndMs) await this.#pause();
      if (this.#isOver()) {
        this.#line += 1;
        return;
      }
    }
    this.#line += lineBreaksIn(text, counted, text.length);
    // The last line of a finished resource may have no line break.
    if (!text.endsWith("\n")) this.#line++;
  }

  /**
   * Looks at a piece of a line that is longer than a window.
   * @returns Where the next window begins.
   */
  async #searchPiece(window: Window, matches: SearchMatch[]): Promise<number> {
    const { byteOffset, text } = window;
    const { overlapBytes } = this.finder;
    const candidate = this.finder.candidate(text, 0);
    if (candidate !== -1) this.#look(window, 0, text.length, candidate, matches);
    if (matches.length === 0 && overlapBytes !== null) {
      return byteOffset + text.length - overlapBytes;
    }
    if (candidate === -1) this.#partialLines++;
    return await this.resource.lineStart(++this.#line);
  }

  /** The time was over within a line: the next search must not end there, too. */
  #skipLine(): void {
    this.#line++;
    this.#partialLines++;
  }

  /** Looks at one line of a window. */
  #look(window: Window, start: number, end: number, candidate: number, to: SearchMatch[]): void {
    const bytes = window.bytes.subarray(start, endOfText(window.bytes, start, end));
    const span = this.finder.match(bytes, candidate - start);
    if (span === null) {
      if (bytes.length > this.finder.lineBytes) this.#partialLines++;
      return;
    }
    this.#left--;
    const [first, last] = excerpt(bytes, span);
    to.push({
      line: this.#line,
      offset: window.byteOffset + start + span.start,
      length: span.end - span.start,
      text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(first, last)),
      textOffset: window.byteOffset + start + first,
      cut: last - first < bytes.length || this.#inside && start === 0,
    });
  }
}

function windowOf(byteOffset: number, bytes: Uint8Array): Window {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  return { byteOffset, bytes, text };
}

function lineBreaksIn(text: string, start: number, end: number): number {
  let count = 0;
  for (let at = text.indexOf("\n", start); at !== -1 && at < end; at = text.indexOf("\n", at + 1)) {
    count++;
  }
  return count;
}

/** Where the text of a line ends: before its line break, CRLF included. */
function endOfText(bytes: Uint8Array, start: number, end: number): number {
  const isBroken = end < bytes.length && end > start && bytes[end - 1] === CARRIAGE_RETURN;
  return isBroken ? end - 1 : end;
}

/** The part of a line that shows a match. */
function excerpt(bytes: Uint8Array, { start, end }: Span): [start: number, end: number] {
  if (bytes.length <= TEXT_BYTES) return [0, bytes.length];
  const aroundBytes = Math.max(0, TEXT_BYTES - (end - start));
  const wanted = Math.max(0, start - Math.floor(aroundBytes / 2));
  const first = Math.min(wanted, bytes.length - TEXT_BYTES);
  return [characterStart(bytes, first), characterStart(bytes, first + TEXT_BYTES)];
}

/** The first character of UTF-8 that begins there or behind. */
function characterStart(bytes: Uint8Array, at: number): number {
  const last = Math.min(at + 3, bytes.length);
  while (at < last && (bytes[at] & 0xc0) === 0x80) at++;
  return at;
}
