/**
 * The protocol: messages, their validation, limits, references and the one error type.
 *
 * PROTOCOL.md is normative; this module is its executable part and imports nothing, so that it runs in
 * a browser as well as on a server.
 * @module
 */

/** Version of the program and of the library, as `stream --version` prints it. */
export const VERSION = "0.1.0";

/** WebSocket subprotocol of native connections; without it a connection is a Step connection (PROTOCOL.md 2). */
export const SUBPROTOCOL = "stream.v1";

/** A subprotocol with this prefix carries a bearer token, as browsers can set no header (PROTOCOL.md 8.2). */
export const TOKEN_SUBPROTOCOL = "stream.bearer.";

/** Path on which uploads are opened (PROTOCOL.md 3). */
export const UPLOAD_PATH = "/ws/streaming/upload";

/** Path below which downloads are opened; the resource id follows (PROTOCOL.md 4). */
export const DOWNLOAD_PATH = "/ws/streaming/download";

/** Path of the HTTP interface; `/<id>` follows for one resource (PROTOCOL.md 6). */
export const RESOURCES_PATH = "/resources";

/** Path of uploads that can be continued by HTTP; `/<id>/<secret>` follows (PROTOCOL.md 6.7). */
export const UPLOADS_PATH = "/uploads";

/** Path of the upload contexts; `/<id>` follows for one of them (PROTOCOL.md 6.8). */
export const CONTEXTS_PATH = "/contexts";

/** Query parameter that names the upload context (PROTOCOL.md 3.1). */
export const CONTEXT_PARAMETER = "streamingUploadContextId";

/** Limits that both ends know; units stand in the names, reasons beside them (PROTOCOL.md 7). */
export const LIMITS = {
  /** One data message; 64 KiB moves as fast as larger ones and costs a quarter of their memory. */
  dataMessageBytes: 64 * 1024,
  /** One control message from a client; the largest legitimate one is far below. */
  controlMessageBytes: 64 * 1024,
  /** One binary answer to RequestChunk where the transport only sends whole messages. */
  wholeChunkBytes: 16 * 1024 * 1024,
  /** The most an uploader may have sent and not yet seen written. */
  uploadWindowBytes: 8 * 1024 * 1024,
  /** Credit every uploader gets whatever the others do: one data message. */
  minUploadWindowBytes: 64 * 1024,
  /** The most a follower may have been sent and not yet consumed. */
  downloadWindowBytes: 4 * 1024 * 1024,
  /** In flight to every follower whatever the others do. */
  minDownloadWindowBytes: 64 * 1024,
  /** Text of one Lines answer, in UTF-8 bytes before JSON escaping; fits every client's default twice over. */
  linesAnswerBytes: 256 * 1024,
  /** Lines in one Lines answer. */
  linesAnswerCount: 10_000,
  /** Length of a file name, UTF-8; longer than any file system's. */
  filenameBytes: 1024,
  /** Length of a MIME type; RFC 6838 allows 127 + 1 + 127. */
  mimeTypeBytes: 255,
  /** Length of an upload context's id. */
  contextIdBytes: 256,
  /** Largest size of one resource: what the 5-byte line index can address. */
  resourceBytes: 2 ** 40,
  /** A close reason in UTF-8 (RFC 6455, 5.5.1). */
  closeReasonBytes: 123,
  /** Nesting of JSON accepted from a peer; the deepest legitimate message has 3 levels. */
  jsonDepth: 16,
} as const;

