/**
 * What was appended to a log, as text, for readers who look at its end.
 * @module
 */
import { isFinal, type ResourceStatus } from "../../protocol.ts";
import { readExactly, wholeCharacters } from "./lines.ts";
import type { Resource } from "./resource.ts";

/** Text that was appended. */
export interface NewText {
  /** Byte with which it begins. */
  startOffset: number;
  /** Byte behind it. */
  endOffset: number;
  /** The bytes between them, decoded. */
  text: string;
}

/** Reads what one reader has not seen yet. */
export class NewTextReader {
  /** Behind what was read; null before anything was. */
  #offset: number | null = null;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /**
   * @param resource The resource.
   * @param maxBytes Most bytes at once: of more only the last are read.
   */
  constructor(private readonly resource: Resource, private readonly maxBytes: number) {}

  /**
   * Reads what a status shows and the one before did not.
   * @param status The status.
   * @returns Null for nothing, and where it cannot be read. A character of which a part is missing comes with the rest.
   */
  async next(status: ResourceStatus): Promise<NewText | null> {
    const { currentSize: end, transferStatus } = status;
    // A server that broke down may have lost bytes that were seen.
    const seen = this.#offset === null || this.#offset > end ? 0 : this.#offset;
    const startOffset = Math.max(seen, end - this.maxBytes);
    if (startOffset >= end) return null;
    const bytes = await readExactly(this.resource, startOffset, end - startOffset)
      .catch(() => null);
    if (bytes === null) return null;
    const whole = isFinal(transferStatus) ? bytes : bytes.subarray(0, wholeCharacters(bytes));
    this.#offset = startOffset + whole.length;
    if (whole.length === 0) return null;
    return { startOffset, endOffset: this.#offset, text: this.#decoder.decode(whole) };
  }
}
