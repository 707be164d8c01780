/**
 * The one error type, and what an error is called on each way to a peer (PROTOCOL.md 5).
 * @module
 */
import { LIMITS } from "./limits.ts";
import { CONTEXT_PARAMETER } from "./names.ts";
import { cutToBytes } from "./text.ts";

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
  WRONG_TYPE: { http: 415, close: 1008 },
  WRONG_VERSION: { http: 412, close: 1008 },
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
  HOST_REFUSED: { http: 421, close: 1008 },
  UNAUTHORIZED: { http: 401, close: 1008 },
  FORBIDDEN: { http: 403, close: 1008 },
  RATE_LIMITED: { http: 429, close: 1013 },
  LIMIT_REACHED: { http: 503, close: 1013 },
  NOT_READY: { http: 503, close: 1013 },
  LOCKED: { http: 423, close: 1013 },
  NOT_OWNER: { http: 403, close: 1008 },
  FENCED: { http: 409, close: 1008 },
  CONFLICT: { http: 409, close: 1008 },
  DELETED: { http: 410, close: 1008 },
  GONE: { http: 410, close: 1008 },
  ABORTED: { http: 400, close: 1011 },
  INTERRUPTED: { http: 400, close: 1011 },
  PEER_SILENT: { http: 408, close: 1008 },
  SHUTDOWN: { http: 503, close: 1001 },
  STORAGE_FAILED: { http: 507, close: 1011 },
  INDEX_DAMAGED: { http: 500, close: 1011 },
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
  /** Reason, for programs. */
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

/** Errors that may pass by themselves, or elsewhere; all others would come again. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set([
  "INTERRUPTED",
  "LIMIT_REACHED",
  "NOT_READY",
  "PEER_SILENT",
  "RATE_LIMITED",
  "SHUTDOWN",
  "UNREACHABLE",
]);

/**
 * Tells whether what failed with an error could go on later.
 *
 * @param error The error.
 * @returns False for one that would come again.
 *
 * @example
 * ```ts
 * import { isTransient, StreamError } from "@stream/live/protocol";
 *
 * console.log(isTransient(new StreamError("LIMIT_REACHED", "come back"))); // true
 * ```
 */
export function isTransient({ code }: StreamError): boolean {
  return TRANSIENT.has(code);
}

/** Close code of a server whose service goes on (Service Restart, IANA). */
export const RESTART_CLOSE = 1012;

/**
 * A server ends, and its service goes on at others: where to go (PROTOCOL.md 2.4).
 *
 * @example
 * ```ts
 * import { closeCode, MovedError } from "@stream/live/protocol";
 *
 * console.log(closeCode(new MovedError("the node ends", ["https://node2.example.org"]))); // 1012
 * ```
 */
export class MovedError extends StreamError {
  /**
   * An end that names others.
   * @param message What ended, for people.
   * @param servers HTTP base URLs of servers that go on; there may be none to be named.
   */
  constructor(message: string, readonly servers: readonly string[]) {
    super("SHUTDOWN", message);
  }
}

/**
 * The close code of an error on a native connection (PROTOCOL.md 5).
 *
 * @param error The error.
 * @returns That of its code; 1012 (service restart) where the service goes on.
 *
 * @example
 * ```ts
 * import { closeCode, StreamError } from "@stream/live/protocol";
 *
 * console.log(closeCode(new StreamError("LIMIT_REACHED", "come back"))); // 1013
 * ```
 */
export function closeCode(error: StreamError): number {
  return error instanceof MovedError ? RESTART_CLOSE : ERRORS[error.code].close;
}

/**
 * Turns anything thrown into a {@link StreamError}; what is one already passes unchanged, and one of another copy of
 * this library keeps its code.
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
  return new StreamError(codeOf(thrown) ?? code, message, { cause: thrown });
}

/** Code of an error of another copy of this library, which is no instance of ours. */
function codeOf(thrown: unknown): ErrorCode | undefined {
  if (!(thrown instanceof Error) || thrown.name !== "StreamError") return undefined;
  const { code } = thrown as { code?: unknown };
  return typeof code === "string" && Object.hasOwn(ERRORS, code) ? code as ErrorCode : undefined;
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
  return cutToBytes(reason, LIMITS.closeReasonBytes);
}

/** What catalogs cut a text at, or keep in different ways. */
const NOT_KEPT = /[\0\p{Surrogate}]/gu;

/**
 * The failure that a status tells (PROTOCOL.md 1): every reader of the resource is told all of it.
 *
 * @param error Why the transfer failed.
 * @returns `CODE: sentence`, at most 1024 bytes of UTF-8.
 *
 * @example
 * ```ts
 * import { failureOf, StreamError } from "@stream/live/protocol";
 *
 * console.log(failureOf(new StreamError("ABORTED", "the build was cancelled"))); // ABORTED: the build was cancelled
 * ```
 */
export function failureOf({ code, message }: StreamError): string {
  return cutToBytes(`${code}: ${message}`.replace(NOT_KEPT, "\ufffd"), LIMITS.failureBytes);
}

/**
 * The close reason for an error, in the words Step clients know (PROTOCOL.md 5).
 *
 * @param error The error.
 * @param contextParameter What the endpoint calls the query parameter of the upload context.
 * @returns At most 123 bytes of UTF-8.
 *
 * @example
 * ```ts
 * import { closeReason, StreamError } from "@stream/live/protocol";
 *
 * console.log(closeReason(new StreamError("QUOTA_EXCEEDED", "no room"))); // QuotaExceededException: no room
 * ```
 */
export function closeReason(
  error: StreamError,
  contextParameter: string = CONTEXT_PARAMETER,
): string {
  if (error.code === "CONTEXT_REQUIRED") {
    return cutCloseReason(`Missing parameter ${contextParameter}`);
  }
  if (error.code === "SHUTDOWN") return "Server shutdown";
  const name = error.code === "QUOTA_EXCEEDED" ? "QuotaExceededException" : error.code;
  return cutCloseReason(`${name}: ${error.message}`);
}
