/**
 * Whether bytes are JSON (RFC 8259), found out as they pass: a parser needs all of them in one go.
 * @module
 */
import { StreamError } from "../../protocol.ts";

/** Deeper JSON is refused: who reads it has a stack. */
const MAX_DEPTH = 1000;
const [TAB, LINE_FEED, RETURN, SPACE, QUOTE, BACKSLASH] = [0x09, 0x0a, 0x0d, 0x20, 0x22, 0x5c];
const [PLUS, COMMA, MINUS, POINT, ZERO, NINE, COLON] = [0x2b, 0x2c, 0x2d, 0x2e, 0x30, 0x39, 0x3a];
const [OPEN, CLOSE, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];
const WORDS = new Map(["true", "false", "null"].map((word) => {
  const bytes = new TextEncoder().encode(word);
  return [bytes[0], bytes];
}));
const ESCAPES = new Set(new TextEncoder().encode('"\\/bfnrt'));
const UNICODE_ESCAPE = 0x75;

/** What may come next; those of numbers stand together, behind `MINUS_SIGN`, and may end from `WHOLE_ZERO` on. */
const NEXT = {
  VALUE: 0,
  VALUE_OR_CLOSE: 1,
  NAME: 2,
  NAME_OR_CLOSE: 3,
  COLON: 4,
  AFTER_VALUE: 5,
  IN_STRING: 6,
  ESCAPED: 7,
  HEX_DIGIT: 8,
  IN_WORD: 9,
  MINUS_SIGN: 10,
  POINT: 11,
  EXPONENT: 12,
  EXPONENT_SIGN: 13,
  WHOLE_ZERO: 14,
  WHOLE: 15,
  FRACTION: 16,
  POWER: 17,
};

/** Reads JSON, byte by byte. */
export class JsonSyntax {
  #next = NEXT.VALUE;
  /** Brackets that are open. */
  readonly #open: number[] = [];
  #isName = false;
  #hexDigits = 0;
  #word: Uint8Array = new Uint8Array();
  #wordAt = 0;
  #at = 0;

  /** How many brackets are open. */
  get depth(): number {
    return this.#open.length;
  }

  /** Whether the last byte was one of a string, but for its ends. */
  get isInString(): boolean {
    return this.#next === NEXT.IN_STRING;
  }

  /**
   * Takes the next byte.
   * @returns Whether it means anything; space between parts does not.
   * @throws {StreamError} BAD_REQUEST where it is none of JSON.
   */
  take(byte: number): boolean {
    const isTaken = this.#next >= NEXT.IN_STRING && this.#takeInside(byte);
    const isSpace = !isTaken && isSpaceByte(byte);
    if (!isTaken && !isSpace) this.#takeBetween(byte);
    this.#at++;
    return !isSpace;
  }

  /**
   * Takes the bytes of a string that stand for themselves.
   * @param bytes All bytes.
   * @param from Where the string goes on.
   * @returns Where the first one stands that ends it, escapes the next, or must not be there; else where they end.
   */
  passText(bytes: Uint8Array, from: number): number {
    let at = from;
    while (at < bytes.length && !meansSomething(bytes[at])) at++;
    this.#at += at - from;
    return at;
  }

  /** @throws {StreamError} BAD_REQUEST where more has to come. */
  end(): void {
    const isWhole = this.#next === NEXT.AFTER_VALUE || this.#next >= NEXT.WHOLE_ZERO;
    if (!isWhole || this.depth > 0) throw noJson("it ends too early");
  }

