/**
 * What an upload of tus tells of itself in Upload-Metadata.
 * @module
 */
import { Buffer } from "node:buffer";
import { guessMimeType, isText } from "../../mime.ts";
import { type ResourceMetadata, StreamError } from "../../protocol.ts";

/** What is read of Upload-Metadata. */
export interface TusMetadata {
  /** What the resource is. */
  metadata: ResourceMetadata;
  /** Upload context; null without one. */
  contextId: string | null;
}

/** Name of what has none: clients of tus need not give one. */
const UNNAMED = "upload";
const PAIR =
  /^([\x21-\x2b\x2d-\x7e]+)(?: ((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?))?$/;

/**
 * Reads a field; the names are those that tus-js-client, Uppy and tusd use.
 * @param field Upload-Metadata.
 * @throws {StreamError} BAD_METADATA.
 */
export function metadataIn(field = ""): TusMetadata {
  const values = pairsIn(field);
  const filename = values("filename") ?? values("name") ?? UNNAMED;
  const type = (values("filetype") ?? values("type"))?.split(";")[0].trim();
  const mimeType = type || guessMimeType(filename);
  const supportsLineAccess = flagIn(values("lines")) ?? isText(mimeType);
  const contextId = values("context") ?? null;
  return { metadata: { filename, mimeType, supportsLineAccess }, contextId };
}

/** The values by their keys; an empty one counts as none. */
function pairsIn(field: string): (key: string) => string | undefined {
  const encoded = new Map<string, string>();
  for (const pair of field.trim() === "" ? [] : field.split(",")) {
    const [, key, value = ""] = PAIR.exec(pair.trim()) ?? [];
    if (key === undefined) throw bad(`${pair.slice(0, 80)} is no key with a value in base64`);
    if (encoded.has(key)) throw bad(`it has ${key} twice`);
    encoded.set(key, value);
  }
  return (key) => decoded(key, encoded.get(key) ?? "") || undefined;
}

function decoded(key: string, value: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(value, "base64"));
  } catch {
    throw bad(`${key} is not UTF-8`);
  }
}

function flagIn(value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined;
  if (value === "true" || value === "false") return value === "true";
  throw bad(`lines is ${value.slice(0, 80)}, neither true nor false`);
}

function bad(how: string): StreamError {
  return new StreamError("BAD_METADATA", `Upload-Metadata: ${how}`);
}
