/**
 * Whom a token is for.
 * @module
 */
import { httpBase, type ResourceLocation } from "../protocol.ts";

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
