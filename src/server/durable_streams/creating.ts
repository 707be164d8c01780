/**
 * Creation of streams, empty or with their first bytes, and as forks of others.
 * @module
 */
import type { Context } from "hono";
import { checkMetadata, DIGESTS, StreamError, toStreamError } from "../../protocol.ts";
import { type Appender, readRange, type Resource } from "../../resources.ts";
import { isText } from "../../mime.ts";
import { STEPS } from "../../turn.ts";
import { grantOf } from "../access.ts";
import { checkResource } from "../access/reach.ts";
import { requiresContext } from "../host.ts";
import { openFor } from "../opening.ts";
import { tellClosed, tellOffset, tellReferences } from "./answers.ts";
import { addRest, type Content, PIECE_BYTES, taking } from "./appending.ts";
import { annotationOf, factsOf, isJson, mediaTypeOf, type StreamFacts } from "./facts.ts";
import { contentTypeIn, type Creation, digestsIn, STREAMS_PATH } from "./fields.ts";
import { firstMessages, linesIn } from "./json.ts";
import type { StreamParts } from "./parts.ts";
import { checkSaid, type Stream, streamId } from "./streams.ts";

/** Streams that may be forked from one: their ids are written with every append to it. */
const MAX_FORKS = 256;
/** Lives that a fork of forks knows the offsets of: they are written with every append to it. */
const MAX_LIVES = 100;
/** Paths of the protocol's own, for what is not spoken here. */
const RESERVED = /^__ds(\/|$)/;
const BYTES = "application/octet-stream";
/** JSON is kept as a line for each message. */
const LINES = "application/x-ndjson";

/** Bytes of a source that a fork begins with. */
interface Inherited {
  source: Stream;
  /** Where they end. */
  end: number;
}

/** `PUT /streams/PATH`: makes a stream, or finds that it is there as it should be. */
export async function create(c: Context, parts: StreamParts, said: Creation): Promise<Response> {
  checkPath(said.path);
  if (said.ttlS !== undefined && said.expiresAt !== undefined) {
    throw new StreamError("BAD_REQUEST", "Stream-TTL and Stream-Expires-At exclude each other");
  }
  const id = await streamId(said.path);
  const inherited = await findSource(c, parts, said);
  const wanted = factsWanted(c, said, inherited, parts.resources.certainMs);
  const json = isJson(wanted);
  const kind = { json, isAtomic: json, digests: digestsIn(said) };
  return await taking(c, parts, kind, async (content) => {
    const first = json && content.bytes.length > 0 ? await linesIn(content.bytes) : content.bytes;
    const made = await make(c, parts, id, said, wanted, inherited, { ...content, bytes: first });
    const stream = await findExisting(parts, id);
    if (!made) checkSame(stream, said, wanted);
    tellReferences(c, parts, id);
    const { life, currentSize } = stream.view.status;
    tellOffset(c, life, currentSize);
    if (stream.view.status.transferStatus === "COMPLETED") tellClosed(c);
    c.header("content-type", stream.facts.contentType);
    if (!made) return c.body(null, 200);
    c.header("location", parts.references.base(c) + STREAMS_PATH + encodedPath(said.path));
    return c.body(null, 201);
  });
}

function checkPath(path: string): void {
  if (!RESERVED.test(path)) return;
  throw new StreamError("BAD_REQUEST", "paths below __ds are the protocol's own: choose another");
}

/** A stream that was deleted, and whose path is taken by its forks, is in the way of a new one. */
async function findExisting({ streams }: StreamParts, id: string): Promise<Stream> {
  try {
    return await streams.find(id);
  } catch (error) {
    const { code, message } = toStreamError(error);
    if (code === "GONE") throw new StreamError("CONFLICT", message);
    throw error;
  }
}

/**
 * Makes the stream unless it is there.
 * @returns False if it is.
 */
async function make(
  c: Context,
  parts: StreamParts,
  id: string,
  said: Creation,
  facts: StreamFacts,
  inherited: Inherited | null,
  content: Content,
): Promise<boolean> {
  const { resources, streams } = parts;
  // What is over, or was never finished, is removed by that.
  await findExisting(parts, id).catch((error) => {
    if (toStreamError(error).code !== "NOT_FOUND") throw error;
  });
  return await streams.uploads.begin(id, async (register) => {
    if (!await isFree(parts, id)) return false;
    const isEmpty = content.bytes.length === 0 && content.gatherer.isOver && !inherited?.end;
    const creating = annotationOf({ ...facts, creating: true });
    const appender = await register({
      metadata: metadataOf(said.path, facts),
      contextId: said.context || null,
      requiresContext: requiresContext(parts, c.req.raw),
      makeContext: true,
      digests: DIGESTS,
      annotation: isEmpty && !said.closes ? annotationOf(facts) : creating,
    }).catch((error) => {
      // Another node was faster: whether that makes the same, its record will tell.
      throw toStreamError(error).code === "CONFLICT" ? creatingNow() : error;
    });
    try {
      await fill(c, parts, appender, facts, inherited, content);
      if (said.closes) await appender.complete(null);
    } catch (error) {
      await resources.delete(id, { force: true }).catch(() => {});
      throw error;
    }
    return true;
  });
}

