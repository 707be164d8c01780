/**
 * Ids of resources and of upload contexts (PROTOCOL.md 1 and 3.1).
 * @module
 */
import { StreamError } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { excerpt, utf8Length } from "./text.ts";

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

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Tells whether a text is a UUID in lower case: an id that an uploader may choose (PROTOCOL.md 3.1 and 6.6).
 *
 * @param text Anything a peer sent as an id.
 * @returns False for the other ids of adopted resources, too.
 *
 * @example
 * ```ts
 * import { isUuid } from "@stream/live/protocol";
 *
 * console.log(isUuid(crypto.randomUUID()), isUuid("0e9b1f9e")); // true false
 * ```
 */
export function isUuid(text: string): boolean {
  return UUID.test(text);
}

/**
 * The id that a text means: some programs write UUIDs in upper case, as `uuidgen` of macOS does (PROTOCOL.md 1).
 *
 * @param text An id, or any other text.
 * @returns An id in lower case; other texts as they are.
 *
 * @example
 * ```ts
 * import { foldResourceId } from "@stream/live/protocol";
 *
 * console.log(foldResourceId("0E9B1F9E-6C53-4F7C-A5A8-3B6D1F1C8A11")); // 0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11
 * ```
 */
export function foldResourceId(text: string): string {
  const folded = text.toLowerCase();
  return isResourceId(folded) ? folded : text;
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
