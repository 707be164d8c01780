/**
 * Answers of a search (PROTOCOL.md 6.3).
 * @module
 */

/** A line that matches, with its first match. */
export interface SearchMatch {
  /** Index of the line, from 0. */
  line: number;
  /** Byte of the resource with which the match begins. */
  offset: number;
  /** Bytes of the match. */
  length: number;
  /** The line without its line break; of a long one what is around the match. */
  text: string;
  /** Byte of the resource with which the text begins. */
  textOffset: number;
  /** Whether the text is not the whole line. */
  cut: boolean;
}

/** How far a search has come. */
export interface SearchProgress {
  /** All lines before this one were looked at. */
  searchedLines: number;
}

/** How a search ended. */
export interface SearchEnd {
  /** Where another search goes on. */
  nextLine: number;
  /** Whether it ended before the last line that was there. */
  truncated: boolean;
  /** Lines that were not looked at as a whole and showed no match. */
  partialLines: number;
}