/**
 * Whether an id is free, after what a dead process left of a creation was removed.
 * @throws {StreamError} NOT_READY while another node creates it.
 */
async function isFree({ resources }: StreamParts, id: string): Promise<boolean> {
  const view = await resources.get(id).catch((error) => {
    if (toStreamError(error).code === "NOT_FOUND") return null;
    throw error;
  });
  if (view === null) return true;
  const { transferStatus } = view.status;
  if (!factsOf(view)?.creating || transferStatus === "COMPLETED") return false;
  if (view.owner !== null && transferStatus !== "FAILED") {
    throw creatingNow();
  }
  await resources.delete(id, { force: true });
  return true;
}

function creatingNow(): StreamError {
  return new StreamError("NOT_READY", "the stream is just being created: try again");
}

/** Gives a stream its first bytes; the last append of them says that it is created. */
async function fill(
  c: Context,
  parts: StreamParts,
  appender: Appender,
  facts: StreamFacts,
  inherited: Inherited | null,
  { bytes, gatherer }: Content,
): Promise<void> {
  const created = annotationOf(facts);
  const isFollowed = bytes.length > 0 || !gatherer.isOver;
  if (inherited !== null && inherited.end > 0) {
    const creating = annotationOf({ ...facts, creating: true });
    await parts.streams.addFork(inherited.source, appender.resource.id, MAX_FORKS);
    await copy(c, parts, appender, inherited, creating, isFollowed ? creating : created);
  } else if (inherited !== null) {
    await parts.streams.addFork(inherited.source, appender.resource.id, MAX_FORKS);
  }
  if (!isFollowed) return;
  const creating = annotationOf({ ...facts, creating: true });
  await appender.appendWhole(bytes, gatherer.isOver ? created : creating);
  await addRest(appender, gatherer, created);
}

async function copy(
  c: Context,
  parts: StreamParts,
  appender: Appender,
  { source, end }: Inherited,
  meanwhile: string,
  afterwards: string,
): Promise<void> {
  await using opened = await openFor(c, parts, source.id, source.view);
  for (let at = 0; at < end;) {
    const pieces: Uint8Array[] = [];
    const next = Math.min(end, at + PIECE_BYTES);
    // What is appended must not be memory that others read into.
    for await (const piece of readRange(opened.resource, at, next)) pieces.push(piece.slice());
    at = next;
    const bytes = new Uint8Array(await new Blob(pieces as BlobPart[]).arrayBuffer());
    await appender.appendWhole(bytes, at === end ? afterwards : meanwhile);
  }
}

/** The source of a fork, and how much of it is taken; null for what is no fork. */
async function findSource(
  c: Context,
  parts: StreamParts,
  { forkedFrom, forkOffset, forkSubOffset }: Creation,
): Promise<Inherited | null> {
  if (forkedFrom === undefined) {
    if (forkSubOffset === undefined && forkOffset === undefined) return null;
    throw new StreamError("BAD_REQUEST", "a fork says Stream-Forked-From: PATH");
  }
  const id = await streamId(pathIn(parts, c, forkedFrom));
  await checkReadable(c, parts, id);
  const source = await findExisting(parts, id);
  const size = source.view.status.currentSize;
  if (forkOffset !== undefined) checkSaid(source, forkOffset);
  const offset = forkOffset?.byteOffset ?? size;
  if (offset > size) {
    throw new StreamError("BAD_REQUEST", "Stream-Fork-Offset is beyond the end of the source");
  }
  return { source, end: await endOf(c, parts, source, offset, forkSubOffset ?? 0) };
}

/** A fork is as good as a read of its source. */
async function checkReadable(c: Context, { resources }: StreamParts, id: string): Promise<void> {
  const grant = grantOf(c);
  if (grant === null) return;
  if (!grant.scopes.includes("read")) {
    throw new StreamError("FORBIDDEN", "a fork reads its source: the token lacks the scope read");
  }
  await checkResource(grant, id, resources);
}

