/**
 * Charsets of several bytes a character, read by tables: those of iconv-lite, corrected where Java
 * reads a sequence otherwise. iconv-lite's own decoders lose bytes of characters that are split over chunks.
 * @module
 */
import { Buffer } from "node:buffer";
import type iconv from "iconv-lite";
import type { Decoder } from "./decoder.ts";

/** Where a table comes from. */
interface Origin {
  /** Its name in iconv-lite. */
  base: string;
  /** Second bytes in their order, as pairs of a first and a last. */
  trails: [first: number, last: number][];
  /** First sequence and first code point, hexadecimal, and the number of characters that follow each other. */
  corrections: string[];
}

/** The same for GB18030's sequences of four bytes; the last is U+FFFD itself, which says nothing when iconv-lite gives it. */
const QUADRUPLE_CORRECTIONS = [
  ...["82359037 e81e", "82359038 e826", "82359039 e82b 2", "82359131 e832", "82359132 e843"],
  ...["82359133 e854", "82359134 e864", "84318236 e78d", "84318237 e78f", "84318238 e78e"],
  ...["84318239 e790", "84318330 e791 6", "8431a437 fffd"],
];

const EUC: Origin["trails"] = [[0xa1, 0xfe]];
const BIG5: Origin["trails"] = [[0x40, 0x7e], [0xa1, 0xfe]];
const GBK: Origin["trails"] = [[0x40, 0x7e], [0x80, 0xfe]];
const SHIFT_JIS: Origin["trails"] = [[0x40, 0x7e], [0x80, 0xfc]];
const UNIFIED_HANGUL: Origin["trails"] = [[0x41, 0x5a], [0x61, 0x7a], [0x81, 0xfe]];

/** Characters that iconv-lite reads as a later standard does, private ones to Java. */
const GBK_PRIVATE = [
  ...["a3a0 e5e5", "a8bc e7c7", "a8bf e7c8", "a989 e7e7 13", "fe50 e815", "fe54 e819 5"],
  ...["fe5a e81f 7", "fe62 e827 4", "fe68 e82d 4", "fe6e e833 8", "fe77 e83c 7"],
  ...["fe80 e844 16", "fe92 e856 14"],
];
const BIG5_SIGNS = [
  ...["a145 2022", "a14e ff64", "a15a ff3f", "a1c2 203e", "a1e3 223c", "a1f2 2641", "a1f3 2609"],
  ...["a1fe 2571 2", "a241 ff0f", "a242 ff3c", "a244 a5", "a246 a2 2"],
];

/** By charset. */
const ORIGINS: Record<string, Origin> = {
  "TIS-620": { base: "TIS-620", trails: [], corrections: ["a0 a0"] },
  "Shift_JIS": {
    base: "Shift_JIS",
    trails: SHIFT_JIS,
    corrections: [
      ...["815c 2014", "8160 301c", "8161 2016", "817c 2212", "8191 a2 2", "81ca ac"],
    ],
  },
  "windows-31j": { base: "Shift_JIS", trails: SHIFT_JIS, corrections: ["f941 e69d 187"] },
  "EUC-JP": {
    base: "EUC-JP",
    trails: EUC,
    corrections: ["a1bd 2014", "a1c1 301c", "a1c2 2016", "a1dd 2212", "a1f1 a2 2", "a2cc ac"],
  },
  "GB2312": { base: "GBK", trails: GBK, corrections: ["a1a4 30fb", "a1aa 2015"] },
  "GBK": { base: "GBK", trails: GBK, corrections: ["a892 2641", ...GBK_PRIVATE] },
  "MS936": { base: "GBK", trails: GBK, corrections: ["a2e3 e76c", ...GBK_PRIVATE] },
  "GB18030": {
    base: "GB18030",
    trails: GBK,
    corrections: [
      ...["a3a0 e5e5", "a6d9 fe10", "a6da fe12", "a6db fe11", "a6dc fe13 4", "a6ec fe17 2"],
      ...["a6f3 fe19", "fe59 9fb4", "fe61 9fb5", "fe66 9fb6 2", "fe6d 9fb8", "fe7e 9fb9"],
      ...["fe90 9fba", "fea0 9fbb"],
    ],
  },
  "Big5": {
    base: "Big5",
    trails: BIG5,
    corrections: [
      ...BIG5_SIGNS,
      ...["c6a1 30fe", "c6a2 309d 2", "c6a4 3005", "c6a5 3041 83", "c6f8 30a1 86", "c7b1 414 2"],
      ...["c7b3 401", "c7b4 416 7", "c7bb 423 19", "c7ce 451", "c7cf 436 26", "c7e9 2460 10"],
      ...["c7f3 2474 10"],
    ],
  },
  "windows-950": {
    base: "cp950",
    trails: BIG5,
    corrections: ["8140 eeb8 2041", "8e40 e311 2983", "c6a1 f6b1 408", "fa40 e000 785"],
  },
  "Big5-HKSCS": {
    base: "Big5-HKSCS",
    trails: BIG5,
    corrections: [
      ...BIG5_SIGNS,
      ...["c6cf 306b", "c6d3 306f", "c6d5 3071", "c6d7 3073", "c6de 307a 2"],
    ],
  },
  "EUC-KR": { base: "EUC-KR", trails: EUC, corrections: ["a2e8 327e"] },
  "windows-949": {
    base: "cp949",
    trails: UNIFIED_HANGUL,
    corrections: ["c9a1 e000 94", "fea1 e05e 94"],
  },
};

