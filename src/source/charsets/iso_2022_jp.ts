/**
 * ISO-2022-JP, where escape sequences and shifts tell what the bytes behind them mean.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Decoder } from "./decoder.ts";
import { type Table, Utf16 } from "./table.ts";

type CharacterSet = "ascii" | "roman" | "kana" | "kanji";

/** What follows ESC, and the set it chooses. */
const ESCAPES: Record<string, CharacterSet> = {
  "(B": "ascii",
  "(J": "roman",
  "(I": "kana",
  "$@": "kanji",
  "$B": "kanji",
};
const ESCAPE = 0x1b, ESCAPE_BYTES = 3;
const SHIFT_OUT = 0x0e, SHIFT_IN = 0x0f;
/** Below are control characters and the space, which mean the same in every set. */
const FIRST_GRAPHIC = 0x21;
/** Half-width kana of JIS X 0201 with seven bits. */
const LAST_KANA = 0x5f, KANA_OFFSET = 0xff40;
/** The two signs in which JIS X 0201 differs from ASCII. */
const ROMAN: Record<number, number> = { 0x5c: 0xa5, 0x7e: 0x203e };
const REPLACEMENT = 0xfffd;

/** Reads ISO-2022-JP as Java does; text in a set goes on over line breaks. */
export class Iso2022JpDecoder implements Decoder {
  readonly #kanji: Uint32Array;
  #set: CharacterSet = "ascii";
  /** Chosen again by a shift in. */
  #shiftedFrom: CharacterSet = "ascii";
  #rest: Uint8Array = new Uint8Array(0);

  /** @param eucJp The table of EUC-JP, which has the same characters with eight bits. */
  constructor(eucJp: Table) {
    this.#kanji = eucJp.pairs;
  }

  write(bytes: Uint8Array): string {
    const input = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const text = new Utf16(input.length);
    let at = 0;
    while (at < input.length) {
      const taken = this.#take(input, at, text);
      if (taken === 0) break;
      at += taken;
    }
    // A copy, also of a Buffer, whose `slice` is none.
    this.#rest = new Uint8Array(input.subarray(at));
    return text.toString();
  }

  end(): string {
    return this.#rest.length === 0 ? "" : "\ufffd";
  }

  /** Takes a character or a change of the set; returns its length, 0 when bytes of it are missing. */
  #take(input: Uint8Array, at: number, text: Utf16): number {
    const byte = input[at];
    if (byte === ESCAPE) return this.#escape(input, at, text);
    if (byte === SHIFT_OUT) {
      this.#shiftedFrom = this.#set;
      this.#set = "kana";
    } else if (byte === SHIFT_IN) this.#set = this.#shiftedFrom;
    else if (byte < FIRST_GRAPHIC) text.add(byte);
    else if (this.#set === "kanji") return this.#pair(input, at, text);
    else text.add(byte < 0x80 ? this.#single(byte) : REPLACEMENT);
    return 1;
  }

  #escape(input: Uint8Array, at: number, text: Utf16): number {
    if (at + ESCAPE_BYTES > input.length) return 0;
    const set = ESCAPES[String.fromCharCode(input[at + 1], input[at + 2])];
    if (set === undefined) {
      text.add(REPLACEMENT);
      return 1;
    }
    this.#set = set;
    return ESCAPE_BYTES;
  }

  #single(byte: number): number {
    if (this.#set === "kana") return byte <= LAST_KANA ? KANA_OFFSET + byte : REPLACEMENT;
    return this.#set === "roman" ? ROMAN[byte] ?? byte : byte;
  }

  #pair(input: Uint8Array, at: number, text: Utf16): number {
    if (at + 1 === input.length) return 0;
    const [first, second] = input.subarray(at, at + 2);
    if (second < FIRST_GRAPHIC) {
      text.add(REPLACEMENT);
      return 1;
    }
    const isSevenBit = first < 0x80 && second < 0x80;
    text.add(isSevenBit && this.#kanji[first << 8 | second | 0x8080] || REPLACEMENT);
    return 2;
  }
}
