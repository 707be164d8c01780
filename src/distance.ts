/**
 * How far two words are apart, to find what somebody meant to type.
 * @module
 */

/** Levenshtein's distance: how many characters to change, add or leave out. */
export function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const change = row[j] + (from[i] === to[j] ? 0 : 1);
      next.push(Math.min(change, row[j + 1] + 1, next[j] + 1));
    }
    row = next;
  }
  return row[to.length];
}
