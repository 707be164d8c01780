/**
 * Those who watch a catalog.
 * @module
 */
import type { RecordChange } from "../catalog.ts";

/** Tells everybody who watches of a change. */
export class Watchers {
  readonly #listeners = new Set<(change: RecordChange) => void>();

  /**
   * Adds one.
   * @returns Ends it.
   */
  add(listener: (change: RecordChange) => void): () => void {
    // The same function may be added twice.
    const own = (change: RecordChange) => listener(change);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** A record changed. */
  tell(change: RecordChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch { /* A listener's fault is not the writer's. */ }
    }
  }
}
