/**
 * Draws a line: its number, its text in pieces, and what can be done with it.
 * @module
 */
import { paintOf, type Theme } from "../model/colour.ts";
import type { Group } from "../model/outline.ts";
import { isOnePiece, type Piece, piecesOf, type Range } from "../model/pieces.ts";
import type { Row } from "../model/terminal.ts";

/** What a row shows. */
export interface RowView {
  line: number;
  /** Where it leads. */
  address: string;
  /** Null while it is not there. */
  row: Row | null;
  hits: readonly Range[];
  /** Of a line that is cut: how long it is, and where all of it is shown; null for a whole one. */
  whole: { longBytes: number; address: string } | null;
  /** What is said behind it; null for nothing. */
  note: string | null;
  /** The group it begins. */
  group: Group | undefined;
  groupOpen: boolean;
  /** Lines that are hidden before it; null where nobody is told. */
  gap: number | null;
  /** When it arrived, as it is shown; empty for no column. */
  time: string;
  timeTitle: string;
  classes: string;
}

/** Elements of the page that know which part of the log they show. */
export interface Placed extends HTMLElement {
  /** Line of a row. */
  line?: number;
  /** Characters of a piece. */
  range?: Range;
  /** The text of a row that has nothing but its number and one plain piece. */
  plain?: Text;
}

/** Draws a row. */
export function drawRow(view: RowView, theme: Theme): HTMLElement {
  const row: Placed = element("div", `row ${view.classes}`);
  row.line = view.line;
  row.append(numberElement(view));
  if (view.gap !== null) row.append(gapElement(view.gap));
  if (view.time !== "") {
    const time = element("span", "time", view.time);
    time.title = view.timeTitle;
    row.append(time);
  }
  if (view.group !== undefined) row.append(foldElement(view.group, view.groupOpen));
  const text = textElement(view, theme);
  row.append(text);
  if (isPlain(view)) row.plain = text.firstChild!.firstChild as Text;
  if (view.whole !== null) row.append(longElement(view.whole));
  return row;
}

/** Shows another line in the same elements, which costs less than new ones; false where that cannot be. */
export function redrawRow(row: Placed, view: RowView): boolean {
  if (row.plain === undefined || !isPlain(view)) return false;
  const { text } = view.row!;
  const number = row.firstChild as HTMLAnchorElement;
  row.line = view.line;
  row.className = `row ${view.classes}`;
  number.href = view.address;
  number.textContent = String(view.line + 1);
  row.plain.data = text;
  (row.plain.parentNode as Placed).range = { start: 0, end: text.length };
  return true;
}

/** Tells whether a row has nothing but its number and one piece of text without any style. */
function isPlain({ row, hits, whole, note, group, gap, time }: RowView): boolean {
  if (row === null || row.text === "" || row.spans.length + hits.length > 0) return false;
  if (whole !== null || note !== null || group !== undefined) return false;
  return gap === null && time === "" && isOnePiece(row.text);
}

/** The text of a row. */
function textElement({ row, hits, note }: RowView, theme: Theme): HTMLElement {
  const text = element("span", "text");
  text.dir = "auto";
  if (row === null) {
    text.classList.add("waiting");
    text.textContent = "…";
    return text;
  }
  for (const piece of piecesOf(row, hits)) text.append(pieceNode(piece, theme));
  if (note !== null) text.append(element("span", "note", note));
  return text;
}

function pieceNode(piece: Piece, theme: Theme): HTMLElement {
  const { text, style, link, hit, mark } = piece;
  const node = (link === null ? element(hit ? "mark" : "span", "") : linkElement(link)) as Placed;
  node.range = { start: piece.start, end: piece.end };
  if (mark !== null) {
    node.classList.add("trick");
    node.textContent = mark;
    node.title = mark === "\ufffd" ? "invalid UTF-8, or U+FFFD" : "a character that is not shown";
  } else node.textContent = text;
  if (hit && link !== null) node.classList.add("hit");
  const { foreground, background } = paintOf(style, theme);
  if (foreground !== null && !hit) node.style.color = foreground;
  if (background !== null && !hit) node.style.backgroundColor = background;
  if (style.bold) node.classList.add("bold");
  if (style.italic) node.classList.add("italic");
  if (style.hidden) node.classList.add("hidden");
  if (style.underline) node.classList.add("underline");
  if (style.strike) node.classList.add("strike");
  return node;
}

function linkElement(target: string): HTMLElement {
  const link = document.createElement("a");
  link.href = target;
  link.rel = "noopener noreferrer nofollow";
  link.target = "_blank";
  link.title = target;
  return link;
}

function numberElement({ line, address }: RowView): HTMLElement {
  const number = document.createElement("a");
  number.className = "number";
  number.href = address;
  number.tabIndex = -1;
  number.textContent = String(line + 1);
  return number;
}

function foldElement({ title, end }: Group, isOpen: boolean): HTMLElement {
  const fold = button("fold", isOpen ? "▾" : "▸");
  fold.setAttribute("aria-expanded", String(isOpen));
  fold.setAttribute("aria-label", `${isOpen ? "Fold" : "Open"} ${title}`);
  if (end === Infinity) fold.title = "nothing has ended this group";
  return fold;
}

function gapElement(lines: number): HTMLElement {
  const gap = element("span", "gap", lines > 0 ? `⋯ ${lines.toLocaleString("en")}` : "");
  gap.title = `${lines.toLocaleString("en")} lines before this one are hidden: show them`;
  return gap;
}

function longElement({ longBytes, address }: { longBytes: number; address: string }): HTMLElement {
  const more = document.createElement("a");
  more.className = "more";
  more.href = address;
  more.textContent = `… show all (${bytesText(longBytes)})`;
  return more;
}

function button(classes: string, text: string): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.className = classes;
  made.textContent = text;
  return made;
}

function element(name: string, classes: string, text?: string): HTMLElement {
  const made = document.createElement(name);
  if (classes !== "") made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A number of bytes, as people say it. */
export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes, unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}
