/**
 * The protocol: messages, their validation, limits, references and the one error type.
 *
 * PROTOCOL.md is normative; this module is its executable part; it imports nothing from elsewhere, so that it runs in
 * a browser as well as on a server.
 * @module
 */
export { type Digest, type DigestAlgorithm, DIGESTS } from "./protocol/digests.ts";
export {
  closeCode,
  closeReason,
  cutCloseReason,
  type ErrorCode,
  ERRORS,
  failureOf,
  isTransient,
  MovedError,
  RESTART_CLOSE,
  StreamError,
  toStreamError,
} from "./protocol/errors.ts";
export {
  checkContextId,
  checkSecret,
  foldResourceId,
  isResourceId,
  isUuid,
  newSecret,
  newUuid,
  toHex,
  toUuid,
} from "./protocol/ids.ts";
export { agreedMessageBytes, followedMessageBytes, LIMITS } from "./protocol/limits.ts";
export { MessageLength } from "./protocol/message_length.ts";
export {
  checkMessage,
  decodeMessage,
  type DownloadRequest,
  encodeMessage,
  type Heartbeat,
  isMessageName,
  type LinePosition,
  type Message,
  type MessageOf,
  MESSAGES,
  type MessagesOf,
  type NamedMessage,
  parseMessage,
  type ServerMessage,
  type UploadRequest,
} from "./protocol/messages.ts";
export {
  checkMetadata,
  type ResourceInfo,
  type ResourceMetadata,
  type UploadResult,
} from "./protocol/metadata.ts";
export {
  CONTEXT_PARAMETER,
  CONTEXTS_PATH,
  DOWNLOAD_PATH,
  EVENTS_PATH,
  INTEROP_VERSION,
  RESOURCES_PATH,
  SUBPROTOCOL,
  TOKEN_SUBPROTOCOL,
  UPLOAD_PATH,
  UPLOADS_PATH,
  VIEW_PATH,
} from "./protocol/names.ts";
export { checkOutcome, endedWell, type Outcome } from "./protocol/outcomes.ts";
export { httpBase, parseReference, type ResourceLocation, wsBase } from "./protocol/references.ts";
export type { Flat, Kinds, OptionalName, RequiredName, ValueOf } from "./protocol/shapes.ts";
export {
  checkLife,
  checkStart,
  isFinal,
  isNewer,
  type ResourceStatus,
  type StatusNumber,
  type StepStatus,
  TRANSFER_STATUSES,
  type TransferStatus,
} from "./protocol/statuses.ts";

export type { SearchEnd, SearchMatch, SearchProgress } from "./protocol/search.ts";
export { lowerAscii } from "./protocol/text.ts";

/** Version of the program and of the library, as `stream --version` prints it. */
export const VERSION = "0.1.0";
