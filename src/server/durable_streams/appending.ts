/**
 * Appends to streams, and their end.
 * @module
 */
import type { Context } from "hono";
import { createHash } from "node:crypto";
import { type Digest, StreamError, toStreamError } from "../../protocol.ts";
import type { Appender } from "../../resources.ts";
import { Gatherer } from "../../session.ts";
import { whileGranted } from "../access.ts";
import { clientsOf } from "../access/clients.ts";
import { checkPlain, contentLength, contentOf } from "../content.ts";
import { tellClosed, tellOffset, tellProducer, tellReferences } from "./answers.ts";
import { annotationOf, isJson, mediaTypeOf, parseFacts, type StreamFacts } from "./facts.ts";
import { type Append, contentTypeIn, digestsIn, producedIn } from "./fields.ts";
import { linesIn } from "./json.ts";
import type { StreamParts } from "./parts.ts";
import { judge, type Produced, producersAfter } from "./producers.ts";
import { finishClosing, type Stream, streamId } from "./streams.ts";

/** Longer content is no single append: it is taken in pieces, where nothing says that it counts once. */
const MAX_WHOLE_BYTES = 16 * 1024 * 1024;
/** The most JSON of one append: all of it waits in memory while it is looked at, and costs more time than bytes do. */
const MAX_JSON_BYTES = 4 * 1024 * 1024;
/** A piece of longer content. */
export const PIECE_BYTES = 4 * 1024 * 1024;

/** What a request brings to a stream. */
export interface Content {
  /** The first bytes; all of them unless more follow. */
  bytes: Uint8Array<ArrayBuffer>;
  /** What follows them. */
  gatherer: Gatherer;
}

/** The result of an append, as the answer tells it. */
interface Result {
  /** Its life, and where it ends now. */
  life: string;
  end: number;
  /** Whether it is closed. */
  isClosed: boolean;
  /** The number of the producer's last append. */
  seq: number;
  /** Whether bytes were added. */
  isLonger: boolean;
}

/** `POST /streams/PATH`: appends, or closes, or both. */
export async function append(c: Context, parts: StreamParts, said: Append): Promise<Response> {
  const { streams } = parts;
  const produced = producedIn(said);
  const id = await streamId(said.path);
  const stream = await streams.find(id);
  const json = isJson(stream.facts);
  const isAtomic = json || produced !== null || said.seq !== undefined;
  return await taking(c, parts, { json, isAtomic, digests: digestsIn(said) }, async (content) => {
    const { bytes } = content;
    if (bytes.length === 0 && !said.closes) {
      throw new StreamError("BAD_REQUEST", "an append brings bytes, or Stream-Closed: true");
    }
    if (bytes.length > 0 && contentTypeIn(c) === undefined) {
      throw new StreamError("BAD_REQUEST", "an append has the Content-Type of the stream");
    }
    checkOwner(stream);
    tellReferences(c, parts, id);
    const result = await addTo(c, parts, stream, content, said, produced);
    streams.touch(stream);
    return answer(c, produced, result);
  });
}

/**
 * Takes the content of a request in, within the share of the client and what all requests may hold.
 * @param kind Whether it is JSON, whether it must be one append, and the digests of it, which want one append, too.
 * @param step What is done with it.
 * @throws {StreamError} MESSAGE_TOO_LARGE, LIMIT_REACHED, INTERRUPTED, PEER_SILENT, CHECKSUM_MISMATCH; BAD_REQUEST for a coding.
 */
export async function taking<T>(
  c: Context,
  { resources, uploadShares, references, runtime }: StreamParts,
  { json, isAtomic, digests }: { json: boolean; isAtomic: boolean; digests: Digest[] },
  step: (content: Content) => Promise<T>,
): Promise<T> {
  checkPlain(c);
  const most = json ? MAX_JSON_BYTES : MAX_WHOLE_BYTES;
  const tooLarge = () =>
    new StreamError("MESSAGE_TOO_LARGE", `one append is at most ${most} bytes here: send several`);
  const isOne = isAtomic || digests.length > 0;
  if (isOne && (contentLength(c) ?? 0) > most) throw tooLarge();
  const givePlaceBack = uploadShares.take(clientsOf(c, references));
  using gatherer = new Gatherer(contentOf(c, { runtime }), resources.creditPool);
  const stopWaiting = whileGranted(c, (reason) => gatherer.stop(reason));
  try {
    const bytes = await gatherer.next(most);
    if (isOne && !gatherer.isOver) throw tooLarge();
    for (const digest of digests) checkDigest(bytes, digest);
    return await step({ bytes, gatherer });
  } finally {
    stopWaiting();
    givePlaceBack();
  }
}

/** @throws {StreamError} CHECKSUM_MISMATCH. */
function checkDigest(bytes: Uint8Array, { algorithm, value }: Digest): void {
  const arrived = createHash(algorithm).update(bytes).digest("hex");
  if (arrived === value) return;
  throw new StreamError(
    "CHECKSUM_MISMATCH",
    `the sender's ${algorithm} is ${value}, what arrived has ${arrived}`,
  );
}

/** @throws {StreamError} NOT_OWNER for what some other way brought here, and goes on. */
function checkOwner({ isShared, view }: Stream): void {
  if (isShared || view.status.transferStatus === "COMPLETED") return;
  throw new StreamError("NOT_OWNER", "this is somebody's upload: it is read here, not written");
}

