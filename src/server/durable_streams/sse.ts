/**
 * Live reads by server-sent events: each piece of the stream is followed by word of where it ends.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Context } from "hono";
import { Bell } from "../../bell.ts";
import { isFinal, type ResourceStatus } from "../../protocol.ts";
import type { OpenResource, Resource } from "../../resources.ts";
import { answerWith } from "../answer.ts";
import { isJson, mediaTypeOf, type StreamFacts } from "./facts.ts";
import type { Read } from "./fields.ts";
import { asArray, endOfLines } from "./json.ts";
import { cursorAfter, offsetOf } from "./offsets.ts";
import type { StreamParts } from "./parts.ts";
import type { Stream } from "./streams.ts";

/** The most of one event, but for a longer message. */
const PIECE_BYTES = 256 * 1024;
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
  const endMs = performance.now() + CONNECTION_MS;
  let at = start, isTold = false;
  try {
    while (!signal.aborted && !resource.deleted) {
      const { status } = resource;
      const piece = await nextPiece(resource, status, at, form);
      at += piece.length;
      const isAtEnd = at === status.currentSize;
      const isClosed = isAtEnd && status.transferStatus === "COMPLETED";
      const control = () => controlOf(at, isAtEnd, isClosed, cursor);
      touch();
      if (piece.length > 0) yield encode(`${event("data", form.dataOf(piece))}${control()}`);
      else if (isClosed || !isTold) yield encode(control());
      isTold = true;
      // What failed is no end of a stream: who connects again is told why nothing follows.
      if (isClosed || isAtEnd && isFinal(status.transferStatus)) return;
      if (piece.length > 0) continue;
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

/** The next bytes of an event; none while nothing whole is there. */
async function nextPiece(
  resource: Resource,
  { currentSize, transferStatus }: ResourceStatus,
  at: number,
  form: Form,
): Promise<Uint8Array> {
  let bytes: Uint8Array = new Uint8Array();
  while (at + bytes.length < currentSize) {
    const from = at + bytes.length;
    const more = await resource.read(from, Math.min(PIECE_BYTES, currentSize - from));
    bytes = bytes.length === 0 ? more : Buffer.concat([bytes, more]);
    const isLast = from + more.length === currentSize && isFinal(transferStatus);
    // Nothing follows that could belong to it.
    const whole = isLast ? bytes.length : form.wholeOf(bytes);
    if (whole > 0) return bytes.subarray(0, whole);
  }
  return new Uint8Array();
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
  at: number,
  isAtEnd: boolean,
  isClosed: boolean,
  cursor: string | undefined,
): string {
  const control = isClosed
    ? { streamNextOffset: offsetOf(at), streamClosed: true, upToDate: true }
    : {
      streamNextOffset: offsetOf(at),
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
