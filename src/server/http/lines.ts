/**
 * Windows of lines over HTTP: their exact bytes, or JSON (PROTOCOL.md 6.2).
 * @module
 */
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { type LinePosition, StreamError } from "../../protocol.ts";
import {
  lineAt,
  type LineWindow,
  locateLines,
  type OpenResource,
  readRange,
  type Resource,
} from "../../resources.ts";
import { answerWith } from "../answer.ts";
import type { FaceParts } from "../face.ts";
import { json } from "../answer/json.ts";
import { flag, inQuery, integer, type Values } from "../route/parameters.ts";
import { ofResource } from "../access/reach.ts";
import { answerOf, type Route, route } from "../route.ts";
import { array, COUNT, object, orNull, type Schema, TEXT } from "../route/schemas.ts";
import { openFor } from "../opening.ts";
import { LINE_PAGE, MAX_LINES, pageOf, WINDOW } from "./line_page.ts";
import { ONE, resourceId } from "./listing.ts";

const LINES = 100;
/** One answer as text; who wants more follows the link or reads the content. */
const TEXT_BYTES = 16 * 1024 * 1024;
const MAX = Number.MAX_SAFE_INTEGER;

/** The lines that are asked for. */
interface Wanted {
  start: number;
  count: number;
  /** Bytes of the first line that the client has already. */
  byteOffset: number;
}

const PARAMETERS = {
  id: resourceId,
  start: inQuery(
    "start",
    "index of the first line; a negative one counts from the end; 0 by default",
    integer(-MAX, MAX),
  ),
  count: inQuery(
    "count",
    `most lines: at most ${MAX_LINES}, and ${LINES} by default; any number, and 0, with locate`,
    integer(0, MAX),
  ),
  tail: inQuery("tail", "so many lines before the end, instead of the two", integer(0, MAX_LINES)),
  offset: inQuery("offset", "bytes of the first line to leave out", integer(0, MAX), 0),
  time: inQuery(
    "time",
    "instead of start: the first line that arrived at that time or later, in ms since 1970",
    integer(0, MAX),
  ),
  times: inQuery("times", "in JSON: when each line arrived", flag, false),
  locate: inQuery("locate", "only where the lines are, cut to what is there", flag, false),
};

type Asked = Values<typeof PARAMETERS>;

const LINES_LOCATED: Schema = { title: "LinesLocated", ...object(WINDOW) };

const TIMED_LINE_PAGE: Schema = {
  title: "TimedLines",
  allOf: [LINE_PAGE, object({ times: array(orNull(COUNT)) })],
};

/** The route of lines. */
export function linesRoutes(parts: FaceParts): Route[] {
  return [route({
    name: "getLines",
    method: "GET",
    path: `${ONE}/lines`,
    section: "6.2",
    summary: "Lines by their index",
    access: { scope: "read", reach: ofResource },
    parameters: PARAMETERS,
    answers: {
      200: answerOf(
        "the lines, or where they are",
        {
          "text/plain": TEXT,
          "application/json": { anyOf: [LINE_PAGE, TIMED_LINE_PAGE, LINES_LOCATED] },
        },
        ...["Link", "Stream-Number-Of-Lines", "Stream-Transfer-Status", "Stream-Life"],
      ),
    },
    errors: [
      ...["NOT_FOUND", "DELETED", "NO_LINE_ACCESS", "LINES_NOT_AVAILABLE"] as const,
      ...["LIMIT_REACHED", "STORAGE_FAILED", "INDEX_DAMAGED"] as const,
    ],
    handle: (c, asked) => asked.locate ? locateOnly(c, parts, asked) : send(c, parts, asked),
  })];
}

async function send(c: Context, parts: FaceParts, asked: Asked): Promise<Response> {
  const wanted = wantedIn(asked);
  await using opened = await openFor(c, parts, asked.id);
  const { resource } = opened;
  if (asked.time !== undefined) wanted.start = await lineSince(resource, asked.time);
  // Counted from the end, as a negative number cannot say it.
  if (asked.tail === 0) wanted.start = resource.status.numberOfLines ?? 0;
  const window = await locate(resource, wanted);
  tellStatus(c, resource);
  const type = accepts(c, {
    header: "Accept",
    supports: ["text/plain", "application/json"],
    default: "text/plain",
  });
  if (type !== "text/plain") return await asJson(c, resource, window, wanted, asked.times);
  const response = await asText(c, parts, opened, window, wanted);
  // The body releases it from now on.
  opened.handOn();
  return response;
}

/** Where lines are, as `LocateLines` tells it: any number of them, cut to what exists. */
async function locateOnly(
  c: Context,
  parts: FaceParts,
  { id, start = 0, count = 0 }: Asked,
): Promise<Response> {
  await using opened = await openFor(c, parts, id);
  tellStatus(c, opened.resource);
  return json(c, await locateLines(opened.resource, start, count));
}

