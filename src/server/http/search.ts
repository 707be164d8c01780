/**
 * Searching the lines of a resource over HTTP (PROTOCOL.md 6.3).
 * @module
 */
import type { Context } from "hono";
import type { SearchEnd, SearchMatch, SearchProgress } from "../../protocol.ts";
import { finderFor, search, type SearchBounds } from "../../resources.ts";
import { answerWith } from "../answer.ts";
import type { FaceParts } from "../face.ts";
import { clientsOf } from "../access/clients.ts";
import { Shares } from "../access/shares.ts";
import { flag, inQuery, integer, text, type Values } from "../route/parameters.ts";
import { ofResource } from "../access/reach.ts";
import { answerOf, type Route, route } from "../route.ts";
import { COUNT, FLAG, object, type Schema, TEXT } from "../route/schemas.ts";
import { openFor } from "../opening.ts";
import { ONE, resourceId } from "./listing.ts";
import { type SearchPlace, SearchPlaces } from "./search/places.ts";

const MATCHES = 1000;
const MAX_MATCHES = 10_000;
/** How often people are told how far a search has come. */
const PROGRESS_MS = 250;
/** Time of one search; the next goes on where it ended. */
const BUDGET_MS = 30_000;
/** Searches that run at the same time on one port: each takes what is left of a core. */
const MAX_SEARCHES = 4;
const MAX_LINE = Number.MAX_SAFE_INTEGER;

const PARAMETERS = {
  id: resourceId,
  q: inQuery("q", "the text, 1 to 1024 bytes of UTF-8", text, ""),
  regex: inQuery("regex", "whether it is a regular expression in the syntax of RE2", flag, false),
  ignoreCase: inQuery("ignoreCase", "whether case does not matter", flag, false),
  from: inQuery(
    "from",
    "index of the first line to look at; a negative one counts from the end",
    integer(-MAX_LINE, MAX_LINE),
    0,
  ),
  to: inQuery("to", "index of the line behind the last one to look at", integer(0, MAX_LINE)),
  limit: inQuery("limit", "most matches", integer(1, MAX_MATCHES), MATCHES),
  progress: inQuery("progress", "whether to tell how far the search has come", flag, false),
};

type Asked = Values<typeof PARAMETERS>;

const HIT: Schema = {
  title: "Hit",
  ...object({
    line: COUNT,
    offset: COUNT,
    length: COUNT,
    text: TEXT,
    textOffset: COUNT,
    cut: FLAG,
  }),
};

const SEARCH_PROGRESS: Schema = { title: "SearchProgress", ...object({ searchedLines: COUNT }) };

const SEARCH_END: Schema = {
  title: "SearchEnd",
  ...object({ end: { const: true }, nextLine: COUNT, truncated: FLAG, partialLines: COUNT }),
};

/** The route of searches. */
export function searchRoutes(parts: FaceParts): Route[] {
  const shares = new Shares({
    what: "searches",
    max: MAX_SEARCHES,
    option: "docs/security.md",
    refused: () => parts.metrics.shareRefused("searches"),
  });
  const places = new SearchPlaces({ max: MAX_SEARCHES, shares });
  return [route({
    name: "searchLines",
    method: "GET",
    path: `${ONE}/search`,
    section: "6.3",
    summary: "Lines that match, then how the search ended",
    access: { scope: "read", reach: ofResource },
    parameters: PARAMETERS,
    answers: {
      200: answerOf("an object a line", {
        "application/x-ndjson": { oneOf: [HIT, SEARCH_PROGRESS, SEARCH_END] },
      }),
    },
    errors: [
      ...["NOT_FOUND", "DELETED", "NO_LINE_ACCESS", "LINES_NOT_AVAILABLE"] as const,
      ...["LIMIT_REACHED", "STORAGE_FAILED", "INDEX_DAMAGED"] as const,
    ],
    async handle(c, asked) {
      const place = places.take(clientsOf(c, parts.references));
      try {
        return await send(c, parts, asked, place);
      } catch (error) {
        place.end();
        throw error;
      }
    },
  })];
}

async function send(
  c: Context,
  parts: FaceParts,
  { id, q: pattern, regex, ignoreCase, from, to, limit, progress }: Asked,
  place: SearchPlace,
): Promise<Response> {
  const finder = finderFor({ pattern, regex, ignoreCase });
  const progressMs = progress ? PROGRESS_MS : undefined;
  const bounds: SearchBounds = { from, to, limit, budgetMs: BUDGET_MS, progressMs };
  await using opened = await openFor(c, parts, id);
  const { resource } = opened;
  // A resource that cannot be searched is refused before the answer begins.
  await resource.lineStart(Math.max(0, bounds.from));
  const source = {
    chunks: (signal: AbortSignal) =>
      encode(search(resource, finder, bounds, signal), place, signal),
    release: () => {
      place.end();
      return opened.release();
    },
  };
  const response = await answerWith(c, parts, source, () => {
    c.header("content-type", "application/x-ndjson; charset=utf-8");
    c.header("cache-control", "no-store");
  });
  // The body releases it from now on.
  opened.handOn();
  return response;
}

/** An object a line: the matches, and how the search ended; it runs while its reader takes them. */
async function* encode(
  found: AsyncGenerator<(SearchMatch | SearchProgress)[], SearchEnd, void>,
  place: SearchPlace,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  const encoder = new TextEncoder();
  try {
    for (;;) {
      await place.resume(signal);
      const { done, value } = await found.next();
      const objects = done ? [{ end: true, ...value }] : value;
      const bytes = encoder.encode(objects.map((object) => `${JSON.stringify(object)}\n`).join(""));
      place.pause();
      yield bytes;
      if (done) return;
    }
  } finally {
    await found.return({ nextLine: 0, truncated: true, partialLines: 0 });
  }
}
