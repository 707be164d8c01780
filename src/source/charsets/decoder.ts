/**
 * What reads text of a charset.
 * @module
 */

/** Turns bytes into text, keeping a copy of what is incomplete for the next call. */
export interface Decoder {
  /** The text of the characters that are complete. */
  write(bytes: Uint8Array): string;
  /** U+FFFD when a character was cut off, else nothing. */
  end(): string;
}
