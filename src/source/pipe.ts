/**
 * Standard input as a source.
 * @module
 */
import fs from "node:fs";
import process from "node:process";
import { promisify } from "node:util";
import { giveBack } from "../byte_queue.ts";
import { StreamError } from "../protocol.ts";
import { reasonOf } from "../reasons.ts";
import { OpenFile, type ReadHandle } from "./open_file.ts";
import { CHUNK_BYTES, pull, type Source } from "./source.ts";

const STDIN_FD = 0;

/**
 * Reads standard input until it ends: a pipe, a socket, a file from where the shell left it, a terminal.
 *
 * Every burst is passed on at once; a producer that nobody reads is held up after the pipe and one more
 * buffer of 64 KiB are full. Can be called once in a process.
 *
 * @returns The source, each of whose chunks is valid until the next one is read; its stream fails with
 * SOURCE_FAILED when standard input cannot be read, and when it is a file
 * that shrinks or is rewritten meanwhile.
 * @throws {StreamError} SOURCE_FAILED when standard input is closed or a directory.
 */
export function openStdin(): Source {
  let stats: fs.BigIntStats;
  try {
    stats = fs.fstatSync(STDIN_FD, { bigint: true });
  } catch (error) {
    throw unreadable(reasonOf(error), error);
  }
  if (stats.isDirectory()) throw unreadable("it is a directory");
  if (isClosed(stats)) throw unreadable("it is closed");
  const stream = stats.isFile() ? fileStream(stats) : burstStream();
  return { stream, size: null, name: "stdin" };
}

/** Where somebody closed it, the runtimes put a `/dev/null` that can be written, too. */
function isClosed(stats: fs.BigIntStats): boolean {
  if (!stats.isCharacterDevice() || stats.rdev !== rdevOf("/dev/null")) return false;
  const flags = Number.parseInt(descriptorInfo("flags") ?? "0", 8);
  return (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) === fs.constants.O_RDWR;
}

function rdevOf(path: string): bigint | null {
  try {
    return fs.statSync(path, { bigint: true }).rdev;
  } catch {
    return null;
  }
}

/** What Linux tells of the descriptor. */
function descriptorInfo(field: string): string | undefined {
  try {
    const text = fs.readFileSync(`/proc/self/fdinfo/${STDIN_FD}`, "utf8");
    return new RegExp(`^${field}:\\s*(\\S+)$`, "m").exec(text)?.[1];
  } catch {
    return undefined;
  }
}

/** Bun's own stream would begin at the first byte of a file. */
function fileStream(stats: fs.BigIntStats): ReadableStream<Uint8Array> {
  const from = Number(descriptorInfo("pos") ?? 0);
  const file = new OpenFile("standard input", STDIN, stats, from, true);
  return pull({
    async next() {
      const chunk = await file.read().catch((error) => {
        throw error.cause === undefined ? error : unreadable(reasonOf(error.cause), error.cause);
      });
      if (chunk === null) await file.expectUnchanged();
      return chunk;
    },
    close: () => file.close(),
  });
}

const STDIN: ReadHandle = {
  read: (buffer, offset, length, position) =>
    promisify(fs.read)(STDIN_FD, buffer, offset, length, position),
  stat: (options) => promisify(fs.fstat)(STDIN_FD, options) as Promise<fs.BigIntStats>,
  close: () => Promise.resolve(),
};

function burstStream(): ReadableStream<Uint8Array> {
  const chunks = bursts();
  return pull({
    async next() {
      const { done, value } = await chunks.next();
      return done ? null : value;
    },
    // Without waiting for the read that is under way: nothing can call that off.
    close() {
      process.stdin.destroy();
      return Promise.resolve();
    },
  });
}

async function* bursts(): AsyncGenerator<Uint8Array, void, void> {
  try {
    for await (const burst of process.stdin) {
      yield* pieces(burst);
      giveBack(burst);
    }
  } catch (error) {
    throw unreadable(reasonOf(error), error);
  }
}

function unreadable(reason: string, cause?: unknown): StreamError {
  return new StreamError("SOURCE_FAILED", `standard input cannot be read: ${reason}`, { cause });
}

function* pieces(burst: Uint8Array): Generator<Uint8Array, void, void> {
  for (let at = 0; at < burst.length; at += CHUNK_BYTES) yield burst.subarray(at, at + CHUNK_BYTES);
}
