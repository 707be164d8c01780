/**
 * How a scroll bar of limited height stands for any number of rows.
 *
 * Browsers clip elements at 17 to 34 million pixels. A taller content is mapped: one to one near both ends, so that a
 * wheel always has room, and in proportion between them.
 * @module
 */

/** Below what every browser can show. */
export const MAX_SCROLL_PX = 8_000_000;
/** One to one at each end. */
const EDGE_PX = 100_000;

/** The heights that a mapping goes between. */
export interface Heights {
  /** All rows. */
  contentPx: number;
  /** What is seen of them. */
  viewPx: number;
}

/** Height of the element that scrolls. */
export function scrollHeight({ contentPx }: Heights): number {
  return Math.min(contentPx, MAX_SCROLL_PX);
}

/**
 * The scroll position that stands for a place.
 * @param px Distance of the first pixel seen from the top of the content.
 */
export function toScroll(px: number, heights: Heights): number {
  const place = Math.max(0, px);
  const { content, scroll, edge } = ranges(heights);
  if (content <= scroll) return Math.min(place, content);
  if (place <= edge) return place;
  if (place >= content - edge) return Math.max(0, scroll - Math.max(0, content - place));
  return edge + (place - edge) * (scroll - 2 * edge) / (content - 2 * edge);
}

/**
 * The place that a scroll position stands for.
 * @param position What the browser says.
 */
export function fromScroll(position: number, heights: Heights): number {
  const { content, scroll, edge } = ranges(heights);
  if (content <= scroll) return Math.min(position, content);
  if (position <= edge) return position;
  if (position >= scroll - edge) return content - Math.max(0, scroll - position);
  return edge + (position - edge) * (content - 2 * edge) / (scroll - 2 * edge);
}

/** How far content and scroll bar can go, and how far they go together. */
function ranges(heights: Heights): { content: number; scroll: number; edge: number } {
  const content = Math.max(0, heights.contentPx - heights.viewPx);
  const scroll = Math.max(0, scrollHeight(heights) - heights.viewPx);
  return { content, scroll, edge: Math.min(EDGE_PX, scroll / 4) };
}