/** Every error code with its HTTP status and WebSocket close code (PROTOCOL.md 5). */
export const ERRORS = {
  BAD_MESSAGE: { http: 400, close: 1007 },
  UNKNOWN_MESSAGE: { http: 400, close: 1003 },
  WRONG_STATE: { http: 409, close: 1008 },
  BAD_METADATA: { http: 400, close: 1008 },
  BAD_REQUEST: { http: 400, close: 1008 },
  MESSAGE_TOO_LARGE: { http: 413, close: 1009 },
  CREDIT_EXCEEDED: { http: 413, close: 1008 },
  NOT_FOUND: { http: 404, close: 1008 },
  METHOD_NOT_ALLOWED: { http: 405, close: 1008 },
  RANGE_NOT_AVAILABLE: { http: 416, close: 1008 },
  LINES_NOT_AVAILABLE: { http: 416, close: 1008 },
  NO_LINE_ACCESS: { http: 409, close: 1008 },
  OFFSET_LOST: { http: 410, close: 1011 },
  CHECKSUM_MISMATCH: { http: 422, close: 1011 },
  CONTEXT_REQUIRED: { http: 400, close: 1008 },
  CONTEXT_UNKNOWN: { http: 404, close: 1008 },
  CONTEXT_CLOSED: { http: 409, close: 1008 },
  QUOTA_EXCEEDED: { http: 413, close: 1008 },
  ORIGIN_REFUSED: { http: 403, close: 1008 },
  UNAUTHORIZED: { http: 401, close: 1008 },
  FORBIDDEN: { http: 403, close: 1008 },
  RATE_LIMITED: { http: 429, close: 1013 },
  LIMIT_REACHED: { http: 503, close: 1013 },
  NOT_READY: { http: 503, close: 1013 },
  NOT_OWNER: { http: 403, close: 1008 },
  FENCED: { http: 409, close: 1008 },
  CONFLICT: { http: 409, close: 1008 },
  DELETED: { http: 410, close: 1008 },
  ABORTED: { http: 400, close: 1011 },
  INTERRUPTED: { http: 400, close: 1011 },
  PEER_SILENT: { http: 408, close: 1008 },
  SHUTDOWN: { http: 503, close: 1001 },
  STORAGE_FAILED: { http: 507, close: 1011 },
  SOURCE_FAILED: { http: 400, close: 1011 },
  UNREACHABLE: { http: 502, close: 1011 },
  INTERNAL: { http: 500, close: 1011 },
} as const satisfies Record<string, { http: number; close: number }>;

/** One of the codes of the table {@link ERRORS}. */
export type ErrorCode = keyof typeof ERRORS;

/**
 * The one error type of this project: a code from {@link ERRORS} and a sentence for a person.
 *
 * @example
 * ```ts
 * import { StreamError } from "@stream/live/protocol";
 *
 * const error = new StreamError("NOT_FOUND", "there is no resource 42");
 * console.log(error.code, error.message);
 * ```
 */
export class StreamError extends Error {
  /** Name of the class, as the platform's own errors have it. */
  override readonly name = "StreamError";
  /** What went wrong, for programs. */
  readonly code: ErrorCode;

