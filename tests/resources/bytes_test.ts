/** Bytes that are read for many at once. */
import { test } from "node:test";
import { assertEquals, assertLess } from "@std/assert";
import { readRange, type Resource } from "../../src/resources.ts";

const MIB = 1024 * 1024;
const READERS = 2000;

/** What a socket takes of any answer. */
const SOCKET_BYTES = 4 * MIB;

const bytes = new Uint8Array(MIB);
const resource = {
  read: (_first: number, byteCount: number) => Promise.resolve(bytes.subarray(0, byteCount)),
} as unknown as Resource;

/** A reader that has taken more than a socket does. */
async function proven(): Promise<ReturnType<typeof readRange>> {
  const reader = readRange(resource, 0, 2 * SOCKET_BYTES);
  for (let taken = 0; taken < SOCKET_BYTES;) taken += (await reader.next()).value!.length;
  return reader;
}

test("the more readers take nothing, the less is read for each", async () => {
  const readers = await Promise.all(Array.from({ length: READERS }, proven));
  let heldBytes = 0;
  // The first readers came when there was much room: they count with what they are given next.
  for (let round = 0; round < 2; round++) {
    heldBytes = 0;
    for (const reader of readers) heldBytes += (await reader.next()).value!.length;
  }
  assertLess(heldBytes, 128 * MIB);
  await Promise.all(readers.map((reader) => reader.return()));
  const alone = await proven();
  assertEquals((await alone.next()).value!.length, MIB / 4);
  await alone.return();
});

test("little is read at once for a reader that has not shown yet that it takes anything", async () => {
  const reader = readRange(resource, 0, SOCKET_BYTES);
  assertEquals((await reader.next()).value!.length, MIB / 16);
  await reader.return();
});
