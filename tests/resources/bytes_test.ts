/** Bytes that are read for many at once. */
import { test } from "node:test";
import { assertEquals, assertLess } from "@std/assert";
import { readRange, type Resource } from "../../src/resources.ts";

const MIB = 1024 * 1024;
const READERS = 2000;

test("the more readers take nothing, the less is read for each", async () => {
  const resource = {
    read: (_first: number, byteCount: number) => Promise.resolve(new Uint8Array(byteCount)),
  } as unknown as Resource;
  const readers = Array.from({ length: READERS }, () => readRange(resource, 0, MIB));
  let heldBytes = 0;
  // The first readers came when there was much room: they count with what they are given next.
  for (let round = 0; round < 2; round++) {
    heldBytes = 0;
    for (const reader of readers) heldBytes += (await reader.next()).value!.length;
  }
  assertLess(heldBytes, 128 * MIB);
  await Promise.all(readers.map((reader) => reader.return()));
  const alone = readRange(resource, 0, MIB);
  assertEquals((await alone.next()).value!.length, MIB / 4);
  await alone.return();
});