  /**
   * An error for a program and a person.
   * @param code What went wrong, for programs.
   * @param message What went wrong and what to do, for people; names the offending input.
   * @param options The error that caused this one.
   */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Turns anything thrown into a {@link StreamError}; what is one already passes unchanged.
 *
 * @param thrown What a `catch` received.
 * @param code The code for errors that have none.
 * @returns The error with a code.
 *
 * @example
 * ```ts
 * import { toStreamError } from "@stream/live/protocol";
 *
 * console.log(toStreamError(new TypeError("boom")).code); // INTERNAL
 * ```
 */
export function toStreamError(thrown: unknown, code: ErrorCode = "INTERNAL"): StreamError {
  if (thrown instanceof StreamError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new StreamError(code, message, { cause: thrown });
}

/** State of a transfer (PROTOCOL.md 1). */
export type TransferStatus = "INITIATED" | "IN_PROGRESS" | "COMPLETED" | "FAILED";

/** All transfer statuses, in the order of a resource's life. */
export const TRANSFER_STATUSES: readonly TransferStatus[] = [
  "INITIATED",
  "IN_PROGRESS",
  "COMPLETED",
  "FAILED",
];

/**
 * Tells whether a transfer is over: nothing will be appended any more.
 *
 * @param status A transfer status.
 * @returns True for COMPLETED and FAILED.
 *
 * @example
 * ```ts
 * import { isFinal } from "@stream/live/protocol";
 *
 * console.log(isFinal("COMPLETED"), isFinal("IN_PROGRESS")); // true false
 * ```
 */
export function isFinal(status: TransferStatus): boolean {
  return status === "COMPLETED" || status === "FAILED";
}

/** What an upload announces about itself (PROTOCOL.md 3.1). */
export interface ResourceMetadata {
  /** Name of the file, as a person knows it; never used as a path. */
  filename: string;
  /** `type/subtype`, without parameters. */
  mimeType: string;
  /** Whether lines are counted and can be asked for. */
  supportsLineAccess: boolean;
}

/** What everybody is told at a checkpoint, in the shape that Step clients know (PROTOCOL.md 4.1). */
export interface BaseStatus {
  /** State of the transfer. */
  transferStatus: TransferStatus;
  /** Bytes that can be read. */
  currentSize: number;
  /** Lines that can be read; null without line access. */
  numberOfLines: number | null;
}

/** A status as native peers receive it (PROTOCOL.md 4.1). */
export interface ResourceStatus extends BaseStatus {
  /** Bytes that are on disk whatever happens to the server's machine. */
  durableSize: number;
  /** Ownership of the log; grows when another connection takes it over. */
  epoch: number;
  /** Number of this status within its epoch; a later status has a greater one. */
  sequence: number;
  /** Why the transfer failed; null unless FAILED. */
  failure: string | null;
}

/**
 * Checks where a follower wants to begin (PROTOCOL.md 4.4): a byte past the end is waited for while the transfer runs,
 * unless it was seen before: then it is lost.
 *
 * @param status The newest status of the resource.
 * @param from First byte that is wanted.
 * @param seenEpoch Epoch in which all bytes before `from` were seen; null if they were not.
 * @throws {StreamError} OFFSET_LOST for bytes that were seen and are gone; RANGE_NOT_AVAILABLE past the end of a finished
 * resource.
 *
 * @example
 * ```ts
 * import { checkStart } from "@stream/live/protocol";
 *
 * const status = { transferStatus: "IN_PROGRESS", currentSize: 100, numberOfLines: null } as const;
 * checkStart(status, 200, null); // is waited for
 * ```
 */
export function checkStart(status: BaseStatus, from: number, seenEpoch: number | null): void {
  const { currentSize, transferStatus } = status;
  if (from <= currentSize) return;
  if (seenEpoch !== null) {
    throw new StreamError(
      "OFFSET_LOST",
      `byte ${from} was seen in epoch ${seenEpoch}; the resource now has ${currentSize} bytes`,
    );
  }
  if (isFinal(transferStatus)) {
    throw new StreamError(
      "RANGE_NOT_AVAILABLE",
      `byte ${from} is past the end of a finished resource of ${currentSize} bytes`,
    );
  }
}

/** What tells which of two statuses is newer. */
export type StatusNumber = Pick<ResourceStatus, "epoch" | "sequence">;

/**
 * Tells whether a status is newer than another (PROTOCOL.md 1).
 *
 * @param status The status.
 * @param known The other one; null for none.
 * @returns True where nothing is known, too.
 *
 * @example
 * ```ts
 * import { isNewer } from "@stream/live/protocol";
 *
 * console.log(isNewer({ epoch: 2, sequence: 0 }, { epoch: 1, sequence: 9 })); // true
 * ```
 */
export function isNewer(status: StatusNumber, known: StatusNumber | null): boolean {
  return known === null || status.epoch > known.epoch ||
    status.epoch === known.epoch && status.sequence > known.sequence;
}

/** A digest with the name of its algorithm. */
export interface Digest {
  /** Name from {@link DIGESTS}. */
  algorithm: DigestAlgorithm;
  /** Lower-case hexadecimal. */
  value: string;
}

/** Digest algorithms that can be negotiated; the first is the native default (docs: ARCHITECTURE.md, digests). */
export const DIGESTS = ["xxh128", "sha256", "md5"] as const;

/** Name of a digest algorithm. */
export type DigestAlgorithm = typeof DIGESTS[number];

/** A resource as the HTTP interface shows it (PROTOCOL.md 6). */
export interface ResourceInfo extends ResourceStatus {
  /** Id of the resource. */
  id: string;
  /** Name of the file, as announced. */
  filename: string;
  /** MIME type, as announced. */
  mimeType: string;
  /** Whether lines are counted. */
  supportsLineAccess: boolean;
  /** Upload context; null without one. */
  contextId: string | null;
  /** Digest of the whole content; null until COMPLETED. */
  digest: Digest | null;
  /** Reference to the resource, as a push prints it. */
  reference: string;
  /** RFC 3339 time of registration. */
  createdAt: string;
  /** RFC 3339 time of the newest status. */
  updatedAt: string;
}

/** What is known of an upload once it was acknowledged. */
export interface UploadResult {
  /** Size in bytes. */
  size: number;
  /** Number of lines; null without line access. */
  numberOfLines: number | null;
  /** Digest of the whole content, equal on both sides. */
  digest: Digest;
}

/** An upload that runs: to a server, into a directory, or nowhere. */
export interface Upload {
  /** Where the resource can be followed, from now on. */
  readonly reference: string;
  /** The newest status. */
  readonly status: ResourceStatus;
  /** Takes the bytes; a chunk that was written belongs to the upload and must not be changed. Closing it completes the upload. */
  readonly writable: WritableStream<Uint8Array>;
  /** Settles when the upload was acknowledged with the matching digest, or failed. */
  readonly done: Promise<UploadResult>;
  /** Every new status until the last, the newest at once; a slow reader gets the newest only. */
  statuses(): AsyncIterableIterator<ResourceStatus>;
  /**
   * Gives the upload up: the resource becomes FAILED and keeps what arrived.
   * @param cause Why; others are told.
   */
  abort(cause?: unknown): Promise<void>;
}

/** Messages an uploading client sends (PROTOCOL.md 3). */
export type UploadRequest =
  | { "@": "StartUpload"; metadata: ResourceMetadata; digests?: string[] }
  | { "@": "ResumeUpload"; id: string; secret: string }
  | { "@": "FinishUpload"; checksum: string; size?: number }
  | { "@": "AbortUpload"; reason: string };

/** Messages a downloading client sends (PROTOCOL.md 4). */
export type DownloadRequest =
  | { "@": "RequestChunk"; startOffset: number; endOffset: number }
  | {
    "@": "RequestLines";
    startingLineIndex: number;
    linesCount: number;
    startingByteOffset?: number;
  }
  | { "@": "LocateLines"; startingLineIndex: number; linesCount: number }
  | { "@": "Follow"; from: number; to?: number | null; epoch?: number | null; window: number }
  | { "@": "Consumed"; offset: number };

/** Messages both ends of a native connection send (PROTOCOL.md 2.3). */
export type Heartbeat = { "@": "Ping"; id: number } | { "@": "Pong"; id: number };

/** Position of a page's continuation within the lines of a resource (PROTOCOL.md 4.3). */
export interface LinePosition {
  /** Index of the line, from 0. */
  lineIndex: number;
  /** Bytes of that line which were delivered already. */
  byteOffset: number;
}

/** Messages a server sends (PROTOCOL.md 3 and 4). */
export type ServerMessage =
  | {
    "@": "ReadyForUpload";
    reference: { uri: string };
    id?: string;
    epoch?: number;
    offset?: number;
    limit?: number;
    secret?: string;
    digest?: DigestAlgorithm;
  }
  | { "@": "Credit"; limit: number; acknowledged: number }
  | {
    "@": "UploadAcknowledged";
    size: number;
    numberOflines: number | null;
    checksum: string;
    digest?: DigestAlgorithm;
  }
  | { "@": "StatusChanged"; resourceStatus: BaseStatus | ResourceStatus }
  | {
    "@": "Lines";
    lines: string[];
    startingLineIndex?: number;
    startingByteOffset?: number;
    next?: LinePosition | null;
  }
  | {
    "@": "LinesLocated";
    startingLineIndex: number;
    linesCount: number;
    startOffset: number;
    endOffset: number;
  }
  | { "@": "FollowEnd"; offset: number }
  | { "@": "Error"; code: ErrorCode; message: string };

/** Every message of the protocol. */
export type Message = UploadRequest | DownloadRequest | ServerMessage | Heartbeat;

/** The message with a given name. */
export type MessageOf<Name extends Message["@"]> = Extract<Message, { "@": Name }>;

type Check = (value: unknown) => boolean;
type Shape = Record<string, Check>;

const isString: Check = (value) => typeof value === "string";
const isOffset: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isInteger: Check = (value) => Number.isSafeInteger(value);
const isBoolean: Check = (value) => typeof value === "boolean";
const listOf = (check: Check): Check => (value) => Array.isArray(value) && value.every(check);
const optional = (check: Check): Check => (value) => value === undefined || check(value);
const nullable = (check: Check): Check => (value) => value === null || check(value);
const shaped = (shape: Shape): Check => (value) =>
  typeof value === "object" && value !== null &&
  Object.entries(shape).every(([name, check]) => check((value as Record<string, unknown>)[name]));

const isTransferStatus: Check = (value) => TRANSFER_STATUSES.includes(value as TransferStatus);
const isLineCount = nullable(isOffset);

/** The properties each message must have; properties that stand nowhere here are ignored. */
const SHAPES: Record<Message["@"], Shape> = {
  StartUpload: {
    metadata: shaped({ filename: isString, mimeType: isString, supportsLineAccess: isBoolean }),
    digests: optional(listOf(isString)),
  },
  ResumeUpload: { id: isString, secret: isString },
  FinishUpload: { checksum: isString, size: optional(isOffset) },
  AbortUpload: { reason: isString },
  RequestChunk: { startOffset: isOffset, endOffset: isOffset },
  RequestLines: {
    startingLineIndex: isOffset,
    linesCount: isOffset,
    startingByteOffset: optional(isOffset),
  },
  LocateLines: { startingLineIndex: isInteger, linesCount: isOffset },
  Follow: {
    from: isOffset,
    to: optional(nullable(isOffset)),
    epoch: optional(nullable(isOffset)),
    window: isOffset,
  },
  Consumed: { offset: isOffset },
  Ping: { id: isOffset },
  Pong: { id: isOffset },
  ReadyForUpload: {
    reference: shaped({ uri: isString }),
    id: optional(isString),
    epoch: optional(isOffset),
    offset: optional(isOffset),
    limit: optional(isOffset),
    secret: optional(isString),
    digest: optional((value) => DIGESTS.includes(value as DigestAlgorithm)),
  },
  Credit: { limit: isOffset, acknowledged: isOffset },
  UploadAcknowledged: {
    size: isOffset,
    numberOflines: optional(isLineCount),
    checksum: isString,
    digest: optional(isString),
  },
  StatusChanged: {
    resourceStatus: shaped({
      transferStatus: isTransferStatus,
      currentSize: isOffset,
      numberOfLines: isLineCount,
      durableSize: optional(isOffset),
      epoch: optional(isOffset),
      sequence: optional(isOffset),
      failure: optional(nullable(isString)),
    }),
  },
  Lines: {
    lines: listOf(isString),
    startingLineIndex: optional(isOffset),
    startingByteOffset: optional(isOffset),
    next: optional(nullable(shaped({ lineIndex: isOffset, byteOffset: isOffset }))),
  },
  LinesLocated: {
    startingLineIndex: isOffset,
    linesCount: isOffset,
    startOffset: isOffset,
    endOffset: isOffset,
  },
  FollowEnd: { offset: isOffset },
  Error: { code: isString, message: isString },
};

/**
 * Writes a message as the text of one WebSocket message.
 *
 * @param message The message; properties that are `undefined` are left out.
 * @returns JSON.
 *
 * @example
 * ```ts
 * import { encodeMessage } from "@stream/live/protocol";
 *
 * console.log(encodeMessage({ "@": "Credit", limit: 65536, acknowledged: 0 }));
 * ```
 */
export function encodeMessage(message: Message): string {
  return JSON.stringify(message);
}

/**
 * Reads a control message and checks its shape (PROTOCOL.md 2.2).
 *
 * @param text The text of one WebSocket message.
 * @returns The message; properties this version does not know are kept and mean nothing.
 * @throws {StreamError} BAD_MESSAGE when it is no JSON object or a property is missing or of the wrong type;
 * UNKNOWN_MESSAGE when nobody knows its name.
 *
 * @example
 * ```ts
 * import { decodeMessage } from "@stream/live/protocol";
 *
 * const message = decodeMessage('{"@":"Credit","limit":65536,"acknowledged":0}');
 * if (message["@"] === "Credit") console.log(message.limit); // 65536
 * ```
 */
export function decodeMessage(text: string): Message {
  if (jsonDepth(text) > LIMITS.jsonDepth) {
    throw new StreamError(
      "BAD_MESSAGE",
      `a message is nested deeper than ${LIMITS.jsonDepth} levels`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new StreamError("BAD_MESSAGE", `a message is no JSON: ${excerpt(text)}`);
  }
  const name = typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)["@"]
    : undefined;
  if (typeof name !== "string") {
    throw new StreamError("BAD_MESSAGE", `a message has no property "@": ${excerpt(text)}`);
  }
  if (!Object.hasOwn(SHAPES, name)) {
    throw new StreamError("UNKNOWN_MESSAGE", `there is no message ${excerpt(name)}`);
  }
  for (const [property, check] of Object.entries(SHAPES[name as Message["@"]])) {
    if (!check((value as Record<string, unknown>)[property])) {
      throw new StreamError(
        "BAD_MESSAGE",
        `property "${property}" of ${name} is missing or malformed: ${excerpt(text)}`,
      );
    }
  }
  return value as Message;
}

/** Nesting of a JSON text, counted without parsing it: a parser may overflow its stack first. */
function jsonDepth(text: string): number {
  let depth = 0, deepest = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') at = endOfString(text, at);
    else if (char === "{" || char === "[") deepest = Math.max(deepest, ++depth);
    else if (char === "}" || char === "]") depth--;
  }
  return deepest;
}

/** Position of the quotation mark that ends a JSON string; the end of the text where none does. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1;; at++) {
    at = text.indexOf('"', at);
    if (at === -1) return text.length;
    let backslashes = 0;
    while (text[at - 1 - backslashes] === "\\") backslashes++;
    if (backslashes % 2 === 0) return at;
  }
}

function excerpt(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

const MIME_TYPE = /^[A-Za-z0-9!#$&^_.+-]+\/[A-Za-z0-9!#$&^_.+-]+$/;

/**
 * Checks what an upload announces about itself (PROTOCOL.md 3.1).
 *
 * @param metadata The announced metadata.
 * @returns A copy with exactly the known properties.
 * @throws {StreamError} BAD_METADATA that names the offending value.
 *
 * @example
 * ```ts
 * import { checkMetadata } from "@stream/live/protocol";
 *
 * checkMetadata({ filename: "a.log", mimeType: "text/plain", supportsLineAccess: true });
 * ```
 */
export function checkMetadata(metadata: ResourceMetadata): ResourceMetadata {
  const { filename, mimeType, supportsLineAccess } = metadata;
  if (filename === "") throw new StreamError("BAD_METADATA", "the filename is empty");
  if (filename.includes("\0")) {
    throw new StreamError(
      "BAD_METADATA",
      `the filename ${excerpt(filename)} holds a NUL character`,
    );
  }
  if (utf8Length(filename) > LIMITS.filenameBytes) {
    throw new StreamError(
      "BAD_METADATA",
      `the filename ${excerpt(filename)} is longer than ${LIMITS.filenameBytes} bytes`,
    );
  }
  if (mimeType.length > LIMITS.mimeTypeBytes || !MIME_TYPE.test(mimeType)) {
    throw new StreamError(
      "BAD_METADATA",
      `the MIME type ${excerpt(mimeType)} is not type/subtype (without parameters, ` +
        `at most ${LIMITS.mimeTypeBytes} characters)`,
    );
  }
  return { filename, mimeType, supportsLineAccess };
}

/**
 * Checks the id of an upload context (PROTOCOL.md 3.1).
 *
 * @param contextId The id as a client gave it.
 * @returns The id.
 * @throws {StreamError} BAD_METADATA when it is empty, too long or holds control characters.
 *
 * @example
 * ```ts
 * import { checkContextId } from "@stream/live/protocol";
 *
 * console.log(checkContextId("run-17"));
 * ```
 */
export function checkContextId(contextId: string): string {
  // deno-lint-ignore no-control-regex
  if (contextId === "" || /[\x00-\x1f\x7f-\x9f]/.test(contextId)) {
    throw new StreamError(
      "BAD_METADATA",
      `the upload context ${excerpt(contextId)} is empty or holds control characters`,
    );
  }
  if (utf8Length(contextId) > LIMITS.contextIdBytes) {
    throw new StreamError(
      "BAD_METADATA",
      `the upload context ${excerpt(contextId)} is longer than ${LIMITS.contextIdBytes} bytes`,
    );
  }
  return contextId;
}

/** UUIDs, and the other ids of adopted resources; long enough that no word a person types is one. */
const RESOURCE_ID = /^[0-9a-f][0-9a-f-]{7,63}$/;

/**
 * Tells whether a text is a resource id, which is safe in paths and URLs as it is (PROTOCOL.md 1).
 *
 * @param text Anything a peer sent as an id.
 * @returns True for an id.
 *
 * @example
 * ```ts
 * import { isResourceId } from "@stream/live/protocol";
 *
 * console.log(isResourceId(crypto.randomUUID()), isResourceId("../etc/passwd")); // true false
 * ```
 */
export function isResourceId(text: string): boolean {
  return RESOURCE_ID.test(text);
}

/** Address, id, and what a signed link carries; links to the content have a path of their own. */
const REFERENCE =
  /^(.*)(?:\/ws\/streaming\/download|\/resources)\/([^/?#]+)(?:\/(?:content(?=\?))?)?(?:\?access=([\w.-]+))?$/;

/** Where a resource is: the parts of a reference (PROTOCOL.md 1.2). */
export interface ResourceLocation {
  /** `http://host:port[/prefix]`, without a slash at its end. */
  server: string;
  /** Id of the resource. */
  id: string;
  /** What a signed link carries (PROTOCOL.md 8.3); missing in other references. */
  access?: string;
}

/**
 * Reads a reference in any of its forms: what a push printed, its HTTP form, a signed link, or a bare id
 * (PROTOCOL.md 1.2).
 *
 * @param text The reference.
 * @param server Base URL for bare ids.
 * @returns The server's HTTP base URL and the id.
 * @throws {StreamError} BAD_REQUEST when it is none of these, or a bare id came without a server.
 *
 * @example
 * ```ts
 * import { parseReference } from "@stream/live/protocol";
 *
 * const id = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";
 * console.log(parseReference(`ws://127.0.0.1:8090/ws/streaming/download/${id}`).server); // http://127.0.0.1:8090
 * ```
 */
export function parseReference(text: string, server?: string): ResourceLocation {
  if (isResourceId(text)) {
    if (server !== undefined) return { server: httpBase(server), id: text };
    throw new StreamError(
      "BAD_REQUEST",
      `the reference ${text} is a bare id: say which server, too`,
    );
  }
  const match = REFERENCE.exec(text);
  if (match === null || !isResourceId(match[2])) {
    throw new StreamError(
      "BAD_REQUEST",
      `${excerpt(text)} is no reference: expected ws://HOST${DOWNLOAD_PATH}/ID, ` +
        `http://HOST${RESOURCES_PATH}/ID or an id`,
    );
  }
  const location = { server: httpBase(match[1]), id: match[2] };
  return match[3] === undefined ? location : { ...location, access: match[3] };
}

/**
 * Brings a server's address into its HTTP form.
 *
 * @param url `http:`, `https:`, `ws:` or `wss:` URL of a server.
 * @returns The `http:` or `https:` form, without a slash at its end.
 * @throws {StreamError} BAD_REQUEST when it is no such URL.
 *
 * @example
 * ```ts
 * import { httpBase } from "@stream/live/protocol";
 *
 * console.log(httpBase("wss://host/logs/")); // https://host/logs
 * ```
 */
export function httpBase(url: string): string {
  const match = /^(https?|wss?):\/\/[^/?#\s]+[^?#\s]*$/.exec(url);
  if (match === null || !URL.canParse(url)) {
    throw new StreamError(
      "BAD_REQUEST",
      `${excerpt(url)} is no server address: expected http://HOST:PORT`,
    );
  }
  return url.replace(/^ws/, "http").replace(/\/+$/, "");
}

/**
 * The WebSocket form of a server's address.
 *
 * @param base Result of {@link httpBase}.
 * @returns The same with `ws:` or `wss:`.
 *
 * @example
 * ```ts
 * import { wsBase } from "@stream/live/protocol";
 *
 * console.log(wsBase("http://127.0.0.1:8090")); // ws://127.0.0.1:8090
 * ```
 */
export function wsBase(base: string): string {
  return base.replace(/^http/, "ws");
}

/**
 * Cuts a close reason to what a close frame holds (RFC 6455, 5.5.1), at a code point boundary.
 *
 * @param reason The reason in full.
 * @returns Its longest prefix of at most 123 bytes of UTF-8.
 *
 * @example
 * ```ts
 * import { cutCloseReason } from "@stream/live/protocol";
 *
 * console.log(cutCloseReason("é".repeat(100)).length); // 61
 * ```
 */
export function cutCloseReason(reason: string): string {
  let bytes = 0, cut = "";
  for (const char of reason) {
    bytes += utf8Length(char);
    if (bytes > LIMITS.closeReasonBytes) break;
    cut += char;
  }
  return cut;
}

/**
 * The close reason for an error, in the words Step clients know (PROTOCOL.md 5).
 *
 * @param error The error.
 * @returns At most 123 bytes of UTF-8.
 *
 * @example
 * ```ts
 * import { closeReason, StreamError } from "@stream/live/protocol";
 *
 * console.log(closeReason(new StreamError("QUOTA_EXCEEDED", "no room"))); // QuotaExceededException: no room
 * ```
 */
export function closeReason(error: StreamError): string {
  if (error.code === "CONTEXT_REQUIRED") return `Missing parameter ${CONTEXT_PARAMETER}`;
  if (error.code === "SHUTDOWN") return "Server shutdown";
  const name = error.code === "QUOTA_EXCEEDED" ? "QuotaExceededException" : error.code;
  return cutCloseReason(`${name}: ${error.message}`);
}

const encoder = new TextEncoder();

function utf8Length(text: string): number {
  return encoder.encode(text).length;
}
