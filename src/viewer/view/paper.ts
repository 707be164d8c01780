/**
 * What of a log is printed: the rows that are at hand, and a word about the others.
 * @module
 */
import type { Log } from "../model/log.ts";

/** Rows on paper; more are for other tools. */
const MAX_ROWS = 1000;

/**
 * The lines to be printed: those that are drawn, and around them those whose text is there.
 * @param log The log.
 * @param drawn Lines that are drawn.
 */
export function printedLines(log: Log, drawn: readonly number[]): number[] {
  const { map } = log.visible;
  if (drawn.length === 0) return [];
  const isThere = (row: number) =>
    row >= 0 && row < map.rows && log.cache.get(map.lineAt(row)) !== undefined;
  let first = map.rowOf(Math.min(...drawn)), end = map.rowOf(Math.max(...drawn)) + 1;
  while (end - first < MAX_ROWS && isThere(first - 1)) first--;
  while (end - first < MAX_ROWS && isThere(end)) end++;
  return Array.from({ length: end - first }, (_, at) => map.lineAt(first + at));
}

/** What is said below lines that are printed; nothing where they are all. */
export function leftOut(log: Log, lines: readonly number[]): string {
  if (lines.length === log.places) return "";
  const [count, all, first, last] = [lines.length, log.places, lines[0] + 1, lines.at(-1)! + 1]
    .map((number) => number.toLocaleString("en"));
  const { unit } = log.source;
  return `Printed are ${count} of ${all} ${unit}s, from ${unit} ${first} to ${last}. ` +
    "Text and Download on the page have all of it.";
}
