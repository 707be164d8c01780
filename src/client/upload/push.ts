/**
 * Pushing: how an upload to a server is made, whatever kind of server that is.
 * @module
 */
import {
  CONTEXT_PARAMETER,
  type DigestAlgorithm,
  type MessageOf,
  type Outcome,
  StreamError,
  UPLOAD_PATH,
  type UploadResult,
} from "../../protocol.ts";
import type { Upload } from "../../upload.ts";
import type { RetryOptions } from "../connection/retry.ts";
import type { StepTransport } from "./step_transport.ts";
import type { TokenProvider } from "../connection/token.ts";
import type { TransportOptions } from "../connection/transport.ts";

/** An upload to a server. */
export interface PushedUpload extends Upload {
  /** Proves ownership: whoever has it can go on with the upload (see `resumePush`). Keep it secret. Empty where none can. */
  readonly resumeToken: string;
  /** Reference for Step clients; null where the server has no port of their own. */
  readonly stepReference: string | null;
}

/** How an upload is made. */
export interface PushOptions extends RetryOptions, TransportOptions {
  /** Id of the resource: a UUID in lower case that no other has; the server chooses one by default. */
  id?: string | undefined;
  /** Upload context to belong to; made if nobody did yet. */
  contextId?: string | undefined;
  /**
   * Bearer token for the server, or what gives it; it is sent to no other, and to none that is a Step server. A provider
   * is asked again when the server takes the token no longer.
   */
  token?: string | TokenProvider | undefined;
  /** Digest algorithms in order of preference; all that are known by default. */
  digests?: readonly DigestAlgorithm[] | undefined;
  /**
   * Tells how the producer ended; asked for once, when all its bytes were written. Whoever looks at the resource sees it
   * beside the state of the transfer (PROTOCOL.md 1.3).
   */
  outcome?: (() => Outcome | Promise<Outcome>) | undefined;
  /** Gives the upload up when it aborts: it fails with ABORTED, of which the signal's reason is the cause. */
  signal?: AbortSignal | undefined;
  /** Connects to servers that do not speak our extensions, e.g. `connectFrames`; none by default, as in browsers. */
  stepTransport?: StepTransport | undefined;
}

/** Gives an upload up with a signal, which may outlive many of them. */
export function abortWith(signal: AbortSignal, upload: Upload): void {
  const abort = () => void upload.abort(signal.reason);
  const forget = () => signal.removeEventListener("abort", abort);
  signal.addEventListener("abort", abort);
  upload.done.then(forget, forget);
}

/**
 * Compares an acknowledgement with what was sent (PROTOCOL.md 3.2).
 * @param acknowledged What the server has.
 * @param sent What was sent.
 * @throws {StreamError} CHECKSUM_MISMATCH when they are not the same.
 */
export function checkAcknowledged(
  { size, checksum }: MessageOf<"UploadAcknowledged">,
  sent: Pick<UploadResult, "size" | "digest">,
): void {
  const { algorithm, value } = sent.digest;
  if (size === sent.size && checksum === value) return;
  throw new StreamError(
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
