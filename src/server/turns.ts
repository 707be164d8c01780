/**
 * Turns of requests: a flood of them must not keep the event loop from everything else.
 *
 * Bun accepts and answers connections as long as there are new ones: 16 clients that came again at once kept uploads
 * and followers waiting for 20 to 100 ms (docs/security.md).
 * @module
 */
import { setImmediate } from "node:timers";

/** Requests that begin in one turn of the event loop may take so long; others begin in turns of their own. */
const TURN_MS = 2;

/** Lets requests begin. */
export class RequestTurns {
  readonly #waiting: (() => void)[] = [];
  /** When the first request of this turn began; null before that. */
  #turnSinceMs: number | null = null;

  /**
   * Begins a request, at once or in a later turn.
   * @param answer Answers it.
   */
  begin<T>(answer: () => T | Promise<T>): T | Promise<T> {
    if (this.#waiting.length === 0 && this.#hasTime()) return answer();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    return promise.then(answer);
  }

  #hasTime(): boolean {
    if (this.#turnSinceMs === null) {
      this.#turnSinceMs = performance.now();
      setImmediate(() => this.#nextTurn());
      return true;
    }
    return performance.now() - this.#turnSinceMs < TURN_MS;
  }

  /** One of those that wait begins in each turn. */
  #nextTurn(): void {
    this.#turnSinceMs = null;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#hasTime();
    next();
  }
}
