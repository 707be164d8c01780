/**
 * The scan for line breaks: WebAssembly, compiled from `scan.wat`, because it is 7 times (Deno) and twice (Bun) as fast
 * as what JavaScript does with bytes (ARCHITECTURE.md, storage). `tests/storage/scan_test.ts` compiles it again.
 * @module
 */
import { Buffer } from "node:buffer";
import { INDEX_ENTRY_BYTES } from "./layout.ts";

/** `scan.wat`, compiled. */
const MODULE =
  "AGFzbQEAAAABBwFgAn9+AX8DAgEABQMBAAYHEQIGbWVtb3J5AgAEc2NhbgAACsABAb0BAwN/AX4Bf0GAgAQhBAJAA0AgAiAATw0BIAL9AAQAQQr9D/0j/WQhAyADBEAgACACayEGIAZBEEkEQCADQQEgBnRBAWtxIQMLAkADQCADRQ0BIAEgAiADaGqtfCEFIAQgBUIgiKc6AAAgBCAFQhiIpzoAASAEIAVCEIinOgACIAQgBUIIiKc6AAMgBCAFpzoABCAEQQVqIQQgAyADQQFrcSEDDAALCwsgAkEQaiECDAALCyAEQYCABGtBBW4L";

/** Bytes that are scanned at once; the entries begin behind them. */
const PIECE_BYTES = 64 * 1024;

interface Exports {
  memory: WebAssembly.Memory;
  scan(byteCount: number, byteOffset: bigint): number;
}

const instance = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(MODULE, "base64")));
const { memory, scan } = instance.exports as unknown as Exports;
const shared = new Uint8Array(memory.buffer);

/**
 * Finds the line breaks in some bytes.
 *
 * @param bytes The bytes, any number of them.
 * @param byteOffset Position of the first of them.
 * @param found Called with entries as the index has them, in order; they are good until it returns.
 * @returns How many there were.
 */
export function scanLineBreaks(
  bytes: Uint8Array,
  byteOffset: number,
  found: (entries: Uint8Array) => void,
): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    shared.set(piece);
    const count = scan(piece.length, BigInt(byteOffset + at));
    if (count === 0) continue;
    total += count;
    found(shared.subarray(PIECE_BYTES, PIECE_BYTES + count * INDEX_ENTRY_BYTES));
  }
  return total;
}
