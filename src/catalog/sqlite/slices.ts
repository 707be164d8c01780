/**
 * Long looks at a database, a slice at a time.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import { STEPS } from "../../turn.ts";
import type { Patience } from "./patience.ts";

/** Looks that may go on at the same time; more are told to come back. */
const MOST_LOOKS = 64;

/** Takes one slice, in its turn. */
export type Slice = <T>(step: () => T) => Promise<T>;

/** Makes slices in steps of the event loop; those who look take turns. */
export class Slices {
  readonly #patience: Patience;
  #looks = 0;

  /** @param patience Waits with a slice while the database is held. */
  constructor(patience: Patience) {
    this.#patience = patience;
  }

  /**
   * A look.
   * @param look Takes its slices by the function that it is given.
   * @throws {StreamError} LIMIT_REACHED when too many look already.
   */
  async look<T>(look: (slice: Slice) => Promise<T>): Promise<T> {
    if (this.#looks >= MOST_LOOKS) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${MOST_LOOKS} look through the catalog: try again later`,
      );
    }
    this.#looks++;
    try {
      return await look((step) => this.#slice(step));
    } finally {
      this.#looks--;
    }
  }

  async #slice<T>(step: () => T): Promise<T> {
    await STEPS.next("catalog");
    return await this.#patience.read(step);
  }
}
