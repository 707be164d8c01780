/**
 * Marks beside the scroll bar: where hits and errors are.
 * @module
 */
import type { Theme } from "../model/colour.ts";
import type { Log } from "../model/log.ts";
import type { RowMap } from "../model/row_map.ts";

const COLOURS: Record<Theme, { hit: string; error: string }> = {
  light: { hit: "#b38600", error: "#c5292c" },
  dark: { hit: "#e3b341", error: "#ff6b63" },
};
const MARK_PX = 3;

/**
 * Draws the strip.
 * @param canvas Where.
 * @param log The log.
 * @param theme Which colours.
 * @param rowPx Height of a row, in px: marks of a log that fits into the view stand beside their rows.
 */
export function drawMarks(canvas: HTMLCanvasElement, log: Log, theme: Theme, rowPx: number): void {
  const { hits } = log.search, { errors } = log.outline;
  if (hits.length + errors.length === 0 && canvas.dataset.key === undefined) return;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (width === 0 || height === 0) return;
  const key = [
    ...[width, height, log.visible.map.rows, theme],
    ...[hits.length, hits[0], hits.at(-1), errors.length, errors.at(-1)],
  ].join();
  if (canvas.dataset.key === key) return;
  canvas.dataset.key = key;
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.scale(scale, scale);
  const paint = (lines: readonly number[], colour: string) => {
    context.fillStyle = colour;
    for (const y of placesOf(lines, log.visible.map, height, rowPx)) {
      context.fillRect(0, y, width, MARK_PX);
    }
  };
  paint(errors, COLOURS[theme].error);
  paint(hits, COLOURS[theme].hit);
}

/** Where lines are on a strip, each pixel once. */
function placesOf(
  lines: readonly number[],
  map: RowMap,
  height: number,
  rowPx: number,
): Set<number> {
  const places = new Set<number>();
  const isShort = map.rows * rowPx <= height;
  const scale = isShort ? rowPx : (height - MARK_PX) / map.rows;
  const middle = isShort ? (rowPx - MARK_PX) / 2 : 0;
  for (const line of lines) places.add(Math.round(map.rowOf(line) * scale + middle));
  return places;
}
