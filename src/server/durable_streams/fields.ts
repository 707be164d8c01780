/**
 * Fields and parameters of requests for streams.
 * @module
 */
import type { Context } from "hono";
import { type Digest, StreamError } from "../../protocol.ts";
import { digestInHeader } from "../route/digest_fields.ts";
import {
  choice,
  inHeader,
  inQuery,
  integer,
  type Kind,
  listInQuery,
  restOfPath,
  text,
  type Values,
} from "../route/parameters.ts";
import { ifMatch, ifNoneMatch } from "../route/conditions.ts";
import { position, toldOffset } from "./offsets.ts";
import type { Produced } from "./producers.ts";

/** Path below which streams are; `/<path>` follows. */
export const STREAMS_PATH = "/streams";
/** One stream. */
export const ONE_STREAM = `${STREAMS_PATH}/:path`;

const MAX_NUMBER = Number.MAX_SAFE_INTEGER;
/** Longer ids and sequences are refused: they are written with every append. */
const MAX_TEXT_CHARS = 256;

/** A number that is written as nobody else would write it. */
const plainNumber: Kind<number> = {
  schema: { type: "string", pattern: "^(0|[1-9]\\d*)$" },
  read(text, name) {
    if (/^(0|[1-9]\d*)$/.test(text) && Number(text) <= MAX_NUMBER) return Number(text);
    throw new StreamError("BAD_REQUEST", `${name}: ${text.slice(0, 80)} is no whole number`);
  },
};

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** A moment (RFC 3339), as it was written. */
const moment: Kind<string> = {
  schema: { type: "string", format: "date-time" },
  read(text, name) {
    if (RFC3339.test(text) && !Number.isNaN(Date.parse(text))) return text;
    throw new StreamError("BAD_REQUEST", `${name}: ${text.slice(0, 80)} is no time of RFC 3339`);
  },
};

const shortText: Kind<string> = {
  schema: { type: "string", minLength: 1, maxLength: MAX_TEXT_CHARS },
  read(text, name) {
    if (text !== "" && text.length <= MAX_TEXT_CHARS) return text;
    throw new StreamError("BAD_REQUEST", `${name} has 1 to ${MAX_TEXT_CHARS} characters`);
  },
};

/** Only `true` says that; everything else says nothing. */
const closedWord: Kind<boolean> = {
  schema: { type: "string" },
  read: (text) => text.toLowerCase() === "true",
};

const closedField = inHeader("Stream-Closed", "true: the stream is closed with this", closedWord);

/** Digests of the content; a representation that is sent is that, too. */
const DIGEST_PARAMETERS = {
  contentDigest: digestInHeader("Content-Digest", "digest of the content"),
  reprDigest: digestInHeader("Repr-Digest", "the same"),
};

/** The stream that the path names. */
const PATH_PARAMETER = {
  path: restOfPath("path", "path of the stream, or the id of any resource"),
};

/** Parameters of a creation. */
export const CREATION_PARAMETERS = {
  ...PATH_PARAMETER,
  context: inQuery("context", "upload context; made if nobody made it", text),
  ttlS: inHeader(
    "Stream-TTL",
    "time without a read or an append until it is gone, in s",
    plainNumber,
  ),
  expiresAt: inHeader("Stream-Expires-At", "when it is gone", moment),
  closes: closedField,
  ...DIGEST_PARAMETERS,
  forkedFrom: inHeader("Stream-Forked-From", "path of the stream that is forked", text),
  forkOffset: inHeader("Stream-Fork-Offset", "where it is forked; its end by default", toldOffset),
  forkSubOffset: inHeader(
    "Stream-Fork-Sub-Offset",
    "bytes, or messages of JSON, behind the offset that are taken along",
    plainNumber,
  ),
};

/** Parameters of an append. */
export const APPEND_PARAMETERS = {
  ...PATH_PARAMETER,
  closes: closedField,
  ...DIGEST_PARAMETERS,
  seq: inHeader("Stream-Seq", "greater than the last one, as texts sort", shortText),
  producerId: inHeader("Producer-Id", "who appends", shortText),
  producerEpoch: inHeader("Producer-Epoch", "its epoch", integer(0, MAX_NUMBER)),
  producerSeq: inHeader("Producer-Seq", "number of the append in it", integer(0, MAX_NUMBER)),
};

/** Parameters of a read. */
export const READ_PARAMETERS = {
  ...PATH_PARAMETER,
  offset: listInQuery("offset", "where to begin: an offset, -1 or now", position, 1),
  live: inQuery("live", "waits for what comes", choice(["long-poll", "sse"])),
  cursor: inQuery("cursor", "the cursor of the last answer", text),
  ifMatch,
  ifNoneMatch,
};

/** Parameters of a deletion. */
export const DELETION_PARAMETERS = { ...PATH_PARAMETER, ifMatch };

/** What a creation says. */
export type Creation = Values<typeof CREATION_PARAMETERS>;
/** What an append says. */
export type Append = Values<typeof APPEND_PARAMETERS>;
/** What a read says. */
export type Read = Values<typeof READ_PARAMETERS>;

/**
 * Who appends, if that is a producer.
 * @throws {StreamError} BAD_REQUEST for a part of what names one.
 */
export function producedIn({ producerId, producerEpoch, producerSeq }: Append): Produced | null {
  if (producerId === undefined && producerEpoch === undefined && producerSeq === undefined) {
    return null;
  }
  if (producerId === undefined || producerEpoch === undefined || producerSeq === undefined) {
    throw new StreamError(
      "BAD_REQUEST",
      "Producer-Id, Producer-Epoch and Producer-Seq come together",
    );
  }
  return { id: producerId, epoch: producerEpoch, seq: producerSeq };
}

/** The digests that are said of the content of a request. */
export function digestsIn({ contentDigest, reprDigest }: Creation | Append): Digest[] {
  return [contentDigest, reprDigest].filter((digest) => digest !== undefined);
}

/** The content type of a request, as it was written; undefined without one. */
export function contentTypeIn(c: Context): string | undefined {
  return c.req.header("content-type")?.trim() || undefined;
}
