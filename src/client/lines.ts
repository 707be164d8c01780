/**
 * Windows of lines, asked for one by one (PROTOCOL.md 6.2).
 * @module
 */
import { type LinePosition, StreamError, type TransferStatus } from "../protocol.ts";
import { parseJson, request } from "./connection/http.ts";
import { type CancelOptions, type ReferenceOptions, targetOf } from "./target.ts";

/** How long a server may take for a window. */
const ANSWER_TIMEOUT_MS = 60_000;

/** Which lines are asked for. */
export interface LinesOptions extends ReferenceOptions, CancelOptions {
  /** Index of the first line; negative from the end; 0 by default. */
  start?: number | undefined;
  /** Lines, up to 10 000; 100 by default, and 0 to learn only where they are. */
  count?: number | undefined;
  /** Instead of `start`: the first line that arrived at this time or later, in ms since 1970. */
  timeMs?: number | undefined;
  /** Whether to tell when each line arrived. */
  times?: boolean | undefined;
  /** Bytes of the first line to leave out, as `next` of the window before says. */
  byteOffset?: number | undefined;
}

/** A window of lines. */
export interface LinesWindow {
  /** Index of the first line of what was asked for. */
  startingLineIndex: number;
  /** Lines of what was asked for, as far as they are there. */
  linesCount: number;
  /** Byte of the resource with which they begin. */
  startOffset: number;
  /** Byte of the resource behind them. */
  endOffset: number;
  /** Their text with line breaks, up to 256 KiB; the first and the last may be pieces of a line. */
  lines: string[];
  /** Where the rest of the window begins; null when this is all of it. */
  next: LinePosition | null;
  /** When each of `lines` arrived, in ms since 1970, null where nobody knows; only if asked for, or if lines of a time were. */
  times?: (number | null)[];
  /** Lines of the resource that could be read when the server answered. */
  numberOfLines: number;
  /** State of the transfer then. */
  transferStatus: TransferStatus;
  /** Life of the resource that they are of; empty where the server names none. */
  life: string;
}

/**
 * Lines of a resource that are there now, as text.
 *
 * @param reference What a push printed, its HTTP form, or an id.
 * @param options Which lines.
 * @returns The lines, at most 256 KiB of text, and where to go on.
 * @throws {StreamError} UNREACHABLE, NOT_FOUND, NO_LINE_ACCESS; LINES_NOT_AVAILABLE for a start behind the last line;
 * WRONG_VERSION for a time where the server knows none of its lines.
 *
 * @example
 * ```ts
 * import { getLines } from "@stream/live/client";
 *
 * async function lastLines(reference: string) {
 *   const { startingLineIndex, lines } = await getLines(reference, { start: -10, count: 10 });
 *   for (const [at, text] of lines.entries()) console.log(startingLineIndex + at + 1, text.trimEnd());
 * }
 * ```
 */
export async function getLines(
  reference: string,
  options: LinesOptions = {},
): Promise<LinesWindow> {
  const { start = 0, count = 100, byteOffset = 0, timeMs, times = false } = options;
  const { recipient, path } = targetOf(reference, options);
  const query = new URLSearchParams({ count: String(count) });
  if (timeMs === undefined) query.set("start", String(start));
  else query.set("time", String(timeMs));
  if (times || timeMs !== undefined) query.set("times", "true");
  if (byteOffset > 0) query.set("offset", String(byteOffset));
  const asking = {
    accept: "application/json",
    timeoutMs: ANSWER_TIMEOUT_MS,
    cancel: options.signal,
  };
  const window = await request(
    recipient,
    `${path}/lines?${query}`,
    asking,
    ({ headers, text }, server) => ({
      ...parseJson<LinesWindow>(text, server),
      numberOfLines: Number(headers.get("stream-number-of-lines")),
      transferStatus: headers.get("stream-transfer-status") as TransferStatus,
      life: headers.get("stream-life") ?? "",
    }),
  );
  // A server of before lines had times leaves the question out, and begins with the first line.
  if (timeMs !== undefined && window.times === undefined) {
    const { server } = recipient.service;
    throw new StreamError("WRONG_VERSION", `the server at ${server} knows no times of lines`);
  }
  return window;
}
