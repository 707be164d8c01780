import { Buffer } from "node:buffer";
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import iconv from "iconv-lite";
import { StreamError } from "../../src/protocol.ts";
import { transcodeToUtf8 } from "../../src/source/charsets/text.ts";
import { lending } from "../helpers/lent.ts";

/** Charset, bytes and text as Java 17 has them. */
const javaVectors: [charset: string, hex: string, text: string][] = [
  ["US-ASCII", "706c61696e207e", "plain ~"],
  ["ISO-8859-1", "804772fcdf659f", "\u{80}Grüße\u{9f}"],
  ["ISO-8859-2", "5a61bff3b3e6", "Zażółć"],
  ["ISO-8859-5", "bfe0d8", "При"],
  ["ISO-8859-7", "e1e2e3", "αβγ"],
  ["ISO-8859-15", "3520a4", "5 €"],
  ["windows-1250", "9f80", "ź€"],
  ["windows-1251", "cff0e8e2e5f2", "Привет"],
  ["windows-1252", "8461932080", "„a“ €"],
  ["windows-1258", "f0fe", "đ₫"],
  ["KOI8-R", "f0d2c9d7c5d4", "Привет"],
  ["KOI8-U", "a7", "ї"],
  ["IBM437", "c4c384", "─├ä"],
  ["IBM850", "d084", "ðä"],
  ["IBM00858", "d5", "€"],
  ["IBM866", "8fc4", "П─"],
  ["TIS-620", "e4b7c2", "ไทย"],
  ["Shift_JIS", "93fa967b8cea83658160817cb6", "日本語テ\u{301c}\u{2212}ｶ"],
  ["windows-31j", "93fa87408160817c", "日①\u{ff5e}\u{ff0d}"],
  ["EUC-JP", "c6fccbdca1c18eb68fb0a1", "日本\u{301c}ｶ丂"],
  ["ISO-2022-JP", "611b2442467c1b284262", "a日b"],
  ["ISO-2022-JP", "1b2442467c1b28421b2442245b1b2842", "日ほ"],
  ["ISO-2022-JP", "1b2442467c1b2442245b1b2842", "日ほ"],
  ["ISO-2022-JP", "0e31320f411b284931", "ｱｲAｱ"],
  ["ISO-2022-JP", "1b24420e31320f2422", "ｱｲあ"],
  ["ISO-2022-JP", "0e311b244224220f2422", 'ｱあ$"'],
  ["ISO-2022-JP", "0e311b284a325c7e1b28425c7e", "ｱ2¥‾\\~"],
  ["EUC-KR", "c7d1b1b9beee", "한국어"],
  ["x-windows-949", "8c63b9e68141", "똠방갂"],
  ["GB2312", "d6d0cec4", "中文"],
  ["GBK", "d6d0cec4f377", "中文體"],
  ["GB18030", "d6d0a2e381308a319439fc36", "中€ä😀"],
  ["Big5", "c163c5e9", "繁體"],
  ["Big5-HKSCS", "c163adbb", "繁香"],
  ["x-mswin-936", "80a2e3", "€\ue76c"],
  ["x-windows-950", "fa40a3e1", "\ue000€"],
  ["UTF-8", "61c3a4e282acf09f9880", "aä€😀"],
  ["UTF-16BE", "006120acd83dde00", "a€😀"],
  ["UTF-16LE", "6100ac203dd800de", "a€😀"],
  ["UTF-16", "006120ac", "a€"],
  ["UTF-16", "feff006120ac", "a€"],
  ["UTF-16", "fffe6100ac20", "a€"],
  ["UTF-32BE", "000000610001f600", "a😀"],
  ["UTF-32LE", "6100000000f60100", "a😀"],
  ["UTF-32", "000000610001f600", "a😀"],
  ["UTF-32", "fffe00006100000000f60100", "a😀"],
];

const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));

/** What comes out for these chunks, whose memory is used again as that of pipes and files is. */
async function transcode(charset: string, chunks: Uint8Array[]): Promise<Uint8Array[]> {
  return await Array.fromAsync(lending(chunks).pipeThrough(transcodeToUtf8(charset)));
}

async function textOf(charset: string, chunks: Uint8Array[]): Promise<string> {
  return Buffer.concat(await transcode(charset, chunks)).toString();
}

const singly = (bytes: Uint8Array) => Array.from(bytes, (byte) => Uint8Array.of(byte));

/** Cuts bytes at the given places. */
function cut(bytes: Uint8Array, places: number[]): Uint8Array[] {
  const ends = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.slice(ends[index - 1] ?? 0, end));
}

test("charsets mean what they mean in Java, also byte by byte", async () => {
  for (const [charset, hex, text] of javaVectors) {
    assertEquals(await textOf(charset, [bytesOf(hex)]), text, charset);
    assertEquals(await textOf(charset, singly(bytesOf(hex))), text, `${charset}, byte by byte`);
  }
});

test("all 256 bytes of ISO-8859-1 are the code points of the same number", async () => {
  const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const codePoints = [...await textOf("ISO-8859-1", [all])].map((char) => char.codePointAt(0));
  assertEquals(codePoints, [...all]);
});

