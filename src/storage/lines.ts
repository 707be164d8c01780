/**
 * Finds line breaks while bytes pass, whatever the chunks they come in.
 * @module
 */

const LINE_BREAK = 10;

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
   * @param found Called with the position of every line break, in order.
   */
  add(bytes: Uint8Array, found: (byteOffset: number) => void): void {
    for (let at = bytes.indexOf(LINE_BREAK); at !== -1; at = bytes.indexOf(LINE_BREAK, at + 1)) {
      this.#lineBreaks++;
      this.#endOfLastLine = this.#size + at + 1;
      found(this.#size + at);
    }
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
