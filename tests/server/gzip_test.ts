/** Compression in slices, between which others have their turn. */
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { gzipped } from "../../src/server/answer/gzip.ts";
import { randomBytes } from "node:crypto";
import { concat } from "../helpers/bytes.ts";
import { onLookedAtClock, turnsDuring } from "../helpers/turns.ts";

const MiB = 1024 * 1024;

async function* of(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array, void, void> {
  yield* chunks;
}

test("eight readers of compressed text leave everybody turns, after 2 ms of slices of 32 KiB", async () => {
  const text = new TextEncoder().encode("2026-11-28 INFO a line of a log\n".repeat(MiB / 32));
  let all: Uint8Array[] = [];
  // Each slice looks at the clock, so that two fill a turn.
  const { result: turns } = await onLookedAtClock(1, () =>
    turnsDuring(async () => {
      all = await Promise.all(
        Array.from({ length: 8 }, async () =>
          concat(await Array.fromAsync(gzipped(of(text), false)))),
      );
    }));
  const slices = 8 * text.length / (32 * 1024);
  assert(turns >= slices / 2, `${turns} turns for ${slices} slices`);
  for (const bytes of all) assertEquals(gunzipSync(bytes).length, text.length);
});

test("what is compressed is what was given, however it was cut", async () => {
  const chunks = [0, 1, 32 * 1024, 32 * 1024 + 1, 100_000].map((length) => randomBytes(length));
  for (const isAside of [false, true]) {
    const bytes = concat(await Array.fromAsync(gzipped(of(...chunks), isAside)));
    assertEquals(new Uint8Array(gunzipSync(bytes)), concat(chunks));
    const nothing = concat(await Array.fromAsync(gzipped(of(), isAside)));
    assertEquals(gunzipSync(nothing).length, 0);
  }
});

test("a failure of the chunks is that of the compressed ones, and never an end", async () => {
  const failure = new Error("the disk is gone");
  async function* failing(): AsyncGenerator<Uint8Array, void, void> {
    yield randomBytes(100_000);
    throw failure;
  }
  for (const isAside of [false, true]) {
    const error = await assertRejects(() => Array.fromAsync(gzipped(failing(), isAside)));
    assertEquals(error, failure);
  }
});

test("a reader that leaves ends the chunks before anything they are read from is released", async () => {
  let over = 0;
  async function* endless(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for (;;) yield randomBytes(100_000);
    } finally {
      over++;
    }
  }
  for (const isAside of [false, true]) {
    const compressed = gzipped(endless(), isAside);
    assertEquals((await compressed.next()).done, false);
    await compressed.return();
  }
  assertEquals(over, 2);
});
