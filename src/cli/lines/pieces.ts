/**
 * Bytes as lines.
 * @module
 */
import { joined } from "../../byte_queue.ts";

/** Longest piece of a line that is kept until its end comes; a longer line is told in several. */
export const MAX_PIECE_BYTES: number = 64 * 1024;
const LINE_BREAK = 10;
const CARRIAGE_RETURN = 13;

/** A line, or a part of one that is very long. */
export interface Piece {
  /** The bytes, with the line break where there is one. */
  bytes: Uint8Array;
  /** Index of the line, from 0. */
  line: number;
  /** Whether the line begins with it. */
  isFirst: boolean;
  /** Whether nothing of the line comes behind it. */
  isLast: boolean;
}

/** Cuts bytes into lines. */
export class Pieces {
  #rest = new Uint8Array(0);
  #line: number;
  #isFirst = true;

  /** @param firstLine Index of the line with which the bytes begin. */
  constructor(firstLine: number) {
    this.#line = firstLine;
  }

  /** The lines that are whole with these bytes, in order. */
  add(bytes: Uint8Array): Piece[] {
    const pieces: Piece[] = [];
    const all = joined(this.#rest, bytes);
    let from = 0;
    for (let at = all.indexOf(LINE_BREAK); at >= 0; at = all.indexOf(LINE_BREAK, from)) {
      pieces.push(...this.#cut(all.subarray(from, at + 1), true));
      this.#line++;
      this.#isFirst = true;
      from = at + 1;
    }
    const rest = all.subarray(from);
    // What may be the end of a line is kept: its last piece is told as such, and with the whole line break.
    const whole = Math.floor(Math.max(0, rest.length - 2) / MAX_PIECE_BYTES) * MAX_PIECE_BYTES;
    pieces.push(...this.#cut(rest.subarray(0, whole), false));
    this.#rest = rest.slice(whole);
    return pieces;
  }

  /** What is left of a line that has no end. */
  end(): Piece[] {
    const rest = this.#rest;
    this.#rest = new Uint8Array(0);
    return this.#cut(rest, true);
  }

  #cut(bytes: Uint8Array, isEnd: boolean): Piece[] {
    const pieces: Piece[] = [];
    const length = textLength(bytes);
    for (let at = 0; at < bytes.length;) {
      const isFirst = this.#isFirst;
      this.#isFirst = false;
      const isRest = at + MAX_PIECE_BYTES >= length;
      const end = isRest ? bytes.length : at + MAX_PIECE_BYTES;
      pieces.push({
        bytes: bytes.subarray(at, end),
        line: this.#line,
        isFirst,
        isLast: isEnd && isRest,
      });
      at = end;
    }
    return pieces;
  }
}

/** Length of a line without its line break, of one byte or two. */
export function textLength(line: Uint8Array): number {
  if (line.at(-1) !== LINE_BREAK) return line.length;
  return line.at(-2) === CARRIAGE_RETURN ? line.length - 2 : line.length - 1;
}

/** Whether a line ends with its line break. */
export function isBroken(line: Uint8Array): boolean {
  return line.at(-1) === LINE_BREAK;
}

/** What a terminal shows of a line in the end: what is behind the last return to its beginning. */
export function lastState(line: Uint8Array): Uint8Array {
  const length = textLength(line);
  return line.subarray(line.subarray(0, length).lastIndexOf(CARRIAGE_RETURN) + 1);
}
