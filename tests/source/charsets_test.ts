/** Every charset that is offered, held against what Java's decoders made of every valid sequence. */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { brotliDecompressSync } from "node:zlib";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { charsetOf, CHARSETS } from "../../src/source/charsets/charsets.ts";
import { loadDecoder } from "../../src/source/charsets/decoders.ts";
import { transcodeToUtf8 } from "../../src/source/charsets/text.ts";

type Run = [first: string, text: string] | [first: string, codePoint: number, count: number];

interface JavaCharset {
  aliases: string[];
  runs: Run[];
}

const { others, ...java }: Record<string, JavaCharset> & { others: Record<string, string[]> } = JSON
  .parse(
    brotliDecompressSync(
      readFileSync(new URL("../helpers/charsets/charsets.json.br", import.meta.url)),
    ).toString(),
  );

/** Java's name of one of our charsets. */
function javaNameOf(charset: string): string {
  const isName = (name: string) => {
    try {
      return charsetOf(name) === charset;
    } catch {
      return false;
    }
  };
  const names = Object.keys(java).filter(isName);
  assertEquals(names.length, 1, charset);
  return names[0];
}

/** Each valid sequence with its character. */
function* charactersOf({ runs }: JavaCharset): Generator<[sequence: number[], character: string]> {
  for (const [first, ...run] of runs) {
    let sequence = [...Buffer.from(first, "hex")];
    if (typeof run[0] === "string") {
      for (const character of run[0]) {
        yield [sequence, character];
        sequence = [...sequence.slice(0, -1), sequence.at(-1)! + 1];
      }
      continue;
    }
    // Beyond the basic plane all follow each other in one run: some of them will do.
    const step = run[1]! > 0x10000 ? 97 : 1;
    for (let index = 0; index < run[1]!; index++) {
      if (index % step === 0) yield [sequence, String.fromCodePoint(run[0] + index)];
      sequence = followingFour(sequence);
    }
  }
}

/** The next sequence of GB18030: the second and the last byte are digits. */
function followingFour([a, b, c, d]: number[]): number[] {
  if (d < 0x39) return [a, b, c, d + 1];
  if (c < 0xfe) return [a, b, c + 1, 0x30];
  return b < 0x39 ? [a, b + 1, 0x81, 0x30] : [a + 1, 0x30, 0x81, 0x30];
}

/** Every code point that a text can hold but for a mark, in a form of Unicode. */
function* unicodeCharacters(charset: string): Generator<[number[], string]> {
  const isLittle = charset.endsWith("LE");
  const numbers = (values: number[], bytes: number) =>
    values.flatMap((value) => {
      const big = Array.from({ length: bytes }, (_, index) => value >>> 8 * (bytes - 1 - index));
      return (isLittle ? big.reverse() : big).map((byte) => byte & 0xff);
    });
  for (let codePoint = 0; codePoint <= 0x10ffff; codePoint += codePoint < 0x3000 ? 1 : 97) {
    if (codePoint >= 0xd800 && codePoint < 0xe000 || codePoint === 0xfeff) continue;
    const character = String.fromCodePoint(codePoint);
    const units = Array.from(
      { length: character.length },
      (_, index) => character.charCodeAt(index),
    );
    if (charset.startsWith("UTF-32")) yield [numbers([codePoint], 4), character];
    else if (charset.startsWith("UTF-16")) yield [numbers(units, 2), character];
    else yield [[...Buffer.from(character)], character];
  }
}

/** The first sequence that is read otherwise than by Java, for people. */
function firstDifference(characters: [number[], string][], text: string): string {
  let at = 0;
  for (const [sequence, character] of characters) {
    if (!text.startsWith(character, at)) {
      const found = text.slice(at, at + 2);
      return `${Buffer.from(sequence).toString("hex")} is ${JSON.stringify(character)}, not ${
        JSON.stringify(found)
      }`;
    }
    at += character.length;
  }
  return text.length === at ? "" : "there is text behind the last character";
}

const withByteOrder = (charset: string) =>
  ["UTF-16", "UTF-32"].includes(charset) ? charset + "BE" : charset;

for (const charset of CHARSETS) {
  test(`every valid sequence of ${charset} is what it is in Java, however it is cut`, async () => {
    const { runs } = java[javaNameOf(charset)];
    const characters = [
      ...runs.length > 0 ? charactersOf({ aliases: [], runs }) : unicodeCharacters(charset),
    ];
    assert(characters.length >= 128);
    const bytes = Uint8Array.from(characters.flatMap(([sequence]) => sequence));

    const whole = new Blob([bytes]).stream().pipeThrough(transcodeToUtf8(charset));
    const text = Buffer.from(await new Response(whole).arrayBuffer()).toString();
    assertEquals(firstDifference(characters, text), "");

    const decoder = await loadDecoder(withByteOrder(charset));
    const pieces: string[] = [];
    for (let at = 0; at < bytes.length; at++) {
      pieces.push(decoder.write(bytes.subarray(at, at + 1)));
    }
    pieces.push(decoder.end());
    assertEquals(firstDifference(characters, pieces.join("")), "");
  });
}

test("every name that Java has for a charset means the same here", () => {
  for (const charset of CHARSETS) {
    const name = javaNameOf(charset);
    for (const alias of [name, ...java[name].aliases]) {
      if (alias !== "default") assertEquals(charsetOf(alias), charset, alias);
    }
  }
});

test("a name of a charset that is not offered is refused, and never taken for another", () => {
  for (const [name, aliases] of Object.entries(others)) {
    for (const alias of [name, ...aliases]) assertThrows(() => charsetOf(alias), Error, alias);
  }
});
