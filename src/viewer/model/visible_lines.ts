/**
 * Which lines of a log have a row: what is folded, filtered out or written over has none.
 * @module
 */
import { Folds } from "./folds.ts";
import type { Group, Outline } from "./outline.ts";
import { complement, type LineRange, RowMap, united } from "./row_map.ts";
import type { Searcher } from "./searcher.ts";
import type { SettingsStore } from "./settings.ts";

/** What decides it. */
export interface VisibleParts {
  readonly settings: SettingsStore;
  readonly search: Searcher;
  readonly outline: Outline;
  /** Lines that are there without a row, as others are written over them. */
  readonly rows: { hidden(): Iterable<LineRange> };
  /** Lines that can be read. */
  readonly lines: number;
  /** Lines that have a place. */
  readonly places: number;
  /** Hears that others have a row. */
  changed(): void;
}

/** The lines that have a row. */
export class VisibleLines {
  readonly #parts: VisibleParts;
  readonly folds = new Folds();
  /** Only hits, with lines around them. */
  filtered = false;
  /** Their rows. */
  map = new RowMap(0);

  /** @param parts What decides it. */
  constructor(parts: VisibleParts) {
    this.#parts = parts;
  }

  /** Finds out anew which lines have one. */
  update(): void {
    this.map = new RowMap(this.#parts.places, this.#hidden());
  }

  /** Shows hits only, or everything. */
  filter(filtered: boolean): void {
    this.filtered = filtered;
    this.#change();
  }

  /** Folds or opens a group. */
  toggle(group: Group): void {
    this.folds.set([group], !this.folds.isOpen(group));
    this.#change();
  }

  /** Folds or opens all groups. */
  toggleAll(open: boolean): void {
    this.folds.set(this.#parts.outline.groups, open);
    this.#change();
  }

  /** Opens all that hides a line. */
  reveal(line: number): void {
    this.folds.goTo(line);
    if (!this.map.isHidden(line)) return;
    this.filtered = false;
    this.folds.openAround(line, this.#parts.outline.groups);
    this.#change();
  }

  #change(): void {
    this.update();
    this.#parts.changed();
  }

  #hidden(): LineRange[] {
    const { settings, search, outline, rows, lines, places } = this.#parts;
    const { raw, context } = settings.all;
    if (raw && !this.filtered) return [];
    if (!this.filtered) return [...this.folds.hidden(outline, lines), ...rows.hidden()];
    const shown = search.hits.map((line): LineRange => [
      Math.max(0, line - context),
      line + context + 1,
    ]);
    return complement(united(shown), places);
  }
}
