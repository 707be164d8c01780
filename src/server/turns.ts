/**
 * Turns of requests: a flood of them must not keep the event loop from everything else, nor one client the others.
 *
 * Bun accepts and answers connections as long as there are new ones: 16 clients that came again at once kept uploads
 * and followers waiting for 20 to 100 ms (docs/security.md).
 * @module
 */
import { setImmediate } from "node:timers";
import { heardSocket, turn } from "../turn.ts";

/** Requests that begin in one turn of the event loop may take so long; others begin in later turns. */
const TURN_MS = 2;

/** Lets requests begin. */
export class RequestTurns {
  /** Those that wait, by client; the client that waits longest for its turn comes first. */
  readonly #waiting = new Map<string, (() => void)[]>();
  /** When the first request of this turn began; null before that. */
  #turnSinceMs: number | null = null;

  /**
   * Begins a request, at once or in a later turn: in each one of every client that waits, as long as there is time.
   * @param client Tells whose it is, where it has to wait.
   * @param answer Answers it.
   */
  begin<T>(client: () => string, answer: () => T | Promise<T>): T | Promise<T> {
    heardSocket();
    if (this.#waiting.size === 0 && this.#hasTime()) return answer();
    const { promise, resolve } = Promise.withResolvers<void>();
    const name = client();
    const others = this.#waiting.get(name);
    if (others === undefined) this.#waiting.set(name, [resolve]);
    else others.push(resolve);
    return promise.then(answer);
  }

  /** Whether another may begin in this turn. */
  #hasTime(): boolean {
    if (this.#turnSinceMs !== null) return performance.now() - this.#turnSinceMs < TURN_MS;
    this.#turnSinceMs = performance.now();
    setImmediate(() => this.#nextTurn());
    return true;
  }

  #nextTurn(): void {
    this.#turnSinceMs = null;
    if (this.#waiting.size === 0) return;
    // Each in an immediate of its own: what the one before does at once is done then.
    for (const _ of this.#waiting) setImmediate(() => this.#beginNext());
    void turn().then(() => this.#nextTurn());
  }

  #beginNext(): void {
    this.#turnSinceMs ??= performance.now();
    if (!this.#hasTime()) return;
    const [[client, waiting]] = this.#waiting;
    const begin = waiting.shift()!;
    this.#waiting.delete(client);
    if (waiting.length > 0) this.#waiting.set(client, waiting);
    begin();
  }
}
