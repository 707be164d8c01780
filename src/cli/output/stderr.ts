/**
 * Standard error: notices, logs, and one line of progress at a terminal.
 *
 * It is never a reason to stop. What cannot be written is dropped, and a reader that takes nothing holds nobody up.
 * @module
 */
import fs from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { isatty } from "node:tty";
import { endsWithin } from "../../timer.ts";

const STDERR_FD = 2;
/** Characters that wait for a reader; what comes when there are more is dropped. */
const MAX_WAITING_CHARS = 1024 * 1024;
/** Pause before another try where somebody else made the descriptor one that does not block, in ms. */
const AGAIN_MS = 20;
/** How long the end of the program waits for a reader, in ms. */
const FLUSH_MS = 1000;
/** To the beginning of the line, which becomes empty. */
const CLEAR = "\r\x1b[K";
const LINE_BREAK = 10;

let waiting = "";
let progress = "";
/** Whether something else stands in the line of the terminal where the cursor is. */
let isMidLine = false;
let isQuiet = false;
let lineBreak = "\n";
let writing: Promise<void> | null = null;

/** Whether a person watches, at a terminal that can clear a line. */
export const isTerminal: boolean = isatty(STDERR_FD) && process.env.TERM !== "dumb";

/**
 * Writes a line, above that of the progress.
 *
 * @param line The line without its break.
 * @returns False when it was dropped, as too much waits to be read.
 */
export function writeLine(line: string): boolean {
  if (waiting.length + line.length > MAX_WAITING_CHARS) return false;
  // What a program printed without a line break, a prompt or a progress bar, stays as it is.
  const begin = isTerminal && isMidLine ? lineBreak : "";
  isMidLine = false;
  put(progress === "" ? `${begin}${line}${lineBreak}` : `${CLEAR}${line}${lineBreak}${progress}`);
  return true;
}

/**
 * Makes way for what is written to the same terminal by another way: the progress is cleared, and shown again below.
 * @param bytes What is to be written.
 * @returns That, with what has to come before it.
 */
export function beside(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) return bytes;
  isMidLine = bytes.at(-1) !== LINE_BREAK;
  if (progress === "") return bytes;
  progress = "";
  const clear = new TextEncoder().encode(CLEAR);
  const both = new Uint8Array(clear.length + bytes.length);
  both.set(clear);
  both.set(bytes, clear.length);
  return both;
}

/** From now on there are no notices and no progress, only complaints. */
export function beQuiet(): void {
  isQuiet = true;
}

/** From now on the terminal is one where a line break alone does not lead to the beginning of the next line. */
export function terminalIsRaw(): void {
  lineBreak = "\r\n";
}

/** Says how things go, unless nobody wants to hear it. */
export function notice(message: string): void {
  if (!isQuiet) complain(message);
}

/** Says what failed, and which program says so. */
export function complain(message: string): void {
  writeLine(`stream: ${message}`);
}

/**
 * Shows the progress in place of what was shown before.
 * @param whole The progress; empty when there is none any more. What does not fit into a line is left out.
 */
export function showLine(whole: string): void {
  const line = whole.slice(0, room());
  if (isQuiet || line === progress) return;
  const begin = isMidLine ? "\n" : CLEAR;
  isMidLine = false;
  progress = line;
  if (waiting.length < MAX_WAITING_CHARS) put(`${begin}${line}`);
}

/** How much fits into a line that can be cleared; what wraps would stay there. */
function room(): number {
  const [columns] = process.stderr.isTTY ? process.stderr.getWindowSize() : [0];
  return columns > 0 ? columns - 1 : Infinity;
}

/** Leaves the progress where it is, above all that is written from now on. */
export function keepLine(): void {
  if (progress !== "") put("\n");
  progress = "";
}

/** Waits until all is written, but not for ever. */
export async function flush(): Promise<void> {
  if (writing === null) return;
  await endsWithin(FLUSH_MS, writing);
}

function put(text: string): void {
  waiting += text;
  writing ??= drain();
}

/** One write at a time, where the runtime can beside the loop that moves bytes: a pipe may be full. */
async function drain(): Promise<void> {
  while (waiting !== "") {
    const bytes = new TextEncoder().encode(waiting);
    waiting = "";
    for (let at = 0; at < bytes.length;) at += await writeSome(bytes.subarray(at));
  }
  writing = null;
}

/** How many bytes are done with. */
async function writeSome(bytes: Uint8Array): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number | null>();
  try {
    fs.write(STDERR_FD, bytes, 0, bytes.length, null, (error, written) => {
      resolve(error === null ? written : error.code === "EAGAIN" ? null : bytes.length);
    });
  } catch {
    return bytes.length;
  }
  const written = await promise;
  if (written === null) await sleep(AGAIN_MS);
  return written ?? 0;
}
