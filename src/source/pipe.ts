/**
 * Standard input as a source.
 * @module
 */
import process from "node:process";
import { StreamError, toStreamError } from "../protocol.ts";
import { CHUNK_BYTES, pull, type Source } from "./source.ts";

/**
 * Reads standard input until it ends: a pipe, a socket, a file, a terminal.
 *
 * Every burst is passed on at once; a producer that nobody reads is held up after the pipe and one more
 * buffer of 64 KiB are full. Can be called once in a process.
 *
 * @returns The source; its stream fails with SOURCE_FAILED when standard input cannot be read.
 */
export function openStdin(): Source {
  const chunks = bursts();
  const stream = pull({
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
  return { stream, size: null, name: "stdin" };
}

async function* bursts(): AsyncGenerator<Uint8Array, void, void> {
  try {
    for await (const burst of process.stdin) yield* pieces(burst);
  } catch (error) {
    const { message } = toStreamError(error);
    throw new StreamError("SOURCE_FAILED", `standard input cannot be read: ${message}`, {
      cause: error,
    });
  }
}

/** Copied, as runtimes hand out parts of larger buffers: who holds a chunk must hold no more than it. */
function* pieces(burst: Uint8Array): Generator<Uint8Array, void, void> {
  for (let at = 0; at < burst.length; at += CHUNK_BYTES) {
    yield new Uint8Array(burst.subarray(at, at + CHUNK_BYTES));
  }
}
