/**
 * Which lines of a log are read for a view.
 * @module
 */
import type { Log } from "./log.ts";
import type { LineRange } from "./row_map.ts";

/** Lines read beyond each edge. */
const SPARE_LINES = 150;

/**
 * The lines to be read: those in view, then those around.
 * @param log The log.
 * @param drawn Lines that are drawn.
 * @param lastRows Rows at the end that are wanted whatever is drawn; 0 unless the view follows.
 */
export function wantedLines(
  { visible: { map, filtered }, lines, live }: Pick<Log, "visible" | "lines" | "live">,
  drawn: readonly number[],
  lastRows: number,
): LineRange[] {
  const sorted = drawn.toSorted((a, b) => a - b);
  const ranges: LineRange[] = [];
  if (lastRows > 0) ranges.push(...rangesOf(map, Math.max(0, map.rows - lastRows), map.rows));
  ranges.push(...runsOf(sorted));
  const isMoving = lastRows > 0 && live;
  if (!isMoving && !filtered) {
    const top = map.rowOf(sorted[0] ?? 0);
    const bottom = map.rowOf(sorted.at(-1) ?? 0) + 1;
    ranges.push(...rangesOf(map, bottom, Math.min(map.rows, bottom + SPARE_LINES)));
    ranges.push(...rangesOf(map, Math.max(0, top - SPARE_LINES), top));
  }
  return ranges.map(([from, to]) => [from, Math.min(to, lines)]);
}

/** Numbers in order as ranges. */
function runsOf(lines: readonly number[]): LineRange[] {
  const runs: [number, number][] = [];
  for (const line of lines) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === line) last[1]++;
    else runs.push([line, line + 1]);
  }
  return runs;
}

/** The lines of some rows as ranges. */
function rangesOf(map: { lineAt(row: number): number }, from: number, to: number): LineRange[] {
  return runsOf(Array.from({ length: Math.max(0, to - from) }, (_, at) => map.lineAt(from + at)));
}
