/**
 * Compression of bodies, in slices between which everybody else has a turn.
 *
 * Deno compresses on the thread that serves everybody; Bun on another one, where slices would only cost. Whole pieces of 256 KiB of eight readers
 * made others wait for 61 ms at the median on Deno; slices of 32 KiB for 0.5 ms, for half as much processor time again
 * (docs/security.md).
 * @module
 */
import { STEPS } from "../../turn.ts";

/** Bodies compressed at once: each takes 0.5 to 1.2 MB, for as long as its reader takes nothing. */
const MAX_COMPRESSIONS = 64;

/** Bodies that are compressed; what finds no room is sent as it is. */
export class Compressions {
  #held = 0;

  /** @param max How many there may be at once. */
  constructor(private readonly max: number = MAX_COMPRESSIONS) {}

  /** Whether one more may be compressed. */
  get hasRoom(): boolean {
    return this.#held < this.max;
  }

  /**
   * Counts one more.
   * @returns Counts it no more; to be called once.
   */
  hold(): () => void {
    this.#held++;
    return () => void this.#held--;
  }
}

/** All of this process: memory is. */
export const compressions: Compressions = new Compressions();

/** What is compressed in one step. */
const SLICE_BYTES = 32 * 1024;

/**
 * Compresses chunks as they are taken.
 * @param chunks The chunks.
 * @param isAside Whether the runtime does it on another thread: then chunks stay whole.
 * @returns Their compressed form; fails with what the chunks fail with, and ends them when it is ended.
 */
export async function* gzipped(
  chunks: AsyncIterable<Uint8Array>,
  isAside: boolean,
): AsyncGenerator<Uint8Array, void, void> {
  const { readable, writable } = new CompressionStream("gzip");
  let failure: { error: unknown } | null = null;
  const compressing = compress(isAside ? chunks : slicesOf(chunks), writable.getWriter()).catch(
    (error) => {
      failure = { error };
    },
  );
  try {
    for await (const piece of readable) yield piece;
  } catch (error) {
    // Runtimes tell another reason than the one that the stream was aborted with.
    failure ??= { error };
  } finally {
    await compressing;
  }
  if (failure !== null) throw (failure as { error: unknown }).error;
}

/** Chunks in slices, with turns between. */
async function* slicesOf(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of chunks) {
    for (let start = 0; start < chunk.length; start += SLICE_BYTES) {
      await STEPS.next("compression");
      yield chunk.subarray(start, start + SLICE_BYTES);
    }
  }
}

async function compress(
  chunks: AsyncIterable<Uint8Array>,
  writer: WritableStreamDefaultWriter<BufferSource>,
): Promise<void> {
  try {
    for await (const chunk of chunks) await writer.write(chunk as BufferSource);
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => {});
    throw error;
  }
}
