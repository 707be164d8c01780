/**
 * Decoders of every charset, which take text in pieces of any length.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Decoder } from "./decoder.ts";
import { Iso2022JpDecoder } from "./iso_2022_jp.ts";
import { isTabled, TableDecoder, tableOf } from "./table.ts";

/** Read by the platform, which is faster than the library. */
const PLATFORM = ["UTF-8", "UTF-16BE", "UTF-16LE"];

/**
 * Makes a decoder; iconv-lite is loaded only when it is needed, as that takes 60 ms on Deno.
 * @param charset One of `CHARSETS`, of UTF-16 and UTF-32 one with a byte order.
 */
export async function loadDecoder(charset: string): Promise<Decoder> {
  if (PLATFORM.includes(charset)) return platformDecoder(charset);
  if (charset === "ISO-8859-1") {
    return { write: (bytes) => buffer(bytes).toString("latin1"), end: () => "" };
  }
  const { default: iconv } = await import("iconv-lite");
  if (charset === "ISO-2022-JP") return new Iso2022JpDecoder(tableOf(iconv, "EUC-JP"));
  if (isTabled(charset)) return new TableDecoder(tableOf(iconv, charset));
  const decoder = iconv.getDecoder(charset, { stripBOM: false });
  return { write: (bytes) => decoder.write(buffer(bytes)), end: () => decoder.end() ?? "" };
}

function platformDecoder(charset: string): Decoder {
  const decoder = new TextDecoder(charset, { ignoreBOM: true });
  return {
    write: (bytes) => decoder.decode(bytes, { stream: true }),
    end: () => decoder.decode(),
  };
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
