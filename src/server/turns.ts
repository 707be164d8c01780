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
/** So many of those that wait begin in one turn; with one in each, small answers cost half as much again. */
const MOST_BEGUN = 4;

/** Lets requests begin. */
export class RequestTurns {
  /** Those that wait, by client; the client that waits longest for its turn comes first. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #count = 0;
  /** When the first request of this turn began; null before that. */
  #turnSinceMs: number | null = null;

  /**
   * Begins a request, at once or in a later turn; clients that wait come one after the other, each with one request.
   * @param client Tells whose it is, where it has to wait.
   * @param answer Answers it.
   */
  begin<T>(client: () => string, answer: () => T | Promise<T>): T | Promise<T> {
    heardSocket();
    if (this.#count === 0 && this.#hasTime()) return answer();
    const { promise, resolve } = Promise.withResolvers<T>();
    const begin = () => resolve(answered(answer));
    const name = client();
    const others = this.#waiting.get(name);
    if (others === undefined) this.#waiting.set(name, [begin]);
    else others.push(begin);
    this.#count++;
    return promise;
  }

  /** Whether another may begin in this turn; the next turn comes whenever one may. */
  #hasTime(): boolean {
    if (this.#turnSinceMs !== null) return performance.now() - this.#turnSinceMs < TURN_MS;
    this.#turnSinceMs = performance.now();
    if (this.#count === 0) setImmediate(() => this.#nextTurn());
    else void turn().then(() => this.#nextTurn());
    return true;
  }

  #nextTurn(): void {
    this.#turnSinceMs = null;
    for (let left = Math.min(this.#count, MOST_BEGUN); left > 0 && this.#hasTime(); left--) {
      this.#beginNext();
    }
  }

  #beginNext(): void {
    const [[client, waiting]] = this.#waiting;
    const begin = waiting.shift()!;
    this.#count--;
    this.#waiting.delete(client);
    if (waiting.length > 0) this.#waiting.set(client, waiting);
    begin();
  }
}

/** Begins at once; what is thrown then, too, is for who waits. */
async function answered<T>(answer: () => T | Promise<T>): Promise<T> {
  return await answer();
}
