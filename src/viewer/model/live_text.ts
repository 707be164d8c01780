/**
 * Lines at the end of a live log, from the text that comes with its statuses: nothing has to be asked for.
 * @module
 */
import type { AppendedText, ResourceStatus } from "../../client.ts";
import { isFinal } from "../../protocol.ts";

/** Of a line that is not ended yet so much is kept. */
export const TAIL_CHARS = 16 * 1024;

/** What came with a status. */
export interface NewLines {
  /** Index of the first line. */
  first: number;
  /** Lines that are whole, without their line breaks. */
  lines: string[];
  /** What stands behind the last line break, or the end of it. */
  rest: string;
  /** Whether that is all of it. */
  isRestWhole: boolean;
}

/** Cuts what comes into lines. */
export class LiveText {
  /** Byte behind what came last. */
  #end = 0;
  #rest = "";
  /** Whether `rest` begins with its line. */
  #isWhole = true;

  /**
   * Takes what was appended.
   * @param appended The text.
   * @param status The status that it came with.
   */
  take({ startOffset, endOffset, text }: AppendedText, status: ResourceStatus): NewLines {
    const follows = startOffset === this.#end;
    const isWhole = startOffset === 0 || follows && this.#isWhole;
    const lines = ((follows ? this.#rest : "") + text).split("\n");
    const rest = lines.pop()!;
    const isRestWhole = isWhole || lines.length > 0;
    if (!isWhole) lines.shift();
    const ended = lines.map((line) => line.endsWith("\r") ? line.slice(0, -1) : line);
    const count = status.numberOfLines ?? 0;
    this.#end = endOffset;
    // The last line of a log that has ended needs no line break.
    if (rest !== "" && isFinal(status.transferStatus)) {
      const last = isRestWhole ? [rest] : [];
      const first = count - 1 - ended.length;
      return { first, lines: [...ended, ...last], rest: "", isRestWhole: true };
    }
    this.#rest = rest.slice(-TAIL_CHARS);
    this.#isWhole = isRestWhole && rest.length <= TAIL_CHARS;
    const first = count - ended.length;
    return { first, lines: ended, rest: this.#rest, isRestWhole: this.#isWhole };
  }
}
