/**
 * The selection of lines, kept while its rows leave the page, and what it copies.
 *
 * The browser's own selection shows the part that is in the page: it keeps the look, the keys and the menus that
 * people know. Whatever it is moved to by a person is taken over; what we set ourselves is not.
 * @module
 */
import type { Log } from "../model/log.ts";
import {
  compare,
  ordered,
  type Place,
  type Selection,
  textOfSelection,
} from "../model/selection.ts";
import type { Placed } from "./row.ts";

interface Spot {
  node: Node;
  offset: number;
}

/** The selection in one log. */
export class LogSelection {
  readonly #log: Log;
  readonly #rows: HTMLElement;
  #selection: Selection | null = null;
  /** What we made the browser select; its ends may stand for ends that are not in the page. */
  #set: { anchor: Spot; focus: Spot } | null = null;
  /** Whether a pointer is down: where it went down the selection begins, whatever leaves the page meanwhile. */
  #drag: "none" | "begun" | "anchored" = "none";

  constructor(log: Log, rows: HTMLElement) {
    this.#log = log;
    this.#rows = rows;
  }

  /** What is selected; null for nothing. */
  get current(): Selection | null {
    return this.#selection;
  }

  /** Selects every line. */
  selectAll(): void {
    const last = this.#log.places - 1;
    if (last < 0) return;
    this.#selection = {
      anchor: { line: 0, character: 0 },
      focus: { line: last, character: Number.MAX_SAFE_INTEGER },
    };
    this.restore();
  }

  /** A pointer went down on the rows. */
  dragStarts({ button, shiftKey }: PointerEvent): void {
    if (button === 0) this.#drag = shiftKey && this.#selection !== null ? "anchored" : "begun";
  }

  /** The pointer went up. */
  dragEnds(): void {
    this.#drag = "none";
  }

  /** The browser selects something else. */
  changed(): void {
    const native = getSelection();
    if (native === null || native.anchorNode === null || native.focusNode === null) {
      if (this.#set !== null) this.#selection = this.#set = null;
      return;
    }
    const anchor = { node: native.anchorNode, offset: native.anchorOffset };
    const focus = { node: native.focusNode, offset: native.focusOffset };
    const before = this.#selection;
    const keepsAnchor = before !== null && isSpot(this.#set?.anchor, anchor);
    const keepsFocus = before !== null && isSpot(this.#set?.focus, focus);
    if (keepsAnchor && keepsFocus) return;
    const isAnchored = before !== null && this.#drag === "anchored";
    const start = keepsAnchor || isAnchored ? before.anchor : placeOf(this.#rows, anchor);
    const end = keepsFocus ? before.focus : placeOf(this.#rows, focus);
    if (start === null || end === null) {
      this.#selection = this.#set = null;
      return;
    }
    this.#selection = { anchor: start, focus: end };
    this.#set = { anchor, focus };
    if (this.#drag === "begun") this.#drag = "anchored";
  }

  /** After rows were drawn: the browser selects the part that is in the page. */
  restore(): void {
    if (this.#selection === null || compare(this.#selection.anchor, this.#selection.focus) === 0) {
      return;
    }
    const rows = [...this.#rows.children] as Placed[];
    const anchor = spotOf(rows, this.#selection.anchor);
    const focus = spotOf(rows, this.#selection.focus);
    const native = getSelection();
    if (anchor === null || focus === null || native === null) return;
    const isThere = native.anchorNode !== null && native.focusNode !== null &&
      isSpot(anchor, { node: native.anchorNode, offset: native.anchorOffset }) &&
      isSpot(focus, { node: native.focusNode, offset: native.focusOffset });
    this.#set = { anchor, focus };
    if (!isThere) native.setBaseAndExtent(anchor.node, anchor.offset, focus.node, focus.offset);
  }

  /** The text, if all of it is at hand; null when lines have to be read for it. */
  textAtHand(): string | null {
    if (this.#selection === null) return null;
    const [first, last] = ordered(this.#selection);
    if (!this.#log.cache.has([first.line, last.line + 1])) return null;
    for (let line = first.line; line <= last.line; line++) {
      if (this.#log.cache.get(line)?.longBytes !== null) return null;
    }
    const textOf = (line: number) => this.#log.shownText(line);
    return textOfSelection(this.#selection, textOf, this.#log.joint);
  }
}

function isSpot(one: Spot | undefined, other: Spot): boolean {
  return one !== undefined && one.node === other.node && one.offset === other.offset;
}

/** The place in the log that a spot in the page stands for; null outside of the rows. */
function placeOf(rows: HTMLElement, { node, offset }: Spot): Place | null {
  if (!rows.contains(node)) return null;
  if (node === rows) {
    const row = rows.children[Math.min(offset, rows.children.length - 1)] as Placed | undefined;
    if (row?.line === undefined) return null;
    return { line: row.line, character: offset >= rows.children.length ? Infinity : 0 };
  }
  const element = (node instanceof Element ? node : node.parentElement)!;
  const row = element.closest<Placed>(".row");
  if (row?.line === undefined) return null;
  const piece = element.closest<Placed>(".text > *");
  if (piece?.range !== undefined) {
    const { start, end } = piece.range;
    const inside = node instanceof Text ? offset : offset === 0 ? 0 : end - start;
    return { line: row.line, character: Math.min(end, start + inside) };
  }
  const text = row.querySelector(".text");
  if (element === text) return { line: row.line, character: characterBefore(text, offset) };
  const isBehind = text !== null && (text.compareDocumentPosition(node) & 4) !== 0;
  return { line: row.line, character: isBehind ? lengthOf(text) : 0 };
}

function characterBefore(text: Element, children: number): number {
  const piece = text.children[children - 1] as Placed | undefined;
  return piece?.range?.end ?? 0;
}

function lengthOf(text: Element): number {
  const pieces = [...text.children] as Placed[];
  return pieces.findLast(({ range }) => range !== undefined)?.range?.end ?? 0;
}

/** Where a place is in the page; the nearest end of what is drawn for one that is not. */
function spotOf(rows: readonly Placed[], place: Place): Spot | null {
  if (rows.length === 0) return null;
  const first = rows[0], last = rows.at(-1)!;
  if (place.line < first.line!) return edgeOf(first, false);
  if (place.line > last.line!) return edgeOf(last, true);
  const row = rows.find(({ line }) => line! >= place.line)!;
  if (row.line !== place.line) return edgeOf(row, false);
  const text = row.querySelector(".text")!;
  for (const piece of text.children as unknown as Iterable<Placed>) {
    if (piece.range === undefined || place.character > piece.range.end) continue;
    const node = piece.firstChild ?? piece;
    const inside = Math.max(0, place.character - piece.range.start);
    return { node, offset: Math.min(inside, node.textContent?.length ?? 0) };
  }
  return edgeOf(row, true);
}

/** An end of a row; where it has text, in that, as browsers tell it. */
function edgeOf(row: Element, end: boolean): Spot {
  const text = row.querySelector(".text")!;
  const piece = end ? text.lastElementChild : text.firstElementChild;
  const node = piece?.firstChild;
  if (node instanceof Text) return { node, offset: end ? node.length : 0 };
  return { node: text, offset: end ? text.childNodes.length : 0 };
}
