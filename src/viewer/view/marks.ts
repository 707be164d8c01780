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

/** Draws the strip. */
export function drawMarks(canvas: HTMLCanvasElement, log: Log, map: RowMap, theme: Theme): void {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (width === 0 || height === 0) return;
  const key = [
    ...[width, height, map.rows, theme],
    ...[log.search.hits.length, log.search.hits[0], log.outline.errors.length],
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
    for (const y of placesOf(lines, map, height)) context.fillRect(0, y, width, MARK_PX);
  };
  paint(log.outline.errors, COLOURS[theme].error);
  paint(log.search.hits, COLOURS[theme].hit);
}

/** Where lines are on a strip, each pixel once. */
export function placesOf(lines: readonly number[], map: RowMap, height: number): Set<number> {
  const places = new Set<number>();
  const scale = (height - MARK_PX) / Math.max(1, map.rows);
  for (const line of lines) places.add(Math.round(map.rowOf(line) * scale));
  return places;
}
