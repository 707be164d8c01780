/** A bell wakes those who wait when it rings, and nobody else. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Bell } from "../../src/bell.ts";

test("a ring wakes everybody who waits, and is not kept for those who come later", async () => {
  const bell = new Bell();
  bell.ring();
  assertEquals(bell.isAwaited, false);
  const waits = [bell.rung(), bell.rungWithin(60_000), bell.rung()];
  assertEquals(bell.isAwaited, true);
  bell.ring();
  assertEquals(bell.isAwaited, false);
  assertEquals(await Promise.all(waits), [undefined, true, undefined]);
  assertEquals(await bell.rungWithin(1), false);
  assertEquals(bell.isAwaited, false);
});

test("one whose time is over leaves the others waiting", async () => {
  const bell = new Bell();
  const waiting = bell.rungWithin(60_000);
  assertEquals(await bell.rungWithin(1), false);
  assertEquals(bell.isAwaited, true);
  bell.ring();
  assertEquals(await waiting, true);
});