async function addTo(
  c: Context,
  parts: StreamParts,
  stream: Stream,
  content: Content,
  said: Append,
  produced: Produced | null,
): Promise<Result> {
  if (!stream.isShared) return await toClosed(c, parts, stream, content, said, produced);
  let begunAt: number | null = null;
  try {
    return await parts.streams.uploads.take(stream.id, async (appender) => {
      await finishClosing(appender);
      if (appender === null || appender.resource.status.transferStatus === "COMPLETED") {
        return await toClosed(c, parts, stream, content, said, produced, begunAt);
      }
      // Another node took it: whether the bytes are there, only a producer's number can tell.
      if (begunAt !== null && produced === null && begunAt !== appender.received) throw unsure();
      begunAt = appender.received;
      return await addToOpen(c, parts, appender, content, said, produced);
    });
  } catch (error) {
    const { code, message } = toStreamError(error);
    if (code === "WRONG_STATE") throw new StreamError("GONE", message);
    throw error;
  }
}

async function addToOpen(
  c: Context,
  { resources }: StreamParts,
  appender: Appender,
  { bytes, gatherer }: Content,
  { closes, seq }: Append,
  produced: Produced | null,
): Promise<Result> {
  const facts = parseFacts(appender.annotation);
  const { life } = appender.resource.status;
  if (bytes.length > 0) checkType(c, facts);
  const verdict = produced === null ? null : judge(facts, produced);
  if (verdict?.is === "REFUSED") {
    for (const [name, value] of Object.entries(verdict.fields)) c.header(name, value);
    throw verdict.error;
  }
  if (verdict?.is === "KNOWN") {
    return { life, end: appender.received, isClosed: false, seq: verdict.seq, isLonger: false };
  }
  checkSeq(facts, seq);
  const added = bytes.length > 0 && isJson(facts) ? await linesIn(bytes) : bytes;
  if (added.length === 0 && bytes.length > 0) {
    throw new StreamError("BAD_REQUEST", "an empty array appends nothing");
  }
  const next: StreamFacts = { ...facts, ...(seq === undefined ? {} : { seq }) };
  if (facts.ttlS !== undefined) next.appendedMs = resources.certainMs;
  if (produced !== null) {
    next.producers = producersAfter(facts.producers, produced, resources.certainMs);
    if (closes) next.closer = produced;
  }
  if (closes && gatherer.isOver) next.closing = true;
  if (added.length > 0 || produced !== null) {
    await appender.appendWhole(added, annotationOf(next));
  }
  await addRest(appender, gatherer, annotationOf(next));
  if (closes) await appender.complete(null);
  return {
    life,
    end: appender.received,
    isClosed: closes === true,
    seq: produced?.seq ?? 0,
    isLonger: added.length > 0,
  };
}

/** Appends what is too long for one append, piece by piece; nobody else appends meanwhile. */
export async function addRest(
  appender: Appender,
  gatherer: Gatherer,
  annotation: string,
): Promise<void> {
  while (!gatherer.isOver) await appender.appendWhole(await gatherer.next(PIECE_BYTES), annotation);
}

/**
 * A closed stream takes nothing, but what closed it is answered as before.
 * @param begunAt Where the stream ended when this append began at a node that lost it meanwhile; null for none.
 */
async function toClosed(
  c: Context,
  { resources }: StreamParts,
  { id, isShared }: Stream,
  { bytes }: Content,
  { closes }: Append,
  produced: Produced | null,
  begunAt: number | null = null,
): Promise<Result> {
  const { annotation, status } = await resources.get(id);
  const { life, currentSize: end } = status;
  const facts = isShared ? parseFacts(annotation) : null;
  const closer = facts?.closer;
  const isCloser = produced !== null && closer?.id === produced.id &&
    closer.epoch === produced.epoch && closer.seq === produced.seq;
  if (isCloser || produced === null && closes && bytes.length === 0) {
    return { life, end, isClosed: true, seq: produced?.seq ?? 0, isLonger: false };
  }
  if (begunAt !== null && begunAt !== end) {
    const verdict = produced === null ? null : judge(facts!, produced);
    if (verdict === null) throw unsure();
    if (verdict.is === "KNOWN") {
      return { life, end, isClosed: true, seq: verdict.seq, isLonger: false };
    }
  }
  tellClosed(c);
  tellOffset(c, life, end);
  throw new StreamError("CONFLICT", "the stream is closed");
}

/** @throws {StreamError} CONFLICT. */
function checkType(c: Context, { contentType }: StreamFacts): void {
  const given = contentTypeIn(c) ?? "";
  if (mediaTypeOf(given) === mediaTypeOf(contentType)) return;
  throw new StreamError("CONFLICT", `the stream is ${contentType}, the append ${given}`);
}

function checkSeq(facts: StreamFacts, seq: string | undefined): void {
  if (seq === undefined || facts.seq === undefined || seq > facts.seq) return;
  throw new StreamError("CONFLICT", `Stream-Seq ${seq} is not behind ${facts.seq}`);
}

function answer(
  c: Context,
  produced: Produced | null,
  { life, end, isClosed, seq, isLonger }: Result,
): Response {
  tellOffset(c, life, end);
  if (isClosed) tellClosed(c);
  if (produced === null) return c.body(null, 204);
  tellProducer(c, produced, seq);
  return c.body(null, isLonger ? 200 : 204);
}

function unsure(): StreamError {
  return new StreamError(
    "NOT_READY",
    "another node took the stream meanwhile: whether the append is there, only a read tells",
  );
}
