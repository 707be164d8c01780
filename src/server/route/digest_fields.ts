/**
 * Digests in header fields (RFC 9530), and the names they have there.
 * @module
 */
import { Buffer } from "node:buffer";
import { serializeDictionary } from "structured-headers";
import { type Digest, StreamError } from "../../protocol.ts";
import { inHeader, type Kind, type Parameter } from "./parameters.ts";
import { byteSequencesIn } from "./structured.ts";

/** The digests that HTTP and we know; the first is read where a field has both. */
const KNOWN = [
  { name: "sha-256", algorithm: "sha256", length: 32 },
  { name: "md5", algorithm: "md5", length: 16 },
] as const;

/**
 * A field with digests: `sha-256` before `md5` where it has both.
 * @param name Name of the field.
 * @param description What it is the digest of.
 */
export function digestInHeader(name: string, description: string): Parameter<Digest | undefined> {
  const kind: Kind<Digest> = {
    schema: { type: "string", pattern: KNOWN.map(({ name }) => `${name}=:`).join("|") },
    read: (text) => digestIn(text, name),
  };
  return inHeader(name, `${description}: sha-256=:BASE64: or md5=:BASE64:`, kind);
}

/**
 * The value of Repr-Digest.
 * @returns The value; null for a digest that HTTP has no name for.
 */
export function reprDigest({ algorithm, value }: Digest): string | null {
  const known = KNOWN.find((known) => known.algorithm === algorithm);
  return known === undefined
    ? null
    : serializeDictionary({ [known.name]: Buffer.from(value, "hex") });
}

/** @throws {StreamError} BAD_REQUEST for a field without a digest that is known here, or with a malformed one. */
function digestIn(text: string, field: string): Digest {
  const values = byteSequencesIn(text);
  for (const { name, algorithm, length } of KNOWN) {
    const bytes = values.get(name);
    if (bytes === undefined) continue;
    if (bytes.length === length) return { algorithm, value: Buffer.from(bytes).toString("hex") };
    throw new StreamError("BAD_REQUEST", `${field}: ${name} is no digest in base64`);
  }
  throw new StreamError(
    "BAD_REQUEST",
    `${field}: ${
      text.slice(0, 80)
    } has no digest that is known here: sha-256=:BASE64: or md5=:BASE64:`,
  );
}
