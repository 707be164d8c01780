/**
 * A window of lines, never the text: what is on screen and near it, read as it is wanted.
 * @module
 */
import { lastWritten, withoutBreak } from "./terminal.ts";
import type { LineRange } from "./row_map.ts";

/** A line as it is kept. */
export interface CachedLine {
  /** Its text without the line break; of a long one the beginning. */
  text: string;
  /** Of a long one that writes over itself the end: what a terminal shows of it. */
  end?: string;
  /** Bytes of a line that is not kept as a whole; null for all others. */
  longBytes: number | null;
  /** When it arrived, in ms since 1970; null where nobody knows, missing where nobody asked. */
  timeMs?: number | null;
  /** Whether it may be another one by now. */
  isDoubtful?: boolean;
}

/** Some lines as the server gave them; the last may be a piece of its line. */
export interface LoadedLines {
  lines: readonly string[];
  next: { lineIndex: number; byteOffset: number } | null;
  /** Lines that were asked for and exist. */
  linesCount: number;
  startOffset: number;
  endOffset: number;
  /** When each arrived, if that was asked for. */
  times?: readonly (number | null)[];
  /** Life of the resource that they are of. */
  life?: string;
  /** Of a single line of which only a piece came the end, if it writes over itself. */
  end?: string;
}

/** Reads lines. */
export type Load = (start: number, count: number, signal: AbortSignal) => Promise<LoadedLines>;

/** Longer lines are cut: what people read of one, and a browser still lays out quickly. */
export const CUT_CHARS = 4096;
/** Lines read at once. */
const RUN_LINES = 400;
/** Kept at most. */
const MAX_LINES = 6000;
const MAX_CHARS = 6_000_000;

/** Keeps the lines that are wanted, and those around them as long as there is room. */
export class LineCache {
  readonly #load: Load;
  readonly #changed: () => void;
  readonly #failed: (error: unknown) => void;
  readonly #lines = new Map<number, CachedLine>();
  #chars = 0;
  #wanted: readonly LineRange[] = [];
  #loading: { from: number; to: number; stop: AbortController } | null = null;
  /** First of the lines that did not come: they are not read again before somebody says so. */
  #refused: number | null = null;

  /**
   * @param load Reads lines.
   * @param changed Hears that lines have arrived.
   * @param failed Hears why they do not; `retry` tries again.
   */
  constructor(load: Load, changed: () => void, failed: (error: unknown) => void) {
    this.#load = load;
    this.#changed = changed;
    this.#failed = failed;
  }

  /** How many lines are kept. */
  get size(): number {
    return this.#lines.size;
  }

  /** A line, if it is there. */
  get(line: number): CachedLine | undefined {
    return this.#lines.get(line);
  }

  /** What a terminal prints of a line that is there. */
  printed(line: number): string {
    const { text, end = text } = this.#lines.get(line)!;
    return end;
  }

