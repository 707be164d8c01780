/**
 * Steps that must not overlap, one after the other for each id.
 * @module
 */

/** The last step of every id that has one under way. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs a step after all earlier ones of its id, whether they failed or not. */
  async take<T>(id: string, step: () => Promise<T>): Promise<T> {
    const before = this.#last.get(id) ?? Promise.resolve();
    const after = before.then(step);
    const settled = after.catch(() => {});
    this.#last.set(id, settled);
    try {
      return await after;
    } finally {
      if (this.#last.get(id) === settled) this.#last.delete(id);
    }
  }

  /** Waits for the steps of all ids that are under way now. */
  async settled(): Promise<void> {
    await Promise.all(this.#last.values());
  }
}
