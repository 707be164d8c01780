/**
 * Order of lists and meaning of filters, the same in every catalog.
 * @module
 */

/** A place in a list. */
export interface Key {
  /** Time of registration, in ms since 1970. */
  createdAtMs: number;
  /** Id. */
  id: string;
}

/** Compares two entries: the newer one comes first, of the same time the one with the greater id. */
export function newestFirst(a: Key, b: Key): number {
  return b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}
