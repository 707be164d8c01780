/**
 * What each line shows: its style, what others wrote over it, and what was found in it.
 * @module
 */
import type { CachedLine, LineCache } from "./line_cache.ts";
import { LineStyles } from "./line_styles.ts";
import { marksOf, type Outline } from "./outline.ts";
import { Overwriting } from "./overwriting.ts";
import type { LineRange } from "./row_map.ts";
import { type Find, hitsIn, type Searcher } from "./searcher.ts";
import type { SettingsStore } from "./settings.ts";
import { movesUp, rawRow, type Row, rowOf, rowWhen } from "./terminal.ts";

/** Rows kept while they stay as they are. */
const MAX_ROWS = 1000;

/** What rows are made of. */
export interface RowParts {
  readonly cache: LineCache;
  readonly settings: SettingsStore;
  readonly search: Searcher;
  readonly outline: Outline;
}

/** A line as it is shown. */
export interface ShownRow {
  row: Row;
  cached: CachedLine;
  /** Whether it is what the line showed when something could be read that was found in it and is written over. */
  isPast: boolean;
}

/** The rows of one log. */
export class ShownRows {
  readonly #parts: RowParts;
  readonly #rows = new Map<number, Omit<ShownRow, "cached">>();
  readonly #styles: LineStyles;
  readonly #overwriting = new Overwriting();

  /** @param parts What they are made of. */
  constructor(parts: RowParts) {
    this.#parts = parts;
    this.#styles = new LineStyles(parts.cache);
  }

  /** Lines without a row, as later ones took it over, but for those in which something was found. */
  *hidden(): Generator<LineRange> {
    const { search } = this.#parts;
    for (const [start, to] of this.#overwriting.hidden) {
      let from = start;
      for (let hit = search.after(from - 1); hit !== null && hit < to; hit = search.after(hit)) {
        yield [from, hit];
        from = hit + 1;
      }
      yield [from, to];
    }
  }

  /** What a line shows; null while it is not there. */
  at(line: number): ShownRow | null {
    const cached = this.#parts.cache.get(line);
    if (cached === undefined) return null;
    let made = this.#rows.get(line);
    if (made === undefined) this.#rows.set(line, made = this.#make(line, cached));
    return { ...made, cached };
  }

  #make(line: number, { text }: CachedLine): Omit<ShownRow, "cached"> {
    const { cache, settings, outline, search } = this.#parts;
    const { raw, colours } = settings.all;
    if (raw) return { row: rawRow(text), isPast: false };
    const title = outline.groupAt(line)?.title;
    if (title !== undefined && marksOf(text)[0]?.kind !== "header") {
      return { row: { text: title, spans: [] }, isPast: false };
    }
    const now = this.#overwriting.rowOf(line) ?? rowOf(cache.printed(line), this.#styles.at(line));
    const past = search.numberOf(line) > 0 ? this.#past(line, text, now) : null;
    const row = past ?? now;
    return { row: colours ? row : { ...row, spans: [] }, isPast: past !== null };
  }

  /** What a line in which something was found showed when that could be read; null where it can be now. */
  #past(line: number, text: string, now: Row): Row | null {
    const { matcher } = this.#parts.search;
    const isThere = hitsIn(now.text, matcher).length > 0;
    if (isThere && !this.#overwriting.hides(line)) return null;
    for (const printed of [this.#parts.cache.printed(line), text]) {
      const [hit] = hitsIn(printed, matcher);
      if (hit === undefined) continue;
      const row = rowWhen(printed, hit.end, this.#styles.at(line));
      if (hitsIn(row.text, matcher).length > 0) return row;
    }
    return null;
  }

  /** Keeps the style in which new lines begin: the lines that it follows from are let go of one day. */
  keepStyle(line: number): void {
    this.#styles.keep(line);
  }

  /** Shows lines that came behind the others. */
  append(first: number, lines: readonly string[]): void {
    if (this.#rows.size > MAX_ROWS) this.clear();
    for (let line = first; line < first + lines.length; line++) this.#rows.delete(line);
    if (lines.some(movesUp) || this.#overwriting.reaches(first)) this.#overwrite(first);
  }

  /** A line is not there any more: what it wrote over stands there again. */
  undo(line: number): void {
    this.#rows.delete(line);
    if (this.#overwriting.reaches(line)) this.#overwriting.undo(line);
  }

  /** The line that is not ended yet is another one. */
  showEnd(line: number): void {
    this.#rows.delete(line);
    if (this.#overwriting.reaches(line)) this.#overwrite(line);
  }

  /** Lines from one on are gone. */
  forget(from: number): void {
    this.#styles.reset();
    this.#overwriting.forget(from);
    this.clear();
  }

  /** Something else was found. */
  found(): void {
    this.#rows.clear();
  }

  /** Makes all anew, as lines came or the reader wants them otherwise. */
  clear(): void {
    this.#styles.clear();
    this.#overwrite();
  }

  /** Shows lines together some of which write over others. */
  #overwrite(since = 0): void {
    this.#rows.clear();
    if (this.#parts.settings.all.raw) this.#overwriting.clear();
    else this.#overwriting.update(this.#parts.cache, (line) => this.#styles.at(line), since);
  }

  /**
   * Finds out in which style a line begins whose predecessors are not there.
   * @param line The first line seen.
   * @param find Searches the log.
   * @param signal Ends it.
   * @returns Whether lines look different now.
   */
  async lookBehind(line: number, find: Find, signal: AbortSignal): Promise<boolean> {
    if (this.#parts.settings.all.raw) return false;
    if (!await this.#styles.lookBehind(line, find, signal)) return false;
    this.clear();
    return true;
  }
}
