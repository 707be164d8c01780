/**
 * The bytes of a resource over HTTP: whole, in parts, and live (PROTOCOL.md 6.1).
 * @module
 */
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { COMPRESSIBLE_CONTENT_TYPE_REGEX } from "hono/utils/compress";
import type { ResourceStatus, StreamError } from "../../protocol.ts";
import {
  followFrom,
  type OpenResource,
  readFast,
  readRange,
  type Resource,
  type ResourceView,
} from "../../resources.ts";
import { answerWith, type BodySource } from "../answer.ts";
import { openFor } from "../opening.ts";
import { compressions, gzipped } from "../answer/gzip.ts";
import { memoryFor } from "../answer/memory.ts";
import type { FaceParts } from "../face.ts";
import { inHeader, inQuery, text, type Values } from "../route/parameters.ts";
import { ofResource } from "../access/reach.ts";
import { answer, answerOf, type Route, route } from "../route.ts";
import { reprDigest } from "../route/digest_fields.ts";
import { checkMatch, ifMatch, ifNoneMatch, isKnown } from "../route/conditions.ts";
import { type Coding, etagOf } from "./etags.ts";
import { ONE, resourceId } from "./listing.ts";
import { type ContentPart, parseRange, partOf } from "./range.ts";

/** Below this, compression saves less than its headers cost. */
const MIN_COMPRESSED_BYTES = 1024;
/** A failure longer than this, or not in plain ASCII, is only told in JSON. */
const FAILURE = /^[\x20-\x7e]{1,256}$/;

const PARAMETERS = {
  id: resourceId,
  download: inQuery("download", "makes it an attachment, whatever the value", text),
  range: inHeader(
    "Range",
    "the bytes to send; those to come, too, where the last is very large",
    text,
  ),
  ifRange: inHeader("If-Range", "the ETag that the range is of", text),
  ifMatch,
  ifNoneMatch,
};

type Asked = Values<typeof PARAMETERS>;

const SENT = { "*/*": null };
const HEADERS = [
  ...["ETag", "Content-Disposition", "Accept-Ranges", "Repr-Digest"],
  ...["Stream-Transfer-Status", "Stream-Failure", "Stream-Life"],
];

/** The route of the bytes. */
export function contentRoutes(parts: FaceParts): Route[] {
  return [route({
    name: "getContent",
    method: "GET",
    path: `${ONE}/content`,
    section: "6.1",
    summary: "The bytes, live until the end",
    access: { scope: "read", reach: ofResource },
    parameters: PARAMETERS,
    answers: {
      200: answerOf("all bytes", SENT, ...HEADERS),
      206: answerOf("the range", SENT, "Content-Range", ...HEADERS),
      304: answer("not modified", "ETag"),
    },
    errors: [
      ...["NOT_FOUND", "DELETED", "RANGE_NOT_AVAILABLE", "WRONG_STATE"] as const,
      ...["WRONG_VERSION", "LIMIT_REACHED", "STORAGE_FAILED"] as const,
    ],
    handle: (c, asked) => send(c, parts, asked),
  })];
}

async function send(c: Context, parts: FaceParts, asked: Asked): Promise<Response> {
  const { id } = asked;
  const record = await parts.resources.get(id);
  const wanted = codingOf(c, record, asked);
  const known = etagOf(record, wanted);
  checkMatch(asked.ifMatch, known);
  if (isKnown(asked.ifNoneMatch, known)) {
    setCacheHeaders(c, record, known);
    return c.body(null, 304);
  }
  const part = choosePart(c, record.status, known, asked);
  const coding = compressions.hasRoom ? wanted : "identity";
  const etag = etagOf(record, coding);
  const endCompressing = coding === "gzip" ? compressions.hold() : () => {};
  let opened: OpenResource | null = null;
  const release = async () => {
    endCompressing();
    await opened?.release();
  };
  try {
    opened = await openFor(c, parts, id, record);
    const source = { ...bodyOf(c, opened.resource, part, coding, parts), release };
    return await answerWith(c, parts, source, () => {
      c.status(part.contentRange === null ? 200 : 206);
      setCacheHeaders(c, record, etag);
      setContentHeaders(c, record, asked);
      setPartHeaders(c, record, part, coding);
    });
  } catch (error) {
    await release();
    throw error;
  }
}

