/**
 * Lists page by page: how long a page is, and where the next one begins.
 * @module
 */
import type { Context } from "hono";
import { StreamError } from "../../protocol.ts";
import { inQuery, integer, type Parameter } from "../route/parameters.ts";

const PAGE_ENTRIES = 100;
const MAX_PAGE_ENTRIES = 1000;
const CURSOR = /^(\d{1,15})_(.+)$/;

/** A place in a list that is ordered by time and id. */
export interface Cursor {
  /** Time, in ms since 1970. */
  createdAtMs: number;
  /** Id. */
  id: string;
}

/** How many entries a page has. */
export const limit: Parameter<number> = inQuery(
  "limit",
  "most entries of a page",
  integer(1, MAX_PAGE_ENTRIES),
  PAGE_ENTRIES,
);

/**
 * Where the page begins; what the cursor names may be gone by now.
 * @param isId Tells whether a text can be an id in this list.
 */
export function cursor(isId: (text: string) => boolean): Parameter<Cursor | undefined> {
  return inQuery("after", "where the page begins, as the link to a next page has it", {
    schema: { type: "string", pattern: CURSOR.source },
    read(text) {
      const [, createdAtMs, id] = CURSOR.exec(text) ?? [];
      if (id !== undefined && isId(id)) return { createdAtMs: Number(createdAtMs), id };
      throw new StreamError("BAD_REQUEST", `after=${text} is not what a link to a next page has`);
    },
  });
}

/**
 * Cuts a list to its page and links the next one.
 * @param found The entries, one more than the page has if there are.
 * @param limit Entries of the page.
 */
export function page<Entry extends Cursor>(c: Context, found: Entry[], limit: number): Entry[] {
  if (found.length <= limit) return found;
  const entries = found.slice(0, limit);
  const { createdAtMs, id } = entries[limit - 1];
  const next = new URL(c.req.url);
  next.searchParams.set("after", `${createdAtMs}_${id}`);
  c.header("link", `<${next.pathname}${next.search}>; rel="next"`);
  return entries;
}
