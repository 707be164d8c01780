/**
 * Pages of lines as JSON (PROTOCOL.md 6.2).
 * @module
 */
import { LIMITS } from "../../protocol.ts";
import {
  type LinePage,
  type LineWindow,
  locateLines,
  readLinePage,
  type Resource,
} from "../../resources.ts";
import { array, COUNT, object, orNull, type Schema, TEXT } from "../route/schemas.ts";

/** Most lines of one answer. */
export const MAX_LINES = 10_000;

/** Where lines are. */
export const WINDOW: Record<string, Schema> = {
  startingLineIndex: COUNT,
  linesCount: COUNT,
  startOffset: COUNT,
  endOffset: COUNT,
};

/** Lines, and where they are. */
export const LINE_PAGE: Schema = {
  title: "Lines",
  ...object({
    ...WINDOW,
    lines: array(TEXT),
    next: orNull(object({ lineIndex: COUNT, byteOffset: COUNT })),
  }),
};

/**
 * Reads lines, as many as one answer holds.
 * @param resource The resource.
 * @param window Lines that are there.
 * @param byteOffset Bytes of the first one to leave out.
 */
export async function pageOf(
  resource: Resource,
  { startingLineIndex: lineIndex, linesCount }: LineWindow,
  byteOffset: number,
): Promise<LinePage> {
  if (linesCount === 0) return { lines: [], next: null };
  return await readLinePage(resource, { lineIndex, byteOffset }, {
    linesCount,
    pageBytes: LIMITS.linesAnswerBytes,
    pageLines: LIMITS.linesAnswerCount,
  });
}

/**
 * Reads lines for an answer that is about something else.
 * @param resource The resource.
 * @param start Index of the first line; negative from the end.
 * @param count Lines at most.
 * @returns Null where they cannot be read; whoever asks for them alone hears why.
 */
export async function linesIfThere(
  resource: Resource,
  start: number,
  count: number,
): Promise<LineWindow & LinePage | null> {
  try {
    const window = await locateLines(resource, start, count);
    return { ...window, ...await pageOf(resource, window, 0) };
  } catch {
    return null;
  }
}
