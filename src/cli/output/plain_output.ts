/**
 * Output without what moves or colours a terminal.
 * @module
 */
import type { Output } from "./output.ts";

/** Escape sequences of ECMA-48: CSI, OSC and other strings, and those of two or three characters. */
const SEQUENCES =
  // deno-lint-ignore no-control-regex
  /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-OQ-WYZ`-~\\])/g;
/** A sequence whose end has not come. */
// deno-lint-ignore no-control-regex
const BEGUN = /\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)$/;
/** Longest beginning of a sequence that is kept; a longer one is none. */
const MAX_BEGUN_CHARS = 4096;

/**
 * Strips escape sequences from what is written; all other bytes are as they were.
 * @param output Where it goes.
 */
export function plainOutput(output: Output): Output {
  let begun = "";
  const write = async (text: string) => {
    if (text !== "") await output.write(Uint8Array.from(text, (char) => char.charCodeAt(0)));
  };
  return {
    async write(bytes) {
      const text = begun + latin1(bytes);
      const tail = BEGUN.exec(text.slice(-MAX_BEGUN_CHARS))?.[0] ?? "";
      begun = tail;
      await write(text.slice(0, text.length - tail.length).replace(SEQUENCES, ""));
    },
    async close() {
      await write(begun);
      await output.close();
    },
  };
}

/** A character a byte, of the same number: the sequences are ASCII. */
function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}
