/**
 * An upload, as its source sees it, and what uploads to all kinds of servers have in common.
 * @module
 */
import {
  CONTEXT_PARAMETER,
  type DigestAlgorithm,
  type MessageOf,
  type ResourceStatus,
  StreamError,
  UPLOAD_PATH,
  type UploadResult,
} from "../protocol.ts";
import type { RetryOptions } from "./retry.ts";
import type { StepTransport } from "./step_transport.ts";
import type { TransportOptions } from "./transport.ts";

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

/** An upload to a server. */
export interface PushedUpload extends Upload {
  /** Proves ownership: whoever has it can go on with the upload (see `resumePush`). Keep it secret. Empty where none can. */
  readonly resumeToken: string;
}

/** How an upload is made. */
export interface PushOptions extends RetryOptions, TransportOptions {
  /** Upload context to belong to; made if nobody did yet. */
  contextId?: string;
  /** Bearer token for the server; it is sent to no other, and to none that is a Step server. */
  token?: string;
  /** Digest algorithms in order of preference; all that are known by default. */
  digests?: readonly DigestAlgorithm[];
  /** Gives the upload up when it aborts. */
  signal?: AbortSignal;
  /** Connects to servers that do not speak our extensions, e.g. `connectFrames`; none by default, as in browsers. */
  stepTransport?: StepTransport;
}

/** Gives an upload up with a signal, which may outlive many of them. */
export function abortWith(signal: AbortSignal, upload: Upload): void {
  const abort = () => void upload.abort(signal.reason);
  const forget = () => signal.removeEventListener("abort", abort);
  signal.addEventListener("abort", abort);
  upload.done.then(forget, forget);
}

/**
 * What is wrong with an acknowledgement (PROTOCOL.md 3.2).
 * @param acknowledged What the server has.
 * @param sent What was sent.
 * @returns CHECKSUM_MISMATCH, or null when both are the same.
 */
export function mismatchOf(
  { size, checksum }: MessageOf<"UploadAcknowledged">,
  sent: Pick<UploadResult, "size" | "digest">,
): StreamError | null {
  const { algorithm, value } = sent.digest;
  if (size === sent.size && checksum === value) return null;
  return new StreamError(
    "CHECKSUM_MISMATCH",
    `the server acknowledged ${size} bytes with ${algorithm} ${checksum}; ` +
      `${sent.size} bytes with ${value} were sent`,
  );
}

/** Path and query of the endpoint, for an upload context or none. */
export function uploadEndpoint(contextId: string | undefined): string {
  if (contextId === undefined) return UPLOAD_PATH;
  return `${UPLOAD_PATH}?${CONTEXT_PARAMETER}=${encodeURIComponent(contextId)}`;
}
