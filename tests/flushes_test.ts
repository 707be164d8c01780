/** Flushes that are slow, and everybody else who needs a thread of the runtime. */
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertEquals, assertRejects } from "@std/assert";
import { Flushes } from "../src/flushes.ts";

/** Flushes that end when a test says so. */
function flushing(flushes: Flushes, count: number) {
  const begun: PromiseWithResolvers<void>[] = [];
  const ended = Array.from({ length: count }, () =>
    flushes.run(() => {
      begun.push(Promise.withResolvers());
      return begun.at(-1)!.promise;
    }));
  return { begun, ended };
}

test("as many flushes run side by side as there are threads, in order; of slow ones one less", async () => {
  const flushes = new Flushes(2);
  const { begun, ended } = flushing(flushes, 5);
  await Promise.resolve();
  assertEquals(begun.length, 2);
  begun[1].resolve();
  await ended[1];
  assertEquals(begun.length, 3);
  // What is slow is told by time.
  await sleep(25);
  begun[0].resolve();
  await ended[0];
  assertEquals(begun.length, 3);
  begun[2].resolve();
  await ended[2];
  assertEquals(begun.length, 4);
  begun[3].resolve();
  await ended[3];
  assertEquals(begun.length, 5);
  begun[4].resolve();
  await ended[4];
});

test("a flush that fails tells whoever wanted it, and lets the next begin", async () => {
  const flushes = new Flushes(1);
  const { begun, ended } = flushing(flushes, 2);
  await Promise.resolve();
  begun[0].reject(new Error("refused"));
  await assertRejects(() => ended[0], Error, "refused");
  begun[1].resolve();
  await ended[1];
});
