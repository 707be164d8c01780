/** Everything the client asks for can be given up by a signal, and fails with its reason. */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  closeContext,
  contextEvents,
  deleteResource,
  follow,
  getLines,
  getResource,
  listContexts,
  listResources,
  open,
  push,
  search,
  shareResource,
  statusEvents,
  type TokenProvider,
} from "../../src/client.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { within } from "../helpers/frames/connection.ts";
import { startServer } from "../helpers/server.ts";

const ID = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";

/** A server that takes requests and answers none. */
async function silentServer() {
  const asked = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const ask = ({ socket }: IncomingMessage) => {
    asked.resolve();
    const end = () => {
      left.resolve();
      socket.destroy();
    };
    // One that was upgraded is read and ended by nobody else.
    socket.once("end", end).once("close", end).resume();
  };
  const server = createServer(ask).on("upgrade", ask);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: asked.promise,
    left: left.promise,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Asking {
  signal: AbortSignal;
  token?: TokenProvider;
}

const CALLS: Record<string, (server: string, asking: Asking) => Promise<unknown>> = {
  getResource: (server, asking) => getResource(ID, { server, ...asking }),
  deleteResource: (server, asking) => deleteResource(ID, { server, ...asking }),
  shareResource: (server, asking) => shareResource(ID, { server, ...asking }),
  listResources: (server, asking) => listResources(server, asking).next(),
  listContexts: (server, asking) => listContexts(server, asking).next(),
  closeContext: (server, asking) => closeContext(server, "run", asking),
  getLines: (server, asking) => getLines(ID, { server, ...asking }),
  search: (server, asking) => search(ID, "text", { server, ...asking }).next(),
  statusEvents: (server, asking) => statusEvents(ID, { server, ...asking }).next(),
  contextEvents: (server, asking) => contextEvents(server, "run", asking).next(),
  open: (server, asking) => open(ID, { server, ...asking, transport: "http" }),
  follow: (server, asking) =>
    new Response(follow(ID, { server, ...asking, transport: "http" })).text(),
};

for (const [name, call] of Object.entries(CALLS)) {
  test(`${name} is given up by its signal, before and while the server is asked`, async () => {
    await using server = await silentServer();
    await assertRejects(
      () => call(server.url, { signal: AbortSignal.abort(new Error("never mind")) }),
      Error,
      "never mind",
    );
    const stop = new AbortController();
    const asking = call(server.url, { signal: stop.signal });
    asking.catch(() => {});
    await server.asked;
    stop.abort(new Error("enough"));
    await assertRejects(() => asking, Error, "enough");
  });

  test(`${name} is given up by its signal while its token is waited for`, async () => {
    const stop = new AbortController();
    const wanted = Promise.withResolvers<void>();
    const token = () => {
      wanted.resolve();
      return new Promise<string>(() => {});
    };
    const asking = call("http://127.0.0.1:9", { signal: stop.signal, token });
    asking.catch(() => {});
    await wanted.promise;
    stop.abort(new Error("enough"));
    await assertRejects(() => within("its end", asking), Error, "enough");
  });
}

test("a download that is read is given up by its signal, which others may go on to use", async () => {
  await using server = await startServer();
  const upload = await push(server.url, {
    filename: "a.log",
    mimeType: "text/plain",
    supportsLineAccess: true,
  });
  const writer = upload.writable.getWriter();
  await writer.write(utf8("first\n"));
  const stop = new AbortController();
  const { signal } = stop;
  const other = await open(upload.reference, { signal });
  other.close();
  const download = await open(upload.reference, { signal });
  const reader = download.read().getReader();
  assertEquals((await reader.read()).value, utf8("first\n"));
  const next = reader.read();
  const reason = new Error("enough");
  stop.abort(reason);
  assertStrictEquals(await assertRejects(() => next), reason);
  assertEquals((await download.closed)?.code, "ABORTED");
  await writer.close();
});

for (const transport of ["ws", "http"] as const) {
  test(`a follower by ${transport} that is cancelled before it was answered leaves the server`, async () => {
    await using server = await silentServer();
    const bytes = follow(ID, { server: server.url, transport, retryForMs: Infinity });
    await server.asked;
    await bytes.cancel();
    await server.left;
  });
}

test("a push that is given up before it was answered leaves the server", async () => {
  await using server = await silentServer();
  const stop = new AbortController();
  const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
  const pushing = push(server.url, metadata, { signal: stop.signal, transport: "ws" });
  await server.asked;
  stop.abort();
  await assertFails("ABORTED", () => pushing);
  await server.left;
});

test("a push that is given up while its producer tells no outcome is over", async () => {
  await using server = await startServer();
  const stop = new AbortController();
  const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
  const asked = Promise.withResolvers<void>();
  const outcome = () => {
    asked.resolve();
    return new Promise<never>(() => {});
  };
  const upload = await push(server.url, metadata, { signal: stop.signal, outcome });
  const closing = upload.writable.close();
  await asked.promise;
  stop.abort();
  await within("the end", assertFails("ABORTED", () => closing));
});
