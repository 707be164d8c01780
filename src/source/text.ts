/**
 * Text of any charset, brought into UTF-8 while it passes.
 * @module
 */
import { Buffer } from "node:buffer";
import { editDistance } from "../distance.ts";
import { StreamError } from "../protocol.ts";
import { CHUNK_BYTES } from "./source.ts";

/** The charsets with the meaning they have in Java, each followed by its other names. */
const CHARSETS = [
  "UTF-8 unicode-1-1-utf-8",
  "UTF-16 unicode UnicodeBig",
  "UTF-16BE UnicodeBigUnmarked ISO-10646-UCS-2",
  "UTF-16LE UnicodeLittleUnmarked",
  "UTF-32",
  "UTF-32BE",
  "UTF-32LE",
  "US-ASCII ascii ascii7 ANSI_X3.4-1968 ANSI_X3.4-1986 ISO646-US ISO_646.irv:1991 iso-ir-6 cp367 IBM367 us",
  "ISO-8859-1 8859_1 latin1 l1 csISOLatin1 iso-ir-100 cp819 IBM819",
  "ISO-8859-2 8859_2 latin2 l2 csISOLatin2 iso-ir-101 cp912 IBM912",
  "ISO-8859-3 8859_3 latin3 l3 csISOLatin3 iso-ir-109 cp913 IBM913",
  "ISO-8859-4 8859_4 latin4 l4 csISOLatin4 iso-ir-110 cp914 IBM914",
  "ISO-8859-5 8859_5 cyrillic csISOLatinCyrillic iso-ir-144 cp915 IBM915",
  "ISO-8859-6 8859_6 arabic csISOLatinArabic iso-ir-127 ECMA-114 ASMO-708 cp1089 IBM1089",
  "ISO-8859-7 8859_7 greek greek8 csISOLatinGreek iso-ir-126 ECMA-118 ELOT_928 cp813 IBM813",
  "ISO-8859-8 8859_8 hebrew csISOLatinHebrew iso-ir-138 cp916 IBM916",
  "ISO-8859-9 8859_9 latin5 l5 csISOLatin5 iso-ir-148 cp920 IBM920",
  "ISO-8859-10 latin6 l6",
  "ISO-8859-11",
  "ISO-8859-13 8859_13",
  "ISO-8859-14 latin8 l8",
  "ISO-8859-15 8859_15 latin9 l9 latin0 csISO885915 cp923 IBM923",
  "ISO-8859-16 latin10 l10 csISO885916 iso-ir-226",
  "windows-874 ms874",
  "windows-1250 cp1250",
  "windows-1251 cp1251 ansi-1251",
  "windows-1252 cp1252 IBM1252",
  "windows-1253 cp1253",
  "windows-1254 cp1254",
  "windows-1255 cp1255",
  "windows-1256 cp1256",
  "windows-1257 cp1257",
  "windows-1258 cp1258",
  "KOI8-R koi8 csKOI8R",
  "KOI8-U",
  "IBM437 cp437 windows-437",
  "IBM737 cp737",
  "IBM775 cp775",
  "IBM850 cp850",
  "IBM852 cp852",
  "IBM855 cp855",
  "IBM857 cp857",
  "IBM858 cp858 IBM00858 cp00858",
  "IBM860 cp860",
  "IBM861 cp861",
  "IBM862 cp862",
  "IBM863 cp863",
  "IBM864 cp864",
  "IBM865 cp865",
  "IBM866 cp866",
  "IBM869 cp869",
  "TIS-620 tis620.2533",
  "Shift_JIS sjis ms_kanji csShiftJIS",
  "windows-31j ms932 windows-932 csWindows31J",
  "ISO-2022-JP jis csISO2022JP",
  "EUC-JP eucjis csEUCPkdFmtjapanese Extended_UNIX_Code_Packed_Format_for_Japanese",
  "GB2312 gb2312-80 gb2312-1980 euc-cn",
  "GBK cp936 windows-936 ms936",
  "GB18030 gb18030-2022",
  "Big5 csBig5 ms950 windows-950",
  "Big5-HKSCS big5hk",
  "EUC-KR ksc5601 ksc5601-1987 ks_c_5601-1987 csEUCKR",
  "windows-949 ms949",
].map((names) => names.split(" "));

const NAMES = new Map(CHARSETS.flatMap((names) => names.map((name) => [keyOf(name), names[0]])));

