/**
 * Text of any charset, brought into UTF-8 while it passes.
 * @module
 */
import { Buffer } from "node:buffer";
import { StreamError } from "../../protocol.ts";
import { charsetOf } from "./charsets.ts";
import type { Decoder } from "./decoder.ts";
import { loadDecoder } from "./decoders.ts";
import { CHUNK_BYTES } from "../source.ts";

/** Byte order marks; UTF-32LE's begins like UTF-16LE's, so the longer ones come first. */
const MARKS = [
  { charset: "UTF-32BE", bytes: [0x00, 0x00, 0xfe, 0xff] },
  { charset: "UTF-32LE", bytes: [0xff, 0xfe, 0x00, 0x00] },
  { charset: "UTF-8", bytes: [0xef, 0xbb, 0xbf] },
  { charset: "UTF-16BE", bytes: [0xfe, 0xff] },
  { charset: "UTF-16LE", bytes: [0xff, 0xfe] },
];

/**
 * Transcodes text to UTF-8 while it passes; characters may be split over chunks.
 *
 * Names of charsets mean what they mean in Java, character by character (docs/charsets.md): ISO-8859-1 is not
 * windows-1252, and UTF-16 and UTF-32 without a byte order mark are big-endian. A mark of the declared charset is
 * dropped; where a form of Unicode is declared, the mark of another one is an error. Elsewhere its bytes are text.
 * Malformed input becomes U+FFFD.
 *
 * @param charset Name of the charset, one of `CHARSETS` or another name of it; case and punctuation do not count.
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
  return new TransformStream(new Transcoder(charsetOf(charset)));
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
    if (isUndecided(this.#charset, first)) this.#first = new Uint8Array(first);
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
  return isUnicode(charset) && ownMark(charset, first) === undefined &&
    MARKS.some(({ bytes }) => first.length < bytes.length && beginsWith(bytes, first));
}

function encodingOf(charset: string, first: Uint8Array): { encoding: string; markBytes: number } {
  const own = ownMark(charset, first);
  if (own !== undefined) return { encoding: own.charset, markBytes: own.bytes.length };
  const other = isUnicode(charset)
    ? MARKS.find(({ bytes }) => beginsWith(first, bytes))
    : undefined;
  if (other !== undefined) {
    const message =
      `the text was declared as ${charset} but has the byte order mark of ${other.charset}`;
    throw new StreamError("SOURCE_FAILED", message);
  }
  const encoding = charset === "UTF-16" || charset === "UTF-32" ? `${charset}BE` : charset;
  return { encoding, markBytes: 0 };
}

/** Other charsets read the bytes of a mark as letters: `ff fe` is ÿþ in windows-1252. */
function isUnicode(charset: string): boolean {
  return charset.startsWith("UTF-");
}

/** The mark of the charset itself, or of its form with a byte order: UTF-16 takes UTF-16LE's. */
function ownMark(charset: string, first: Uint8Array): typeof MARKS[number] | undefined {
  return MARKS.find((mark) => mark.charset.startsWith(charset) && beginsWith(first, mark.bytes));
}

function beginsWith(bytes: ArrayLike<number>, prefix: ArrayLike<number>): boolean {
  return Array.from(prefix).every((byte, index) => bytes[index] === byte);
}
