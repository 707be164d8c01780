/**
 * The style that lines begin with which were not read: looked up backwards, as far as that is reasonable.
 * @module
 */
import { PLAIN, type Style } from "./style.ts";
import { resetsStyle, styleAfter } from "./terminal.ts";

/** Read backwards at once. */
const STEP_LINES = 2500;
/** Steps where nothing has shown that the log has styles at all, and where something has. */
const MAX_STEPS = 3;
const MAX_STYLED_STEPS = 12;

/** Reads lines, fewer than asked for where they are long. */
export type ReadBack = (from: number, count: number) => Promise<
  { lines: readonly string[]; next: { lineIndex: number; byteOffset: number } | null }
>;

/**
 * Finds the style behind the last line that decides it.
 * @param line The line that begins with it.
 * @param styled Whether escape sequences were seen elsewhere in the log.
 * @param read Reads lines.
 * @returns The style; plain where nothing near says otherwise.
 */
export async function styleBefore(line: number, styled: boolean, read: ReadBack): Promise<Style> {
  /** Lines with sequences between what was read and `line`, in order. */
  let behind: string[] = [];
  let end = line, seen = styled;
  for (let step = 0; end > 0 && step < (seen ? MAX_STYLED_STEPS : MAX_STEPS); step++) {
    const start = Math.max(0, end - STEP_LINES);
    const found = (await readAll(start, end, read)).filter((text) => text.includes("\x1b"));
    if (found.length > 0) seen = true;
    behind = [...found, ...behind];
    if (found.some(resetsStyle)) break;
    end = start;
  }
  const at = Math.max(0, behind.findLastIndex(resetsStyle));
  return behind.slice(at).reduce((style, text) => styleAfter(text, style), PLAIN);
}

/** Lines of a range; of one that is longer than a page only its first piece. */
async function readAll(from: number, to: number, read: ReadBack): Promise<string[]> {
  const all: string[] = [];
  for (let at = from; at < to;) {
    const { lines, next } = await read(at, to - at);
    all.push(...lines);
    if (next === null) break;
    at = next.byteOffset > 0 ? next.lineIndex + 1 : next.lineIndex;
  }
  return all;
}
