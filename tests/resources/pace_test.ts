/** When checkpoints may be, by a clock of the test. */
import { test } from "node:test";
import { assertAlmostEquals, assertEquals, assertLessOrEqual } from "@std/assert";
import { AffordableInterval, CheckpointPace, SHARE } from "../../src/resources/writing/pace.ts";

/** Makes checkpoints as soon as they may be, each at this cost; the longest and the last wait, in ms. */
function paced(pace: CheckpointPace, from: number, forMs: number, costMs: number) {
  let nowMs = from, longestMs = 0, waitMs = 0, count = 0;
  for (; nowMs < from + forMs; count++) {
    waitMs = Math.max(0, pace.untilNextMs(nowMs));
    longestMs = Math.max(longestMs, waitMs);
    nowMs += waitMs + costMs;
    pace.made(nowMs, costMs);
  }
  return { nowMs, longestMs, count };
}

test("checkpoints that cost next to nothing come every 5 ms", () => {
  const { longestMs, count } = paced(
    new CheckpointPace(new AffordableInterval(SHARE.OF_WORK)),
    0,
    1000,
    0.01,
  );
  assertLessOrEqual(longestMs, 5);
  assertAlmostEquals(count, 200, 10);
});

test("what costs more comes less often: a twentieth of the time, and no longer than 50 ms apart", () => {
  for (const [costMs, everyMs] of [[0.5, 10], [1, 20], [10, 50], [40, 50]]) {
    const pace = new CheckpointPace(new AffordableInterval(SHARE.OF_WORK));
    const { nowMs } = paced(pace, 0, 2000, costMs);
    const { longestMs, count } = paced(pace, nowMs, 5000, costMs);
    assertLessOrEqual(longestMs, 50);
    assertAlmostEquals(5000 / count, everyMs, everyMs * 0.3);
  }
});

test("what waits for other machines may take a fifth of the time", () => {
  for (const [costMs, everyMs] of [[2.5, 12.5], [6, 30], [20, 50]]) {
    const pace = new CheckpointPace(new AffordableInterval(SHARE.OF_WAITING));
    const { nowMs } = paced(pace, 0, 2000, costMs);
    assertAlmostEquals(5000 / paced(pace, nowMs, 5000, costMs).count, everyMs, everyMs * 0.3);
  }
});

test("all uploads together pay: ten are paced as one that costs ten times as much", () => {
  const interval = new AffordableInterval(SHARE.OF_WORK);
  let last = 0;
  for (let nowMs = 0; nowMs < 2000; nowMs += last) {
    for (let upload = 0; upload < 10; upload++) last = interval.after(0.1, nowMs);
  }
  assertAlmostEquals(last, 20, 3);
});

test("one checkpoint that had to wait makes the next ones wait twice as long, for a while", () => {
  const pace = new CheckpointPace(new AffordableInterval(SHARE.OF_WORK));
  const { nowMs } = paced(pace, 0, 500, 0.01);
  pace.made(nowMs + 100, 100);
  assertLessOrEqual(paced(pace, nowMs + 100, 200, 0.01).longestMs, 10);
  assertLessOrEqual(paced(pace, nowMs + 400, 200, 0.01).longestMs, 5);
});

test("an interval that was set is kept, whatever checkpoints cost", () => {
  const { count } = paced(new CheckpointPace(25), 0, 1000, 1);
  assertEquals(count, 1000 / 25 + 4);
});