function wantedIn({ tail, start, time, count, offset: byteOffset }: Asked): Wanted {
  if (time !== undefined && (start ?? tail) !== undefined) {
    throw new StreamError("BAD_REQUEST", "time stands for start and tail: give one of them");
  }
  if (count !== undefined && count > MAX_LINES) {
    throw new StreamError("BAD_REQUEST", `count=${count} is above ${MAX_LINES}`);
  }
  if (tail === undefined) return { start: start ?? 0, count: count ?? LINES, byteOffset };
  if (start === undefined && count === undefined) return { start: -tail, count: tail, byteOffset };
  throw new StreamError("BAD_REQUEST", "tail stands for start and count: give either");
}

/** The first line that arrived at a time or later; behind the last one where there is none. */
async function lineSince(resource: Resource, timeMs: number): Promise<number> {
  const lines = resource.status.numberOfLines ?? 0;
  // Without lines this says so.
  const end = await resource.lineStart(lines);
  const since = await resource.arrivedSince(timeMs);
  if (since === null || since >= end) return lines;
  return (await lineAt(resource, since, 0, lines)).lineIndex;
}

/** Where the lines asked for are, as far as they are there. */
async function locate(
  resource: Resource,
  { start, count, byteOffset }: Wanted,
): Promise<LineWindow> {
  const window = await locateLines(resource, start, count);
  if (window.startingLineIndex < start) {
    throw new StreamError(
      "LINES_NOT_AVAILABLE",
      `line ${start} is not there: ${resource.status.numberOfLines} can be read`,
    );
  }
  const { startingLineIndex: first, linesCount, startOffset } = window;
  if (byteOffset === 0) return window;
  const lineEnd = linesCount === 0 ? startOffset : await resource.lineStart(first + 1);
  if (startOffset + byteOffset < lineEnd) return window;
  throw new StreamError(
    "LINES_NOT_AVAILABLE",
    `byte ${byteOffset} of line ${first} is past its end`,
  );
}

function tellStatus(c: Context, { status }: Resource): void {
  c.header("stream-number-of-lines", String(status.numberOfLines));
  c.header("stream-life", status.life);
  c.header("stream-transfer-status", status.transferStatus);
  c.header("cache-control", "no-cache");
  c.header("vary", "accept");
}

/** The exact bytes of the lines. */
async function asText(
  c: Context,
  parts: FaceParts,
  opened: OpenResource,
  window: LineWindow,
  { byteOffset }: Wanted,
): Promise<Response> {
  const { resource } = opened;
  const { startingLineIndex, linesCount, endOffset } = window;
  const start = window.startOffset + byteOffset;
  const end = Math.min(endOffset, start + TEXT_BYTES);
  const next = end === endOffset
    ? { lineIndex: startingLineIndex + linesCount, byteOffset: 0 }
    : await lineAt(resource, end, startingLineIndex, startingLineIndex + linesCount);
  const source = {
    chunks: (signal: AbortSignal) => readRange(resource, start, end, signal),
    byteCount: end - start,
    release: () => opened.release(),
  };
  return await answerWith(c, parts, source, () => {
    linkTo(c, resource, next);
    c.header("content-type", "text/plain; charset=utf-8");
  });
}

/** A page of the lines as JSON. */
async function asJson(
  c: Context,
  resource: Resource,
  window: LineWindow,
  { byteOffset }: Wanted,
  withTimes: boolean,
): Promise<Response> {
  const { startingLineIndex: lineIndex, linesCount } = window;
  const page = await pageOf(resource, window, byteOffset);
  linkTo(c, resource, page.next ?? { lineIndex: lineIndex + linesCount, byteOffset: 0 });
  const times = withTimes && { times: await timesOf(resource, lineIndex, page.lines.length) };
  return json(c, { ...window, ...page, ...times });
}

/** When lines arrived, a last piece of one included. */
async function timesOf(
  resource: Resource,
  first: number,
  count: number,
): Promise<(number | null)[]> {
  return count === 0 ? [] : await resource.arrivals(first, count);
}

/** Links to the lines that follow, if there are any. */
function linkTo(c: Context, { status }: Resource, { lineIndex, byteOffset }: LinePosition): void {
  if (lineIndex >= (status.numberOfLines ?? 0)) return;
  const { pathname, searchParams } = new URL(c.req.url);
  searchParams.delete("tail");
  searchParams.delete("time");
  searchParams.delete("offset");
  // Pages without lines would lead to themselves for ever.
  if (Number(searchParams.get("count")) === 0) searchParams.delete("count");
  searchParams.set("start", String(lineIndex));
  if (byteOffset > 0) searchParams.set("offset", String(byteOffset));
  c.header("link", `<${pathname}?${searchParams}>; rel="next"`);
}