const REPLACEMENT = 0xfffd;
/** Stands for the first byte of longer sequences. */
const LEAD = -1;
/** EUC-JP's first byte of sequences of three. */
const TRIPLE_LEAD = 0x8f;
const LINE_BREAK = 0x0a;
/** Number of GB18030's first sequence of four bytes beyond the basic plane. */
const FIRST_ASTRAL = 189_000;
const ASTRAL_START = 0x10000, ASTRAL_COUNT = 0x100000;

/** What the sequences of a charset mean; 0 is no character. */
export interface Table {
  /** Code point by byte, REPLACEMENT or LEAD. */
  singles: Int32Array;
  /** Code point by two bytes. */
  pairs: Uint32Array;
  /** Code point by the two bytes behind EUC-JP's 0x8f; null where there are none. */
  triples: Uint32Array | null;
  /** Code point by the four bytes; null where there are none. */
  quadruple: ((bytes: Uint8Array) => number) | null;
}

/** Whether a charset is read by a table. */
export function isTabled(charset: string): boolean {
  return charset in ORIGINS;
}

/** Tables that were made once: 256 KiB each, some ten milliseconds. */
const tables = new Map<string, Table>();

/** The table of a charset. */
export function tableOf(library: typeof iconv, charset: string): Table {
  const table = tables.get(charset) ?? buildTable(library, charset);
  tables.set(charset, table);
  return table;
}

function buildTable(library: typeof iconv, charset: string): Table {
  const { base, trails, corrections } = ORIGINS[charset];
  const decode = (bytes: number[]) => library.decode(Buffer.from(bytes), base, { stripBOM: false });
  const table: Table = {
    singles: Int32Array.from({ length: 256 }, (_, byte) => {
      return byte < 0x80 ? byte : onlyCharacter(decode([byte])) || REPLACEMENT;
    }),
    pairs: new Uint32Array(0x10000),
    triples: charset === "EUC-JP" ? new Uint32Array(0x10000) : null,
    quadruple: charset === "GB18030" ? quadruples(decode) : null,
  };
  for (let lead = 0x81; lead <= 0xfe; lead++) {
    if (table.singles[lead] !== REPLACEMENT) continue;
    fillRow(table.pairs, lead, trails, (ends) => decode(ends.flatMap((end) => [lead, ...end])));
    if (table.triples === null) continue;
    fillRow(table.triples, lead, trails, (ends) => {
      return decode(ends.flatMap((end) => [TRIPLE_LEAD, lead, ...end]));
    });
  }
  for (const correction of corrections) correct(table, trails, correction);
  markLeads(table);
  return table;
}

/** The code point of a text that is one character; else 0. */
function onlyCharacter(text: string): number {
  const codePoint = text.codePointAt(0) ?? 0;
  return text.length === (codePoint > 0xffff ? 2 : 1) && codePoint !== REPLACEMENT ? codePoint : 0;
}

/** Reads a row in one go: no character ends with a line break, so that one ends each of them. */
function fillRow(
  characters: Uint32Array,
  lead: number,
  trails: Origin["trails"],
  decode: (ends: number[][]) => string,
): void {
  const row = trails.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, index) => first + index)
  );
  const texts = decode(row.map((trail) => [trail, LINE_BREAK])).split("\n");
  for (const [index, trail] of row.entries()) {
    characters[lead << 8 | trail] = onlyCharacter(texts[index]);
  }
}

function correct(table: Table, trails: Origin["trails"], correction: string): void {
  const { start, character, count } = parse(correction);
  const characters = start <= 0xff ? table.singles : table.pairs;
  let sequence = start;
  for (let index = 0; index < count; index++) {
    characters[sequence] = character + index;
    sequence = following(sequence, trails);
  }
}

function parse(correction: string): { start: number; character: number; count: number } {
  const [start, character, count = "1"] = correction.split(" ");
  return { start: parseInt(start, 16), character: parseInt(character, 16), count: Number(count) };
}

