/**
 * Index of a log: which message holds which bytes, which lines, and when it was stored.
 *
 * Its writer stores it in pages, on a subject of their own. A page is true whoever wrote it, as it says what was stored;
 * one that is lost, and what came behind the last one, is found by reading the messages themselves.
 * @module
 */

/** Numbers of an entry: position, bytes before, line breaks before, time in ms since 1970. */
const WIDTH = 4;

/** A message with bytes. */
export interface IndexEntry {
  /** Its position. */
  readonly position: number;
  /** Bytes before it. */
  readonly byteOffset: number;
  /** Bytes of it that count. */
  readonly byteCount: number;
  /** Line breaks before it. */
  readonly lineBreaks: number;
  /** When it was stored, in ms since 1970. */
  readonly timeMs: number;
}

/** Entries of consecutive messages, from the first byte of a log or from a later one on. */
export class LogIndex {
  #numbers = new Float64Array(16 * WIDTH);
  #count = 0;
  #size = 0;
  #lineBreaks = 0;

  /** Entries. */
  get count(): number {
    return this.#count;
  }

  /** Bytes before the end of the last message. */
  get size(): number {
    return this.#size;
  }

  /** Line breaks before the end of the last message. */
  get lineBreaks(): number {
    return this.#lineBreaks;
  }

  /** Position of the last message; 0 for none. */
  get lastPosition(): number {
    return this.#count === 0 ? 0 : this.#numbers[(this.#count - 1) * WIDTH];
  }

  /**
   * Takes the next message in.
   * @param entry The message, which begins where the last one ends.
   * @param lineBreaks Line breaks before its end.
   */
  add(
    { position, byteOffset, byteCount, lineBreaks: before, timeMs }: IndexEntry,
    lineBreaks: number,
  ): void {
    const at = this.#count * WIDTH;
    if (at === this.#numbers.length) {
      const larger = new Float64Array(2 * at);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers[at] = position;
    this.#numbers[at + 1] = byteOffset;
    this.#numbers[at + 2] = before;
    this.#numbers[at + 3] = timeMs;
    this.#count++;
    this.#size = byteOffset + byteCount;
    this.#lineBreaks = lineBreaks;
  }

  /** Gives up what lies behind a position. */
  cut(size: number, lineBreaks: number): void {
    while (this.#count > 0 && this.#numbers[(this.#count - 1) * WIDTH + 1] >= size) this.#count--;
    this.#size = Math.min(this.#size, size);
    this.#lineBreaks = lineBreaks;
  }

  /** An entry by its number. */
  at(index: number): IndexEntry {
    const at = index * WIDTH;
    const end = index + 1 < this.#count ? this.#numbers[at + WIDTH + 1] : this.#size;
    return {
      position: this.#numbers[at],
      byteOffset: this.#numbers[at + 1],
      byteCount: end - this.#numbers[at + 1],
      lineBreaks: this.#numbers[at + 2],
      timeMs: this.#numbers[at + 3],
    };
  }

  /** Number of the entry that holds a byte. */
  ofByte(byteOffset: number): number {
    return this.#last(1, byteOffset);
  }

  /** Number of the entry that holds a line break. */
  ofLineBreak(index: number): number {
    return this.#last(2, index);
  }

  /** Number of the first entry that was stored at a time or later; `count` for none. */
  since(timeMs: number): number {
    let low = -1, high = this.#count;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#numbers[middle * WIDTH + 3] >= timeMs) high = middle;
      else low = middle;
    }
    return high;
  }

  /** Entries from a number on, as a page has them. */
  page(from: number): Uint8Array {
    const numbers = this.#numbers.slice(from * WIDTH, this.#count * WIDTH);
    return new Uint8Array(numbers.buffer);
  }

  /**
   * Takes a page in.
   * @param bytes The page.
   * @param end Where its last message ends.
   * @returns False when it begins behind the end of what is known.
   */
  addPage(bytes: Uint8Array, end: { size: number; lineBreaks: number }): boolean {
    const numbers = new Float64Array(bytes.slice().buffer);
    if (numbers.length === 0) return true;
    if (numbers[1] > this.#size) return false;
    if (end.size <= this.#size && numbers[0] <= this.lastPosition) return true;
    for (let at = 0; at < numbers.length; at += WIDTH) {
      const [position, byteOffset, lineBreaks, timeMs] = numbers.subarray(at, at + WIDTH);
      if (position <= this.lastPosition) continue;
      if (byteOffset < this.#size) this.cut(byteOffset, lineBreaks);
      const isLast = at + WIDTH === numbers.length;
      const size = isLast ? end.size : numbers[at + WIDTH + 1];
      const behind = isLast ? end.lineBreaks : numbers[at + WIDTH + 2];
      const byteCount = size - byteOffset;
      this.add({ position, byteOffset, byteCount, lineBreaks, timeMs }, behind);
    }
    return true;
  }

  /** Number of the last entry whose number in a column is at most so much. */
  #last(column: number, value: number): number {
    let low = 0, high = this.#count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#numbers[middle * WIDTH + column] <= value) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
