/**
 * Does something at once, and again at most so often, however often it is asked for.
 * @module
 */

/** One thing that is done again and again. */
export class Throttle {
  readonly #act: () => void;
  readonly #intervalMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #again = false;

  /**
   * @param act What is done.
   * @param intervalMs Shortest time between two times, in ms.
   */
  constructor(act: () => void, intervalMs: number) {
    this.#act = act;
    this.#intervalMs = intervalMs;
  }

  /** Does it now, or as soon as the interval is over. */
  readonly ask = (): void => {
    if (this.#timer !== undefined) {
      this.#again = true;
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#again) this.ask();
    }, this.#intervalMs);
    this.#again = false;
    this.#act();
  };
}
