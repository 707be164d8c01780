/**
 * The styles in which lines begin: each follows from the line before, as far as lines are there; behind that they are
 * looked up.
 * @module
 */
import type { LineCache } from "./line_cache.ts";
import type { Find } from "./searcher.ts";
import { PLAIN, type Style } from "./style.ts";
import { styleBefore } from "./style_before.ts";
import { styleAfter } from "./terminal.ts";

const MAX_STYLES = 50_000;
const MAX_EDGES = 1000;

/** Styles of the lines of one log. */
export class LineStyles {
  readonly #lines: LineCache;
  readonly #styles = new Map<number, Style>();
  /** Styles at the first line of what is loaded, looked up behind its edge. */
  readonly #edges = new Map<number, Style>();
  /** The one of them that moves on with the end of a live log. */
  #keptEdge = -1;
  /** Lines whose styles are being looked up. */
  readonly #looking = new Set<number>();

  /** @param lines The lines that are there. */
  constructor(lines: LineCache) {
    this.#lines = lines;
  }

  /** The style in which a line begins, as far as lines before it are there. */
  at(line: number): Style {
    const start = this.#knownBefore(line);
    let style = this.#styles.get(start) ?? this.#edges.get(start) ?? PLAIN;
    for (let at = start; at < line; at++) {
      style = styleAfter(this.#lines.printed(at), style);
      this.#styles.set(at + 1, style);
    }
    if (this.#styles.size > MAX_STYLES) this.#styles.clear();
    return style;
  }

  /** Keeps the style in which new lines begin, if it is known: the lines that it follows from are let go of one day. */
  keep(line: number): void {
    const start = this.#edgeBefore(line);
    if (start > 0 && !this.#edges.has(start)) return;
    const style = this.at(line);
    if (start === this.#keptEdge) this.#edges.delete(start);
    this.#edges.set(line, style);
    this.#keptEdge = line;
  }

  /**
   * Finds out in which style a line begins whose predecessors are not there.
   * @param line The first line seen.
   * @param find Searches the log.
   * @param signal Ends it.
   * @returns Whether lines may look different now.
   */
  async lookBehind(line: number, find: Find, signal: AbortSignal): Promise<boolean> {
    const start = this.#edgeBefore(line);
    if (start === 0 || this.#edges.has(start) || this.#looking.has(start)) return false;
    this.#looking.add(start);
    try {
      const style = await styleBefore(start, find, signal);
      if (this.#edges.size >= MAX_EDGES) this.#edges.clear();
      this.#edges.set(start, style);
      return true;
    } catch {
      // Who looks again tries again.
      return false;
    } finally {
      this.#looking.delete(start);
    }
  }

  /** Forgets what follows from the lines that were there. */
  clear(): void {
    this.#styles.clear();
  }

  /** Forgets what was looked up, too: lines are others now. */
  reset(): void {
    this.#styles.clear();
    this.#edges.clear();
  }

  /** The nearest line at or before another whose style was looked up; the first of those that are there, if none was. */
  #edgeBefore(line: number): number {
    return this.#back(line, (at) => this.#edges.has(at));
  }

  /** The nearest line at or before another whose style is known; the first of those that are there, if none is. */
  #knownBefore(line: number): number {
    return this.#back(line, (at) => this.#styles.has(at) || this.#edges.has(at));
  }

  #back(line: number, stops: (line: number) => boolean): number {
    let start = line;
    while (start > 0 && !stops(start) && this.#lines.get(start - 1) !== undefined) start--;
    return start;
  }
}
