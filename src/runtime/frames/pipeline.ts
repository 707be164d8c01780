/**
 * Requests that come on a connection before the last answer was sent on it.
 * @module
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Requests that may wait: each holds some KB, and hardly any client sends a second one before it has its answer. */
const MAX_WAITING = 100;

/** The requests of a connection. */
export class Pipeline {
  readonly #socket: Socket;
  #last: Promise<void> | null = null;
  #waiting = 0;

  /** @param socket The connection. */
  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /**
   * Answers a request when the answers to those before it were taken: a request may want what the one before it changes
   * (RFC 9112, 9.3.2), and a peer that takes nothing must not have answers made. Too many end the connection.
   * @param out Where the answer goes.
   * @param answer Writes it.
   */
  add(out: ServerResponse, answer: () => Promise<void>): void {
    if (this.#waiting > MAX_WAITING) return void this.#socket.destroy();
    const isOver = new Promise((resolve) => out.once("finish", resolve).once("close", resolve));
    this.#waiting++;
    this.#last = this.#answerAfter(this.#last, answer).then(() => isOver).finally(() => {
      this.#waiting--;
    }) as Promise<void>;
  }

  async #answerAfter(before: Promise<void> | null, answer: () => Promise<void>): Promise<void> {
    if (before !== null) await before;
    if (!this.#socket.destroyed) await answer();
  }
}
