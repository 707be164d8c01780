/** Bytes to send, and what a correct reader finds in them. */
import { Buffer } from "node:buffer";
import fc from "fast-check";

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(chunks));
}

/** Positions of all line breaks, found the slow and obvious way. */
export function lineBreaksOf(bytes: Uint8Array): number[] {
  const positions: number[] = [];
  bytes.forEach((byte, at) => byte === 10 && positions.push(at));
  return positions;
}

/** Number of lines, a last one without a line break included. */
export function linesOf(bytes: Uint8Array): number {
  return lineBreaksOf(bytes).length + (bytes.length > 0 && bytes.at(-1) !== 10 ? 1 : 0);
}

/** Any bytes, line breaks more often than chance has them. */
export function arbitraryBytes(maxLength: number): fc.Arbitrary<Uint8Array> {
  const byte = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(10, 13, 97) },
    { weight: 2, arbitrary: fc.nat(255) },
  );
  return fc.array(byte, { maxLength, size: "max" }).map((bytes) => Uint8Array.from(bytes));
}
