/**
 * The secret that proves ownership of an upload; the server keeps its hash only.
 * @module
 */
import { toHex } from "../../protocol.ts";

/** Hash of a secret, which is all that the server keeps. */
export async function hashSecret(secret: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret));
  return toHex(new Uint8Array(digest));
}

/** Tells whether a secret has a hash; the time taken says nothing about how much of it is right. */
export async function matchesSecret(secret: string, hash: string): Promise<boolean> {
  const given = await hashSecret(secret);
  let difference = given.length ^ hash.length;
  for (let at = 0; at < given.length; at++) {
    difference |= given.charCodeAt(at) ^ hash.charCodeAt(at);
  }
  return difference === 0;
}
