/**
 * Digests of a whole content, and their names (PROTOCOL.md 3.4).
 * @module
 */
/** Name of a digest algorithm. */
export type DigestAlgorithm = "xxh128" | "sha256" | "md5";

/** Digest algorithms that can be negotiated; the first is the native default (docs: ARCHITECTURE.md, digests). */
export const DIGESTS = ["xxh128", "sha256", "md5"] as const satisfies readonly DigestAlgorithm[];

/** A digest with the name of its algorithm. */
export interface Digest {
  /** Name from {@link DIGESTS}. */
  algorithm: DigestAlgorithm;
  /** Lower-case hexadecimal. */
  value: string;
}
