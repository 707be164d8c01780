/**
 * The rows that are drawn: each once as long as it shows the same.
 * @module
 */
import type { Theme } from "../model/colour.ts";
import type { Log } from "../model/log.ts";
import type { LinkedLines } from "../model/permalink.ts";
import { hitsIn } from "../model/searcher.ts";
import type { Row } from "../model/terminal.ts";
import { drawRow, redrawRow, type RowView } from "./row.ts";

/** What is said behind a line that shows what was found in it. */
const PAST = "↶ written over later";

/** What rows look different for. */
export interface Shown {
  /** Whether text is selected. */
  isSelected(): boolean;
  /** The lines that the address names; null for none. */
  linked(): LinkedLines | null;
  /** The hit or error that was gone to; null for none. */
  current(): number | null;
  /** Address of a line. */
  addressOf(line: number): string;
  /** Address of a page that shows all of a long line. */
  wholeAddressOf(line: number): string;
}

/** Rows of one log, one below the other. */
export class DrawnRows {
  /** What holds them. */
  readonly element = document.createElement("div");
  readonly #log: Log;
  readonly #shown: Shown;
  readonly #drawn = new Map<number, { element: HTMLElement; key: string }>();
  #theme: Theme = "light";

  /**
   * @param log The log.
   * @param shown What rows look different for.
   */
  constructor(log: Log, shown: Shown) {
    this.#log = log;
    this.#shown = shown;
    this.element.className = "rows";
  }

  /** The lines that are drawn, in no order. */
  get lines(): number[] {
    return [...this.#drawn.keys()];
  }

  /** Height of a line that is drawn, in px. */
  heightOf(line: number): number {
    return this.#drawn.get(line)!.element.getBoundingClientRect().height;
  }

  /** Forgets all, as colours or settings have changed. */
  clear(theme: Theme): void {
    this.#theme = theme;
    this.#drawn.clear();
    this.element.replaceChildren();
  }

  /** Draws exactly these lines, in this order. */
  show(lines: readonly number[]): void {
    const wanted = new Set(lines);
    this.#reuse(lines);
    let before: Element | null = null;
    for (const line of lines) {
      const element = this.#rowElement(line);
      const place: Element | null = before === null
        ? this.element.firstElementChild
        : before.nextElementSibling;
      if (place !== element) this.element.insertBefore(element, place);
      before = element;
    }
    for (const [line, { element }] of this.#drawn) {
      if (wanted.has(line)) continue;
      element.remove();
      this.#drawn.delete(line);
    }
  }

  /** The element of a line, drawn again only if something about it has changed. */
  #rowElement(line: number): HTMLElement {
    const { view, key } = this.#rowView(line);
    const drawn = this.#drawn.get(line);
    if (drawn?.key === key) return drawn.element;
    const element = drawRow(view, this.#theme);
    drawn?.element.replaceWith(element);
    this.#drawn.set(line, { element, key });
    return element;
  }

  /** What the row of a line shows, and a key that is the same for equal ones. */
  #rowView(line: number): { view: RowView; key: string } {
    const log = this.#log;
    const shown = log.rows.at(line);
    const group = log.outline.groupAt(line);
    const groupOpen = group !== undefined && log.visible.folds.isOpen(group);
    const time = log.timeOf(line);
    const longBytes = shown?.cached.longBytes ?? null;
    const view: RowView = {
      line,
      address: this.#shown.addressOf(line),
      row: shown?.row ?? null,
      hits: shown === null ? [] : hitsIn(shown.row.text, log.search.matcher),
      whole: longBytes === null ? null : { address: this.#shown.wholeAddressOf(line), longBytes },
      note: shown?.isPast ? PAST : this.#noteOf(line),
      group,
      groupOpen,
      gap: log.visible.filtered ? log.visible.map.gapBefore(line) : null,
      time: time.text,
      timeTitle: time.title,
      classes: this.#classesOf(line, group?.depth ?? null),
    };
    const key = [
      shown === null ? "-" : identityOf(shown.row),
      group === undefined ? "" : `${groupOpen}`,
      view.hits.length === 0 ? "" : log.search.matcher!.source + log.search.matcher!.flags,
      view.gap,
      view.classes,
      view.note,
      time.text,
    ].join("\n");
    return { view, key };
  }

  /** When nothing of what was drawn stays, as in a fast log, its elements show other lines. */
  #reuse(wanted: readonly number[]): void {
    if (this.#shown.isSelected() || wanted.some((line) => this.#drawn.has(line))) return;
    const old = [...this.#drawn];
    for (const [at, [before, { element }]] of old.slice(0, wanted.length).entries()) {
      const { view, key } = this.#rowView(wanted[at]);
      if (!redrawRow(element, view)) continue;
      this.#drawn.delete(before);
      this.#drawn.set(view.line, { element, key });
    }
  }

  /** What is said behind a line: nothing is left out in silence. */
  #noteOf(line: number): string | null {
    const { lost } = this.#log;
    if (lost !== null && line === Math.max(0, lost.line - 1)) {
      const count = lost.count.toLocaleString("en");
      return `⚠ behind this line ${count} lines were lost when the server broke down; what follows came after that`;
    }
    switch (this.#log.openEnd(line)) {
      case "whole":
        return "⏎ not ended yet";
      case "cut":
        return "⏎ not ended yet; only its end is shown";
      default:
        return null;
    }
  }

  #classesOf(line: number, depth: number | null): string {
    const names: string[] = [];
    const { first, last } = this.#shown.linked() ?? { first: -1, last: -1 };
    if (line >= first && line <= last) names.push("linked");
    if (line === this.#shown.current()) names.push("current");
    if (this.#log.outline.hasError(line)) names.push("error");
    if (depth !== null) names.push("head");
    const around = this.#log.outline.groups.length > 0 ? this.#log.outline.depthOf(line) : 0;
    if (around > 0) names.push(`in${Math.min(around, 4)}`);
    return names.join(" ");
  }
}

/** Rows are made anew when lines arrive; equal ones are drawn once. */
function identityOf({ text, spans }: Row): string {
  return spans.length === 0 ? `=${text}` : `=${text}\n${JSON.stringify(spans)}`;
}
