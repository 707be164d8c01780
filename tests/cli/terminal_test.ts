/** What a terminal shows. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { columnsOf } from "../../src/cli/output/terminal.ts";

const TEXTS: readonly [text: string, columns: number][] = [
  ["build.log", 9],
  ["Ärger…①", 7],
  ["ｶﾅ", 2],
  ["日本", 4],
  ["한국", 4],
  ["\u1112\u1161\u11ab", 2],
  ["Ａ。", 4],
  ["𠮷", 2],
  ["e\u0301", 1],
  ["\u200b\ufeff", 0],
  ["🚀", 2],
  ["👩‍👩‍👧", 2],
  ["🇩🇪", 2],
  ["❤", 1],
  ["❤\ufe0f", 2],
];

test("a text takes as many columns as a terminal shows it in", () => {
  for (const [text, columns] of TEXTS) assertEquals([text, columnsOf(text)], [text, columns]);
});

test("every letter, syllable and sign of East Asia takes two columns, unless it is a half one", () => {
  const isOne =
    /^[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Bopo}\p{sc=Yiii}\uac00-\ud7a3\uff01-\uff60\uffe0-\uffe6]$/u;
  const isHalf = /^[\uff61-\uff9f]$/;
  for (let code = 0x2e80; code < 0x40000; code++) {
    const char = String.fromCodePoint(code);
    const columns = isHalf.test(char) ? 1 : 2;
    if (isOne.test(char)) assertEquals([code, columnsOf(char)], [code, columns]);
  }
});
