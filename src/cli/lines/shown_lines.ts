/**
 * The lines of a resource as they are printed: chosen, dated, and behind the name of the resource.
 * @module
 */
import { joined } from "../../byte_queue.ts";
import type { Finder, Span } from "../../resources.ts";
import { type Output, visibleJson } from "../output/output.ts";
import { STYLES } from "../output/terminal.ts";
import { Grep } from "./grep.ts";
import { isBroken, lastState, type Piece, Pieces, textLength } from "./pieces.ts";
import { type LineTimes, UNKNOWN } from "./times.ts";

/** What is printed of a resource. */
export interface ShownOptions {
  /** Index of the line with which the bytes begin. */
  firstLine: number;
  /** What lines must match; all are printed without. */
  finder: Finder | null;
  /** Tells when they arrived, where that is printed. */
  times: LineTimes | null;
  /** Stands before each line; then each ends with a line break, so that others can come behind it. */
  label: (() => string) | null;
  /** What each line tells of its resource where lines are JSON objects; null where they are text. */
  json: Record<string, unknown> | null;
  /** Whether matches are coloured. */
  isColoured: boolean;
  /** Whether a person watches: what a line overwrites of itself, as progress bars do, is left out behind a prefix. */
  isTerminal: boolean;
}

/** Line break. */
const BREAK = new Uint8Array([10]);
const RED = encoded(`\x1b[${STYLES.red}m`);
const PLAIN = encoded("\x1b[0m");

/** A piece of a line that is printed, and where its match is. */
interface Chosen extends Piece {
  span: Span | null;
}

/**
 * Prints lines.
 * @param output Where they go.
 * @param options What is printed of them.
 * @returns Takes the bytes of the resource; its end is the end of the last line, and not that of the output.
 */
export function shownLines(output: Output, options: ShownOptions): Output {
  const pieces = new Pieces(options.firstLine);
  const grep = options.finder === null ? null : new Grep(options.finder);
  const shown = options.json === null ? decorated : asJson(options.json);
  const print = async (all: Piece[]) => {
    const chosen = grep === null ? all.map((piece) => ({ ...piece, span: null })) : matching(all);
    if (chosen.length > 0) await output.write(joined(...await shown(chosen, options)));
  };
  const matching = (all: Piece[]): Chosen[] =>
    all.flatMap((piece) => {
      const span = grep!.match(piece);
      return span === false ? [] : [{ ...piece, span }];
    });
  return {
    write: (bytes) => print(pieces.add(bytes)),
    async close() {
      await print(pieces.end());
      grep?.end();
    },
  };
}

/** Lines as objects; one that is very long is several of the same index. */
function asJson(about: Record<string, unknown>) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return async (chosen: Chosen[], { times }: ShownOptions): Promise<Uint8Array[]> => {
    const dates = await datesOf(chosen, times);
    return chosen.map(({ bytes, line, isLast }) => {
      // A character may be cut in two between pieces.
      const text = decoder.decode(bytes.subarray(0, textLength(bytes)), { stream: !isLast });
      const date = dates?.[line - chosen[0].line].trim();
      const time = date === undefined ? {} : { time: date === UNKNOWN ? null : date };
      const more = isLast ? {} : { continues: true };
      return encoded(`${visibleJson({ ...about, line, ...time, text, ...more })}\n`);
    });
  };
}

/** The times of lines, by their distance from the first; null where they are not shown. */
async function datesOf(chosen: Chosen[], times: LineTimes | null): Promise<string[] | null> {
  const first = chosen[0].line;
  return times === null ? null : await times.of(first, chosen.at(-1)!.line - first + 1);
}

/** Lines with what stands before them. */
async function decorated(chosen: Chosen[], options: ShownOptions): Promise<Uint8Array[]> {
  const { times, label, isTerminal } = options;
  const first = chosen[0].line;
  const dates = await datesOf(chosen, times);
  return chosen.flatMap((piece) => {
    // A line that has one prefix and comes in pieces is put together again; others might come between them.
    const hasPrefix = label !== null || times !== null && piece.isFirst;
    if (!hasPrefix) return coloured(piece, options);
    const date = dates === null ? "" : `${dates[piece.line - first]} `;
    const prefix = encoded((label?.() ?? "") + date);
    const bytes = isTerminal ? lastState(piece.bytes) : piece.bytes;
    const isWhole = bytes.length === piece.bytes.length;
    const shown = coloured({ ...piece, bytes, span: isWhole ? piece.span : null }, options);
    return [prefix, ...shown, ...label === null || isBroken(bytes) ? [] : [BREAK]];
  });
}

function coloured({ bytes, span }: Chosen, { isColoured }: ShownOptions): Uint8Array[] {
  if (span === null || !isColoured) return [bytes];
  const { start, end } = span;
  return [bytes.subarray(0, start), RED, bytes.subarray(start, end), PLAIN, bytes.subarray(end)];
}

function encoded(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
