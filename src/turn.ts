/**
 * Turns of the event loop for work that others must not wait for.
 * @module
 */
import { setImmediate } from "node:timers";
import { setImmediate as immediate } from "node:timers/promises";
import { socketTurn } from "./turn/sockets.ts";

/** Lets others come between, sockets too: on Deno those want more than an immediate. */
export const turn: () => Promise<void> = "Deno" in globalThis ? socketTurn : () => immediate();

/** Steps may take so long in one turn of the event loop, all together; others have later turns. */
const STEPS_MS = 2;
/** So many of those that wait at most: more at a time make more garbage at a time. */
const MOST_STEPS = 16;

/**
 * Steps that everything else comes before: requests that begin, and pieces of answers that nobody has shown yet to
 * take. Clients come one after the other, so that a flood stands in its own row.
 */
export class Steps {
  /** Those that wait, by client; the client that waits longest for its turn comes first. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #count = 0;
  /** When the first step of this turn began; null before that. */
  #turnSinceMs: number | null = null;

  /**
   * Waits until a step may be done.
   * @param client Tells whose it is, where it has to wait.
   * @returns Null when that is now; otherwise settled in the moment when it is.
   */
  wait(client: () => string): Promise<void> | null {
    if (this.#count === 0 && this.#hasTime()) return null;
    const { promise, resolve } = Promise.withResolvers<void>();
    const name = client();
    const others = this.#waiting.get(name);
    if (others === undefined) this.#waiting.set(name, [resolve]);
    else others.push(resolve);
    this.#count++;
    return promise;
  }

  /** Whether another may be done in this turn; the next turn comes whenever one may. */
  #hasTime(): boolean {
    if (this.#turnSinceMs !== null) return performance.now() - this.#turnSinceMs < STEPS_MS;
    this.#turnSinceMs = performance.now();
    if (this.#count === 0) setImmediate(() => this.#nextTurn());
    else void turn().then(() => this.#nextTurn());
    return true;
  }

  /** Each in an immediate of its own, between which what it goes on with at once is done, too, and counts. */
  #nextTurn(): void {
    this.#turnSinceMs = null;
    for (let left = Math.min(this.#count, MOST_STEPS); left > 0; left--) {
      setImmediate(() => this.#doNext());
    }
  }

  #doNext(): void {
    if (this.#count === 0 || !this.#hasTime()) return;
    const [[client, waiting]] = this.#waiting;
    const begin = waiting.shift()!;
    this.#count--;
    this.#waiting.delete(client);
    if (waiting.length > 0) this.#waiting.set(client, waiting);
    begin();
  }
}

/** The steps of this process, which has one event loop. */
export const STEPS: Steps = new Steps();
