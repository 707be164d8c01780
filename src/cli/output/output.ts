/**
 * Standard output and files as sinks that wait for their reader.
 * @module
 */
import { createWriteStream, fstatSync, writeSync } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import process from "node:process";
import type { Writable } from "node:stream";
import { isatty } from "node:tty";
import { StreamError } from "../../protocol.ts";
import { reasonOf } from "../../reasons.ts";
import { ownOf } from "../../runtime/standard.ts";
import { beside } from "./stderr.ts";

/** The reader of our output has seen enough: an end in good order for a command whose work is what it prints. */
export class ReaderGone extends Error {}

/** Takes bytes; a write resolves when the next one is welcome. */
export interface Output {
  /** Writes all bytes. Throws {@link ReaderGone} when nobody reads any more. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends it. */
  close(): Promise<void>;
}

/**
 * Writes to stdout or stderr of this process and waits until the bytes are out.
 * @param descriptor 1 or 2.
 * @returns Throws {@link ReaderGone} when nobody reads any more, SOURCE_FAILED when they cannot be written.
 */
export function writer(descriptor: 1 | 2): Output["write"] {
  const name = descriptor === 1 ? "stdout" : "stderr";
  const write = writeOf(descriptor);
  const isTTY = isatty(descriptor);
  return (given) => {
    const bytes = isTTY ? beside(given) : given;
    return new Promise((resolve, reject) => {
      const failed = (error: unknown) => {
        // A terminal has no reader that leaves: when it is gone that is an error, which Deno calls EPIPE as well.
        if (!isTTY && (error as { code?: string }).code === "EPIPE") {
          return reject(new ReaderGone());
        }
        reject(new StreamError("SOURCE_FAILED", `cannot write to ${name}: ${reasonOf(error)}`));
      };
      try {
        write(bytes, (error) => error ? failed(error) : resolve());
      } catch (error) {
        // Deno throws where a file cannot be written.
        failed(error);
      }
    });
  };
}

type Write = (bytes: Uint8Array, done: (error?: Error | null) => void) => void;

function writeOf(descriptor: 1 | 2): Write {
  const own = ownOf(descriptor);
  const stream: Writable = own !== null
    ? createWriteStream("", { fd: own })
    : descriptor === 1
    ? process.stdout
    : process.stderr;
  // A reader that leaves is reported to the write as well; without a listener it would end the process.
  stream.on("error", () => {});
  return (bytes, done) => void stream.write(bytes, done);
}

let stdout: Output | undefined;

/** Standard output, opened when it is asked for: what a command runs is to have the descriptors of this process, not ours. */
export function standardOutput(): Output {
  return stdout ??= { write: writer(1), close: () => Promise.resolve() };
}

/** Size of a file in bytes; 0 when there is none. */
export async function sizeOf(path: string): Promise<number> {
  return await stat(path).then(({ size }) => size, () => 0);
}

/**
 * The end of a file.
 * @param path Path of the file.
 * @param byteCount How many bytes; none for a file that is not there.
 * @throws {StreamError} SOURCE_FAILED that names the path.
 */
export async function lastBytesOf(path: string, byteCount: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteCount);
  if (byteCount === 0) return bytes;
  try {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    await file.read(bytes, 0, byteCount, size - byteCount);
    return bytes;
  } catch (error) {
    throw new StreamError("SOURCE_FAILED", `cannot read ${path}: ${reasonOf(error)}`);
  }
}

/**
 * A file, made when missing.
 * @param path Path of the file.
 * @param flags `w` empties it, `a` goes on at its end.
 * @param ownSize Its size, in bytes, where nobody else may write to it; a write then fails with CONFLICT if somebody did.
 * @throws {StreamError} SOURCE_FAILED that names the path.
 */
export async function fileOutput(
  path: string,
  flags: "w" | "a",
  ownSize?: number,
): Promise<Output> {
  let handle: FileHandle;
  try {
    handle = await open(path, flags);
  } catch (error) {
    throw unwritable(path, error);
  }
  const stats = await handle.stat();
  const mayWait = stats.isFIFO() || stats.isSocket() || isatty(handle.fd);
  let size = ownSize;
  return {
    async write(bytes) {
      if (size !== undefined) {
        if (fstatSync(handle.fd).size !== size) throw contested(path);
        size += bytes.length;
      }
      try {
        if (mayWait) await handle.writeFile(bytes);
        else writeFully(handle.fd, bytes);
      } catch (error) {
        throw unwritable(path, error);
      }
    },
    close: () => handle.close(),
  };
}

function contested(path: string): StreamError {
  return new StreamError("CONFLICT", `another program writes ${path}, too: that one goes on`);
}

/**
 * What is told of a file that cannot be written.
 * @param path Its path.
 * @param error What was thrown.
 */
export function unwritable(path: string, error: unknown): StreamError {
  return new StreamError("SOURCE_FAILED", `cannot write ${path}: ${reasonOf(error)}`);
}

/** A thread's round trip costs several times what the page cache does. */
function writeFully(file: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length;) {
    written += writeSync(file, bytes, written, bytes.length - written);
  }
}

/** Writes a line to standard output and waits until it is out. */
export function printLine(line: string): Promise<void> {
  return standardOutput().write(new TextEncoder().encode(`${line}\n`));
}

/**
 * What a command tells while it does its work, which goes on whoever reads: a reader that left is not missed, and
 * output that cannot be written fails the command when the work is done.
 */
export class Announcer {
  readonly #isJson: boolean;
  #failure: unknown = null;

  /** @param isJson Whether programs read it. */
  constructor(isJson = false) {
    this.#isJson = isJson;
  }

  /** Prints a line, unless an earlier one failed. */
  async say(line: string): Promise<void> {
    if (this.#failure !== null) return;
    await printLine(line).catch((error) => this.#failure = error);
  }

  /**
   * Tells the same to programs and to people.
   * @param value An object, which becomes a line of JSON.
   * @param text The line for people; nothing is told to them without.
   */
  async tell(value: Record<string, unknown>, text?: string): Promise<void> {
    if (this.#isJson) await this.say(visibleJson(value));
    else if (text !== undefined) await this.say(visible(text));
  }

  /** Prints a line for people only. */
  async hint(line: string): Promise<void> {
    if (!this.#isJson) await this.say(line);
  }

  /**
   * The work is done.
   * @throws {StreamError} SOURCE_FAILED when something could not be written.
   */
  done(): void {
    if (this.#failure !== null && !(this.#failure instanceof ReaderGone)) throw this.#failure;
  }
}

/** Control characters, and those that turn the direction of text around. */
// deno-lint-ignore no-control-regex
const CONTROLS = /[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

const hexOf = (char: string, digits: number) =>
  char.charCodeAt(0).toString(16).padStart(digits, "0");

/** Text that somebody else chose, its control characters made visible. */
export function visible(text: string): string {
  return text.replace(
    CONTROLS,
    (char) => char <= "\xff" ? `\\x${hexOf(char, 2)}` : `\\u${hexOf(char, 4)}`,
  );
}

/** JSON that means the value, with its control characters made visible. */
export function visibleJson(value: unknown): string {
  return JSON.stringify(value).replace(CONTROLS, (char) => `\\u${hexOf(char, 4)}`);
}
