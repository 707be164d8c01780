/**
 * JSON mode: messages as lines of a log, and lines as the array that clients are answered.
 *
 * A message is kept as it was written, but for the space between its parts: numbers that JavaScript cannot hold, and
 * the order of what is in it, stay as they are.
 * @module
 */
import { STEPS } from "../../turn.ts";
import { JsonSyntax, noJson } from "./json_syntax.ts";

const [LINE_BREAK, COMMA, OPEN, CLOSE] = [0x0a, 0x2c, 0x5b, 0x5d];
/** So much is looked at in one step. */
const STEP_BYTES = 64 * 1024;

/**
 * The lines of the messages that a request brings: the members of an array, or one value.
 * @param bytes The content of the request; it must not be changed meanwhile, as others have turns.
 * @returns The lines; none for an empty array.
 * @throws {StreamError} BAD_REQUEST for what is no JSON.
 */
export async function linesIn(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const separator = new Separator(bytes.length);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let at = 0; at < bytes.length; at += STEP_BYTES) {
    if (at > 0) await STEPS.next("JSON");
    const step = bytes.subarray(at, at + STEP_BYTES);
    checkText(decoder, step, at + STEP_BYTES >= bytes.length);
    separator.take(step);
  }
  return separator.end();
}

/**
 * Makes the body of an answer out of lines.
 * @param chunks Whole lines, in any pieces.
 * @param byteCount Bytes of them all.
 * @returns The array of the messages, in pieces.
 */
export async function* arrayOf(
  chunks: AsyncIterable<Uint8Array>,
  byteCount: number,
): AsyncGenerator<Uint8Array, void, void> {
  if (byteCount === 0) return yield new Uint8Array([OPEN, CLOSE]);
  let at = 0;
  for await (const chunk of chunks) {
    const isFirst = at === 0;
    at += chunk.length;
    yield asArray(chunk, isFirst, at === byteCount);
  }
}

/** Bytes of the array of so many bytes of lines. */
export function arrayLength(byteCount: number): number {
  return byteCount === 0 ? 2 : byteCount + 1;
}

/**
 * A piece of the array.
 * @param chunk A piece of lines.
 * @param isFirst Whether it begins with the first of them.
 * @param isLast Whether it ends with the last of them.
 */
export function asArray(chunk: Uint8Array, isFirst: boolean, isLast: boolean): Uint8Array {
  const start = isFirst ? 1 : 0;
  const array = new Uint8Array(chunk.length + start);
  if (isFirst) array[0] = OPEN;
  array.set(chunk, start);
  for (let at = array.indexOf(LINE_BREAK); at !== -1; at = array.indexOf(LINE_BREAK, at + 1)) {
    array[at] = COMMA;
  }
  if (isLast) array[array.length - 1] = CLOSE;
  return array;
}

/**
 * The first messages of some lines.
 * @param bytes The lines.
 * @param most Messages that are wanted.
 * @returns Where they end, and how many they are.
 */
export function firstMessages(bytes: Uint8Array, most: number): { end: number; count: number } {
  let end = 0, count = 0;
  for (let next = 0; count < most && (next = bytes.indexOf(LINE_BREAK, end) + 1) > 0; count++) {
    end = next;
  }
  return { end, count };
}

/** Where the last whole line of some bytes ends; 0 when there is none. */
export function endOfLines(bytes: Uint8Array): number {
  return bytes.lastIndexOf(LINE_BREAK) + 1;
}

function checkText(decoder: TextDecoder, bytes: Uint8Array, isLast: boolean): void {
  try {
    decoder.decode(bytes, { stream: !isLast });
  } catch {
    throw noJson("it is not UTF-8");
  }
}

/** JSON without the space between its parts, the members of an outermost array on lines of their own. */
class Separator {
  readonly #syntax = new JsonSyntax();
  readonly #lines: Uint8Array<ArrayBuffer>;
  #length = 0;
  #isArray = false;

  /** @param byteCount Bytes of all of it. */
  constructor(byteCount: number) {
    this.#lines = new Uint8Array(byteCount + 1);
  }

  /** @throws {StreamError} BAD_REQUEST for what is no JSON. */
  take(bytes: Uint8Array): void {
    const syntax = this.#syntax;
    for (let at = 0; at < bytes.length; at++) {
      if (syntax.isInString && (at = this.#takeText(bytes, at)) === bytes.length) return;
      const byte = bytes[at];
      const before = syntax.depth;
      if (!syntax.take(byte)) continue;
      const { depth } = syntax;
      if (depth === 1 && before === 0 && (this.#isArray = byte === OPEN)) continue;
      if (depth === 0 && before === 1 && this.#isArray) continue;
      const separates = byte === COMMA && depth === 1 && this.#isArray && !syntax.isInString;
      this.#lines[this.#length++] = separates ? LINE_BREAK : byte;
    }
  }

  /** Most bytes stand in strings, and nearly all of these mean nothing: they are taken together. */
  #takeText(bytes: Uint8Array, from: number): number {
    const end = this.#syntax.passText(bytes, from);
    this.#lines.set(bytes.subarray(from, end), this.#length);
    this.#length += end - from;
    return end;
  }

  /** @throws {StreamError} BAD_REQUEST where more has to come. */
  end(): Uint8Array<ArrayBuffer> {
    this.#syntax.end();
    if (this.#length > 0) this.#lines[this.#length++] = LINE_BREAK;
    return this.#lines.subarray(0, this.#length);
  }
}
