/** Connections that stand, and break as soon as content, or much of it, is carried. */
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import {
  contextEvents,
  type EventsOptions,
  follow,
  push,
  resourceEvents,
  statusEvents,
  StreamError,
} from "../../mod.ts";
import { assertBytes, within } from "../helpers/frames/connection.ts";
import { startServer } from "../helpers/server.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const CONTENT = new Uint8Array(100_000).fill(65);
/** Nothing that is no content is as long. */
const CONTENT_BYTES = 4096;

/**
 * Breaks connections.
 * @param server Where they lead.
 * @param passing How many bytes pass, by their number and that of those before on this connection; fewer break it.
 */
async function filterBefore(
  server: string,
  passing: (byteCount: number, carried: number) => number,
) {
  const clients = new Set<Socket>();
  const filtering = createServer((client) => {
    clients.add(client);
    const upstream = connect(Number(new URL(server).port), "127.0.0.1");
    let carried = 0;
    const breakOff = () => {
      client.destroy();
      upstream.destroy();
    };
    const carry = (from: Socket, to: Socket) => {
      from.on("data", (bytes: Uint8Array) => {
        const byteCount = Math.min(passing(bytes.length, carried), bytes.length);
        carried += byteCount;
        to.write(bytes.subarray(0, byteCount), byteCount < bytes.length ? breakOff : undefined);
      });
      from.on("close", breakOff).on("error", () => {});
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
    await using filter = await filterBefore(
      server.url,
      (byteCount) => byteCount < CONTENT_BYTES ? byteCount : 0,
    );
    const delaysMs: number[] = [];
    const onRetry = (_error: StreamError, delayMs: number) => void delaysMs.push(delayMs);
    const options = { transport, onRetry, retryForMs: 2000 } as const;

    const upload = await push(filter.url, metadata, options);
    upload.writable.getWriter().write(CONTENT).catch(() => {});
    await within("the push", assertRejects(() => upload.done, StreamError));
    assertLess(delaysMs.length, 12);
    assert(delaysMs.some((delayMs) => delayMs >= 200), `waited ${delaysMs}`);

    delaysMs.length = 0;
    const reference = await pushed(server.url, filter.url, CONTENT);
    const followed = new Response(follow(reference, options)).bytes();
    await within("the follower", assertRejects(() => followed, StreamError));
    assertLess(delaysMs.length, 12);
    assert(delaysMs.some((delayMs) => delayMs >= 200), `waited ${delaysMs}`);
  });
}

/** The event streams, each of a server that breaks them off as soon as they tell what is there. */
const LISTENING: Record<
  string,
  (server: string, options: EventsOptions) => AsyncIterable<unknown>
> = {
  "of a resource": (server, options) =>
    statusEvents(`${server}/resources/${crypto.randomUUID()}`, options),
  "of a context": (server, options) => contextEvents(server, "run", options),
  "of all": (server, options) => resourceEvents(server, options),
};

test("event streams that break off again and again, and tell nothing new, are opened ever more seldom", async () => {
  const status = { transferStatus: "IN_PROGRESS", currentSize: 8, numberOfLines: 2, epoch: 1 };
  let sequence = 1;
  const server = createHttpServer(({ url }, response) => {
    const event = url!.startsWith("/contexts") ? "resource" : "status";
    const data = JSON.stringify({ ...status, id: "run", sequence });
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(url!.startsWith("/events") ? ": \n\n" : `event: ${event}\ndata: ${data}\n\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  /** The pauses until one is long, or there were eight. */
  const pauses = async (what: string, retried: () => void) => {
    const stop = new AbortController();
    const delaysMs: number[] = [];
    const onRetry = (_error: StreamError, delayMs: number) => {
      retried();
      if (delaysMs.push(delayMs) === 8 || delayMs >= 200) stop.abort();
    };
    const options = { signal: stop.signal, onRetry, retryForMs: Infinity };
    const listening = LISTENING[what](`http://127.0.0.1:${port}`, options);
    await within("the end", Array.fromAsync(listening).catch(() => {}));
    return delaysMs;
  };
  try {
    await Promise.all(
      Object.keys(LISTENING).map(async (what) => {
        const delaysMs = await pauses(what, () => {});
        assertLess(delaysMs.length, 8, `${what}: ${delaysMs}`);
      }),
    );
    // What tells something new is of use.
    const delaysMs = await pauses("of a resource", () => void sequence++);
    assertEquals(delaysMs.length, 8, `${delaysMs}`);
  } finally {
    server.close();
  }
});

/** Uploads bytes; returns where they can be read by another way. */
async function pushed(server: string, way: string, bytes: Uint8Array<ArrayBuffer>) {
  const upload = await push(server, metadata);
  await new Blob([bytes]).stream().pipeTo(upload.writable);
  return upload.reference.replace(/:\d+\//, `:${new URL(way).port}/`);
}

for (const most of [150_000, 20_000]) {
  test(`where no connection carries more than ${most} bytes, short messages bring everything`, async () => {
    const bytes = Uint8Array.from({ length: 500_000 }, (_, at) => at % 251);
    await using server = await startServer();
    await using filter = await filterBefore(server.url, (_byteCount, carried) => most - carried);
    const options = { transport: "ws" } as const;
    const upload = await push(filter.url, metadata, options);
    const sending = new Blob([bytes]).stream().pipeTo(upload.writable);
    await within("the push", sending);
    assertEquals((await upload.done).size, bytes.length);
    const reference = await pushed(server.url, filter.url, bytes);
    assertBytes(
      await within("the follower", new Response(follow(reference, options)).bytes()),
      bytes,
    );
  });
}