/** The path of a source: that of its address, or the one below where streams are. */
function pathIn({ references }: StreamParts, c: Context, source: string): string {
  const prefix = `${new URL(references.base(c)).pathname.replace(/\/$/, "")}${STREAMS_PATH}/`;
  const path = source.startsWith(prefix) ? source.slice(prefix.length) : source.replace(/^\//, "");
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Where the bytes end that a fork takes. */
async function endOf(
  c: Context,
  parts: StreamParts,
  { id, view, facts }: Stream,
  offset: number,
  subOffset: number,
): Promise<number> {
  const size = view.status.currentSize;
  const json = isJson(facts);
  if (!json && offset + subOffset <= size) return offset + subOffset;
  await using opened = await openFor(c, parts, id, view);
  if (json && await isBetweenMessages(opened.resource, offset)) {
    const end = await behindMessages(opened.resource, offset, size, subOffset);
    if (end !== null) return end;
  }
  throw new StreamError("BAD_REQUEST", "the source has no such position to fork it at");
}

/** Whether a message ends there. */
export async function isBetweenMessages(resource: Resource, byteOffset: number): Promise<boolean> {
  return byteOffset === 0 || firstMessages(await resource.read(byteOffset - 1, 1), 1).count === 1;
}

/** Where so many messages end; null when there are fewer. */
async function behindMessages(
  resource: Resource,
  offset: number,
  size: number,
  count: number,
): Promise<number | null> {
  let at = offset, left = count;
  for await (const piece of readRange(resource, offset, size)) {
    const { end, count: found } = firstMessages(piece, left);
    left -= found;
    if (left === 0) return at + end;
    at += piece.length;
    await STEPS.next("forks");
  }
  return left === 0 ? at : null;
}

/** What is to be kept of a new stream. */
function factsWanted(
  c: Context,
  said: Creation,
  inherited: Inherited | null,
  nowMs: number,
): StreamFacts {
  const { ttlS, expiresAt, forkOffset, forkSubOffset } = said;
  const given = contentTypeIn(c);
  if (inherited === null) {
    const contentType = given !== undefined && isMediaType(given) ? given : BYTES;
    return { contentType, ...lifeOf(ttlS, expiresAt, nowMs) };
  }
  const { source: { id, facts, view }, end } = inherited;
  if (given !== undefined && mediaTypeOf(given) !== mediaTypeOf(facts.contentType)) {
    throw new StreamError("CONFLICT", `the source is ${facts.contentType}, the fork ${given}`);
  }
  const { life, currentSize } = view.status;
  const byteOffset = forkOffset?.byteOffset ?? currentSize;
  const lives: [string, number][] = [[life, end], ...facts.lives ?? []];
  return {
    contentType: facts.contentType,
    ...(ttlS === undefined && expiresAt === undefined
      ? lifeOf(facts.ttlS, facts.expiresAt, nowMs)
      : lifeOf(ttlS, expiresAt, nowMs)),
    origin: { id, byteOffset, subOffset: forkSubOffset ?? 0 },
    lives: lives.slice(0, MAX_LIVES).map(([life, last]) => [life, Math.min(last, end)]),
  };
}

function lifeOf(
  ttlS: number | undefined,
  expiresAt: string | undefined,
  nowMs: number,
): Pick<StreamFacts, "ttlS" | "appendedMs" | "expiresAt"> {
  return {
    ...(ttlS === undefined ? {} : { ttlS, appendedMs: nowMs }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}

function isMediaType(contentType: string): boolean {
  try {
    const mimeType = mediaTypeOf(contentType);
    checkMetadata({ filename: "a", mimeType, supportsLineAccess: false });
    return true;
  } catch {
    return false;
  }
}

function metadataOf(path: string, facts: StreamFacts) {
  const mimeType = isJson(facts) ? LINES : mediaTypeOf(facts.contentType);
  return { filename: path, mimeType, supportsLineAccess: isText(mimeType) };
}

/** @throws {StreamError} CONFLICT for a stream that is there, and another one than is asked for. */
function checkSame({ isShared, view, facts }: Stream, said: Creation, wanted: StreamFacts): void {
  const isClosed = view.status.transferStatus === "COMPLETED";
  const isSame = isShared && isClosed === (said.closes === true) &&
    (!said.context || view.contextId === said.context) &&
    mediaTypeOf(facts.contentType) === mediaTypeOf(wanted.contentType) &&
    facts.ttlS === wanted.ttlS && facts.expiresAt === wanted.expiresAt &&
    facts.origin?.id === wanted.origin?.id &&
    (said.forkOffset === undefined || facts.origin?.byteOffset === said.forkOffset.byteOffset) &&
    (facts.origin?.subOffset ?? 0) === (wanted.origin?.subOffset ?? 0);
  if (isSame) return;
  throw new StreamError("CONFLICT", "there is such a stream already, made in another way");
}

function encodedPath(path: string): string {
  return path.split("/").map((segment) => `/${encodeURIComponent(segment)}`).join("");
}
