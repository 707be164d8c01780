/**
 * Where the rows of a view are: which are drawn, and how far they are shifted, so that a line stays where it was.
 * @module
 */

/** Rows drawn beyond each edge of the view. */
export const SPARE_ROWS = 4;
/** Rows whose heights are known only when they are drawn may have to be drawn again, so often at most. */
const MAX_ROUNDS = 6;

/** What holds a view in its place. */
export interface Anchor {
  /** A line. */
  line: number;
  /** How far the top of the view is below the top of that line's row, in px; less than 0 above it. */
  px: number;
}

/** What rows are placed in. */
export interface Room {
  /** Which line each row shows. */
  map: { lineAt(row: number): number; rowOf(line: number): number };
  /** Number of rows. */
  end: number;
  /** Height of a row that is not wrapped, in px. */
  rowPx: number;
  /** Height of the view, in px. */
  viewPx: number;
  /** Whether rows have heights of their own. */
  wrap: boolean;
  /** Draws these rows and no others; returns their heights, in px. */
  draw(first: number, end: number): number[];
}

/** Rows that were drawn. */
export interface Placement {
  /** The first line in view. */
  anchor: Anchor;
  /** How far what is drawn is to be moved down, in px. */
  shiftPx: number;
  /** Whether somebody moved down beyond the last row. */
  isBeyond: boolean;
}

/** Draws the last rows. */
export function placeEnd(room: Room): Placement {
  const { end, viewPx } = room;
  const first = Math.max(0, end - rowsInView(room) - SPARE_ROWS);
  const heights = room.draw(first, end);
  const top = Math.max(0, sumOf(heights) - viewPx);
  return { ...anchorAt(room, first, heights, top), isBeyond: false };
}

/** Draws the rows around an anchor. */
export function placeAround(anchor: Anchor, room: Room): Placement {
  if (!room.wrap) return placeEven(anchor, room);
  let isBeyond = false;
  for (let moved = anchor, rounds = 1;; rounds++) {
    const { shiftPx, ...placed } = placeUneven(moved, room, rounds === MAX_ROUNDS);
    isBeyond ||= placed.isBeyond;
    if (shiftPx !== null) return { anchor: placed.anchor, shiftPx, isBeyond };
    moved = placed.anchor;
  }
}

/** Rows of one height: where they are is known before they are drawn. */
function placeEven({ line, px }: Anchor, room: Room): Placement {
  const { map, end, rowPx, viewPx } = room;
  const mostPx = Math.max(0, end * rowPx - viewPx);
  const wanted = rowOf(line, room) * rowPx + px;
  const place = Math.max(0, Math.min(wanted, mostPx));
  const row = Math.max(0, Math.min(Math.floor(place / rowPx), end - 1));
  const anchor = { line: end === 0 ? 0 : map.lineAt(row), px: place - row * rowPx };
  const first = Math.max(0, row - SPARE_ROWS);
  room.draw(first, Math.min(end, row + rowsInView(room) + SPARE_ROWS));
  const isBeyond = wanted > mostPx && mostPx > 0;
  return { anchor, shiftPx: (first - row) * rowPx - anchor.px, isBeyond };
}

/** Wrapped rows: drawn first, measured then; without a shift when rows before those that were drawn are in view. */
function placeUneven(
  { line, px }: Anchor,
  room: Room,
  isLast: boolean,
): Omit<Placement, "shiftPx"> & { shiftPx: number | null } {
  const { map, end, rowPx, viewPx } = room;
  const anchorRow = rowOf(line, room);
  const back = px < 0 ? Math.ceil(-px / rowPx) : 0;
  const ahead = px > 0 ? Math.ceil(px / rowPx) : 0;
  const first = Math.max(0, anchorRow - back - SPARE_ROWS);
  const last = Math.min(end, anchorRow + ahead + rowsInView(room) + SPARE_ROWS);
  const heights = room.draw(first, last);
  // The top of the view, from the top of what is drawn.
  let top = sumOf(heights.slice(0, anchorRow - first)) + px;
  const lowest = sumOf(heights) - viewPx;
  let isBeyond = false;
  if (last === end && top > lowest) {
    isBeyond = px > 0;
    top = lowest;
  }
  if (top < 0 && first > 0 && !isLast) {
    return { anchor: { line: map.lineAt(first), px: top }, shiftPx: null, isBeyond };
  }
  return { ...anchorAt(room, first, heights, Math.max(0, top)), isBeyond };
}

/** The row at a place in what is drawn is the anchor then. */
function anchorAt(
  { map, end }: Room,
  first: number,
  heights: readonly number[],
  top: number,
): Pick<Placement, "anchor" | "shiftPx"> {
  let row = first, at = 0;
  while (row < first + heights.length - 1 && at + heights[row - first] <= top) {
    at += heights[row++ - first];
  }
  return { anchor: { line: end === 0 ? 0 : map.lineAt(row), px: top - at }, shiftPx: -top };
}

function rowOf(line: number, { map, end }: Room): number {
  return Math.max(0, Math.min(map.rowOf(line), end - 1));
}

function rowsInView({ viewPx, rowPx }: Room): number {
  return Math.ceil(viewPx / rowPx) + 1;
}

function sumOf(heights: readonly number[]): number {
  return heights.reduce((all, px) => all + px, 0);
}
