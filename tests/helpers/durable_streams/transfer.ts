/** Bytes that go through a stream by the client that people have, while they are read. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { DurableStream, stream } from "@durable-streams/client";
import { assertEquals } from "@std/assert";
import { type Kind, within, Workspace } from "../cli.ts";

const CHUNK_BYTES = 1024 * 1024;

/**
 * Appends bytes with the client, reads them live with another one, and compares them.
 * @param kind Which program serves.
 * @param byteCount How many.
 * @param deadlineMs Within which time, in ms.
 */
export async function transferThroughStream(
  kind: Kind,
  byteCount: number,
  deadlineMs: number,
): Promise<void> {
  await using workspace = await Workspace.open();
  await workspace.serve(kind);
  const url = `${workspace.server}/streams/large.bin`;
  const handle = await DurableStream.create({ url, contentType: "application/octet-stream" });
  const [sent, received] = [createHash("sha256"), createHash("sha256")];
  const reading = (async () => {
    const response = await stream({ url, offset: "-1", live: "long-poll" });
    let count = 0;
    for await (const chunk of response.bodyStream()) {
      received.update(chunk);
      count += chunk.length;
    }
    return count;
  })();
  const appending = (async () => {
    for (let at = 0; at < byteCount; at += CHUNK_BYTES) {
      const chunk = chunkAt(at).subarray(0, byteCount - at);
      sent.update(chunk);
      await handle.append(chunk);
    }
    await handle.close();
  })();
  const fails = () => new Error(`${byteCount} bytes took longer than ${deadlineMs} ms`);
  const [count] = await within(deadlineMs, Promise.all([reading, appending]), fails);
  assertEquals(count, byteCount);
  assertEquals(received.digest("hex"), sent.digest("hex"));
}

/** A chunk that is like no other one. */
function chunkAt(at: number): Buffer {
  const seed = createHash("sha256").update(String(at)).digest();
  return Buffer.alloc(CHUNK_BYTES, seed);
}
