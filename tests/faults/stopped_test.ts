/** Processes that stand still for a while: the time that they missed is no silence of others. */
import { connect } from "node:net";
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { framesRuntime } from "../../mod.ts";
import { SUBPROTOCOL, UPLOAD_PATH } from "../../src/protocol.ts";
import { completed } from "../helpers/content.ts";
import { inTurn, kinds } from "../helpers/cli.ts";
import { type Stopped, throughStop } from "../helpers/faults/stopped.ts";
import { within } from "../helpers/frames/connection.ts";
import { OP, RawPeer } from "../helpers/frames/frames.ts";
import { startServer } from "../helpers/server.ts";

const HALF_A_SECOND_MS = 500;

for (const kind of kinds) {
  const test = inTurn(kind);
  for (const stopped of ["server", "push", "follow"] satisfies Stopped[]) {
    test(`${kind}: nothing is lost when the ${stopped} is stopped and goes on`, () =>
      throughStop(kind, stopped, HALF_A_SECOND_MS));
  }
}

/** Keeps this process from everything else, as a stop does. */
function standStill(): void {
  for (const sinceMs = performance.now(); performance.now() - sinceMs < HALF_A_SECOND_MS;);
}

test("a server that stood still gives up no Step client that is there", async () => {
  const runtime = framesRuntime({ pingEveryMs: 40, deadAfterMs: 100 });
  const listener = await runtime.listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, env) =>
      runtime.upgrade(request, env, {
        subprotocol: "",
        open: (connection) => ({
          text: (message) => void connection.send(message),
          data() {},
          closed() {},
        }),
      }),
  });
  using peer = await RawPeer.open(listener.port);
  standStill();
  await peer.send({ opcode: OP.text, payload: "still here" });
  for (;;) {
    const frame = await within("an answer", peer.read());
    if (frame?.opcode === OP.ping) continue;
    assertEquals(frame?.payload.toString(), "still here");
    break;
  }
  await listener.close();
});

test("a server that stood still gives up no peer with a heartbeat", async () => {
  await using server = await startServer({ heartbeat: { pingAfterMs: 40, deadAfterMs: 100 } });
  using peer = await RawPeer.open(
    Number(new URL(server.url).port),
    { "Sec-WebSocket-Protocol": SUBPROTOCOL },
    UPLOAD_PATH,
  );
  standStill();
  const frame = await within("a ping", peer.read());
  assertMatch(String(frame?.payload), /"@":"Ping"/);
});

test("a server that stood still gives up no reader of a body", async () => {
  await using server = await startServer({ heartbeat: { pingAfterMs: 150, deadAfterMs: 300 } });
  const bytes = 16 * 1024 * 1024;
  const { id } = await completed(server, "0123456789abcdef".repeat(bytes / 16));
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  socket.write(
    `GET /resources/${id}/content HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`,
  );
  let received = 0;
  socket.on("data", (chunk: Uint8Array) => {
    if (received === 0) standStill();
    received += chunk.length;
  });
  await within("the end", new Promise((resolve) => socket.once("close", resolve)));
  assertEquals(received > bytes, true, `${received} bytes`);
});