function bodyOf(
  c: Context,
  resource: Resource,
  { first, end }: ContentPart,
  coding: Coding,
  { runtime }: FaceParts,
): Omit<BodySource, "release"> {
  // Parts of what is there already are downloads; only who waits for more follows.
  if (end === Infinity) return { chunks: (signal) => followFrom(resource, first, signal) };
  if (coding === "gzip") {
    const { compressesAside: isAside = false } = runtime;
    return { chunks: (signal) => gzipped(readRange(resource, first, end, signal), isAside) };
  }
  const byteCount = end - first;
  const into = memoryFor(c, runtime, byteCount);
  return { chunks: (signal) => readFast(resource, first, end, signal, into), byteCount };
}

/** The coding that a client wants: text that does not change any more pays to be compressed; parts are parts of what is stored. */
function codingOf(c: Context, { metadata, status }: ResourceView, { range }: Asked): Coding {
  if (!isCompressible(metadata.mimeType, status) || range) return "identity";
  const supports = ["gzip"];
  return accepts(c, { header: "Accept-Encoding", supports, default: "identity" }) as Coding;
}

function isCompressible(
  mimeType: string,
  { transferStatus, currentSize }: ResourceStatus,
): boolean {
  return transferStatus === "COMPLETED" && currentSize > MIN_COMPRESSED_BYTES &&
    COMPRESSIBLE_CONTENT_TYPE_REGEX.test(mimeType);
}

/** A range that is conditional on other content asks for everything. */
function choosePart(
  c: Context,
  status: ResourceStatus,
  etag: string,
  { range, ifRange }: Asked,
): ContentPart {
  const applies = range !== undefined &&
    (ifRange === undefined || ifRange === etag && !etag.startsWith("W/"));
  try {
    return partOf(status, applies ? parseRange(range) : null);
  } catch (error) {
    const isBeyond = (error as StreamError).code === "RANGE_NOT_AVAILABLE";
    if (isBeyond) c.header("content-range", `bytes */${status.currentSize}`);
    throw error;
  }
}

function setCacheHeaders(c: Context, { metadata, status }: ResourceView, etag: string): void {
  const isCompleted = status.transferStatus === "COMPLETED";
  c.header("etag", etag);
  // What is kept is asked for before it is used: the id may be another resource by then.
  // Compression around this server would hold back what is live.
  c.header("cache-control", isCompleted ? "private, no-cache" : "no-store, no-transform");
  if (isCompressible(metadata.mimeType, status)) c.header("vary", "Accept-Encoding");
}

function setContentHeaders(
  c: Context,
  { metadata, status }: ResourceView,
  { download }: Asked,
): void {
  const { mimeType, filename } = metadata;
  const { transferStatus, failure, life } = status;
  // Nothing tells the charset; lines and searches read text as UTF-8, too.
  c.header("content-type", mimeType.startsWith("text/") ? `${mimeType};charset=utf-8` : mimeType);
  c.header("content-disposition", disposition(filename, download !== undefined));
  c.header("accept-ranges", "bytes");
  // Whatever was uploaded must not act as a page of this server.
  c.header("x-content-type-options", "nosniff");
  c.header("content-security-policy", "sandbox; default-src 'none'");
  c.header("stream-transfer-status", transferStatus);
  c.header("stream-life", life);
  if (failure !== null && FAILURE.test(failure)) c.header("stream-failure", failure);
}

function setPartHeaders(
  c: Context,
  { digest }: ResourceView,
  { end, contentRange }: ContentPart,
  coding: Coding,
): void {
  if (contentRange !== null) c.header("content-range", contentRange);
  // nginx holds answers back unless it is told not to.
  if (end === Infinity) c.header("x-accel-buffering", "no");
  if (coding !== "identity") return c.header("content-encoding", coding);
  const field = digest === null ? null : reprDigest(digest);
  if (field !== null) c.header("repr-digest", field);
}

/** RFC 6266: the last part of the name, in ASCII for all clients and as it is for those that know RFC 8187. */
function disposition(filename: string, isDownload: boolean): string {
  const kind = isDownload ? "attachment" : "inline";
  const name = /[^/\\]*$/.exec(filename)![0].toWellFormed() || "content";
  const ascii = name.replace(/[^\x20-\x7e]|["\\%]/g, "_");
  if (ascii === name) return `${kind}; filename="${name}"`;
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `${kind}; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}
