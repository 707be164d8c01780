/**
 * What a terminal would show of lines: escape sequences, carriage returns, and cursors that go up.
 * @module
 */
import { afterOsc, afterSgr, PLAIN, type Style } from "./style.ts";

/** A run of text in one style. */
export interface Span {
  /** First character, in UTF-16 units of the row's text. */
  start: number;
  /** Behind the last one. */
  end: number;
  style: Style;
}

/** What one line shows. */
export interface Row {
  /** Its text, without anything that a terminal does not print. */
  text: string;
  /** Runs that are not plain, in order. */
  spans: readonly Span[];
}

/** Highest jump upwards that is followed: the height of a large terminal. */
const MAX_UP = 400;
/** Whatever is not printed as it is. */
const SEQUENCE =
  // deno-lint-ignore no-control-regex
  /\x1b(?:\[([0-?]*)[ -/]*([@-~]|$)|\](.*?)(?:\x07|\x1b\\|$)|[PX^_].*?(?:\x1b\\|$)|[ -/]+[0-~]|[0-Z\\`-~])|[\x07\x08\r\x1b\x0e\x0f]/gs;
// deno-lint-ignore no-control-regex
const ANY_CONTROL = /[\x07\x08\x0e\x0f\r\x1b]/;
// deno-lint-ignore no-control-regex
const MOVES = /\r|\x08|\x1b\[[0-9;?]*[A-HJKPXd@f]/;
// deno-lint-ignore no-control-regex
const VERTICAL = /\x1b\[[0-9]*[ABEF]/;
// deno-lint-ignore no-control-regex
const STYLED = /\x1b\[[0-9;:]*m|\x1b\]8;/;

/** A line without its line break. */
export function withoutBreak(line: string): string {
  return line.replace(/\r?\n$/, "");
}

/** Tells whether a line moves the cursor to other lines, so that it cannot be shown by itself. */
export function movesUp(line: string): boolean {
  return line.includes("\x1b[") && VERTICAL.test(line);
}

/** The style in which the next line begins. */
export function styleAfter(line: string, style: Style): Style {
  if (!line.includes("\x1b") || !STYLED.test(line)) return style;
  let next = style;
  for (const [, parameters, final, osc] of line.matchAll(SEQUENCE)) {
    if (final === "m" && isSgr(parameters)) next = afterSgr(next, parameters);
    else if (osc !== undefined) next = afterOsc(next, osc);
  }
  return next;
}

/** Tells whether a line decides every attribute, whatever stood before it. */
export function resetsStyle(line: string): boolean {
  // deno-lint-ignore no-control-regex
  return line.includes("\x1b[") && /\x1b\[(?:0?|0;[0-9;:]*)m/.test(line);
}

function isSgr(parameters: string): boolean {
  return /^[0-9;:]*$/.test(parameters);
}

/**
 * Shows one line by itself.
 * @param line The line, without its line break.
 * @param style The style in which it begins.
 */
export function rowOf(line: string, style: Style): Row {
  if (!ANY_CONTROL.test(line)) return { text: line, spans: spansOf([{ text: line, style }]) };
  if (!MOVES.test(line)) return joined(line, style);
  const screen = new Screen();
  screen.print(line, style);
  return screen.rows().at(-1)!.row;
}

/**
 * What a line showed when something in it could be read, before anything moved the cursor again.
 * @param line The line, without its line break.
 * @param end Character behind what could be read.
 * @param style The style in which it begins.
 */
export function rowWhen(line: string, end: number, style: Style): Row {
  const moved = line.slice(end).search(MOVES);
  return rowOf(moved === -1 ? line : line.slice(0, end + moved), style);
}

/** Shows everything that is there: sequences as what they are made of. */
export function rawRow(line: string): Row {
  return { text: line, spans: [] };
}

/** Sequences kept of what is left out of a line: no progress bar sets more without a reset. */
const MAX_SEQUENCES = 100;

/**
 * The end of a line that writes over itself again and again, as a progress bar does: all that a terminal shows of it.
 * @param line The line, or what is at hand of its end.
 * @param maxChars Longest end.
 * @returns The end, behind the sequences that it is styled by; null for a line that does not.
 */
export function lastWritten(line: string, maxChars: number): string | null {
  const from = line.indexOf("\r", Math.max(0, line.length - maxChars));
  // A single one may end a long line, or begin it.
  if (from === -1 || line.indexOf("\r", from + 1) === -1) return null;
  // deno-lint-ignore no-control-regex
  const sequences = line.slice(0, from).match(/\x1b\[[0-9;:]*m/g) ?? [];
  const reset = Math.max(0, sequences.findLastIndex(resetsStyle));
  return sequences.slice(reset).slice(-MAX_SEQUENCES).join("") + line.slice(from);
}

/** A line that only changes styles. */
function joined(line: string, style: Style): Row {
  const runs: { text: string; style: Style }[] = [];
  let at = 0, now = style;
  for (const match of line.matchAll(SEQUENCE)) {
    const [whole, parameters, final, osc] = match;
    if (match.index > at) runs.push({ text: line.slice(at, match.index), style: now });
    at = match.index + whole.length;
    if (final === "m" && isSgr(parameters)) now = afterSgr(now, parameters);
    else if (osc !== undefined) now = afterOsc(now, osc);
  }
  if (at < line.length) runs.push({ text: line.slice(at), style: now });
  return { text: runs.map(({ text }) => text).join(""), spans: spansOf(runs) };
}

function spansOf(runs: readonly { text: string; style: Style }[]): Span[] {
  const spans: Span[] = [];
  let at = 0;
  for (const { text, style } of runs) {
    const last = spans.at(-1);
    if (last?.style === style && last.end === at) last.end += text.length;
    else if (style !== PLAIN && text !== "") {
      spans.push({ start: at, end: at + text.length, style });
    }
    at += text.length;
  }
  return spans;
}

interface Cell {
  text: string;
  style: Style;
}

/** Lines printed one after the other, as on a screen without an end. */
export class Screen {
  readonly #rows: { owner: number; cells: Cell[] }[] = [];
  #owner = 0;
  #row = 0;
  #column = 0;
  /** The lowest row that a line break led to: cursors go no further down, as nothing scrolls for them. */
  #bottom = 0;

  /**
   * Prints a line and its line break.
   * @param line The line, without its line break.
   * @param style The style in which it begins.
   * @param owner What the row belongs to on which the line ends.
   */
  print(line: string, style: Style, owner = 0): void {
    this.#owner = owner;
    let at = 0, now = style;
    for (const match of line.matchAll(SEQUENCE)) {
      const [whole, parameters, final, osc] = match;
      if (match.index > at) this.#write(line.slice(at, match.index), now);
      at = match.index + whole.length;
      if (osc !== undefined) now = afterOsc(now, osc);
      else if (final === "m" && isSgr(parameters)) now = afterSgr(now, parameters);
      else if (final !== undefined) this.#move(final, parameters);
      else if (whole === "\r") this.#column = 0;
      else if (whole === "\b") this.#column = Math.max(0, this.#column - 1);
    }
    if (at < line.length) this.#write(line.slice(at), now);
    this.#at(this.#row).owner = owner;
    this.#row++;
    this.#bottom = Math.max(this.#bottom, this.#row);
    this.#column = 0;
  }

  /** What is shown, from top to bottom, and whose it is. */
  rows(): { owner: number; row: Row }[] {
    return this.#rows.map(({ owner, cells }) => ({
      owner,
      row: { text: cells.map(({ text }) => text).join(""), spans: spansOf(cells) },
    }));
  }

  #at(row: number): { owner: number; cells: Cell[] } {
    while (this.#rows.length <= row) this.#rows.push({ owner: this.#owner, cells: [] });
    return this.#rows[row];
  }

  #write(text: string, style: Style): void {
    const { cells } = this.#at(this.#row);
    while (cells.length < this.#column) cells.push({ text: " ", style: PLAIN });
    for (const character of text) cells[this.#column++] = { text: character, style };
  }

  #move(final: string, parameters: string): void {
    const count = Math.max(1, parseInt(parameters) || 1);
    switch (final) {
      case "A":
      case "F":
        this.#row = Math.max(0, this.#row - Math.min(count, MAX_UP));
        if (final === "F") this.#column = 0;
        break;
      case "B":
      case "E":
        this.#row = Math.min(this.#row + Math.min(count, MAX_UP), this.#bottom);
        if (final === "E") this.#column = 0;
        break;
      case "C":
        this.#column = Math.min(this.#column + count, 10_000);
        break;
      case "D":
        this.#column = Math.max(0, this.#column - count);
        break;
      case "G":
        this.#column = Math.min(count, 10_000) - 1;
        break;
      case "K":
        this.#erase(parseInt(parameters) || 0);
        break;
    }
  }

  #erase(what: number): void {
    const { cells } = this.#at(this.#row);
    if (what === 2) cells.length = 0;
    else if (what === 1) {
      for (let at = 0; at < Math.min(this.#column + 1, cells.length); at++) {
        cells[at] = { text: " ", style: PLAIN };
      }
    } else cells.length = Math.min(cells.length, this.#column);
  }
}

/**
 * Shows lines that follow each other, some of which go back to earlier ones.
 * @param lines The lines, without their line breaks.
 * @param style The style in which the first one begins.
 * @returns A row for each line; null for one whose row a later line took over.
 */
export function rowsOf(lines: readonly string[], style: Style): (Row | null)[] {
  if (!lines.some(movesUp)) {
    let now = style;
    return lines.map((line) => {
      const row = rowOf(line, now);
      now = styleAfter(line, now);
      return row;
    });
  }
  const screen = new Screen();
  let now = style;
  for (const [index, line] of lines.entries()) {
    screen.print(line, now, index);
    now = styleAfter(line, now);
  }
  const rows: (Row | null)[] = lines.map(() => null);
  for (const { owner, row } of screen.rows()) rows[owner] = row;
  return rows;
}
