/**
 * Ids of resources and of upload contexts, and the secrets of uploads (PROTOCOL.md 1, 3.1 and 3.5).
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

const UUID_BYTES = 16;
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
 * Makes an id for a new resource, also where a page has no `crypto.randomUUID` (without TLS).
 *
 * @returns A random UUID, version 4, in lower case (RFC 9562).
 *
 * @example
 * ```ts
 * import { isUuid, newUuid } from "@stream/live/protocol";
 *
 * console.log(isUuid(newUuid())); // true
 * ```
 */
export function newUuid(): string {
  return toUuid(crypto.getRandomValues(new Uint8Array(UUID_BYTES)), 4);
}

/**
 * Makes a UUID of bytes (RFC 9562).
 *
 * @param bytes 16 bytes or more, of which version and variant take six bits.
 * @param version Version of the UUID, 1 to 15: 4 for random bytes, 8 for bytes of any other meaning.
 * @returns The UUID, in lower case.
 *
 * @example
 * ```ts
 * import { toUuid } from "@stream/live/protocol";
 *
 * console.log(toUuid(new Uint8Array(16), 8)); // 00000000-0000-8000-8000-000000000000
 * ```
 */
export function toUuid(bytes: Uint8Array, version: number): string {
  const own = bytes.slice(0, UUID_BYTES);
  own[6] = own[6] & 0x0f | version << 4;
  own[8] = own[8] & 0x3f | 0x80;
  return toHex(own).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * Writes bytes in hexadecimal.
 *
 * @param bytes The bytes.
 * @returns Two digits a byte, in lower case.
 *
 * @example
 * ```ts
 * import { toHex } from "@stream/live/protocol";
 *
 * console.log(toHex(new Uint8Array([10, 255]))); // 0aff
 * ```
 */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const SECRET = /^[A-Za-z0-9_-]{32,128}$/;
const SECRET_BYTES = 32;

/**
 * Checks the secret that an uploader chose with an id: who knows it owns the upload (PROTOCOL.md 3.1 and 3.5).
 *
 * @param secret The secret, as a client gave it.
 * @param id The id that was chosen, if one was.
 * @throws {StreamError} BAD_REQUEST when it may be guessed or does not fit into addresses, or there is no id.
 *
 * @example
 * ```ts
 * import { checkSecret, newSecret, newUuid } from "@stream/live/protocol";
 *
 * checkSecret(newSecret(), newUuid());
 * ```
 */
export function checkSecret(secret: string, id: string | undefined): void {
  if (!SECRET.test(secret)) {
    throw new StreamError("BAD_REQUEST", "a secret has 32 to 128 letters, digits, - and _");
  }
  if (id === undefined) {
    throw new StreamError("BAD_REQUEST", "who chooses the secret chooses the id, too");
  }
}

/**
 * Makes the secret of an upload.
 *
 * @returns 256 random bits in hexadecimal.
 *
 * @example
 * ```ts
 * import { newSecret } from "@stream/live/protocol";
 *
 * console.log(newSecret().length); // 64
 * ```
 */
export function newSecret(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));
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
