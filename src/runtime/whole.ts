/**
 * What both standard WebSocket adapters share: whole messages, and a bound on what waits in the socket.
 * @module
 */
import { LIMITS, StreamError } from "../protocol.ts";

/** Bytes that may wait in one socket before a send has to wait; above the largest download window. */
export const SOCKET_BUFFER_BYTES = 8 * 1024 * 1024;

/**
 * Puts the pieces of one binary message together.
 *
 * @param byteCount Length of the message.
 * @param chunks Its pieces, in order.
 * @returns The message.
 * @throws {StreamError} MESSAGE_TOO_LARGE above what a standard WebSocket is asked to send at once.
 */
export async function wholeMessage(
  byteCount: number,
  chunks: AsyncIterable<Uint8Array>,
): Promise<Uint8Array> {
  if (byteCount > LIMITS.wholeChunkBytes) {
    throw new StreamError(
      "MESSAGE_TOO_LARGE",
      `a chunk of ${byteCount} bytes is above the ${LIMITS.wholeChunkBytes} that this port sends at once: ask for smaller ones`,
    );
  }
  const message = new Uint8Array(byteCount);
  let filled = 0;
  for await (const chunk of chunks) {
    message.set(chunk, filled);
    filled += chunk.length;
  }
  return message;
}
