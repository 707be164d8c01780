/**
 * Fields of the head of an upload request: what is uploaded, how much, and with which digest.
 *
 * Fields are those of RFC 9530 (digests) and of draft-ietf-httpbis-resumable-upload (PROTOCOL.md 6.7).
 * @module
 */
import type { Context } from "hono";
import { guessMimeType, isText } from "../../../mime.ts";
import {
  checkOutcome,
  DIGESTS,
  isUuid,
  type Outcome,
  type ResourceMetadata,
  StreamError,
} from "../../../protocol.ts";
import { contentLength, contentType } from "../../content.ts";
import {
  flag,
  inHeader,
  inQuery,
  type Kind,
  secretInPath,
  text,
  type Values,
} from "../../route/parameters.ts";
import {
  saysInDictionary,
  structuredCount,
  structuredFlag,
  structuredNames,
} from "../../route/structured.ts";
import { digestInHeader } from "../../route/digest_fields.ts";
import { resourceId } from "../listing.ts";

/** A resource as a creation announces it. */
export interface Named {
  /** The id that the uploader chose, if it did. */
  id: string | undefined;
  /** Its metadata. */
  metadata: ResourceMetadata;
}

/** The media type of a PATCH that appends. */
export const PARTIAL_UPLOAD = "application/partial-upload";
/** The type that curl gives to content that it knows nothing of. */
const NO_TYPE = "application/x-www-form-urlencoded";
const OUTCOME = /^(?:exit=(\d{1,10})|signal=(SIG[A-Z0-9+-]+))$/;
const HEX_DIGEST = /^[0-9a-fA-F]{32,64}$/;

/** Whether the answer is to show the resource (RFC 7240). */
const preferRepresentation: Kind<boolean> = {
  schema: { type: "string" },
  read: (text) => saysInDictionary(text.toLowerCase(), "return", "representation"),
};

/** A digest in hexadecimal, in lower case. */
const hexDigest: Kind<string> = {
  schema: { type: "string", pattern: HEX_DIGEST.source },
  read(text) {
    if (HEX_DIGEST.test(text)) return text.toLowerCase();
    throw new StreamError("BAD_REQUEST", "Stream-Digest is no digest in hexadecimal");
  },
};

/** How the producer ended. */
const outcomeField: Kind<Outcome> = {
  schema: { type: "string", pattern: OUTCOME.source },
  read(text) {
    const match = OUTCOME.exec(text);
    if (match === null) {
      throw new StreamError(
        "BAD_REQUEST",
        "Stream-Outcome is neither exit=CODE nor signal=SIGNAME",
      );
    }
    const [, exit, signal = null] = match;
    return checkOutcome({ exitCode: exit === undefined ? null : Number(exit), signal });
  },
};

/** Fields of all requests that bring content. */
const CONTENT_PARAMETERS = {
  complete: inHeader(
    "Upload-Complete",
    "whether the content is the last: ?0 or ?1",
    structuredFlag,
  ),
  length: inHeader("Upload-Length", "bytes of the whole", structuredCount),
  reprDigest: digestInHeader("Repr-Digest", "digest of the whole"),
  contentDigest: digestInHeader("Content-Digest", "digest of the content of this request"),
  digest: inHeader("Stream-Digest", "digest of the whole in hexadecimal", hexDigest),
  outcome: inHeader(
    "Stream-Outcome",
    "how the producer ended, with the last content: exit=CODE or signal=SIGNAME",
    outcomeField,
  ),
};

/** The address of an upload that can be resumed. */
export const OWNER = {
  id: resourceId,
  secret: secretInPath("secret", "secret of the upload: who knows it owns it"),
};
/** Values of that address. */
export type Owner = Values<typeof OWNER>;

/** Parameters of a creation. */
export const CREATION_PARAMETERS = {
  name: inQuery("name", "filename; the last part of the path by default", text),
  type: inQuery(
    "type",
    "MIME type; that of Content-Type, or a guess by the name, by default",
    text,
  ),
  lines: inQuery("lines", "whether lines can be asked for; by default for text", flag),
  context: inQuery("context", "upload context; made if nobody made it", text),
  ...CONTENT_PARAMETERS,
  interop: inHeader(
    "Upload-Draft-Interop-Version",
    "version of the draft that the client speaks: with 8 it is told 104 where the runtime can",
    structuredCount,
  ),
  digests: inHeader(
    "Stream-Digests",
    `digests in the order of preference, of ${DIGESTS.join(", ")}`,
    structuredNames,
  ),
  secret: inHeader(
    "Stream-Secret",
    "secret of the upload, with an id, Upload-Complete: ?0 and no content: who gets no answer may ask again",
    text,
  ),
};

/** Parameters of an append. */
export const APPEND_PARAMETERS = {
  offset: inHeader("Upload-Offset", "offset of the first byte that is sent", structuredCount),
  ...CONTENT_PARAMETERS,
  representation: inHeader(
    "Prefer",
    "return=representation answers with the resource",
    preferRepresentation,
  ),
};

/** Values of a creation. */
export type Creation = Values<typeof CREATION_PARAMETERS>;
/** Values of an append. */
export type Append = Values<typeof APPEND_PARAMETERS>;

/**
 * The metadata of a new resource.
 * @param c The request.
 * @param creation What it says.
 * @param segment The last part of the path; undefined where the path has none.
 * @throws {StreamError} BAD_METADATA.
 */
export function named(c: Context, creation: Creation, segment: string | undefined): Named {
  // Shorter ids may be names, e.g. a date.
  const id = segment !== undefined && isUuid(segment) ? segment : undefined;
  const filename = creation.name ?? segment;
  if (filename === undefined) {
    throw new StreamError(
      "BAD_METADATA",
      "the upload has no name: PUT /resources/NAME or POST /resources?name=NAME",
    );
  }
  const said = contentType(c);
  const known = said === NO_TYPE || said === "" ? undefined : said;
  const mimeType = creation.type ?? known ?? guessMimeType(filename);
  const supportsLineAccess = creation.lines ?? isText(mimeType);
  return { id, metadata: { filename, mimeType, supportsLineAccess } };
}

/** The size of the whole as a request says it, in one of two ways or in both. */
export function announcedSize(
  c: Context,
  said: number | undefined,
  offset: number,
  isLast: boolean,
): number | null | "INCONSISTENT" {
  const length = isLast ? contentLength(c) : null;
  const implied = length === null ? undefined : offset + length;
  if (said !== undefined && implied !== undefined && said !== implied) return "INCONSISTENT";
  return said ?? implied ?? null;
}
