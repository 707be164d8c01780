/** The scan for line breaks: what `scan.wat` compiles to, and what it finds. */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import wabt from "wabt";
import { decodeEntry, INDEX_ENTRY_BYTES } from "../../src/storage/layout.ts";
import { scanLineBreaks } from "../../src/storage/scan.ts";

/** Positions as the scan finds them. */
function found(bytes: Uint8Array, byteOffset: number): number[] {
  const positions: number[] = [];
  const count = scanLineBreaks(bytes, byteOffset, (entries) => {
    for (let at = 0; at < entries.length; at += INDEX_ENTRY_BYTES) {
      positions.push(decodeEntry(entries, at));
    }
  });
  assertEquals(count, positions.length);
  return positions;
}

/** Positions, one byte after the other. */
function expected(bytes: Uint8Array, byteOffset: number): number[] {
  return [...bytes].flatMap((byte, at) => byte === 10 ? [byteOffset + at] : []);
}

test("scan.ts holds what scan.wat compiles to", async () => {
  const { parseWat } = await wabt();
  const source = readFileSync("src/storage/scan.wat", "utf8");
  const { buffer } = parseWat("scan.wat", source, { simd: true }).toBinary({});
  const compiled = Buffer.from(buffer).toString("base64");
  assert(readFileSync("src/storage/scan.ts", "utf8").includes(`"${compiled}"`), compiled);
});

test("every line break is found, wherever it is and whatever stands beside it", () => {
  const byte = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(10, 9, 11, 0, 138, 13) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }) },
  );
  const text = fc.array(byte, { maxLength: 300 }).map((bytes) => Uint8Array.from(bytes));
  const position = fc.integer({ min: 0, max: 2 ** 40 - 1000 });
  fc.assert(
    fc.property(text, position, fc.nat(3), (bytes, byteOffset, start) => {
      const part = bytes.subarray(start);
      assertEquals(found(part, byteOffset), expected(part, byteOffset));
    }),
    { numRuns: 1000 },
  );
});

test("positions are right where pieces of the scan meet, and where 32 bits end", () => {
  const bytes = new Uint8Array(3 * 65_536 + 7);
  for (const at of [0, 65_535, 65_536, 131_071, 131_072, bytes.length - 1]) bytes[at] = 10;
  for (const byteOffset of [0, 1, 2 ** 31 - 65_536, 2 ** 32 - 65_536, 2 ** 40 - bytes.length]) {
    assertEquals(found(bytes, byteOffset), expected(bytes, byteOffset));
  }
});

test("nothing but line breaks is found in full, and nothing where there are none", () => {
  const lines = new Uint8Array(2 * 65_536 + 1).fill(10);
  assertEquals(found(lines, 5), expected(lines, 5));
  // What an earlier scan left in memory does not count.
  assertEquals(found(new Uint8Array(65_536 + 3), 0), []);
  assertEquals(found(new Uint8Array(0), 0), []);
});
