/**
 * The outline of a log: groups as CI systems write them, and lines that tell of errors.
 * @module
 */
import type { LineRange } from "./row_map.ts";

/** What the server is asked for: every line that may begin or end a group, or tell of an error; RE2. */
export const OUTLINE_PATTERN = String
  .raw`^(?:\S{10,40} )?(?:::(?:group|endgroup)::|##\[(?:group|endgroup)\]|(?:\x1b\[0K|\r)*section_(?:start|end):\d+:|(?:\x1b\[[0-9;]*m)*(?:---|\+\+\+|~~~) \S)|` +
  String
    .raw`(?i:\b(?:error|fatal|panic(?:ked)?|exception|traceback|failed|failure|segfault)\b)|##\[error\]|::error|^\s*--- FAIL: `;

/** What a line means for the outline. */
export type Mark =
  | { kind: "open"; title: string; key: string | null; system: System }
  /** Ends a group; the line is bare when it says nothing else. */
  | { kind: "close"; key: string | null; system: System; bare: boolean }
  /** Begins a group and ends the one before it. */
  | { kind: "header"; title: string; open: boolean }
  | { kind: "error" };

type System = "github" | "gitlab";

/** A group of lines. */
export interface Group {
  /** Line of its head. */
  head: number;
  /** Behind its last line; Infinity while nothing has closed it. */
  end: number;
  title: string;
  depth: number;
  /** The group around it; null for none. */
  parent: Group | null;
  /** Whether it holds an error. */
  failed: boolean;
  /** Whether it stands open unless somebody folds it. */
  startsOpen: boolean;
}

