/**
 * Metadata of a resource: what an upload announces, what is known at its end, what the HTTP interface shows
 * (PROTOCOL.md 3.1, 3.2 and 6).
 * @module
 */
import type { Digest } from "./digests.ts";
import { StreamError } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import type { ResourceStatus } from "./statuses.ts";
import { excerpt, utf8Length } from "./text.ts";

/** Metadata that an upload announces about itself (PROTOCOL.md 3.1). */
export interface ResourceMetadata {
  /** Name of the file, as a person knows it; never used as a path. */
  filename: string;
  /** `type/subtype`, without parameters. */
  mimeType: string;
  /** Whether lines are counted and can be asked for. */
  supportsLineAccess: boolean;
}

/** What JSON can name, and UTF-8 cannot. */
const HALF_CHARACTER = /\p{Surrogate}/u;
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
  if (HALF_CHARACTER.test(filename)) {
    throw new StreamError("BAD_METADATA", `the filename ${excerpt(filename)} is no Unicode`);
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
  /** Reference for Step clients; missing where the server has no port of their own, or does not know its address. */
  stepReference?: string;
  /** Address of its page for people; null where the server has no viewer. */
  view: string | null;
  /** RFC 3339 time of registration. */
  createdAt: string;
  /** RFC 3339 time of the newest status. */
  updatedAt: string;
}

/** Size, lines and digest of an upload that was acknowledged. */
export interface UploadResult {
  /** Size in bytes. */
  size: number;
  /** Number of lines; null without line access. */
  numberOfLines: number | null;
  /** Digest of the whole content, equal on both sides. */
  digest: Digest;
}
