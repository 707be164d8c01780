/**
 * Finds line breaks while bytes pass, whatever the chunks they come in.
 * @module
 */

import { decodeEntry, INDEX_ENTRY_BYTES } from "./layout.ts";
import { scanLineBreaks } from "./scan.ts";

/** Where a {@link LineCounter} stands. */
export interface LinePlace {
  /** Bytes seen. */
  size: number;
  /** Line breaks seen. */
  lineBreaks: number;
  /** Position after the last line break. */
  endOfLastLine: number;
}

/** Counts lines over consecutive chunks of one log. */
export class LineCounter {
  #size = 0;
  #lineBreaks = 0;
  #endOfLastLine = 0;

  /** Line breaks so far. */
  get lineBreaks(): number {
    return this.#lineBreaks;
  }

  /** Lines so far, a last one without a line break included. */
  get lines(): number {
    return this.#lineBreaks + (this.#size > this.#endOfLastLine ? 1 : 0);
  }

  /**
   * Takes the next chunk in.
   * @param bytes The chunk.
   * @param found Called with the entries of the index for all line breaks, in order; they are good until it returns.
   */
  add(bytes: Uint8Array, found: (entries: Uint8Array) => void): void {
    this.#lineBreaks += scanLineBreaks(bytes, this.#size, (entries) => {
      this.#endOfLastLine = decodeEntry(entries, entries.length - INDEX_ENTRY_BYTES) + 1;
      found(entries);
    });
    this.#size += bytes.length;
  }

  /** Where it stands now. */
  save(): LinePlace {
    return { size: this.#size, lineBreaks: this.#lineBreaks, endOfLastLine: this.#endOfLastLine };
  }

  /** Stands at a place again. */
  restore(place: LinePlace): void {
    this.#size = place.size;
    this.#lineBreaks = place.lineBreaks;
    this.#endOfLastLine = place.endOfLastLine;
  }
}