/** Byte order marks; UTF-32LE's begins like UTF-16LE's, so the longer ones come first. */
const MARKS = [
  { charset: "UTF-32BE", bytes: [0x00, 0x00, 0xfe, 0xff] },
  { charset: "UTF-32LE", bytes: [0xff, 0xfe, 0x00, 0x00] },
  { charset: "UTF-8", bytes: [0xef, 0xbb, 0xbf] },
  { charset: "UTF-16BE", bytes: [0xfe, 0xff] },
  { charset: "UTF-16LE", bytes: [0xff, 0xfe] },
];

/** Read by the platform: iconv-lite loses bytes of these when a character is split over chunks. */
const PLATFORM = [
  ...["UTF-8", "UTF-16BE", "UTF-16LE", "Shift_JIS", "windows-31j", "EUC-JP", "ISO-2022-JP"],
  ...["GB2312", "GBK", "GB18030", "Big5", "Big5-HKSCS", "EUC-KR", "windows-949"],
];

/** Read from JIS X 0208 by the platform as by Windows: seven characters that Java reads otherwise. */
const WINDOWS_JIS = "\u2015\uff5e\u2225\uff0d\uffe0\uffe1\uffe2";
const JAVA_JIS = "\u2014\u301c\u2016\u2212\u00a2\u00a3\u00ac";
const JAVA_JIS_CHARSETS = ["Shift_JIS", "EUC-JP", "ISO-2022-JP"];

/**
 * Transcodes text to UTF-8 while it passes; characters may be split over chunks.
 *
 * Names of charsets mean what they mean in Java: ISO-8859-1 is not windows-1252, and UTF-16 and UTF-32 without
 * a byte order mark are big-endian. A mark of the declared charset is dropped, a mark of another one (UTF-8,
 * UTF-16, UTF-32) is an error. Malformed and unmappable input becomes U+FFFD, as with Java's REPLACE.
 *
 * @param charset Name of the charset; case and punctuation do not count.
 * @returns A stream that takes the text in that charset and gives UTF-8 in chunks of at most 64 KiB; it fails
 * with SOURCE_FAILED when the text's mark contradicts the declared charset.
 * @throws {StreamError} BAD_REQUEST, naming the nearest known ones, when nobody knows the charset.
 *
 * @example
 * ```ts
 * import { transcodeToUtf8 } from "@stream/live";
 *
 * const latin1 = new Blob([new Uint8Array([0x67, 0x72, 0xfc, 0x6e])]).stream();
 * const utf8 = latin1.pipeThrough(transcodeToUtf8("ISO-8859-1"));
 * console.log(await new Response(utf8).text()); // grün
 * ```
 */
export function transcodeToUtf8(charset: string): TransformStream<Uint8Array, Uint8Array> {
  const name = NAMES.get(keyOf(charset));
  if (name === undefined) {
    const message = `there is no charset ${JSON.stringify(charset)}; the nearest are `;
    throw new StreamError("BAD_REQUEST", message + nearest(charset).join(", "));
  }
  return new TransformStream(new Transcoder(name));
}

type Output = TransformStreamDefaultController<Uint8Array>;

/** Holds the first bytes back until it is decided whether they are a mark, then decodes and encodes. */
class Transcoder implements Transformer<Uint8Array, Uint8Array> {
  readonly #charset: string;
  readonly #encoder = new TextEncoder();
  #first: Uint8Array = new Uint8Array(0);
  #decoder: Decoder | null = null;
  #highSurrogate = "";

  constructor(charset: string) {
    this.#charset = charset;
  }

