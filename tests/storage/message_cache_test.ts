import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import { MessageCache } from "../../src/storage/nats/cache.ts";

const MIB = 1024 * 1024;

/** Fills the cache with others, so that whatever was there is gone. */
function flood(cache: MessageCache): void {
  for (let index = 0; index < 64; index++) {
    cache.add(`flood ${index}`, Promise.resolve(new Uint8Array(MIB)), MIB);
  }
}

test("a message that somebody waits for keeps its bytes, although others took its place", async () => {
  const cache = new MessageCache();
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  cache.add("wanted", promise, MIB);
  const looks = [1, 2].map(() => cache.look("wanted", (bytes) => bytes.length));
  flood(cache);
  assertEquals(cache.has("wanted"), false);
  resolve(new Uint8Array(MIB));
  assertEquals(await Promise.all(looks), [MIB, MIB]);
});

test("memory of a message is given back when it is gone and nobody looks at it", async () => {
  const cache = new MessageCache();
  const bytes = new Uint8Array(MIB);
  cache.add("one", Promise.resolve(bytes), MIB);
  assertEquals(await cache.look("one", ({ length }) => length), MIB);
  flood(cache);
  await Promise.resolve();
  assertEquals(bytes.length, 0);
});

test("a short message, which shares its memory with others, is only forgotten", async () => {
  const cache = new MessageCache();
  const chunk = new Uint8Array(64 * 1024);
  cache.add("short", Promise.resolve(chunk.subarray(10, 20)), 10);
  flood(cache);
  await Promise.resolve();
  assertEquals([cache.has("short"), chunk.length], [false, 64 * 1024]);
});

test("a message that could not be read is not kept, and the next look reads it again", async () => {
  const cache = new MessageCache();
  cache.add("lost", Promise.reject(new Error("gone")), MIB);
  await assertRejects(() => cache.look("lost", () => 0), Error, "gone");
  assertEquals(cache.has("lost"), false);
});