/** The sequence of two bytes that follows one. */
function following(sequence: number, trails: Origin["trails"]): number {
  const lead = sequence & 0xff00, trail = sequence & 0xff;
  const at = trails.findIndex(([first, last]) => first <= trail && trail <= last);
  if (at < 0 || trail < trails[at][1]) return sequence + 1;
  return at + 1 < trails.length ? lead | trails[at + 1][0] : lead + 0x100 | trails[0][0];
}

function markLeads({ singles, pairs, triples, quadruple }: Table): void {
  for (let lead = 0x81; lead <= 0xfe; lead++) {
    if (singles[lead] !== REPLACEMENT) continue;
    const isLead = quadruple !== null || triples !== null && lead === TRIPLE_LEAD ||
      pairs.subarray(lead << 8, (lead + 1) << 8).some((character) => character !== 0);
    if (isLead) singles[lead] = LEAD;
  }
}

/** Looks sequences of four bytes up one by one: nearly all of a table would never be used. */
function quadruples(decode: (bytes: number[]) => string): (bytes: Uint8Array) => number {
  const known = new Map<number, number>();
  for (const correction of QUADRUPLE_CORRECTIONS) {
    const { start, character, count } = parse(correction);
    const first = numberOf(new Uint8Array(new Uint32Array([start]).buffer).reverse());
    for (let index = 0; index < count; index++) known.set(first + index, character + index);
  }
  return (bytes) => {
    const number = numberOf(bytes);
    if (number >= FIRST_ASTRAL) {
      return number < FIRST_ASTRAL + ASTRAL_COUNT ? ASTRAL_START + number - FIRST_ASTRAL : 0;
    }
    const found = known.get(number) ?? onlyCharacter(decode([...bytes]));
    known.set(number, found);
    return found;
  };
}

/** Number of one of GB18030's sequences of four bytes: the second and the last are digits. */
function numberOf([first, second, third, fourth]: Uint8Array): number {
  return (((first - 0x81) * 10 + second - 0x30) * 126 + third - 0x81) * 10 + fourth - 0x30;
}

/** Reads text by a table. What is no character becomes U+FFFD, and takes no byte that may begin the next one. */
export class TableDecoder implements Decoder {
  readonly #table: Table;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(table: Table) {
    this.#table = table;
  }

  write(bytes: Uint8Array): string {
    const { singles } = this.#table;
    const input = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    // No character has more units than bytes.
    const text = new Utf16(input.length);
    let at = 0;
    while (at < input.length) {
      const single = singles[input[at]];
      if (single !== LEAD) {
        text.add(single);
        at++;
        continue;
      }
      const length = this.#lengthAt(input, at);
      if (at + length > input.length) break;
      const character = this.#characterAt(input, at, length);
      text.add(character || REPLACEMENT);
      at += character !== 0 ? length : singles[input[at + 1]] === REPLACEMENT ? 2 : 1;
    }
    // A copy, also of a Buffer, whose `slice` is none.
    this.#rest = new Uint8Array(input.subarray(at));
    return text.toString();
  }

  end(): string {
    return this.#rest.length === 0 ? "" : "\ufffd";
  }

  #lengthAt(input: Uint8Array, at: number): number {
    if (this.#table.triples !== null && input[at] === TRIPLE_LEAD) return 3;
    return this.#table.quadruple !== null && isDigit(input[at + 1]) ? 4 : 2;
  }

  /** The code point, 0 when there is none. */
  #characterAt(input: Uint8Array, at: number, length: number): number {
    const { pairs, triples, quadruple } = this.#table;
    if (length === 2) return pairs[input[at] << 8 | input[at + 1]];
    if (length === 3) return triples![input[at + 1] << 8 | input[at + 2]];
    const isWhole = input[at + 2] >= 0x81 && input[at + 2] <= 0xfe && isDigit(input[at + 3]);
    return isWhole ? quadruple!(input.subarray(at, at + 4)) : 0;
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** A text that grows by code points. */
export class Utf16 {
  readonly #units: Uint16Array;
  #length = 0;

  constructor(maxUnits: number) {
    this.#units = new Uint16Array(maxUnits);
  }

  add(codePoint: number): void {
    if (codePoint <= 0xffff) {
      this.#units[this.#length++] = codePoint;
      return;
    }
    this.#units[this.#length++] = 0xd7c0 + (codePoint >> 10);
    this.#units[this.#length++] = 0xdc00 | codePoint & 0x3ff;
  }

  toString(): string {
    return Buffer.from(this.#units.buffer, 0, 2 * this.#length).toString("utf16le");
  }
}
