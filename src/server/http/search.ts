/**
 * Searching the lines of a resource over HTTP (PROTOCOL.md 6.3).
 * @module
 */
import type { Context, Hono } from "hono";
import { RESOURCES_PATH, type SearchEnd, type SearchMatch, StreamError } from "../../protocol.ts";
import { finderFor, search, type SearchBounds } from "../../resources.ts";
import { answerWith } from "../answer.ts";
import { flagIn, numberIn } from "./query.ts";
import type { RouteParts } from "../routes.ts";

const MATCHES = 1000;
const MAX_MATCHES = 10_000;
/** Time of one search; the next goes on where it ended. */
const BUDGET_MS = 30_000;
/** Searches at the same time on one port: each takes what is left of a core. */
const MAX_SEARCHES = 4;
const MAX_LINE = Number.MAX_SAFE_INTEGER;

/** Adds the route. */
export function searchRoutes(app: Hono, parts: RouteParts): void {
  let running = 0;
  app.get(`${RESOURCES_PATH}/:id/search`, async (c) => {
    if (running >= MAX_SEARCHES) {
      throw new StreamError("LIMIT_REACHED", `${running} searches are running: try again later`);
    }
    running++;
    try {
      return await answer(c, parts, () => void running--);
    } catch (error) {
      running--;
      throw error;
    }
  });
}

async function answer(c: Context, parts: RouteParts, ended: () => void): Promise<Response> {
  const { resources } = parts;
  const finder = finderFor({
    pattern: c.req.query("q") ?? "",
    regex: flagIn(c, "regex"),
    ignoreCase: flagIn(c, "ignoreCase"),
  });
  const bounds: SearchBounds = {
    from: numberIn(c, "from", { min: -MAX_LINE, max: MAX_LINE }) ?? 0,
    limit: numberIn(c, "limit", { min: 1, max: MAX_MATCHES }) ?? MATCHES,
    budgetMs: BUDGET_MS,
  };
  await using stack = new AsyncDisposableStack();
  const opened = stack.use(await resources.open(c.req.param("id")!));
  const { resource } = opened;
  // What cannot be searched is refused before the answer begins.
  await resource.lineStart(Math.max(0, bounds.from));
  const source = {
    chunks: (signal: AbortSignal) => encode(search(resource, finder, bounds, signal)),
    release: () => {
      ended();
      return opened.release();
    },
  };
  const response = await answerWith(c, parts, source, () => {
    c.header("content-type", "application/x-ndjson; charset=utf-8");
    c.header("cache-control", "no-store");
  });
  // The body releases it from now on.
  stack.move();
  return response;
}

/** An object a line: the matches, and how the search ended. */
async function* encode(
  found: AsyncGenerator<SearchMatch[], SearchEnd, void>,
): AsyncGenerator<Uint8Array, void, void> {
  const encoder = new TextEncoder();
  try {
    for (;;) {
      const { done, value } = await found.next();
      const objects = done ? [{ end: true, ...value }] : value;
      yield encoder.encode(objects.map((object) => `${JSON.stringify(object)}\n`).join(""));
      if (done) return;
    }
  } finally {
    await found.return({ nextLine: 0, truncated: true, partialLines: 0 });
  }
}
