/** Connections that stand, and break as soon as anything is to be carried: what filters content does that. */
import { connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { assert, assertLess, assertRejects } from "@std/assert";
import { follow, push, StreamError } from "../../mod.ts";
import { within } from "../helpers/frames/connection.ts";
import { startServer } from "../helpers/server.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const CONTENT = new Uint8Array(100_000).fill(65);
/** Nothing that is no content is as long. */
const CONTENT_BYTES = 4096;

/** Breaks every connection that carries content. */
async function filterBefore(server: string) {
  const clients = new Set<Socket>();
  const filtering = createServer((client) => {
    clients.add(client);
    const upstream = connect(Number(new URL(server).port), "127.0.0.1");
    const carry = (from: Socket, to: Socket) => {
      from.on("data", (bytes) => {
        if (bytes.length < CONTENT_BYTES) return to.write(bytes);
        client.destroy();
        upstream.destroy();
      });
      from.on("close", () => to.destroy()).on("error", () => {});
    };
    carry(client, upstream);
    carry(upstream, client);
  });
  await new Promise<void>((resolve) => filtering.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(filtering.address() as { port: number }).port}`,
    [Symbol.asyncDispose]: () => {
      for (const client of clients) client.destroy();
      return new Promise<void>((resolve) => filtering.close(() => resolve()));
    },
  };
}

for (const transport of ["ws", "http"] as const) {
  test(`connections that bring nothing are one loss: tried more seldom, and no longer than that: ${transport}`, async () => {
    await using server = await startServer();
    await using filter = await filterBefore(server.url);
    const delaysMs: number[] = [];
    const onRetry = (_error: StreamError, delayMs: number) => void delaysMs.push(delayMs);
    const options = { transport, onRetry, retryForMs: 2000 } as const;

    const upload = await push(filter.url, metadata, options);
    upload.writable.getWriter().write(CONTENT).catch(() => {});
    await within("the push", assertRejects(() => upload.done, StreamError));
    assertLess(delaysMs.length, 12);
    assert(delaysMs.some((delayMs) => delayMs >= 200), `waited ${delaysMs}`);

    delaysMs.length = 0;
    const other = await push(server.url, metadata);
    await new Blob([CONTENT]).stream().pipeTo(other.writable);
    const { port } = new URL(filter.url);
    const reference = other.reference.replace(/:\d+\//, `:${port}/`);
    const followed = new Response(follow(reference, options)).bytes();
    await within("the follower", assertRejects(() => followed, StreamError));
    assertLess(delaysMs.length, 12);
    assert(delaysMs.some((delayMs) => delayMs >= 200), `waited ${delaysMs}`);
  });
}
