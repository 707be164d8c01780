/** A flood of requests leaves turns of the event loop to everything else. */
import { setImmediate } from "node:timers";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { RequestTurns } from "../../src/server/turns.ts";

function busyFor(ms: number): void {
  for (const sinceMs = performance.now(); performance.now() - sinceMs < ms;);
}

test("requests that take long begin in turns of their own, in their order", async () => {
  const turns = new RequestTurns();
  let turn = 0;
  const count = () => {
    turn++;
    if (turn < 100) setImmediate(count);
  };
  setImmediate(count);
  const begun = await Promise.all([0, 1, 2, 3].map((index) =>
    turns.begin(() => {
      const at = turn;
      busyFor(5);
      return { index, at };
    })
  ));
  assertEquals(begun.map(({ index }) => index), [0, 1, 2, 3]);
  assertEquals(new Set(begun.map(({ at }) => at)).size, 4);
});

test("requests that are answered soon begin at once", () => {
  const turns = new RequestTurns();
  assertEquals(turns.begin(() => 1), 1);
  assertEquals(turns.begin(() => 2), 2);
});
