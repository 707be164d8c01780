/**
 * `stream search`.
 * @module
 */
import { getLines, search as searchLines } from "../../client.ts";
import { type SearchMatch, toStreamError } from "../../protocol.ts";
import { described, exitCodeOf } from "../exit_codes.ts";
import { type Command, EXIT, type Options, SERVER_OPTION, UsageError } from "../command.ts";
import { printLine, ReaderGone, visibleJson } from "../output/output.ts";
import { type NamedResource, resourceOf } from "../references.ts";
import { complain } from "../output/stderr.ts";
import { isColoured, styled } from "../output/terminal.ts";

/** Matches that one request asks for. */
const PAGE = 10_000;
/** Lines around a match, at most: what one request gives. */
const MAX_CONTEXT_LINES = 1000;

/** Exit codes, those of grep. */
const FOUND = 0, NOT_FOUND = 1, TROUBLE = 2;

/** Searches the lines of a resource. */
export const search: Command = {
  name: "search",
  summary: "search the lines of a resource on the server",
  positionals: ["REF", "PATTERN"],
  options: {
    "fixed-strings": {
      kind: "flag",
      short: "F",
      help: "PATTERN is a text (default: a regular expression in the syntax of RE2)",
    },
    "ignore-case": { kind: "flag", short: "i", help: "letters are equal whatever their case" },
    "line-number": { kind: "flag", short: "n", help: "print the number of each line, from 1" },
    "before-context": { kind: "count", short: "B", value: "N", help: "print N lines before each" },
    "after-context": { kind: "count", short: "A", value: "N", help: "print N lines after each" },
    context: { kind: "count", short: "C", value: "N", help: "print N lines before and after each" },
    "max-count": { kind: "count", short: "m", value: "N", help: "end after N lines" },
    count: { kind: "flag", short: "c", help: "print only how many lines match" },
    quiet: { kind: "flag", short: "q", help: "print nothing; the exit code tells" },
    json: { kind: "flag", help: "print a JSON object a line for each match" },
    "no-color": { kind: "flag", help: "do not colour (default at a terminal: matches are red)" },
    ...SERVER_OPTION,
  },
  examples: [
    "stream search 0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11 'ERR(OR)?.*timeout' -n -C 2",
    "stream search run-17/build.log -F 'undefined reference' --json",
  ],
  async run([reference, pattern], options) {
    for (const name of ["before-context", "after-context", "context"]) {
      if (!options.flag("json") || options.number(name) === undefined) continue;
      throw new UsageError(`--json and --${name} exclude each other: JSON has matches only`);
    }
    try {
      return await runSearch(await resourceOf(options, reference), pattern, options);
    } catch (error) {
      if (error instanceof ReaderGone || error instanceof UsageError) throw error;
      if (exitCodeOf(error) !== EXIT.failed) throw error;
      // With grep 1 means that nothing was found.
      complain(described(error));
      return TROUBLE;
    }
  },
};

async function runSearch(
  resource: NamedResource,
  pattern: string,
  options: Options,
): Promise<number> {
  const most = options.flag("quiet") ? 1 : options.number("max-count") ?? Infinity;
  const printer = printerOf(resource, options);
  let found = 0;
  for await (const match of matches(resource, pattern, most, options)) {
    found++;
    await printer.match(match);
  }
  await printer.end(found);
  return found > 0 ? FOUND : NOT_FOUND;
}

/** All matches, with as many requests as the limits of the server make of one search. */
async function* matches(
  resource: NamedResource,
  pattern: string,
  most: number,
  options: Options,
): AsyncGenerator<SearchMatch, void, void> {
  const { reference, ...credentials } = resource;
  let from = 0, partial = 0;
  for (let left = most; left > 0;) {
    const found = searchLines(reference, pattern, {
      ...credentials,
      regex: !options.flag("fixed-strings"),
      ignoreCase: options.flag("ignore-case"),
      from,
      limit: Math.min(left, PAGE),
    });
    for (;;) {
      const { done, value } = await found.next();
      if (!done) {
        left--;
        yield value;
        continue;
      }
      partial += value.partialLines;
      from = value.nextLine;
      if (value.truncated) break;
      if (partial > 0) complain(`${partial} very long lines were not searched as a whole`);
      return;
    }
  }
}

/** Prints matches in one of the forms. */
interface Printer {
  match(match: SearchMatch): Promise<void>;
  end(found: number): Promise<void>;
}

