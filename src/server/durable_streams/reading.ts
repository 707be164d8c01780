/**
 * Reads of streams: what is there, and what comes, by long-poll.
 * @module
 */
import type { Context } from "hono";
import { isFinal, StreamError } from "../../protocol.ts";
import { type OpenResource, readFast, type Resource } from "../../resources.ts";
import { answerWith } from "../answer.ts";
import { memoryFor } from "../answer/memory.ts";
import { openFor } from "../opening.ts";
import { checkMatch, isKnown } from "../route/conditions.ts";
import { etagOf, tellClosed, tellOffset, tellReferences } from "./answers.ts";
import { isBetweenMessages } from "./creating.ts";
import { isJson } from "./facts.ts";
import type { Read } from "./fields.ts";
import { arrayLength, arrayOf, endOfLines } from "./json.ts";
import { cursorAfter, offsetOf } from "./offsets.ts";
import type { StreamParts } from "./parts.ts";
import { sendEvents } from "./sse.ts";
import { checkSaid, type Stream, streamId } from "./streams.ts";
import { Wait } from "./wait.ts";

/** The most of one answer. */
const CHUNK_BYTES = 8 * 1024 * 1024;
/** A step back in the search of the last whole message. */
const STEP_BYTES = 256 * 1024;
/** How long a long-poll waits. */
const LONG_POLL_MS = 20_000;
/** What another node told of may come so much later here. */
const LATE_MS = 2000;

/** `GET /streams/PATH`: the bytes from an offset on. */
export async function read(c: Context, parts: StreamParts, said: Read): Promise<Response> {
  const { streams } = parts;
  const id = await streamId(said.path);
  const stream = await streams.find(id);
  tellReferences(c, parts, id);
  if (c.req.method === "HEAD") return tellOf(c, stream);
  const [position] = said.offset ?? [];
  if (position !== undefined && position !== "now") checkSaid(stream, position);
  if (said.live !== undefined && position === undefined) {
    throw new StreamError("BAD_REQUEST", `live=${said.live} wants an offset: -1 is the beginning`);
  }
  streams.touch(stream);
  await using opened = await openFor(c, parts, id, stream.view);
  const { resource } = opened;
  const start = position === "now" ? resource.status.currentSize : position?.byteOffset ?? 0;
  await checkStart(c, parts, stream, resource, start);
  if (said.live === "sse") {
    const response = await sendEvents(c, parts, stream, opened, start, said);
    opened.handOn();
    return response;
  }
  if (position === "now" && said.live === undefined) return tellEnd(c, stream, resource);
  if (said.live === "long-poll") {
    const isThere = () => resource.status.currentSize > start || isOver(resource);
    if (!isThere()) await new Wait(c, parts, resource).until(isThere, LONG_POLL_MS);
    streams.touch(stream);
  }
  checkThere(resource, start);
  if (said.live === "long-poll" && resource.status.currentSize === start) {
    return tellNothing(c, resource, start, said);
  }
  const response = await send(c, parts, stream, opened, start, said);
  if (response.status !== 304) opened.handOn();
  return response;
}

/** `HEAD`: everything but bytes. */
function tellOf(c: Context, { view, facts }: Stream): Response {
  const { transferStatus, currentSize, failure, life } = view.status;
  tellOffset(c, life, currentSize);
  c.header("content-type", facts.contentType);
  c.header("cache-control", "no-store");
  if (transferStatus === "COMPLETED") tellClosed(c);
  c.header("stream-transfer-status", transferStatus);
  if (facts.ttlS !== undefined) c.header("stream-ttl", String(facts.ttlS));
  if (facts.expiresAt !== undefined) c.header("stream-expires-at", facts.expiresAt);
  if (failure === null) c.header("etag", etagOf(life, 0, currentSize, transferStatus));
  return c.body(null);
}