const GITHUB = /^(?:\S{10,40} )?(?:::|##\[)(group|endgroup)(?:::|\])(.*)$/;
// deno-lint-ignore no-control-regex
const GITLAB = /section_(start|end):\d+:([\w.-]+)(?:\[[^\]]*\])?\r?(?:\x1b\[0K)?/g;
// deno-lint-ignore no-control-regex
const BUILDKITE = /^(?:\x1b\[[0-9;]*m)*(---|\+\+\+|~~~) (\S.*)$/;
/** Lines that begin like headers of Buildkite: results of Go's tests, heads of diffs, and titles between dashes. */
const NO_HEADER =
  /^(?:--- (?:PASS|FAIL|SKIP|BENCH): |(?:---|\+\+\+) (?:[ab]\/|\/dev\/null$|[^\t]*\t))|---$/;
const NEGATED =
  /\b(?:0|no|without|zero) (?:errors?|failures?|failed)\b|\b(?:errors?|failed|failures?)\s*[:=]\s*0\b|\b0 failed\b/i;
const ERROR =
  /\b(?:error|fatal|panic(?:ked)?|exception|traceback|failed|failure|segfault)\b|##\[error\]|::error|^\s*--- FAIL: /i;
// deno-lint-ignore no-control-regex
const SEQUENCES = /\x1b\[[0-9;:?]*[ -/]*[@-~]/g;

/** What a line means, in the order of its parts: nothing for most. */
export function marksOf(line: string): Mark[] {
  const github = GITHUB.exec(line);
  if (github !== null) {
    const title = clean(github[2]);
    return github[1] === "group"
      ? [{ kind: "open", title, key: null, system: "github" }]
      : [{ kind: "close", key: null, system: "github", bare: title === "" }];
  }
  const gitlab = [...line.matchAll(GITLAB)];
  if (gitlab.length > 0) return gitlab.map((part, at) => sectionMark(line, part, gitlab[at + 1]));
  const buildkite = BUILDKITE.exec(line);
  if (buildkite !== null && !NO_HEADER.test(line.replace(SEQUENCES, "").trimEnd())) {
    return [{ kind: "header", title: clean(buildkite[2]), open: buildkite[1] === "+++" }];
  }
  return isError(line) ? [{ kind: "error" }] : [];
}

/** GitLab ends a section and begins the next one in the same line. */
function sectionMark(
  line: string,
  { 0: mark, 1: what, 2: key, index }: RegExpExecArray,
  next: RegExpExecArray | undefined,
): Mark {
  const title = clean(line.slice(index + mark.length, next?.index));
  if (what === "start") return { kind: "open", title: title || key, key, system: "gitlab" };
  const bare = title === "" && next === undefined && clean(line.slice(0, index)) === "";
  return { kind: "close", key, system: "gitlab", bare };
}

/** Tells whether a line tells of an error; one that counts none does not. */
function isError(line: string): boolean {
  return ERROR.test(line) && !NEGATED.test(line);
}

function clean(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(SEQUENCES, "").replace(/[\r\x00-\x1f]/g, "").trim();
}

/** Groups and errors, as the lines that make them come in. */
export class Outline {
  readonly #groups: Group[] = [];
  readonly #errors: number[] = [];
  readonly #ends: number[] = [];
  /** Groups that nothing has closed yet, outermost first. */
  readonly #open: { group: Group; key: string | null; system: System | "buildkite" }[] = [];

  /** All groups in the order of their heads. */
  get groups(): readonly Group[] {
    return this.#groups;
  }

  /** Lines with errors, in order. */
  get errors(): readonly number[] {
    return this.#errors;
  }

  /** Lines that do nothing but end a group, in order. */
  get ends(): readonly number[] {
    return this.#ends;
  }

  /** Takes a line that matched; lines come in order. */
  add(line: number, text: string): void {
    for (const mark of marksOf(text)) this.#take(line, mark);
  }

  #take(line: number, mark: Mark): void {
    switch (mark.kind) {
      case "error":
        this.#errors.push(line);
        for (const { group } of this.#open) group.failed = true;
        break;
      case "header":
        this.#closeHeader(line);
        this.#begin(line, mark.title, null, "buildkite", mark.open);
        break;
      case "open":
        this.#begin(line, mark.title, mark.key, mark.system, false);
        break;
      case "close":
        this.#close(line, mark);
        break;
    }
  }

  /** The innermost group around a line, its head included; null outside of all. */
  around(line: number): Group | null {
    // The last one that began before holds the line, or has ended within one that does.
    let group: Group | null = this.#groups[this.#groupsBefore(line + 1) - 1] ?? null;
    while (group !== null && line >= group.end) group = group.parent;
    return group;
  }

  /** The group that begins with a line. */
  groupAt(line: number): Group | undefined {
    const group = this.#groups[this.#groupsBefore(line)];
    return group?.head === line ? group : undefined;
  }

  /** How many groups a line stands in. */
  depthOf(line: number): number {
    const group = this.around(line);
    if (group === null) return 0;
    return group.head === line ? group.depth : group.depth + 1;
  }

  /** Tells whether a line tells of an error. */
  hasError(line: number): boolean {
    return this.#errors[countBefore(line, this.#errors, (error) => error)] === line;
  }

  #groupsBefore(line: number): number {
    return countBefore(line, this.#groups, ({ head }) => head);
  }

  #begin(
    head: number,
    title: string,
    key: string | null,
    system: System | "buildkite",
    startsOpen: boolean,
  ): void {
    const depth = this.#open.length;
    const parent = this.#open.at(-1)?.group ?? null;
    const group = { head, end: Infinity, title, depth, parent, failed: false, startsOpen };
    this.#groups.push(group);
    this.#open.push({ group, key, system });
  }

  /** A header of Buildkite ends the group of the one before it, and whatever was left open in that. */
  #closeHeader(line: number): void {
    const at = this.#open.findIndex(({ system }) => system === "buildkite");
    if (at !== -1) this.#endFrom(at, line);
  }

  /** Ends the innermost group that fits; an end without a beginning is a line like any other. */
  #close(line: number, { key, system, bare }: Extract<Mark, { kind: "close" }>): void {
    const at = this.#open.findLastIndex((open) => open.system === system && open.key === key);
    if (at === -1) return;
    this.#endFrom(at, bare ? line + 1 : line);
    if (bare) this.#ends.push(line);
  }

  #endFrom(at: number, end: number): void {
    for (const { group } of this.#open.splice(at)) group.end = end;
  }
}

/**
 * Lines that folded groups hide.
 * @param groups All groups.
 * @param isOpen Tells whether one stands open.
 * @param lines Lines that are there.
 */
export function foldedLines(
  groups: readonly Group[],
  isOpen: (group: Group) => boolean,
  lines: number,
): LineRange[] {
  return groups.filter((group) => !isOpen(group))
    .map(({ head, end }): LineRange => [head + 1, Math.min(end, lines)]);
}

/** How many items of a list, in the order of their lines, stand before a line. */
function countBefore<T>(line: number, items: readonly T[], lineOf: (item: T) => number): number {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lineOf(items[middle]) < line) low = middle + 1;
    else high = middle;
  }
  return low;
}