  /** A byte within a string, a number or a word; false for the one behind a number. */
  #takeInside(byte: number): boolean {
    switch (this.#next) {
      case NEXT.IN_STRING:
        if (byte === QUOTE) this.#next = this.#isName ? NEXT.COLON : NEXT.AFTER_VALUE;
        else if (byte === BACKSLASH) this.#next = NEXT.ESCAPED;
        else if (byte < SPACE) this.#refuse();
        return true;
      case NEXT.ESCAPED:
        if (byte === UNICODE_ESCAPE) [this.#next, this.#hexDigits] = [NEXT.HEX_DIGIT, 4];
        else if (ESCAPES.has(byte)) this.#next = NEXT.IN_STRING;
        else this.#refuse();
        return true;
      case NEXT.HEX_DIGIT:
        if (!isHexDigit(byte)) this.#refuse();
        if (--this.#hexDigits === 0) this.#next = NEXT.IN_STRING;
        return true;
      case NEXT.IN_WORD:
        if (byte !== this.#word[this.#wordAt++]) this.#refuse();
        if (this.#wordAt === this.#word.length) this.#next = NEXT.AFTER_VALUE;
        return true;
      default:
        return this.#takeOfNumber(byte);
    }
  }

  #takeOfNumber(byte: number): boolean {
    const next = afterInNumber(this.#next, byte);
    if (next !== null) this.#next = next;
    else if (this.#next < NEXT.WHOLE_ZERO) this.#refuse();
    else this.#next = NEXT.AFTER_VALUE;
    return next !== null;
  }

  #takeBetween(byte: number): void {
    switch (this.#next) {
      case NEXT.COLON:
        if (byte !== COLON) this.#refuse();
        this.#next = NEXT.VALUE;
        return;
      case NEXT.AFTER_VALUE:
        return byte === COMMA ? this.#takeComma() : this.#close(byte);
      case NEXT.NAME_OR_CLOSE:
        if (byte === CLOSE_OBJECT) return this.#close(byte);
        return this.#beginName(byte);
      case NEXT.NAME:
        return this.#beginName(byte);
      case NEXT.VALUE_OR_CLOSE:
        if (byte === CLOSE) return this.#close(byte);
    }
    this.#beginValue(byte);
  }

  #takeComma(): void {
    if (this.depth === 0) this.#refuse();
    this.#next = this.#open.at(-1) === OPEN ? NEXT.VALUE : NEXT.NAME;
  }

  #close(byte: number): void {
    const opened = this.#open.pop();
    const isRight = byte === CLOSE
      ? opened === OPEN
      : byte === CLOSE_OBJECT && opened === OPEN_OBJECT;
    if (!isRight) this.#refuse();
    this.#next = NEXT.AFTER_VALUE;
  }

  #beginName(byte: number): void {
    if (byte !== QUOTE) this.#refuse();
    [this.#next, this.#isName] = [NEXT.IN_STRING, true];
  }

  #beginValue(byte: number): void {
    const word = WORDS.get(byte);
    if (byte === QUOTE) [this.#next, this.#isName] = [NEXT.IN_STRING, false];
    else if (byte === OPEN || byte === OPEN_OBJECT) {
      if (this.#open.push(byte) > MAX_DEPTH) throw noJson(`it is deeper than ${MAX_DEPTH} levels`);
      this.#next = byte === OPEN ? NEXT.VALUE_OR_CLOSE : NEXT.NAME_OR_CLOSE;
    } else if (word !== undefined) {
      [this.#word, this.#wordAt, this.#next] = [word, 1, NEXT.IN_WORD];
    } else if (byte === MINUS) this.#next = NEXT.MINUS_SIGN;
    else if (isDigit(byte)) this.#next = byte === ZERO ? NEXT.WHOLE_ZERO : NEXT.WHOLE;
    else this.#refuse();
  }

  #refuse(): never {
    throw noJson(`byte ${this.#at} is not what may stand there`);
  }
}

/** What comes next when a number goes on; null where it does not. */
function afterInNumber(next: number, byte: number): number | null {
  if (isDigit(byte)) {
    if (next === NEXT.MINUS_SIGN) return byte === ZERO ? NEXT.WHOLE_ZERO : NEXT.WHOLE;
    if (next === NEXT.WHOLE) return next;
    if (next === NEXT.POINT || next === NEXT.FRACTION) return NEXT.FRACTION;
    return next === NEXT.WHOLE_ZERO ? null : NEXT.POWER;
  }
  const isWhole = next === NEXT.WHOLE_ZERO || next === NEXT.WHOLE;
  if (byte === POINT) return isWhole ? NEXT.POINT : null;
  // e, E
  if ((byte | 0x20) === 0x65) return isWhole || next === NEXT.FRACTION ? NEXT.EXPONENT : null;
  return next === NEXT.EXPONENT && (byte === PLUS || byte === MINUS) ? NEXT.EXPONENT_SIGN : null;
}

/** Whether a byte of a string is more than a part of its text. */
function meansSomething(byte: number): boolean {
  return byte === QUOTE || byte === BACKSLASH || byte < SPACE;
}

function isSpaceByte(byte: number): boolean {
  return byte === SPACE || byte === LINE_FEED || byte === RETURN || byte === TAB;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

function isHexDigit(byte: number): boolean {
  return isDigit(byte) || (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66;
}

/** The error of content that is no JSON. */
export function noJson(why: string): StreamError {
  return new StreamError("BAD_REQUEST", `the content is no JSON: ${why}`);
}
