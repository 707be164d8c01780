/** Turns of the event loop, counted, and a clock that every look at it moves on, so that steps are as long as they look. */
import { turn } from "../../src/turn.ts";

/** What was done on the clock. */
export interface OnClock<T> {
  result: T;
  /** Looks at the clock. */
  looks: number;
}

/**
 * Does something on a clock that moves on with every look at it.
 * @param lookMs How far, in ms.
 * @param step What is done.
 */
export async function onLookedAtClock<T>(
  lookMs: number,
  step: () => Promise<T>,
): Promise<OnClock<T>> {
  const { now } = performance;
  let looks = 0;
  performance.now = () => now.call(performance) + ++looks * lookMs;
  try {
    return { result: await step(), looks };
  } finally {
    performance.now = now;
  }
}

/** How often something can be done while a step goes on. */
export async function timesDuring(
  step: () => Promise<unknown>,
  once: () => Promise<unknown>,
): Promise<number> {
  let times = 0, goesOn = true;
  const others = (async () => {
    for (; goesOn; times++) await once();
  })();
  try {
    await step();
    return times;
  } finally {
    goesOn = false;
    await others;
  }
}

/** Counts turns of the event loop, in which sockets are asked, while a step goes on. */
export function turnsDuring(step: () => Promise<unknown>): Promise<number> {
  return timesDuring(step, turn);
}
