/** Delays of any length, by a clock that these tests set. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { LONGEST_TIMER_MS, startTimer } from "../../src/timer.ts";

/** Takes the place of the runtime's timers, and lets time pass as it is told. */
class Clock implements Disposable {
  readonly #setTimeout = globalThis.setTimeout;
  readonly #clearTimeout = globalThis.clearTimeout;
  #pending: { action: () => void; atMs: number } | null = null;
  #nowMs = 0;

  constructor() {
    globalThis.setTimeout = ((action: () => void, delayMs: number) => {
      assert(delayMs <= LONGEST_TIMER_MS, `${delayMs} ms fire at once`);
      this.#pending = { action, atMs: this.#nowMs + delayMs };
    }) as typeof setTimeout;
    globalThis.clearTimeout = () => this.#pending = null;
  }

  pass(ms: number): void {
    const endMs = this.#nowMs + ms;
    while (this.#pending !== null && this.#pending.atMs <= endMs) {
      const { action, atMs } = this.#pending;
      this.#pending = null;
      this.#nowMs = atMs;
      action();
    }
    this.#nowMs = endMs;
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#setTimeout;
    globalThis.clearTimeout = this.#clearTimeout;
  }
}

for (
  const delayMs of [0, 1, LONGEST_TIMER_MS, LONGEST_TIMER_MS + 1, 30 * 86_400_000, 1e15]
) {
  test(`a timer of ${delayMs} ms fires after that, once`, () => {
    using clock = new Clock();
    let fired = 0;
    startTimer(delayMs, () => fired++);
    clock.pass(delayMs - 1);
    assertEquals(fired, 0);
    clock.pass(1);
    assertEquals(fired, 1);
    clock.pass(delayMs);
    assertEquals(fired, 1);
  });
}

test("a timer that is stopped in its second step does not fire", () => {
  using clock = new Clock();
  let fired = 0;
  const stop = startTimer(2 * LONGEST_TIMER_MS, () => fired++);
  clock.pass(LONGEST_TIMER_MS + 1);
  stop();
  clock.pass(2 * LONGEST_TIMER_MS);
  assertEquals(fired, 0);
});

test("a timer of infinite length does not fire", () => {
  using clock = new Clock();
  let fired = 0;
  startTimer(Infinity, () => fired++);
  clock.pass(10 * LONGEST_TIMER_MS);
  assertEquals(fired, 0);
});