/** The bytes that are there, as many as one answer has. */
async function send(
  c: Context,
  parts: StreamParts,
  { facts }: Stream,
  opened: OpenResource,
  start: number,
  { live, cursor, ifMatch, ifNoneMatch }: Read,
): Promise<Response> {
  const { resource } = opened;
  const { currentSize, transferStatus, life } = resource.status;
  const json = isJson(facts);
  const end = await endOf(resource, start, currentSize, json);
  const isAtEnd = end === currentSize;
  const etag = etagOf(life, start, end, isAtEnd ? transferStatus : "IN_PROGRESS");
  const head = () => {
    c.header("content-type", facts.contentType);
    c.header("etag", etag);
    // Only what is full stays as it is; what reaches the end is asked for again before it is used.
    c.header("cache-control", isAtEnd ? "private, no-cache" : "private, max-age=60");
    tellOffset(c, life, end);
    if (isAtEnd) c.header("stream-up-to-date", "true");
    // By long-poll the end is told without bytes: a reader that hears of it while it has others to read may drop these
    // (findings/durable-streams-lost-end.sh).
    if (isAtEnd && transferStatus === "COMPLETED" && live === undefined) tellClosed(c);
    if (live !== undefined) c.header("stream-cursor", cursorAfter(cursor));
  };
  checkMatch(ifMatch, etag);
  if (isKnown(ifNoneMatch, etag)) {
    head();
    return c.body(null, 304);
  }
  const byteCount = end - start;
  const into = memoryFor(c, parts.runtime, byteCount);
  const bytes = (signal: AbortSignal) => readFast(resource, start, end, signal, into);
  return await answerWith(c, parts, {
    chunks: (signal) => json ? arrayOf(bytes(signal), byteCount) : bytes(signal),
    byteCount: json ? arrayLength(byteCount) : byteCount,
    release: () => opened.release(),
  }, head);
}

/** Where an answer ends: at the end or, of much, behind a whole message. */
async function endOf(
  resource: Resource,
  start: number,
  size: number,
  json: boolean,
): Promise<number> {
  const most = start + CHUNK_BYTES;
  if (size <= most) return size;
  if (!json) return most;
  for (let to = most; to > start; to -= STEP_BYTES) {
    const from = Math.max(start, to - STEP_BYTES);
    for (let at = to; at > from;) {
      const first = Math.max(from, at - STEP_BYTES);
      const bytes = await readWhole(resource, first, at);
      const end = endOfLines(bytes);
      if (end > 0) return first + end;
      at = first;
    }
  }
  throw new StreamError("INTERNAL", "a message is longer than an answer");
}

/** Bytes in one piece. */
async function readWhole(resource: Resource, from: number, to: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(to - from);
  for (let at = from; at < to;) {
    const piece = await resource.read(at, to - at);
    bytes.set(piece, at - from);
    at += piece.length;
  }
  return bytes;
}

/** `offset=now`: where it ends, without a byte. */
function tellEnd(c: Context, { facts }: Stream, { status }: Resource): Response {
  tellOffset(c, status.life, status.currentSize);
  c.header("stream-up-to-date", "true");
  c.header("cache-control", "no-store");
  c.header("content-type", facts.contentType);
  if (status.transferStatus === "COMPLETED") tellClosed(c);
  return c.body(isJson(facts) ? "[]" : "");
}

/** A long-poll ends without a byte. */
function tellNothing(
  c: Context,
  { status }: Resource,
  start: number,
  { cursor }: Read,
): Response {
  tellOffset(c, status.life, start);
  c.header("stream-up-to-date", "true");
  c.header("cache-control", "no-store");
  c.header("stream-cursor", cursorAfter(cursor));
  if (status.transferStatus === "COMPLETED") tellClosed(c);
  return c.body(null, 204);
}

/** Refuses positions that no answer of this stream told. */
async function checkStart(
  c: Context,
  parts: StreamParts,
  { facts }: Stream,
  resource: Resource,
  start: number,
): Promise<void> {
  const isThere = () => resource.status.currentSize >= start || isOver(resource);
  if (!isThere()) await new Wait(c, parts, resource).until(isThere, LATE_MS);
  checkThere(resource, start);
  const { currentSize, life } = resource.status;
  if (start > currentSize) {
    throw new StreamError(
      "RANGE_NOT_AVAILABLE",
      `the stream ends at ${offsetOf(life, currentSize)}, before ${offsetOf(life, start)}`,
    );
  }
  if (!isJson(facts) || await isBetweenMessages(resource, start)) return;
  throw new StreamError("BAD_REQUEST", `no message begins at ${offsetOf(life, start)}`);
}

/** @throws {StreamError} NOT_FOUND for one that was deleted meanwhile; GONE at the end of one that failed. */
function checkThere({ deleted, status }: Resource, start: number): void {
  if (deleted) throw new StreamError("NOT_FOUND", "the stream was deleted");
  const { transferStatus, currentSize, failure } = status;
  if (transferStatus !== "FAILED" || start < currentSize) return;
  throw new StreamError("GONE", `nothing follows, as the upload failed: ${failure}`);
}

function isOver({ deleted, status }: Resource): boolean {
  return deleted || isFinal(status.transferStatus);
}