function printerOf(resource: NamedResource, options: Options): Printer {
  const nothing = () => Promise.resolve();
  if (options.flag("quiet")) return { match: nothing, end: nothing };
  if (options.flag("count")) {
    const text = (count: number) => options.flag("json") ? visibleJson({ count }) : String(count);
    return { match: nothing, end: (count) => printLine(text(count)) };
  }
  if (options.flag("json")) {
    return { match: (match) => printLine(visibleJson(match)), end: nothing };
  }
  return new LinePrinter(resource, options);
}

/** Prints lines as grep does. */
class LinePrinter implements Printer {
  readonly #before: number;
  readonly #after: number;
  readonly #isNumbered: boolean;
  readonly #isColoured: boolean;
  /** Index of the line after the last one that was printed. */
  #next = 0;
  #last: number | null = null;
  /** Lines that were read around matches, and more behind them. */
  #read: string[] = [];
  #readFrom = 0;
  /** Lines that were asked for beyond need, the last time. */
  #windowLines = 1;

  constructor(private readonly resource: NamedResource, options: Options) {
    const around = options.number("context") ?? 0;
    const lines = (name: string) => Math.min(options.number(name) ?? around, MAX_CONTEXT_LINES);
    this.#before = lines("before-context");
    this.#after = lines("after-context");
    this.#isNumbered = options.flag("line-number");
    this.#isColoured = !options.flag("no-color") && isColoured();
  }

  async match(match: SearchMatch): Promise<void> {
    await this.#context(this.#afterLast(match.line));
    const start = Math.max(this.#next, match.line - this.#before);
    if (this.#last !== null && start > this.#next && this.#before + this.#after > 0) {
      await printLine(this.#isColoured ? styled("cyan", "--") : "--");
    }
    await this.#context({ start, end: match.line });
    await this.#line(match.line, ":", this.#shown(match));
    this.#last = match.line;
  }

  async end(): Promise<void> {
    await this.#context(this.#afterLast(Infinity));
  }

  #afterLast(before: number): { start: number; end: number } {
    const end = this.#last === null ? 0 : Math.min(this.#last + 1 + this.#after, before);
    return { start: this.#next, end };
  }

  async #context({ start, end }: { start: number; end: number }): Promise<void> {
    if (end <= start) return;
    for (let index = start; index < end; index++) {
      const text = await this.#text(index, end);
      if (text === undefined) return;
      await this.#line(index, "-", text);
    }
  }

  /** One line, without the rest where it is very long; undefined behind the last. */
  async #text(index: number, end: number): Promise<string | undefined> {
    const at = index - this.#readFrom;
    if (at >= 0 && at < this.#read.length) return this.#read[at];
    // Where one window follows the other they become larger, so that many matches need few requests.
    const isNext = at >= 0 && at <= this.#read.length + this.#windowLines;
    this.#windowLines = isNext ? Math.min(2 * this.#windowLines, MAX_CONTEXT_LINES) : 1;
    const count = Math.max(this.#windowLines, end - index);
    this.#read = await this.#window(index, count);
    this.#readFrom = index;
    return this.#read[0];
  }

  /** Lines from one that may be behind the last: at least one if it is not, at most as many as are asked for. */
  async #window(start: number, count: number): Promise<string[]> {
    const { reference, ...credentials } = this.resource;
    try {
      const { lines, next } = await getLines(reference, { ...credentials, start, count });
      const isCut = lines.length > 1 && next !== null && next.byteOffset > 0;
      return (isCut ? lines.slice(0, -1) : lines).map((text) => text.replace(/\r?\n$/, ""));
    } catch (error) {
      if (toStreamError(error).code === "LINES_NOT_AVAILABLE") return [];
      throw error;
    }
  }

  async #line(index: number, separator: string, text: string): Promise<void> {
    const number = this.#isColoured ? styled("green", String(index + 1)) : String(index + 1);
    await printLine(this.#isNumbered ? `${number}${separator}${text}` : text);
    this.#next = index + 1;
  }

  #shown({ text, offset, length, textOffset, cut }: SearchMatch): string {
    const shown = this.#isColoured ? coloured(text, offset - textOffset, length) : text;
    return cut ? `…${shown}…` : shown;
  }
}

/** A text with a match, which is told in bytes. */
function coloured(text: string, byteOffset: number, byteLength: number): string {
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder();
  const end = byteOffset + byteLength;
  return decoder.decode(bytes.subarray(0, byteOffset)) +
    styled("red", decoder.decode(bytes.subarray(byteOffset, end))) +
    decoder.decode(bytes.subarray(end));
}
