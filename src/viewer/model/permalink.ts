/**
 * Links to lines: `#L120`, `#L120-L140`, counted from 1 as people do; in several logs: `#ID:L120,ID`.
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

/**
 * Logs that a fragment names, and the fragment of each as it would be on a page of its own.
 * @param fragment The fragment of a page with several logs.
 */
export function logsIn(fragment: string): Map<string, string> {
  const parts = fragment.slice(1).split(",").map((part) =>
    /^([0-9a-f-]{8,64})(?::(.*))?$/.exec(part)
  );
  return new Map(parts.flatMap((part) => {
    if (part === null) return [];
    const [, id, named] = part;
    return [[id, named === undefined ? "" : `#${named}`]];
  }));
}

/** The fragment of a page with several logs. */
export function fragmentOfLogs(logs: ReadonlyMap<string, string>): string {
  const parts = [...logs].map(([id, named]) => named === "" ? id : `${id}:${named.slice(1)}`);
  return `#${parts.join(",")}`;
}
