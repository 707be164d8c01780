/**
 * Limits that both ends know (PROTOCOL.md 7).
 * @module
 */
/** Limits that both ends know; units stand in the names, reasons beside them (PROTOCOL.md 7). */
export const LIMITS = {
  /** One data message, unless both ends agree on longer ones. */
  dataMessageBytes: 64 * 1024,
  /** One data message where both ends agree: wakes them less often; still longer ones move no faster. */
  agreedMessageBytes: 256 * 1024,
  /** One data message where connections carry no longer one: it takes a link of 140 bytes/s 60 s, when silence ends it. */
  shortMessageBytes: 8 * 1024,
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
  /** Why a transfer failed, in UTF-8: its uploader may say anything, and every status repeats it. */
  failureBytes: 1024,
  /** Nesting of JSON accepted from a peer; the deepest legitimate message has 3 levels. */
  jsonDepth: 16,
} as const;

/**
 * The longest data message that both ends of a native connection take (PROTOCOL.md 3.3 and 4.4).
 *
 * @param wishedBytes What the client proposed, in bytes; undefined where it proposed nothing.
 * @returns Its length, in bytes.
 *
 * @example
 * ```ts
 * import { agreedMessageBytes } from "@stream/live/protocol";
 *
 * console.log(agreedMessageBytes(undefined), agreedMessageBytes(2 ** 30)); // 65536 262144
 * ```
 */
export function agreedMessageBytes(wishedBytes: number = LIMITS.dataMessageBytes): number {
  return Math.min(Math.max(wishedBytes, LIMITS.dataMessageBytes), LIMITS.agreedMessageBytes);
}

/**
 * The longest data message to a follower (PROTOCOL.md 4.4).
 *
 * @param wishedBytes What it wished for, in bytes; undefined where it wished for nothing.
 * @returns Its length, in bytes.
 *
 * @example
 * ```ts
 * import { followedMessageBytes } from "@stream/live/protocol";
 *
 * console.log(followedMessageBytes(undefined), followedMessageBytes(1)); // 65536 8192
 * ```
 */
export function followedMessageBytes(wishedBytes: number = LIMITS.dataMessageBytes): number {
  return Math.min(Math.max(wishedBytes, LIMITS.shortMessageBytes), LIMITS.agreedMessageBytes);
}
