/**
 * A wait for a ring or for a deadline.
 * @module
 */

/**
 * Wakes everybody who waits when it rings.
 *
 * A ring that nobody waits for is not kept: look at what it tells of first, and wait without anything in between.
 *
 * @example
 * ```ts
 * import { Bell } from "./bell.ts";
 *
 * const bell = new Bell();
 * setTimeout(bell.ring, 1);
 * await bell.rung();
 * console.log(await bell.rungWithin(5)); // false
 * ```
 */
export class Bell {
  readonly #waiting = new Set<(rung: boolean) => void>();

  /** Whether somebody waits. */
  get isAwaited(): boolean {
    return this.#waiting.size > 0;
  }

  /** Wakes everybody who waits now; may be handed on as a listener. */
  readonly ring = (): void => {
    if (this.#waiting.size === 0) return;
    for (const wake of [...this.#waiting]) wake(true);
  };

  /** Waits for the next ring. */
  rung(): Promise<void> {
    return new Promise((resolve) => void this.#add(() => resolve()));
  }

  /**
   * Waits for the next ring, but no longer than so.
   * @param timeoutMs The longest wait, in ms.
   * @returns False when the time was over first.
   */
  rungWithin(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const wake = this.#add((rung) => {
        clearTimeout(timer);
        resolve(rung);
      });
      const timer = setTimeout(wake, timeoutMs, false);
    });
  }

  #add(woken: (rung: boolean) => void): (rung: boolean) => void {
    const wake = (rung: boolean) => {
      this.#waiting.delete(wake);
      woken(rung);
    };
    this.#waiting.add(wake);
    return wake;
  }
}