  /** Lines of which something is true that a terminal prints. */
  *linesWhere(is: (text: string) => boolean): Generator<number> {
    for (const line of this.#lines.keys()) if (is(this.printed(line))) yield line;
  }

  /** Tells whether all lines of a range are there. */
  has([from, to]: LineRange): boolean {
    for (let line = from; line < to; line++) if (!this.#lines.has(line)) return false;
    return true;
  }

  /**
   * Says which lines are wanted from now on, the most urgent first; what is being read and not wanted is given up.
   * @param ranges Lines that exist.
   */
  want(ranges: readonly LineRange[]): void {
    this.#wanted = ranges;
    const { from, to, stop } = this.#loading ?? {};
    if (stop !== undefined) {
      if (ranges.some((range) => from! < range[1] && range[0] < to!)) return;
      stop.abort();
      this.#loading = null;
    }
    void this.#pump();
  }

  /**
   * Reads again what did not come.
   * @returns Whether something is being read now.
   */
  retry(): boolean {
    this.#refused = null;
    void this.#pump();
    return this.#loading !== null;
  }

  /** Forgets lines that are not what they were. */
  forget(from = 0): void {
    this.#stopLoading();
    for (const line of [...this.#lines.keys()]) if (line >= from) this.#drop(line);
  }

  /** All lines may be others by now: they are shown until they have come anew. */
  doubt(): void {
    this.#stopLoading();
    for (const [line, cached] of this.#lines) {
      this.#lines.set(line, { ...cached, isDoubtful: true });
    }
  }

  #stopLoading(): void {
    this.#loading?.stop.abort();
    this.#loading = null;
  }

  /** Forgets one line. */
  drop(line: number): void {
    this.#drop(line);
  }

  /** Keeps a line that was read by other ways. */
  put(line: number, cached: CachedLine): void {
    this.#drop(line);
    this.#lines.set(line, cached);
    this.#chars += charsOf(cached);
  }

  /**
   * Keeps lines that came by themselves.
   * @param first Index of the first.
   * @param lines Their text, without line breaks.
   */
  putLines(first: number, lines: readonly string[]): void {
    for (const [at, text] of lines.entries()) this.#putWhole(first + at, text);
    this.#shrink();
  }

  #putWhole(line: number, text: string, timeMs?: number | null): void {
    if (text.length <= CUT_CHARS) this.put(line, { text, longBytes: null, timeMs });
    else this.#putLong(line, text, text, utf8Bytes(text), timeMs);
  }

  #putLong(
    line: number,
    text: string,
    end: string,
    longBytes: number,
    timeMs?: number | null,
  ): void {
    const written = lastWritten(end, CUT_CHARS);
    this.put(line, {
      text: beginningOf(text),
      ...written !== null && { end: copy(written) },
      longBytes,
      timeMs,
    });
  }

  async #pump(): Promise<void> {
    while (this.#loading === null) {
      const run = this.#missing();
      if (run === null || run[0] === this.#refused) return;
      const stop = new AbortController();
      this.#loading = { from: run[0], to: run[1], stop };
      try {
        await this.#read(run, stop.signal);
      } catch (error) {
        if (stop.signal.aborted) return;
        this.#loading = null;
        this.#refused = run[0];
        this.#failed(error);
        return;
      }
      if (stop.signal.aborted) return;
      this.#loading = this.#refused = null;
      this.#shrink();
      this.#changed();
    }
  }

  /** The first lines that are wanted and not there. */
  #missing(): LineRange | null {
    for (const [from, to] of this.#wanted) {
      for (let line = from; line < to; line++) {
        if (this.#isKnown(line)) continue;
        let end = line + 1;
        while (end < to && end - line < RUN_LINES && !this.#isKnown(end)) end++;
        return [line, end];
      }
    }
    return null;
  }

  #isKnown(line: number): boolean {
    const cached = this.#lines.get(line);
    return cached !== undefined && !cached.isDoubtful;
  }

  async #read([from, to]: LineRange, signal: AbortSignal): Promise<void> {
    const { lines, next, times } = await this.#load(from, to - from, signal);
    signal.throwIfAborted();
    const isPiece = next !== null && next.byteOffset > 0;
    const whole = isPiece ? lines.length - 1 : lines.length;
    if (lines.length === 0) throw new Error(`line ${from} did not come`);
    for (let at = 0; at < whole; at++) {
      this.#putWhole(from + at, withoutBreak(lines[at]), times?.[at]);
    }
    if (!isPiece) return;
    // Only the server knows how long it is.
    const line = from + whole;
    const { startOffset, endOffset, end = "" } = await this.#load(line, 1, signal);
    signal.throwIfAborted();
    this.#putLong(line, lines[whole], end, endOffset - startOffset, times?.[whole]);
  }

  /** Lets go of what is far from all that is wanted. */
  #shrink(): void {
    if (this.#lines.size <= MAX_LINES && this.#chars <= MAX_CHARS) return;
    const isWanted = (line: number) => this.#wanted.some(([from, to]) => line >= from && line < to);
    // A map keeps the order of insertion: the oldest go first.
    for (const line of [...this.#lines.keys()]) {
      if (this.#lines.size <= MAX_LINES / 2 && this.#chars <= MAX_CHARS / 2) return;
      if (!isWanted(line)) this.#drop(line);
    }
  }

  #drop(line: number): void {
    const cached = this.#lines.get(line);
    if (cached === undefined) return;
    this.#chars -= charsOf(cached);
    this.#lines.delete(line);
  }
}

function beginningOf(text: string): string {
  const end = /[\ud800-\udbff]/.test(text[CUT_CHARS - 1] ?? "") ? CUT_CHARS - 1 : CUT_CHARS;
  return copy(text.slice(0, end));
}

/** A part of a text; a slice alone would keep all of it in memory. */
function copy(part: string): string {
  return JSON.parse(JSON.stringify(part));
}

function charsOf({ text, end = "" }: CachedLine): number {
  return text.length + end.length;
}

function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}
