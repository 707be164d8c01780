/**
 * Which lines have a row: all but those that are folded, filtered out or written over.
 * @module
 */

/** Lines from the first up to, and without, the second. */
export type LineRange = readonly [from: number, to: number];

/** Sorted, and joined where they touch. */
export function united(ranges: readonly LineRange[]): LineRange[] {
  const sorted = ranges.filter(([from, to]) => from < to).sort((a, b) => a[0] - b[0]);
  const joined: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = joined.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else joined.push([from, to]);
  }
  return joined;
}

/** Everything between ranges that are sorted and apart, up to a number of lines. */
export function complement(ranges: readonly LineRange[], lines: number): LineRange[] {
  const gaps: LineRange[] = [];
  let at = 0;
  for (const [from, to] of ranges) {
    if (from > at) gaps.push([at, from]);
    at = to;
  }
  if (at < lines) gaps.push([at, lines]);
  return gaps;
}

/** The rows of a number of lines. */
export class RowMap {
  readonly #hidden: readonly LineRange[];
  /** Lines that are hidden before each range. */
  readonly #before: readonly number[];
  readonly #total: number;

  /**
   * @param lines Lines that are there.
   * @param hidden Lines without a row, in any order.
   */
  constructor(readonly lines: number, hidden: readonly LineRange[] = []) {
    this.#hidden = united(hidden.map(([from, to]) => [from, Math.min(to, lines)]));
    const before: number[] = [];
    let total = 0;
    for (const [from, to] of this.#hidden) {
      before.push(total);
      total += to - from;
    }
    this.#before = before;
    this.#total = total;
  }

  /** How many rows there are. */
  get rows(): number {
    return this.lines - this.#total;
  }

  /** The line of a row. */
  lineAt(row: number): number {
    // The last range that begins at or before the line: rows before it are from − before.
    const at = this.#last((index) => this.#hidden[index][0] - this.#before[index] <= row);
    if (at === -1) return row;
    return row + this.#before[at] + this.#hidden[at][1] - this.#hidden[at][0];
  }

  /** The row of a line; of one that is hidden, that of the next line that is not. */
  rowOf(line: number): number {
    const at = this.#last((index) => this.#hidden[index][0] <= line);
    if (at === -1) return line;
    const [from, to] = this.#hidden[at];
    if (line < to) return from - this.#before[at];
    return line - this.#before[at] - (to - from);
  }

  /** Tells whether a line has no row. */
  isHidden(line: number): boolean {
    const at = this.#last((index) => this.#hidden[index][0] <= line);
    return at !== -1 && line < this.#hidden[at][1];
  }

  /** How many lines are hidden directly before a line. */
  gapBefore(line: number): number {
    const at = this.#last((index) => this.#hidden[index][1] <= line);
    return at !== -1 && this.#hidden[at][1] === line
      ? this.#hidden[at][1] - this.#hidden[at][0]
      : 0;
  }

  /** The last index of a hidden range for which something holds that holds for all before it; −1 for none. */
  #last(holds: (index: number) => boolean): number {
    let low = -1, high = this.#hidden.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (holds(middle)) low = middle;
      else high = middle;
    }
    return low;
  }
}
