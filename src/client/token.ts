/**
 * What a token looks like, and whom it is for.
 * @module
 */
import { httpBase, type ResourceLocation, StreamError } from "../protocol.ts";

/**
 * The token to present where a reference leads. A reference may come from anybody: what it names gets no token that
 * was meant for another server; and a signed link needs none.
 *
 * @param location What the reference names.
 * @param server Server that the token is meant for; undefined for the one that the reference names.
 * @param token The token.
 * @returns The token, or undefined where it must not go.
 */
export function tokenFor(
  location: ResourceLocation,
  server: string | undefined,
  token: string | undefined,
): string | undefined {
  const isMeant = server === undefined ||
    new URL(httpBase(server)).origin === new URL(location.server).origin;
  return location.access === undefined && isMeant ? token : undefined;
}

/**
 * Checks a token: base64url, or three of them with dots.
 *
 * @param token The token; its text is never shown.
 * @returns The token.
 * @throws {StreamError} BAD_REQUEST.
 */
export function checkToken(token: string): string {
  if (/^[\w.~-]{1,8192}$/.test(token)) return token;
  throw new StreamError("BAD_REQUEST", "that is no token: it has characters that no token has");
}
