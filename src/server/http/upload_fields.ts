/**
 * What the head of an upload request says: what is uploaded, how much, and with which digest.
 *
 * Fields are those of RFC 9530 (digests) and of draft-ietf-httpbis-resumable-upload (PROTOCOL.md 6.7).
 * @module
 */
import { Buffer } from "node:buffer";
import type { Context } from "hono";
import { guessMimeType, isText } from "../../mime.ts";
import { type Digest, DIGESTS, type ResourceMetadata, StreamError } from "../../protocol.ts";
import { flagIn } from "./query.ts";

/** What a request names, and what it says of that. */
export interface Named {
  /** The id that the uploader chose, if it did. */
  id: string | undefined;
  /** What is announced. */
  metadata: ResourceMetadata;
}

/** Ids that a client may choose; shorter ones may be names, e.g. a date. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** What curl says of content that it knows nothing of. */
const NO_TYPE = "application/x-www-form-urlencoded";
/** The names of RFC 9530 for the digests that HTTP and we know. */
const DIGEST_NAMES = { "sha-256": "sha256", md5: "md5" } as const;
const DIGEST_BYTES = { sha256: 32, md5: 16 };

/**
 * The metadata of a new resource.
 * @param name The last part of the path; undefined where the path has none.
 * @throws {StreamError} BAD_METADATA.
 */
export function named(c: Context, name: string | undefined): Named {
  const id = name !== undefined && UUID.test(name) ? name : undefined;
  const filename = c.req.query("name") ?? name;
  if (filename === undefined) {
    throw new StreamError(
      "BAD_METADATA",
      "the upload has no name: PUT /resources/NAME or POST /resources?name=NAME",
    );
  }
  const said = c.req.header("content-type")?.split(";")[0].trim();
  const known = said === NO_TYPE || said === "" ? undefined : said;
  const mimeType = c.req.query("type") ?? known ?? guessMimeType(filename);
  return { id, metadata: { filename, mimeType, supportsLineAccess: linesOf(c, mimeType) } };
}

function linesOf(c: Context, mimeType: string): boolean {
  return c.req.query("lines") === undefined ? isText(mimeType) : flagIn(c, "lines");
}

/** Refuses content that is not stored as it comes. */
export function checkCoding(c: Context): void {
  const coding = c.req.header("content-encoding");
  if (coding === undefined || coding === "identity") return;
  throw new StreamError(
    "BAD_REQUEST",
    `Content-Encoding ${coding} is not decoded here: send the bytes as they are`,
  );
}

/** The length of the content; null when the request does not say. */
export function contentLength(c: Context): number | null {
  const length = c.req.header("content-length");
  return length === undefined || !/^\d+$/.test(length) ? null : Number(length);
}

/** `Upload-Complete`; null without it. */
export function uploadComplete(c: Context): boolean | null {
  const value = c.req.header("upload-complete")?.trim();
  return value === "?1" ? true : value === "?0" ? false : null;
}

/** `Upload-Offset`, `Upload-Length`: null without it, or when it is no number. */
export function uploadNumber(c: Context, field: "upload-offset" | "upload-length"): number | null {
  const value = c.req.header(field)?.trim() ?? "";
  return /^\d{1,15}$/.test(value) ? Number(value) : null;
}

/**
 * The digest that a field of RFC 9530 gives; `sha-256` before `md5` where it gives both.
 * @returns The digest; null without the field.
 * @throws {StreamError} BAD_REQUEST when it has none that is known here, or one that is malformed.
 */
export function digestIn(c: Context, field: "repr-digest" | "content-digest"): Digest | null {
  const text = c.req.header(field);
  if (text === undefined) return null;
  const values = new Map(
    Array.from(
      text.matchAll(/([a-z0-9*_.-]+)\s*=\s*:([^:]*):/gi),
      ([, name, value]) => [name.toLowerCase(), value],
    ),
  );
  for (const [name, algorithm] of Object.entries(DIGEST_NAMES)) {
    const base64 = values.get(name);
    if (base64 === undefined) continue;
    const bytes = Buffer.from(base64, "base64");
    if (bytes.length === DIGEST_BYTES[algorithm] && bytes.toString("base64") === base64) {
      return { algorithm, value: bytes.toString("hex") };
    }
    throw new StreamError("BAD_REQUEST", `${field}: ${name} is no digest in base64`);
  }
  throw new StreamError(
    "BAD_REQUEST",
    `${field}: ${
      text.slice(0, 80)
    } has no digest that is known here: sha-256=:BASE64: or md5=:BASE64:`,
  );
}

/** The algorithms of `Stream-Digests`, in the uploader's order of preference; all that are known by default. */
export function digestNames(c: Context): readonly string[] {
  return c.req.header("stream-digests")?.split(",").map((name) => name.trim()) ?? DIGESTS;
}
