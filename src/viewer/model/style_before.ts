/**
 * The style that lines begin with which were not read: looked up backwards, up to a bound.
 * @module
 */
import type { Find } from "./searcher.ts";
import { PLAIN, type Style } from "./style.ts";
import { resetsStyle, styleAfter } from "./terminal.ts";

/** How far back sequences count; each range is looked through only if the nearer ones decide nothing. */
export const LOOK_BACK_LINES: readonly number[] = [500, 5000, 100_000];
/** Most lines with sequences that are read for one style. */
export const LOOK_BACK_STYLED = 5000;

const ESCAPES = { pattern: "\x1b", regex: false, ignoreCase: false };

/**
 * Finds the style behind the last line that decides it.
 * @param line The line that begins with it.
 * @param find Searches the log.
 * @param signal Ends it.
 * @returns The style; plain where nothing within the bounds says otherwise.
 */
export async function styleBefore(line: number, find: Find, signal: AbortSignal): Promise<Style> {
  /** Lines with sequences before `line`, in order. */
  let behind: string[] = [];
  let end = line;
  for (const lines of LOOK_BACK_LINES) {
    const start = Math.max(0, line - lines);
    behind = [...await styledIn(start, end, find, signal), ...behind];
    end = start;
    if (end === 0 || behind.length >= LOOK_BACK_STYLED || behind.some(resetsStyle)) break;
  }
  const at = Math.max(0, behind.findLastIndex(resetsStyle));
  return behind.slice(at).reduce((style, text) => styleAfter(text, style), PLAIN);
}

/** Lines of a range that have sequences; of very many the last ones. */
async function styledIn(
  from: number,
  to: number,
  find: Find,
  signal: AbortSignal,
): Promise<string[]> {
  const found: string[] = [];
  for (let next = from; next < to;) {
    const step = find({ ...ESCAPES, to }, next, LOOK_BACK_STYLED, signal);
    for (;;) {
      const { done, value } = await step.next();
      if (done) {
        next = value.nextLine;
        break;
      }
      found.push(value.text);
    }
    found.splice(0, found.length - LOOK_BACK_STYLED);
  }
  return found;
}
