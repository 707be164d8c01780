/**
 * Signed links: `ID.EXPIRY.LIFE.MAC`, with an HMAC of the server's key over all that stands before it.
 * @module
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { chmod, link, readFile, rm, writeFile } from "node:fs/promises";
import type { Grant, Links } from "../access.ts";
import { isResourceId, StreamError } from "../protocol.ts";
import { reasonOf } from "../reasons.ts";

/** Length of the key, as long as the hash. */
const KEY_BYTES = 32;
/** `ID.SECONDS.LIFE.MAC`, with or without the life; the MAC is 32 bytes in base64url. */
const LINK = /^([0-9a-f-]{8,64})\.(\d{1,11})(?:\.([0-9a-z]{1,20}))?\.([A-Za-z0-9_-]{43})$/;

/** Settings of {@link SignedLinks}. */
export interface SignedLinksOptions {
  /** The server's key, 32 random bytes; one of this process by default, so that links end with it. */
  key?: Uint8Array | undefined;
  /** The clock, in ms since 1970. */
  now?: (() => number) | undefined;
}

/**
 * Links that one server signs and knows again; nothing of them is stored.
 *
 * @example
 * ```ts
 * import { SignedLinks } from "@stream/live";
 *
 * const links = new SignedLinks();
 * const id = crypto.randomUUID();
 * const credential = await links.create(id, Date.now() + 60_000);
 * console.log((await links.authenticate(credential))?.resourceId === id); // true
 * ```
 */
export class SignedLinks implements Links {
  readonly #key: Uint8Array;
  readonly #now: () => number;

  /**
   * Knows the links of one key.
   * @param options Key and clock.
   */
  constructor({ key = randomBytes(KEY_BYTES), now = Date.now }: SignedLinksOptions = {}) {
    this.#key = key;
    this.#now = now;
  }

  /** Makes the credential of a link. */
  create(resourceId: string, expiresAtMs: number, life?: string): Promise<string> {
    const expiry = String(Math.floor(expiresAtMs / 1000));
    const parts = [resourceId, expiry, ...life === undefined ? [] : [life]];
    return Promise.resolve([...parts, this.#mac(parts)].join("."));
  }

  /** Checks the credential of a link. */
  authenticate(credential: string): Promise<Grant | null> {
    const [, id = "", expiry = "", life, mac = ""] = LINK.exec(credential) ?? [];
    const parts = [id, expiry, ...life === undefined ? [] : [life]];
    const expiresAtMs = Number(expiry) * 1000;
    const isRight = isResourceId(id) && isEqual(mac, this.#mac(parts));
    if (!isRight || expiresAtMs <= this.#now()) return Promise.resolve(null);
    return Promise.resolve({
      // Each has a share of its own: who was given one stands in no other reader's way.
      name: `link to ${id}`,
      scopes: ["read"],
      contextId: null,
      resourceId: id,
      ...life === undefined ? {} : { life },
      expiresAtMs,
    });
  }

  #mac(parts: readonly string[]): string {
    const text = ["stream link", ...parts].join("\n");
    return createHmac("sha256", this.#key).update(text).digest("base64url");
  }
}

/**
 * The key in a file that only its owner can read; made when missing.
 *
 * @param path Path of the file.
 * @returns The key for {@link SignedLinks}.
 * @throws {StreamError} STORAGE_FAILED when it can neither be read nor made, or is no key.
 *
 * @example
 * ```ts
 * import { linkKey, SignedLinks } from "@stream/live";
 *
 * const links = async (data: string) => new SignedLinks({ key: await linkKey(`${data}/secret.key`) });
 * ```
 */
export async function linkKey(path: string): Promise<Uint8Array> {
  try {
    await makeKey(path);
    const key = new Uint8Array(await readFile(path));
    if (key.length === KEY_BYTES) return key;
    throw new Error(`it has ${key.length} bytes instead of ${KEY_BYTES}`);
  } catch (error) {
    throw new StreamError("STORAGE_FAILED", `cannot use the key ${path}: ${reasonOf(error)}`);
  }
}

/** Whoever is killed here leaves no half of a key, and nobody's key is replaced. */
async function makeKey(path: string): Promise<void> {
  const building = `${path}.${randomBytes(6).toString("hex")}`;
  if (await readFile(path).then(() => true, isThere)) return;
  try {
    await writeFile(building, randomBytes(KEY_BYTES), { mode: 0o600, flag: "wx" });
    await chmod(building, 0o600);
    await link(building, path).catch((error) => {
      if (error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(building, { force: true });
  }
}

/** A file that cannot be read is there; reading it again tells why not. */
function isThere({ code }: { code?: string }): boolean {
  return code !== "ENOENT";
}

/** Takes the same time wherever two texts of one length differ. */
function isEqual(given: string, wanted: string): boolean {
  const encoder = new TextEncoder();
  return given.length === wanted.length &&
    timingSafeEqual(encoder.encode(given), encoder.encode(wanted));
}
