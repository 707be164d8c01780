/**
 * A search through a whole log, hit by hit as the server finds them, and on as the log grows.
 * @module
 */

/** What is looked for. */
export interface Query {
  pattern: string;
  regex: boolean;
  ignoreCase: boolean;
}

/** A line that matches. */
export interface Match {
  line: number;
  text: string;
}

/** How far one request got. */
export interface SearchStep {
  nextLine: number;
  truncated: boolean;
}

/** One request: matches from a line on, up to another one, at most so many. */
export type Find = (
  query: Query & { to?: number },
  from: number,
  limit: number,
  signal: AbortSignal,
  onProgress?: (searchedLines: number) => void,
) => AsyncGenerator<Match, SearchStep, void>;

/** Hits kept; beyond them only those near what is shown are looked for. */
const MAX_HITS = 100_000;
const REQUEST_HITS = 10_000;

/** One search. */
export class Searcher {
  readonly #find: Find;
  readonly #changed: () => void;
  #query: Query | null = null;
  #matcher: RegExp | null = null;
  #stop = new AbortController();
  #running = false;
  /** Lines of the hits, in order. */
  #hits: number[] = [];
  #nextLine = 0;
  #lines = 0;
  #error: unknown = null;

  /**
   * @param find Asks the server.
   * @param changed Hears of hits, progress and the end.
   */
  constructor(find: Find, changed: () => void) {
    this.#find = find;
    this.#changed = changed;
  }

  /** What is looked for; null for nothing. */
  get query(): Query | null {
    return this.#query;
  }

  /** Finds what it finds in text that is shown; null where only the server can. */
  get matcher(): RegExp | null {
    return this.#matcher;
  }

  /** Lines with hits, in order. */
  get hits(): readonly number[] {
    return this.#hits;
  }

  /** Lines that were searched. */
  get searched(): number {
    return this.#nextLine;
  }

  /** Whether more hits may come. */
  get running(): boolean {
    return this.#running;
  }

  /** Whether there may be more hits than are kept. */
  get capped(): boolean {
    return this.#hits.length >= MAX_HITS;
  }

  /** Why the search ended early; null if it did not. */
  get error(): unknown {
    return this.#error;
  }

  /**
   * Looks for something else.
   * @param query What; null to end the search.
   * @param lines Lines that are there.
   */
  start(query: Query | null, lines: number): void {
    this.cancel();
    this.#query = query;
    this.#matcher = query === null ? null : matcherOf(query);
    this.#hits = [];
    this.#nextLine = 0;
    this.#error = null;
    this.grow(lines);
    this.#changed();
  }

  /** Ends the search where it is; what was found stays. */
  cancel(): void {
    this.#stop.abort();
    this.#running = false;
  }

  /** Lines from one on are gone, and others may come in their place. */
  forget(from: number): void {
    if (this.#query === null) return;
    this.cancel();
    this.#hits = this.#hits.filter((line) => line < from);
    this.#nextLine = Math.min(this.#nextLine, from);
  }

  /** The log has become longer: the search goes on behind what it has seen. */
  grow(lines: number): void {
    this.#lines = lines;
    if (this.#query === null || this.#running || this.#error !== null || this.capped) return;
    if (this.#nextLine < lines) void this.#run(this.#query);
  }

  /** The first hit behind a line; null if none was found yet. */
  after(line: number): number | null {
    return this.#hits[this.#position(line + 1)] ?? null;
  }

  /** The last hit before a line; null if there is none. */
  before(line: number): number | null {
    return this.#hits[this.#position(line) - 1] ?? null;
  }

  /** Number of a hit, from 1; 0 for a line without one. */
  numberOf(line: number): number {
    const at = this.#position(line);
    return this.#hits[at] === line ? at + 1 : 0;
  }

  /** How many hits stand before a line. */
  #position(line: number): number {
    let low = 0, high = this.#hits.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#hits[middle] < line) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async #run(query: Query): Promise<void> {
    const stop = this.#stop = new AbortController();
    this.#running = true;
    try {
      while (this.#nextLine < this.#lines && !this.capped) {
        const found = this.#find(query, this.#nextLine, REQUEST_HITS, stop.signal, (lines) => {
          if (stop.signal.aborted) return;
          this.#nextLine = Math.max(this.#nextLine, lines);
          this.#changed();
        });
        for (;;) {
          const { done, value } = await found.next();
          if (stop.signal.aborted) return;
          if (done) {
            this.#nextLine = value.nextLine;
            break;
          }
          this.#take(value);
        }
      }
    } catch (error) {
      if (stop.signal.aborted) return;
      this.#error = error;
    }
    this.#running = false;
    this.#changed();
  }

  #take({ line }: Match): void {
    if (this.capped) return;
    this.#hits.push(line);
    this.#nextLine = Math.max(this.#nextLine, line + 1);
    this.#changed();
  }
}

/**
 * Finds what a search found again in the text that is shown.
 * @param query What is looked for.
 * @returns Null for an expression that only the server understands, or can be trusted to come to an end with.
 */
export function matcherOf({ pattern, regex, ignoreCase }: Query): RegExp | null {
  if (regex && repeatsGroups(pattern)) return null;
  const source = regex ? pattern : pattern.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
  try {
    return new RegExp(source, `gu${ignoreCase ? "i" : ""}`);
  } catch {
    return null;
  }
}

/** Tells whether groups are repeated: unlike the server, a browser may try all ways to do that, for ever. */
function repeatsGroups(pattern: string): boolean {
  return /\)(?:[*+]|\{\d)/.test(pattern.replace(/\\.|\[\^?\]?(?:\\.|[^\]])*\]/gs, ""));
}

const MAX_MARKED = 200;

/** Where a text matches. */
export function hitsIn(text: string, matcher: RegExp | null): { start: number; end: number }[] {
  if (matcher === null) return [];
  const hits: { start: number; end: number }[] = [];
  matcher.lastIndex = 0;
  for (let match; hits.length < MAX_MARKED && (match = matcher.exec(text)) !== null;) {
    if (match[0] === "") matcher.lastIndex++;
    else hits.push({ start: match.index, end: match.index + match[0].length });
  }
  return hits;
}
