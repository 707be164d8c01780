/**
 * Which groups of a log stand open, and which lines they hide.
 * @module
 */
import { foldedLines, type Group, type Outline } from "./outline.ts";
import type { LineRange } from "./row_map.ts";

/** The groups of one log as a reader has folded and opened them. */
export class Folds {
  readonly #toggled = new Map<number, boolean>();
  /** The line that was gone to last: no group hides it, also not one that is found later. */
  #revealed = -1;

  /** Tells whether a group stands open. */
  isOpen(group: Group): boolean {
    const chosen = this.#toggled.get(group.head);
    if (chosen !== undefined) return chosen;
    const holdsRevealed = group.head < this.#revealed && this.#revealed < group.end;
    return group.startsOpen || group.failed || group.end === Infinity || holdsRevealed;
  }

  /** Folds or opens some. */
  set(groups: readonly Group[], open: boolean): void {
    for (const { head } of groups) this.#toggled.set(head, open);
  }

  /** A line is gone to. */
  goTo(line: number): void {
    this.#revealed = line;
  }

  /** Opens all groups around a line. */
  openAround(line: number, groups: readonly Group[]): void {
    for (const { head, end } of groups) {
      if (head < line && line < end) this.#toggled.delete(head);
    }
  }

  /** Lines that are not shown: those of folded groups, and those that only end one. */
  hidden({ groups, ends }: Outline, lines: number): LineRange[] {
    const only = ends.filter((line) => line !== this.#revealed);
    return [
      ...foldedLines(groups, (group) => this.isOpen(group), lines),
      ...only.map((line): LineRange => [line, line + 1]),
    ];
  }
}
