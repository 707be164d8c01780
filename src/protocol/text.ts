/**
 * Texts of peers, as errors show and limits measure them.
 * @module
 */
/** The beginning of a text, as JSON: what an error shows of what a peer sent. */
export function excerpt(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

const encoder = new TextEncoder();

/** Length of a text in bytes of UTF-8. */
export function utf8Length(text: string): number {
  return encoder.encode(text).length;
}

/** The longest beginning of a text that has at most so many bytes of UTF-8, and whole characters. */
export function cutToBytes(text: string, maxBytes: number): string {
  let bytes = 0, cut = "";
  for (const char of text) {
    bytes += utf8Length(char);
    if (bytes > maxBytes) break;
    cut += char;
  }
  return cut;
}

/**
 * Folds the letters of ASCII, as names of files are compared; other alphabets stay as they are.
 *
 * @param text A text.
 * @returns The text with small letters for the capital ones of ASCII.
 *
 * @example
 * ```ts
 * import { lowerAscii } from "@stream/live/protocol";
 *
 * console.log(lowerAscii("README Ä")); // readme Ä
 * ```
 */
export function lowerAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
