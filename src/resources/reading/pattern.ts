/**
 * Patterns of a search: a text, or a regular expression of RE2's syntax in linear time.
 * @module
 */
import { Buffer } from "node:buffer";
import { RE2JS, RE2JSException } from "re2js";
import { StreamError } from "../../protocol.ts";

/** Longest pattern, UTF-8; longer than any that a person types. */
const PATTERN_BYTES = 1024;
/** Most of one line that a regular expression is matched against. */
const REGEX_LINE_BYTES = 64 * 1024;
/** Largest program of a regular expression. */
const PROGRAM_INSTRUCTIONS = 500;
/** The engine takes up to 20 ns a byte and instruction: some 40 ms for a line at worst, several times that on a busy machine. */
const LINE_STEPS = 2 * 1024 * 1024;

/** Pattern to look for. */
export interface SearchQuery {
  /** The text, or the regular expression. */
  pattern: string;
  /** Whether the pattern is a regular expression. */
  regex: boolean;
  /** Whether the case of letters means nothing. */
  ignoreCase: boolean;
}

/** Part of a line, in bytes. */
export interface Span {
  /** Its first byte. */
  start: number;
  /** Where it ends. */
  end: number;
}

/** Finds lines that match. */
export interface Finder {
  /** Most bytes of a line that are looked at. */
  readonly lineBytes: number;
  /** Bytes at the end of a piece of a line that belong to the next piece, too; null when only the first piece counts. */
  readonly overlapBytes: number | null;
  /**
   * A place in the next line that may match; no line ends between `from` and that line that does.
   * @param text Any number of lines, a character a byte.
   * @returns -1 when there is none.
   */
  candidate(text: string, from: number): number;
  /**
   * The first match in a line, or null.
   * @param line The line without its line break.
   * @param candidate The place in it.
   */
  match(line: Uint8Array, candidate: number): Span | null;
}

/**
 * Makes a finder.
 * @throws {StreamError} BAD_REQUEST for a pattern that is empty, too long or malformed.
 */
export function finderFor({ pattern, regex, ignoreCase }: SearchQuery): Finder {
  const length = Buffer.byteLength(pattern);
  if (length === 0 || length > PATTERN_BYTES) {
    throw new StreamError(
      "BAD_REQUEST",
      `a pattern has 1 to ${PATTERN_BYTES} bytes, not ${length}`,
    );
  }
  if (regex) return regexFinder(pattern, ignoreCase);
  if (pattern.includes("\n")) {
    throw new StreamError("BAD_REQUEST", "a line holds no line break: search for one line's text");
  }
  if (!ignoreCase) return textFinder(pattern);
  // Of other alphabets only the engine knows which letters are the same.
  // deno-lint-ignore no-control-regex
  return /^[\x00-\x7f]*$/.test(pattern)
    ? foldedFinder(pattern)
    : regexFinder(RE2JS.quote(pattern), true);
}

function textFinder(pattern: string): Finder {
  const wanted = latin1(pattern);
  return {
    lineBytes: Infinity,
    overlapBytes: wanted.length - 1,
    candidate: (text, from) => text.indexOf(wanted, from),
    match: (_line, at) => ({ start: at, end: at + wanted.length }),
  };
}

/** The letters beyond ASCII that are the same as one of it but for their case: KELVIN SIGN and LONG S. */
const FOLDED: Record<string, string> = { k: latin1("\u212a"), s: latin1("\u017f") };

/** The runtime's own engine is safe here: no two ways to read a letter begin alike, so it never goes back. */
function foldedFinder(pattern: string): Finder {
  const letters = [...pattern.toLowerCase()].map((letter) =>
    [letter, letter.toUpperCase(), FOLDED[letter]].filter((form) => form !== undefined)
  );
  const hex = (byte: string) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`;
  const source = letters.map((forms) =>
    `(?:${forms.map((form) => [...form].map(hex).join("")).join("|")})`
  ).join("");
  const longest = letters.reduce((sum, forms) => sum + forms.at(-1)!.length, 0);
  const anywhere = new RegExp(source, "g"), here = new RegExp(source, "y");
  return {
    lineBytes: Infinity,
    overlapBytes: longest - 1,
    candidate(text, from) {
      anywhere.lastIndex = from;
      return anywhere.exec(text)?.index ?? -1;
    },
    match(line, at) {
      here.lastIndex = 0;
      const text = Buffer.from(line.subarray(at, at + longest)).toString("latin1");
      const found = here.exec(text);
      return found === null ? null : { start: at, end: at + found[0].length };
    },
  };
}

function regexFinder(pattern: string, ignoreCase: boolean): Finder {
  const expression = compile(pattern, ignoreCase);
  const literal = requiredLiteral(expression);
  const lineBytes = Math.min(
    REGEX_LINE_BYTES,
    Math.floor(LINE_STEPS / expression.re2Input.numberOfInstructions()),
  );
  return {
    lineBytes,
    overlapBytes: null,
    candidate: literal === null
      ? (text, from) => from < text.length ? from : -1
      : (text, from) => text.indexOf(literal, from),
    match(line) {
      const head = line.length > lineBytes ? line.subarray(0, lineBytes) : line;
      // Where it only has to say whether, the engine is faster by far.
      if (!expression.test(head)) return null;
      const matcher = expression.matcher(head);
      return matcher.find() ? { start: matcher.start(), end: matcher.end() } : null;
    },
  };
}

function compile(pattern: string, ignoreCase: boolean): RE2JS {
  let expression: RE2JS;
  try {
    expression = RE2JS.compile(pattern, ignoreCase ? RE2JS.CASE_INSENSITIVE : 0);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new StreamError("BAD_REQUEST", `that is no regular expression of RE2: ${error.message}`);
  }
  if (expression.re2Input.numberOfInstructions() <= PROGRAM_INSTRUCTIONS) return expression;
  throw new StreamError(
    "BAD_REQUEST",
    `the regular expression is too large: repeat less, or search for a text`,
  );
}

/** Text that, as the engine found out by itself, every match contains. */
interface Prefilter {
  type: number;
  str: string;
  subs: Prefilter[];
}
const EXACT = 1;
const ALL_OF = 2;

/** The longest text that every match contains, a character a byte; null when nobody knows one. */
function requiredLiteral(expression: RE2JS): string | null {
  const prefilter = expression.re2Input.prefilter as Prefilter | null;
  const parts = prefilter?.type === ALL_OF ? prefilter.subs : prefilter ? [prefilter] : [];
  const texts = parts.filter(({ type }) => type === EXACT).map(({ str }) => latin1(str));
  texts.sort((one, other) => other.length - one.length);
  return texts[0] ?? null;
}

/** UTF-8, a character a byte. */
function latin1(text: string): string {
  return Buffer.from(text).toString("latin1");
}
