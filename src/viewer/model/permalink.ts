/**
 * Links to lines: `#L120`, `#L120-L140`, counted from 1 as people do.
 * @module
 */

/** Lines from 0, both included. */
export interface LinkedLines {
  first: number;
  last: number;
}

/** The lines that a fragment names; null for none. */
export function linesIn(fragment: string): LinkedLines | null {
  const [, from, to] = /^#L([1-9]\d{0,15})(?:-L?([1-9]\d{0,15}))?$/.exec(fragment) ?? [];
  if (from === undefined) return null;
  const one = Number(from) - 1, other = Number(to ?? from) - 1;
  return { first: Math.min(one, other), last: Math.max(one, other) };
}

/** The fragment for lines. */
export function fragmentOf({ first, last }: LinkedLines): string {
  return first === last ? `#L${first + 1}` : `#L${first + 1}-L${last + 1}`;
}
