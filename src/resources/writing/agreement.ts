/**
 * Holds what an uploader says of its bytes against what arrived (PROTOCOL.md 3.2).
 * @module
 */
import { type Digest, StreamError } from "../../protocol.ts";

/**
 * Holds a count of bytes against those that arrived.
 * @param size The uploader's count; null if it said none.
 * @param arrived How many arrived.
 * @throws {StreamError} CHECKSUM_MISMATCH.
 */
export function checkSize(size: number | null, arrived: number): void {
  if (size === null || size === arrived) return;
  throw new StreamError(
    "CHECKSUM_MISMATCH",
    `the uploader sent ${size} bytes, ${arrived} arrived`,
  );
}

/**
 * Holds a digest against that of what arrived.
 * @param checksum The uploader's, in hexadecimal; null if it said none.
 * @param digest That of what arrived.
 * @throws {StreamError} CHECKSUM_MISMATCH.
 */
export function checkDigest(checksum: string | null, { algorithm, value }: Digest): void {
  if (checksum === null || checksum.toLowerCase() === value) return;
  const theirs = checksum.slice(0, 64);
  throw new StreamError(
    "CHECKSUM_MISMATCH",
    `the uploader's ${algorithm} is ${theirs}, the server's is ${value}`,
  );
}

/**
 * Refuses bytes beyond the announced end, which can be no part of the whole.
 * @param announced Size of the whole; null if nothing was announced.
 * @param arrived How many arrived.
 * @throws {StreamError} CHECKSUM_MISMATCH.
 */
export function checkEnd(announced: number | null, arrived: number): void {
  if (announced === null || arrived <= announced) return;
  throw new StreamError(
    "CHECKSUM_MISMATCH",
    `the uploader announced ${announced} bytes, ${arrived} arrived`,
  );
}
