/**
 * Bytes that are counted on their way out: bodies of responses, and messages of connections.
 * @module
 */
import type { Connection } from "../../runtime.ts";

/**
 * Counts the bytes of a body.
 * @param response The response.
 * @param isStreamed Whether its body is made as it is taken; otherwise it is short.
 * @param done Called once with the number of bytes sent, when all are, or when the client is gone.
 * @returns The response to send instead.
 */
export async function countBytes(
  response: Response,
  isStreamed: boolean,
  done: (bytes: number) => void,
): Promise<Response> {
  const { body } = response;
  if (body === null) {
    done(0);
    return response;
  }
  // A short body is sent as it was, with its length.
  if (!isStreamed) {
    const bytes = await response.arrayBuffer();
    done(bytes.byteLength);
    return new Response(bytes, response);
  }
  const length = Number(response.headers.get("content-length") ?? Infinity);
  return new Response(counted(body, length, done), response);
}

function counted(
  body: ReadableStream<Uint8Array>,
  length: number,
  done: (bytes: number) => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let bytes = 0;
  let over = false;
  // A read that is under way ends, too, when the client goes.
  const end = () => {
    if (!over) done(bytes);
    over = true;
  };
  return new ReadableStream({
    async pull(controller) {
      try {
        const { value, done: ended } = await reader.read();
        if (!ended) {
          bytes += value.length;
          controller.enqueue(value);
          // Nobody pulls behind the last byte that a Content-Length announced.
          if (bytes < length) return;
        }
      } catch (error) {
        end();
        throw error;
      }
      if (!over) controller.close();
      end();
    },
    cancel(reason) {
      end();
      return reader.cancel(reason);
    },
    // Not ahead of the client: what was not sent is not counted, nor read.
  }, { highWaterMark: 0 });
}

/** A connection that counts what is sent; characters of text stand for bytes. */
export class CountedConnection implements Connection {
  /** Bytes in the messages that were sent. */
  sentBytes = 0;

  constructor(private readonly connection: Connection) {}

  get subprotocol(): string {
    return this.connection.subprotocol;
  }

  send(message: string | Uint8Array): Promise<void> {
    this.sentBytes += message.length;
    return this.connection.send(message);
  }

  sendNow(...messages: (string | Uint8Array)[]): boolean {
    const sent = this.connection.sendNow(...messages);
    if (sent) { for (const { length } of messages) this.sentBytes += length; }
    return sent;
  }

  sendChunks(byteCount: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    this.sentBytes += byteCount;
    return this.connection.sendChunks(byteCount, chunks);
  }

  sendLong(costBytes: number, make: () => Promise<string>): Promise<void> {
    return this.connection.sendLong(costBytes, async () => {
      const text = await make();
      this.sentBytes += text.length;
      return text;
    });
  }

  close(code: number, reason: string): void {
    this.connection.close(code, reason);
  }

  terminate(): void {
    this.connection.terminate();
  }
}
