/** Where rows of a view are put: model, without a browser. */
import { test } from "node:test";
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Anchor, placeAround, placeEnd, type Room } from "../../src/viewer/model/placement.ts";

const rowPx = 20;
const map = { lineAt: (row: number) => 3 * row, rowOf: (line: number) => Math.floor(line / 3) };

/** A view of rows of these heights, and the rows that were drawn last. */
function viewOf(heights: readonly number[], viewPx: number, wrap = true) {
  const drawn = { first: 0, end: 0 };
  const room: Room = {
    ...{ map, end: heights.length, rowPx, viewPx, wrap },
    draw(first, end) {
      Object.assign(drawn, { first, end });
      return heights.slice(first, end);
    },
  };
  return { room, drawn };
}

const sumOf = (heights: readonly number[]) => heights.reduce((all, px) => all + px, 0);

/** The top of the view from the top of the first row, as what was drawn lies, and as the anchor says. */
function topsOf(heights: readonly number[], first: number, shiftPx: number, anchor: Anchor) {
  const byAnchor = sumOf(heights.slice(0, map.rowOf(anchor.line))) + anchor.px;
  return [sumOf(heights.slice(0, first)) - shiftPx, byAnchor];
}

const rows = fc.array(fc.integer({ min: rowPx, max: 6 * rowPx }), { minLength: 1, maxLength: 80 });
const views = fc.integer({ min: rowPx, max: 500 });

test("a view is full wherever it was moved to, and stays within the rows", () => {
  const moves = fc.record({ row: fc.nat(90), px: fc.integer({ min: -900, max: 900 }) });
  fc.assert(fc.property(rows, views, moves, (heights, viewPx, { row, px }) => {
    const { room, drawn } = viewOf(heights, viewPx);
    const asked = { line: map.lineAt(row), px };
    const { anchor, shiftPx, isBeyond } = placeAround(asked, room);
    const [top, byAnchor] = topsOf(heights, drawn.first, shiftPx, anchor);
    assertAlmostEquals(top, byAnchor);
    const lowest = Math.max(0, sumOf(heights) - viewPx);
    assert(top >= 0 && top <= lowest, `${top} of ${lowest}`);
    assert(sumOf(heights.slice(0, drawn.end)) >= Math.min(sumOf(heights), top + viewPx));
    const wanted = sumOf(heights.slice(0, Math.min(row, heights.length - 1))) + px;
    assertAlmostEquals(top, Math.max(0, Math.min(wanted, lowest)));
    if (isBeyond) assertEquals(top, lowest);
    // Where it is it stays.
    const again = placeAround(anchor, room);
    assertAlmostEquals(topsOf(heights, drawn.first, again.shiftPx, again.anchor)[0], top);
  }));
});

test("rows of one height are placed alike whether that is known before or not", () => {
  const moves = fc.record({ row: fc.nat(90), px: fc.integer({ min: -900, max: 900 }) });
  fc.assert(fc.property(fc.nat(80), views, moves, (count, viewPx, { row, px }) => {
    const heights = Array.from({ length: count + 1 }, () => rowPx);
    const asked = { line: map.lineAt(row), px };
    const [even, uneven] = [false, true].map((wrap) => {
      const { room, drawn } = viewOf(heights, viewPx, wrap);
      const { anchor, shiftPx } = placeAround(asked, room);
      return topsOf(heights, drawn.first, shiftPx, anchor);
    });
    assertEquals(even, uneven);
  }));
});

test("who moves down beyond the last row is told to be there, and nobody else", () => {
  for (const wrap of [false, true]) {
    const { room } = viewOf(Array.from({ length: 50 }, () => rowPx), 10 * rowPx, wrap);
    const isBeyond = (row: number, px: number) =>
      placeAround({ line: map.lineAt(row), px }, room).isBeyond;
    assertEquals([isBeyond(40, 0), isBeyond(40, 1), isBeyond(49, 30)], [false, true, true]);
    assertEquals([isBeyond(10, 5), isBeyond(0, -5)], [false, false]);
  }
});

test("the end of a log is at the lower edge, or all of a short one at the upper", () => {
  fc.assert(fc.property(rows, views, (heights, viewPx) => {
    const { room, drawn } = viewOf(heights, viewPx);
    const { anchor, shiftPx } = placeEnd(room);
    const [top, byAnchor] = topsOf(heights, drawn.first, shiftPx, anchor);
    assertAlmostEquals(top, byAnchor);
    assertAlmostEquals(top, Math.max(0, sumOf(heights) - viewPx));
  }));
  const { room } = viewOf([], 100);
  assertEquals(placeEnd(room).anchor, { line: 0, px: 0 });
});
