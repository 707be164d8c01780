/**
 * Fields of the head of a request of tus.
 * @module
 */
import type { Context } from "hono";
import { StreamError } from "../../protocol.ts";
import {
  inHeader,
  inPath,
  integer,
  type Kind,
  secretInPath,
  text,
  type Values,
} from "../route/parameters.ts";

/** The endpoint. */
export const TUS_PATH = "/tus";
/** The address of one upload. */
export const TUS_UPLOAD = `${TUS_PATH}/:id/:secret`;
/** The version of the protocol. */
export const VERSION = "1.0.0";

const MAX_BYTES = Number.MAX_SAFE_INTEGER;

/** The one word that says that the length comes later. */
const deferred: Kind<true> = {
  schema: { type: "string", enum: ["1"] },
  read(text) {
    if (text === "1") return true;
    throw new StreamError("BAD_REQUEST", "Upload-Defer-Length is always 1");
  },
};

const lengthField = inHeader("Upload-Length", "bytes of the whole", integer(0, MAX_BYTES));
/** Fields of extensions that are not spoken, which nobody may believe to be heeded. */
const NOT_HEEDED = {
  concat: inHeader("Upload-Concat", "refused: uploads in parallel parts are not taken", text),
  checksum: inHeader("Upload-Checksum", "refused: what can be read cannot be taken back", text),
};

/** The address of an upload. */
export const UPLOAD_PARAMETERS = {
  id: inPath("id", "id of a resource"),
  secret: secretInPath("secret", "secret of the upload: who knows it owns it"),
};

/** The version that a client speaks. */
export const VERSION_PARAMETER = {
  version: inHeader("Tus-Resumable", `the version: ${VERSION}`, text),
};

/** Parameters of a creation. */
export const CREATION_PARAMETERS = {
  length: lengthField,
  deferred: inHeader("Upload-Defer-Length", "1: the length comes later", deferred),
  metadata: inHeader(
    "Upload-Metadata",
    "keys with values in base64; filename or name, filetype or type, context, lines are read",
    text,
  ),
  ...NOT_HEEDED,
};

/** Parameters of an append. */
export const APPEND_PARAMETERS = {
  offset: inHeader("Upload-Offset", "offset of the first byte sent", integer(0, MAX_BYTES)),
  length: lengthField,
  ...NOT_HEEDED,
};

/** What a creation says. */
export type Creation = Versioned & Values<typeof CREATION_PARAMETERS>;
/** Who asks for which upload. */
export type Owner = Versioned & Values<typeof UPLOAD_PARAMETERS>;
/** What an append says. */
export type Append = Owner & Values<typeof APPEND_PARAMETERS>;
type Versioned = Values<typeof VERSION_PARAMETER>;

/**
 * Refuses clients of other versions before anything happens.
 * @throws {StreamError} WRONG_VERSION, with `Tus-Version`.
 */
export function checkVersion(c: Context, { version }: Versioned): void {
  if (version === VERSION) return;
  c.header("tus-version", VERSION);
  throw new StreamError("WRONG_VERSION", `send Tus-Resumable: ${VERSION}`);
}

/**
 * Refuses what would be believed to be heeded.
 * @throws {StreamError} BAD_REQUEST.
 */
export function checkExtensions({ concat, checksum }: Values<typeof NOT_HEEDED>): void {
  if (concat !== undefined) {
    throw new StreamError(
      "BAD_REQUEST",
      "Upload-Concat: an upload can be read while it arrives, so it comes in one piece: no parallel uploads",
    );
  }
  if (checksum === undefined) return;
  throw new StreamError(
    "BAD_REQUEST",
    "Upload-Checksum: bytes can be read while they arrive, so that a wrong part could not be taken back",
  );
}
