/**
 * Live reads by server-sent events: each piece of the stream is followed by word of where it ends.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Context } from "hono";
import { Bell } from "../../bell.ts";
import { isFinal, type ResourceStatus } from "../../protocol.ts";
import { CountedReader, type OpenResource, readRange, type Resource } from "../../resources.ts";
import { answerWith } from "../answer.ts";
import { isJson, mediaTypeOf, type StreamFacts } from "./facts.ts";
import type { Read } from "./fields.ts";
import { arrayOf, asArray, endOfLines, firstMessages } from "./json.ts";
import { cursorAfter, offsetOf } from "./offsets.ts";
import type { StreamParts } from "./parts.ts";
import type { Stream } from "./streams.ts";

/** Proxies give up what is silent for a minute. */
const HEARTBEAT_MS = 15_000;
/** Readers connect again after that, so that caches can serve many of them at once. */
const CONNECTION_MS = 60_000;
const RETURN = 0x0d;

/** Makes events of the bytes of a stream. */
interface Form {
  /** How many of the bytes can be told now; what follows may belong to the last of them. */
  wholeOf(bytes: Uint8Array): number;
  /** The data of an event. */
  dataOf(bytes: Uint8Array): string;
}

const JSON_FORM: Form = {
  wholeOf: endOfLines,
  dataOf: (bytes) => new TextDecoder().decode(asArray(bytes, true, true)),
};
const TEXT_FORM: Form = {
  wholeOf: wholeText,
  dataOf: (bytes) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes),
};
const BASE64_FORM: Form = {
  wholeOf: ({ length }) => length,
  dataOf: ({ buffer, byteOffset, length }) =>
    Buffer.from(buffer as ArrayBuffer, byteOffset, length).toString("base64"),
};

/**
 * Answers with events.
 * @param opened The resource; the answer releases it.
 * @param start Where to begin.
 */
export function sendEvents(
  c: Context,
  parts: StreamParts,
  stream: Stream,
  opened: OpenResource,
  start: number,
  { cursor }: Read,
): Promise<Response> {
  const form = formOf(stream.facts);
  const touch = () => parts.streams.touch(stream);
  return answerWith(c, parts, {
    chunks: (signal) => events(opened.resource, start, form, cursor, signal, touch),
    release: () => opened.release(),
  }, () => {
    c.header("content-type", "text/event-stream");
    c.header("cache-control", "no-cache");
    c.header("x-accel-buffering", "no");
    if (form === BASE64_FORM) c.header("stream-sse-data-encoding", "base64");
  });
}

function formOf(facts: StreamFacts): Form {
  if (isJson(facts)) return JSON_FORM;
  return mediaTypeOf(facts.contentType).startsWith("text/") ? TEXT_FORM : BASE64_FORM;
}

async function* events(
  resource: Resource,
  start: number,
  form: Form,
  cursor: string | undefined,
  signal: AbortSignal,
  touch: () => void,
): AsyncGenerator<Uint8Array, void, void> {
  const bell = new Bell();
  const unwatch = resource.watch(bell.ring);
  signal.addEventListener("abort", bell.ring);
  using reader = new CountedReader();
  const endMs = performance.now() + CONNECTION_MS;
  let at = start, isTold = false;
  try {
    while (!signal.aborted && !resource.deleted) {
      const { status } = resource;
      const piece = await nextPiece(resource, status, at, form, reader.pieceBytes(at - start));
      const longEnd = piece === null ? await endOfMessage(resource, status, at) : at;
      if (longEnd > at) yield* longMessage(resource, at, longEnd, signal);
      const end = longEnd + (piece?.length ?? 0), isLonger = end > at;
      at = end;
      const isAtEnd = at === status.currentSize;
      const isClosed = isAtEnd && status.transferStatus === "COMPLETED";
      const control = () => controlOf(offsetOf(status.life, at), isAtEnd, isClosed, cursor);
      touch();
      const data = piece?.length ? event("data", form.dataOf(piece)) : "";
      if (isLonger || isClosed || !isTold) yield encode(data + control());
      isTold = true;
      // What failed is no end of a stream: who connects again is told why nothing follows.
      if (isClosed || isAtEnd && isFinal(status.transferStatus)) return;
      if (isLonger) continue;
      if (performance.now() >= endMs) return;
      if (resource.status === status && !await bell.rungWithin(HEARTBEAT_MS)) {
        yield encode(control());
      }
    }
  } finally {
    unwatch();
    signal.removeEventListener("abort", bell.ring);
  }
}

/** The next bytes of an event; none while nothing whole is there, null where a message is longer than a piece. */
async function nextPiece(
  resource: Resource,
  { currentSize, transferStatus }: ResourceStatus,
  at: number,
  form: Form,
  pieceBytes: number,
): Promise<Uint8Array | null> {
  let bytes: Uint8Array = new Uint8Array();
  while (at + bytes.length < currentSize) {
    if (bytes.length >= pieceBytes) return null;
    const from = at + bytes.length;
    const more = await resource.read(from, Math.min(pieceBytes, currentSize - from));
    bytes = bytes.length === 0 ? more : Buffer.concat([bytes, more]);
    const isLast = from + more.length === currentSize && isFinal(transferStatus);
    // Nothing follows that could belong to it.
    const whole = isLast ? bytes.length : form.wholeOf(bytes);
    if (whole > 0) return bytes.subarray(0, whole);
  }
  return new Uint8Array();
}

/** Where a message ends that is longer than a piece; where it begins while its end is not there. */
async function endOfMessage(
  resource: Resource,
  { currentSize, transferStatus }: ResourceStatus,
  start: number,
): Promise<number> {
  let at = start;
  for await (const bytes of readRange(resource, start, currentSize)) {
    const { end, count } = firstMessages(bytes, 1);
    if (count === 1) return at + end;
    at += bytes.length;
  }
  return isFinal(transferStatus) ? currentSize : start;
}

/** The event of a long message of JSON, in pieces: readers that take nothing hold one of them, not all of it. */
async function* longMessage(
  resource: Resource,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  yield encode("event: data\ndata:");
  yield* arrayOf(readRange(resource, start, end, signal), end - start);
  yield encode("\n\n");
}

/** Length of text without a character that is cut, or half a line end. */
function wholeText(bytes: Uint8Array): number {
  const { length } = bytes;
  if (bytes[length - 1] === RETURN) return length - 1;
  for (let back = 1; back <= Math.min(3, length); back++) {
    const byte = bytes[length - back];
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;
    const wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return back < wanted ? length - back : length;
  }
  return length;
}

function controlOf(
  streamNextOffset: string,
  isAtEnd: boolean,
  isClosed: boolean,
  cursor: string | undefined,
): string {
  const control = isClosed ? { streamNextOffset, streamClosed: true, upToDate: true } : {
    streamNextOffset,
    streamCursor: cursorAfter(cursor),
    ...(isAtEnd ? { upToDate: true } : {}),
  };
  return event("control", JSON.stringify(control));
}

/** One event; of the spaces behind a colon clients take the first away. */
function event(type: string, data: string): string {
  const lines = data.split(/\r\n|\r|\n/)
    .map((line) => `data:${line.startsWith(" ") ? " " : ""}${line}\n`);
  return `event: ${type}\n${lines.join("")}\n`;
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
