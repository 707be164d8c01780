/**
 * What a push reads: bytes in order, as they come.
 * @module
 */
import { LIMITS } from "../protocol.ts";

/** Length of the longest chunk of a source: what one data message carries. */
export const CHUNK_BYTES: number = LIMITS.dataMessageBytes;

/** Bytes to push, with what is known of them before they are read. */
export interface Source {
  /** Chunks of at most 64 KiB, or of the buffer that was chosen, read when asked for. */
  readonly stream: ReadableStream<Uint8Array>;
  /** Size of the whole in bytes, for progress only; null when nobody knows it yet. */
  readonly size: number | null;
  /** Name for a person, without folders. */
  readonly name: string;
}

/** Where {@link pull} gets its chunks from. */
export interface Chunks {
  /** The next chunk; null at the end. */
  next(): Promise<Uint8Array | null>;
  /** Lets go of what is held, also while `next` is waiting; may be called more than once. */
  close(): Promise<void>;
}

/**
 * Makes a stream that reads nothing ahead and closes its chunks at the end, on an error and when cancelled.
 *
 * @param chunks Where the bytes come from.
 * @returns The stream.
 */
export function pull(chunks: Chunks): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    async pull(controller): Promise<void> {
      try {
        const chunk = await chunks.next();
        if (chunk !== null) return controller.enqueue(chunk);
      } catch (error) {
        await chunks.close();
        throw error;
      }
      await chunks.close();
      controller.close();
    },
    cancel: () => chunks.close(),
  }, { highWaterMark: 0 });
}