  async transform(chunk: Uint8Array, output: Output): Promise<void> {
    if (this.#decoder !== null) return this.#decode(this.#decoder, chunk, output);
    const first = this.#first.length === 0 ? chunk : Buffer.concat([this.#first, chunk]);
    if (isUndecided(this.#charset, first)) this.#first = first;
    else await this.#begin(first, output);
  }

  async flush(output: Output): Promise<void> {
    const decoder = this.#decoder ?? await this.#begin(this.#first, output);
    this.#encode(decoder.end(), output);
    if (this.#highSurrogate !== "") output.enqueue(this.#encoder.encode(this.#highSurrogate));
  }

  async #begin(first: Uint8Array, output: Output): Promise<Decoder> {
    const { encoding, markBytes } = encodingOf(this.#charset, first);
    this.#decoder = await loadDecoder(encoding);
    this.#decode(this.#decoder, first.subarray(markBytes), output);
    return this.#decoder;
  }

  #decode(decoder: Decoder, bytes: Uint8Array, output: Output): void {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      this.#encode(decoder.write(bytes.subarray(at, at + CHUNK_BYTES)), output);
    }
  }

  #encode(decoded: string, output: Output): void {
    const text = this.#highSurrogate + decoded;
    const last = text.at(-1) ?? "";
    // Half a pair would become U+FFFD, its other half may come with the next chunk.
    this.#highSurrogate = last >= "\ud800" && last <= "\udbff" ? last : "";
    const utf8 = this.#encoder.encode(text.slice(0, text.length - this.#highSurrogate.length));
    for (let at = 0; at < utf8.length; at += CHUNK_BYTES) {
      output.enqueue(utf8.length <= CHUNK_BYTES ? utf8 : utf8.slice(at, at + CHUNK_BYTES));
    }
  }
}

/** Whether more bytes could still make a mark of these. */
function isUndecided(charset: string, first: Uint8Array): boolean {
  return ownMark(charset, first) === undefined &&
    MARKS.some(({ bytes }) => first.length < bytes.length && beginsWith(bytes, first));
}

function encodingOf(charset: string, first: Uint8Array): { encoding: string; markBytes: number } {
  const own = ownMark(charset, first);
  if (own !== undefined) return { encoding: own.charset, markBytes: own.bytes.length };
  const other = MARKS.find(({ bytes }) => beginsWith(first, bytes));
  if (other !== undefined) {
    const message =
      `the text was declared as ${charset} but has the byte order mark of ${other.charset}`;
    throw new StreamError("SOURCE_FAILED", message);
  }
  const encoding = charset === "UTF-16" || charset === "UTF-32" ? `${charset}BE` : charset;
  return { encoding, markBytes: 0 };
}

/** The mark of the charset itself, or of its form with a byte order: UTF-16 takes UTF-16LE's. */
function ownMark(charset: string, first: Uint8Array): typeof MARKS[number] | undefined {
  return MARKS.find((mark) => mark.charset.startsWith(charset) && beginsWith(first, mark.bytes));
}

function beginsWith(bytes: ArrayLike<number>, prefix: ArrayLike<number>): boolean {
  return Array.from(prefix).every((byte, index) => bytes[index] === byte);
}

/** Turns bytes into text, keeping what is incomplete for the next call. */
interface Decoder {
  write(bytes: Uint8Array): string;
  end(): string;
}

/** Loads iconv-lite only when it is needed: that takes 60 ms on Deno. */
async function loadDecoder(encoding: string): Promise<Decoder> {
  if (PLATFORM.includes(encoding)) return platformDecoder(encoding);
  if (encoding === "ISO-8859-1") {
    return { write: (bytes) => buffer(bytes).toString("latin1"), end: () => "" };
  }
  const { default: iconv } = await import("iconv-lite");
  const decoder = iconv.getDecoder(encoding, { stripBOM: false });
  return { write: (bytes) => decoder.write(buffer(bytes)), end: () => decoder.end() ?? "" };
}

function platformDecoder(encoding: string): Decoder {
  const decoder = new TextDecoder(encoding, { ignoreBOM: true });
  const asJava = JAVA_JIS_CHARSETS.includes(encoding) ? readJisAsJava : (text: string) => text;
  return {
    write: (bytes) => asJava(decoder.decode(bytes, { stream: true })),
    end: () => decoder.decode(),
  };
}

function readJisAsJava(text: string): string {
  return text.replace(
    /[\u2015\uff5e\u2225\uff0d\uffe0-\uffe2]/g,
    (character) => JAVA_JIS[WINDOWS_JIS.indexOf(character)],
  );
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** What of a charset's name counts: `x-UTF_16LE` is UTF-16LE, `ISO_8859-1:1987` is ISO-8859-1. */
function keyOf(name: string): string {
  return name.toLowerCase().replace(/:\d{4}$|[^0-9a-z]/g, "").replace(/^x(?=[a-z])/, "");
}

/** The three charsets with the names most like the given one. */
function nearest(name: string): string[] {
  const key = keyOf(name);
  const distances = CHARSETS.map((names) => ({
    name: names[0],
    distance: Math.min(...names.map((known) => editDistance(key, keyOf(known)))),
  }));
  return distances.sort((a, b) => a.distance - b.distance).slice(0, 3).map(({ name }) => name);
}