test("a charset is found by its other names, in any case and punctuation", async () => {
  const names: Record<string, string> = {
    latin1: "ü",
    ISO8859_1: "ü",
    "8859_1": "ü",
    "iso_8859-1:1987": "ü",
    Cp1252: "ü",
    "X-Windows-874": "\u{fffd}",
    "x-UTF-16LE": "\u{fffd}",
  };
  for (const [name, text] of Object.entries(names)) {
    assertEquals(await textOf(name, [Uint8Array.of(0xfc)]), text, name);
  }
});

test("an unknown charset is refused with its name and the nearest known ones", () => {
  const refusal = (name: string) =>
    assertThrows(() => transcodeToUtf8(name), StreamError) as StreamError;
  for (const name of ["utf-88", "Latin-42", "hex", "base64", "", "_sbcs", "constructor"]) {
    assertEquals(refusal(name).code, "BAD_REQUEST");
    assert(refusal(name).message.includes(JSON.stringify(name)));
  }
  for (const name of ["shift_jis:2004", "Big5-HKSCS-2001", "cp949", "x-IBM950", "ISO-8859-10"]) {
    assertEquals(refusal(name).code, "BAD_REQUEST", "another charset");
  }
  assert(refusal("uft-8").message.includes("UTF-8"));
  assert(refusal("ISO-8859-51").message.includes("ISO-8859-5"));
  assert(refusal("shiftjs").message.includes("Shift_JIS"));
});

test("a byte order mark of the declared charset is dropped, once", async () => {
  const cases: [charset: string, hex: string, text: string][] = [
    ["UTF-8", "efbbbf61", "a"],
    ["UTF-8", "efbbbfefbbbf61", "\u{feff}a"],
    ["UTF-8", "efbbbf", ""],
    ["UTF-16BE", "feff0061", "a"],
    ["UTF-16LE", "fffe6100", "a"],
    ["UTF-32BE", "0000feff00000061", "a"],
    ["UTF-32LE", "fffe000061000000", "a"],
    ["UTF-16", "fffe", ""],
  ];
  for (const [charset, hex, text] of cases) {
    assertEquals(await textOf(charset, [bytesOf(hex)]), text, charset);
    assertEquals(await textOf(charset, singly(bytesOf(hex))), text, `${charset}, byte by byte`);
  }
});

test("a byte order mark of another form of Unicode is an error that names both", async () => {
  const cases: [charset: string, hex: string, found: string][] = [
    ["UTF-8", "feff0061", "UTF-16BE"],
    ["UTF-8", "fffe", "UTF-16LE"],
    ["UTF-8", "fffe0000", "UTF-32LE"],
    ["UTF-8", "0000feff", "UTF-32BE"],
    ["UTF-16BE", "fffe6100", "UTF-16LE"],
    ["UTF-16LE", "feff0061", "UTF-16BE"],
    ["UTF-16", "efbbbf61", "UTF-8"],
    ["UTF-32", "fffe6100", "UTF-16LE"],
    ["UTF-32LE", "fffe", "UTF-16LE"],
    ["UTF-32BE", "fffe0000", "UTF-32LE"],
  ];
  for (const [charset, hex, found] of cases) {
    for (const chunks of [[bytesOf(hex)], singly(bytesOf(hex))]) {
      const error = await assertRejects(() => transcode(charset, chunks), StreamError);
      assertEquals(error.code, "SOURCE_FAILED");
      assert(error.message.includes(charset) && error.message.includes(found), error.message);
    }
  }
});

test("where no form of Unicode is declared, the bytes of a mark are text", async () => {
  const cases: [charset: string, hex: string, text: string][] = [
    ["windows-1252", "fffe61", "ÿþa"],
    ["windows-1252", "fffe", "ÿþ"],
    ["ISO-8859-1", "efbbbf61", "ï»¿a"],
    ["ISO-8859-1", "feff", "þÿ"],
    ["ISO-8859-5", "fffe0000", "џў\0\0"],
    ["windows-1251", "0000feff", "\0\0юя"],
    ["Shift_JIS", "efbbbf", "\u{fffd}ｻｿ"],
    ["GBK", "efbbbfc9", "锘可"],
  ];
  for (const [charset, hex, text] of cases) {
    assertEquals(await textOf(charset, [bytesOf(hex)]), text, charset);
    assertEquals(await textOf(charset, singly(bytesOf(hex))), text, `${charset}, byte by byte`);
  }
});

test("bytes that only begin like a mark are text", async () => {
  const cases: [charset: string, hex: string, text: string][] = [
    ["ISO-8859-1", "ef", "ï"],
    ["ISO-8859-1", "efbb", "ï»"],
    ["ISO-8859-1", "ff", "ÿ"],
    ["ISO-8859-1", "00", "\0"],
    ["ISO-8859-1", "0000fe", "\0\0þ"],
    ["UTF-8", "ef", "\u{fffd}"],
    ["UTF-16LE", "fffe0000", "\0"],
    ["UTF-16", "fffe00006100", "\0a"],
    ["UTF-16BE", "00000061", "\0a"],
  ];
  for (const [charset, hex, text] of cases) {
    assertEquals(await textOf(charset, [bytesOf(hex)]), text, `${charset} ${hex}`);
    assertEquals(await textOf(charset, singly(bytesOf(hex))), text, `${charset} ${hex}, singly`);
  }
});

