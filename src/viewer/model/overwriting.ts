/**
 * Lines that go back to the rows of earlier ones and write over them: what stands there then, and which rows are gone.
 * @module
 */
import type { LineCache } from "./line_cache.ts";
import { complement, type LineRange, united } from "./row_map.ts";
import type { Style } from "./style.ts";
import { movesUp, type Row, rowsOf } from "./terminal.ts";

/** Lines that are shown together when some of them go back to earlier ones. */
const AREA_LINES = 400;
/** Kept of what is hidden far from the lines that are there: a log of progress bars may go on for ever. */
const MAX_HIDDEN = 10_000;

/** Rows kept of a log that grows, more than of all lines that are there at once. */
const MAX_ROWS = 20_000;

/** What lines write over. */
export class Overwriting {
  #hidden: readonly LineRange[] = [];
  readonly #rows = new Map<number, Row>();
  /** The last line that moves up. */
  #last = -Infinity;

  /** Lines without a row, as later ones took it over. */
  get hidden(): readonly LineRange[] {
    return this.#hidden;
  }

  /** Tells whether later lines took over the row of one. */
  hides(line: number): boolean {
    return this.#hidden.some(([from, to]) => from <= line && line < to);
  }

  /** What a line shows together with those around it; undefined for one that shows what it is. */
  rowOf(line: number): Row | undefined {
    return this.#rows.get(line);
  }

  /** Tells whether new lines may stand in rows of earlier ones. */
  reaches(line: number): boolean {
    return line - this.#last < AREA_LINES;
  }

  /** Lines from one on are gone. */
  forget(from: number): void {
    this.#show(from);
    if (this.#last >= from) this.#last = -Infinity;
  }

  /** A line is not what it was: what it wrote over stands there again. */
  undo(line: number): void {
    this.#show(line - AREA_LINES);
  }

  #show(from: number): void {
    this.#hidden = united(this.#hidden.map(([start, end]) => [start, Math.min(end, from)]));
  }

  /** Shows lines as they are. */
  clear(): void {
    this.#rows.clear();
  }

  /**
   * Works out what the lines show that are there.
   * @param lines The lines.
   * @param styleAt Tells the style in which a line begins.
   * @param since The first line that is new; those far before it show what they did.
   */
  update(lines: LineCache, styleAt: (line: number) => Style, since = 0): void {
    const isAnew = since === 0 || this.#rows.size > MAX_ROWS;
    if (isAnew) this.#rows.clear();
    const moving = [...lines.linesWhere(movesUp)]
      .filter((line) => isAnew || line > since - AREA_LINES)
      .sort((a, b) => a - b);
    if (moving.length === 0) return;
    this.#last = moving.at(-1)!;
    const areas: LineRange[] = [], hidden: LineRange[] = [];
    for (let at = 0; at < moving.length;) {
      const area = areaAround(lines, moving[at]);
      const [from, to] = area;
      areas.push(area);
      while (at < moving.length && moving[at] < to) at++;
      const texts = Array.from({ length: to - from }, (_, index) => lines.printed(from + index));
      for (const [index, row] of rowsOf(texts, styleAt(from)).entries()) {
        if (row !== null) this.#rows.set(from + index, row);
        else {
          this.#rows.delete(from + index);
          hidden.push([from + index, from + index + 1]);
        }
      }
    }
    // What was hidden with fewer lines around it may be shown with more of them.
    this.#hidden = united([...without(this.#hidden, areas), ...hidden]).slice(-MAX_HIDDEN);
  }
}

function areaAround(lines: LineCache, line: number): LineRange {
  let from = line, to = line + 1;
  while (from > 0 && line - from < AREA_LINES && lines.get(from - 1) !== undefined) from--;
  while (to - line < 2 * AREA_LINES && lines.get(to) !== undefined) to++;
  return [from, to];
}

/** Ranges without those parts of them that are in others. */
function without(ranges: readonly LineRange[], others: readonly LineRange[]): LineRange[] {
  return complement(united([...complement(united(ranges), Infinity), ...others]), Infinity);
}
