/**
 * JSON mode: messages as lines of a log, and lines as the array that clients are answered.
 *
 * A message is kept as it was written, but for the space between its parts: numbers that JavaScript cannot hold, and
 * the order of what is in it, stay as they are.
 * @module
 */
import { StreamError } from "../../protocol.ts";

/** Deeper JSON is refused: who reads it has a stack. */
const MAX_DEPTH = 1000;
const [LINE_BREAK, SPACE, QUOTE, COMMA, BACKSLASH] = [0x0a, 0x20, 0x22, 0x2c, 0x5c];
const [OPEN, CLOSE, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * The lines of the messages that a request brings: the members of an array, or one value.
 * @param bytes The content of the request.
 * @returns The lines; none for an empty array.
 * @throws {StreamError} BAD_REQUEST for what is no JSON.
 */
export function linesIn(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = textOf(bytes);
  // What cannot be parsed may come out as anything: it is thrown away below.
  const lines = separated(bytes);
  try {
    JSON.parse(text);
  } catch (error) {
    throw noJson((error as Error).message);
  }
  return lines;
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

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw noJson("it is not UTF-8");
  }
}

/** JSON without the space between its parts, the members of an outermost array on lines of their own. */
function separated(json: Uint8Array): Uint8Array<ArrayBuffer> {
  const lines = new Uint8Array(json.length + 1);
  let length = 0, depth = 0, inString = false, isArray = false;
  for (let at = 0; at < json.length; at++) {
    let byte = json[at];
    if (inString) {
      if (byte === BACKSLASH) {
        lines[length++] = byte;
        byte = json[++at];
      } else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte <= SPACE) continue;
    else if (byte === OPEN || byte === OPEN_OBJECT) {
      if (++depth > MAX_DEPTH) throw noJson(`it is deeper than ${MAX_DEPTH} levels`);
      if (depth === 1 && (isArray = byte === OPEN)) continue;
    } else if (byte === CLOSE || byte === CLOSE_OBJECT) {
      if (--depth === 0 && isArray) continue;
    } else if (byte === COMMA && depth === 1 && isArray) byte = LINE_BREAK;
    lines[length++] = byte;
  }
  if (length > 0) lines[length++] = LINE_BREAK;
  return lines.subarray(0, length);
}

function noJson(why: string): StreamError {
  return new StreamError("BAD_REQUEST", `the content is no JSON: ${why}`);
}
