/** How long the data messages of an upload are: as long as the way has proved to carry soon. */
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { framesRuntime, push } from "../../mod.ts";
import { SUBPROTOCOL } from "../../src/protocol.ts";
import type { Connection } from "../../src/runtime.ts";
import { within } from "../helpers/frames/connection.ts";
import { startServer } from "../helpers/server.ts";

const KiB = 1024;

/** A server that gives credit when it is told to, and knows how long the messages are. */
async function creditor(limit: number) {
  const lengths: number[] = [];
  let length = 0, received = 0, connection: Connection;
  let arrived = Promise.withResolvers<void>();
  const tell = (message: Record<string, unknown>) => connection.send(JSON.stringify(message));
  const runtime = framesRuntime();
  const listener = await runtime.listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, env) =>
      runtime.upgrade(request, env, {
        subprotocol: SUBPROTOCOL,
        open(opened) {
          connection = opened;
          return {
            text(text) {
              const { id } = JSON.parse(text);
              if (text.includes("Ping")) return void tell({ "@": "Pong", id });
              if (!text.includes("StartUpload")) return;
              void tell({
                "@": "ReadyForUpload",
                reference: { uri: "ws://127.0.0.1:9/ws/streaming/download/0e9b1f9e" },
                ...{ id: "0e9b1f9e", secret: "secret", epoch: 1, offset: 0, limit },
                ...{ digest: "xxh128", messageBytes: 256 * KiB },
              });
            },
            data(bytes, final) {
              length += bytes.length;
              received += bytes.length;
              if (!final) return;
              lengths.push(length);
              length = 0;
              arrived.resolve();
              arrived = Promise.withResolvers();
            },
            closed() {},
          };
        },
      }),
  });
  return {
    url: `http://127.0.0.1:${listener.port}`,
    /** Acknowledges all that came, and has so much more sent; returns the lengths of its messages. */
    async grant(byteCount: number): Promise<number[]> {
      lengths.length = 0;
      const end = received + byteCount;
      if (end > limit) void tell({ "@": "Credit", acknowledged: received, limit: end });
      while (received < end || length > 0) await within("bytes", arrived.promise);
      return [...lengths];
    },
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

test("messages are short at first, and longer where each is acknowledged soon", async () => {
  await using server = await creditor(24 * KiB);
  const upload = await push(server.url, {
    filename: "a.log",
    mimeType: "text/plain",
    supportsLineAccess: true,
  });
  const writing = upload.writable.getWriter().write(new Uint8Array(1024 * KiB));
  writing.catch(() => {});
  const lengths = [await server.grant(24 * KiB)];
  for (const length of [16, 32, 64]) lengths.push(await server.grant(length * KiB));
  assertEquals(
    lengths.map((of) => of.map((length) => length / KiB)),
    [[8, 8, 8], [16], [32], [64]],
  );
  await upload.abort();
});

test("so are requests where there is no WebSocket", async () => {
  await using server = await startServer();
  const lengths: number[] = [];
  const passing = createServer((asked, answer) => {
    const { method, headers } = asked;
    if (method === "PATCH") lengths.push(Number(headers["content-length"]) / KiB);
    const passed = request(server.url + asked.url, { method, headers }, (answered) => {
      answer.writeHead(answered.statusCode!, answered.headers);
      answered.pipe(answer);
    });
    asked.pipe(passed);
  });
  await new Promise<void>((resolve) => passing.listen(0, "127.0.0.1", resolve));
  const { port } = passing.address() as AddressInfo;
  const upload = await push(`http://127.0.0.1:${port}`, {
    filename: "a.log",
    mimeType: "text/plain",
    supportsLineAccess: true,
  }, { transport: "http" });
  await new Blob([new Uint8Array(1024 * KiB)]).stream().pipeTo(upload.writable);
  await upload.done;
  assertEquals(lengths.slice(0, 4), [8, 16, 32, 64]);
  passing.closeAllConnections();
  await new Promise((resolve) => passing.close(resolve));
});