test("text is passed on before more arrives, but for what may become a mark", async () => {
  const { writable, readable } = transcodeToUtf8("UTF-16BE");
  const writer = writable.getWriter(), reader = readable.getReader();
  writer.write(bytesOf("fe"));
  writer.write(bytesOf("fc00ef"));
  assertEquals(Buffer.from((await reader.read()).value!).toString(), "\ufefcï");
  writer.write(bytesOf("0061"));
  assertEquals(Buffer.from((await reader.read()).value!).toString(), "a");
  await reader.cancel();
});

test("an empty input gives an empty output", async () => {
  for (const [charset] of javaVectors) {
    assertEquals(await transcode(charset, []), [], charset);
    assertEquals(await transcode(charset, [new Uint8Array(0)]), [], charset);
  }
});

test("malformed input becomes U+FFFD and what follows is kept", async () => {
  const cases: [charset: string, hex: string, text: string][] = [
    ["US-ASCII", "61e462", "a\u{fffd}b"],
    ["UTF-8", "61c328", "a\u{fffd}("],
    ["UTF-8", "61e282", "a\u{fffd}"],
    ["UTF-16BE", "0061d83d0062", "a\u{fffd}b"],
    ["UTF-16BE", "00610062ff", "ab\u{fffd}"],
    ["UTF-16LE", "610000", "a\u{fffd}"],
    ["UTF-32BE", "0000006100110000", "a\u{fffd}"],
    ["UTF-32BE", "000000610000d83d", "a\u{fffd}"],
    ["UTF-32LE", "610000006200", "a\u{fffd}"],
    ["UTF-32BE", "0000d83d0000de00", "😀"],
    ["windows-1252", "6181", "a\u{fffd}"],
    ["Shift_JIS", "6182", "a\u{fffd}"],
    ["GB18030", "61ff62", "a\u{fffd}b"],
  ];
  for (const [charset, hex, text] of cases) {
    assertEquals(await textOf(charset, [bytesOf(hex)]), text, `${charset} ${hex}`);
    assertEquals(await textOf(charset, singly(bytesOf(hex))), text, `${charset} ${hex}, singly`);
  }
});

test("long outputs come in chunks of at most 64 KiB, each in its own buffer", async () => {
  const chunks = await transcode("ISO-8859-1", [new Uint8Array(1_000_000).fill(0xfc)]);
  assert(chunks.every((chunk) => chunk.length <= 65536));
  assertEquals(new Set(chunks.map(({ buffer }) => buffer)).size, chunks.length);
  assertEquals(Buffer.concat(chunks).toString(), "ü".repeat(1_000_000));
});

/** Characters that each charset has; iconv-lite writes them, the platform or iconv-lite reads them. */
const alphabets: Record<string, string> = {
  "US-ASCII": "ab \r\n~",
  "ISO-8859-1": "a\nü\u{85}ÿþï»¿\0",
  "ISO-8859-2": "ażółć\n",
  "windows-1251": "aПривет\n",
  "windows-1252": "aü€“\n",
  "KOI8-R": "aПривет─\n",
  "Shift_JIS": "a日本語テストｶﾅ表\n",
  "EUC-JP": "a日本語ｶ丂\n",
  "GB18030": "a中文ä😀𠀀\n",
  "Big5": "a繁體功\n",
  "EUC-KR": "a한국어\n",
  "UTF-8": "aä€😀\u{feff}\0\n",
  "UTF-16BE": "aä€😀\u{feff}\0\n",
  "UTF-16LE": "aä€😀\u{feff}\0\n",
  "UTF-32BE": "aä€😀\u{feff}\0\n",
  "UTF-32LE": "aä€😀\u{feff}\0\n",
};

for (const [charset, alphabet] of Object.entries(alphabets)) {
  test(`any chunking of any ${charset} text gives the same UTF-8`, async () => {
    const units = fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(units, fc.array(fc.nat(), { maxLength: 20 }), async (text, places) => {
        // A leading character that no mark begins with: marks are the subject of other tests.
        const bytes = new Uint8Array(iconv.encode("A" + text, charset));
        assertEquals(await textOf(charset, cut(bytes, places)), "A" + text);
      }),
      { numRuns: 300 },
    );
  });

  test(`any chunking of any bytes declared as ${charset} gives the same UTF-8`, async () => {
    const byte = fc.oneof(
      fc.nat({ max: 255 }),
      fc.constantFrom(0, 0x30, 0x61, 0x81, 0x8e, 0xd8, 0xdc, 0xff),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(byte, { maxLength: 40 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        async (array, places) => {
          const bytes = Uint8Array.of(0, 0, 0, 0x41, ...array);
          const whole = await textOf(charset, [bytes]);
          assertEquals(await textOf(charset, cut(bytes, places)), whole);
          assertEquals(await textOf(charset, singly(bytes)), whole);
        },
      ),
      { numRuns: 300 },
    );
  });
}
