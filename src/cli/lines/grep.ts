/**
 * Lines that match, chosen as they come, by the rules of the server's search (PROTOCOL.md 6.3).
 * @module
 */
import { Buffer } from "node:buffer";
import type { Finder, Span } from "../../resources.ts";
import { complain } from "../output/stderr.ts";
import { type Piece, textLength } from "./pieces.ts";

/** Chooses lines of one resource. */
export class Grep {
  readonly #finder: Finder;
  /** Whether the line that has begun matches, as its first piece tells. */
  #isMatch = false;
  #partialLines = 0;

  /** @param finder What is looked for. */
  constructor(finder: Finder) {
    this.#finder = finder;
  }

  /**
   * Whether a piece belongs to a line that matches.
   * @param piece The pieces of a resource, in order.
   * @returns Where the match is; null in a piece behind the first; false for a line that does not match.
   */
  match({ bytes, isFirst }: Piece): Span | null | false {
    if (!isFirst) return this.#isMatch && null;
    const text = bytes.subarray(0, textLength(bytes));
    const span = this.#find(text);
    this.#isMatch = span !== null;
    if (span === null && text.length > this.#finder.lineBytes) this.#partialLines++;
    return span ?? false;
  }

  /** Tells of lines that could not be looked at as a whole. */
  end(): void {
    if (this.#partialLines === 0) return;
    complain(`${this.#partialLines} very long lines were not searched as a whole`);
    this.#partialLines = 0;
  }

  #find(text: Uint8Array): Span | null {
    // With a line break, as an expression may match an empty line.
    const latin1 = `${Buffer.from(text.buffer, text.byteOffset, text.length).toString("latin1")}\n`;
    const candidate = this.#finder.candidate(latin1, 0);
    return candidate === -1 ? null : this.#finder.match(text, candidate);
  }
}
