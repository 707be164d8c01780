/** The connection to the engine, against a stand-in that says hello and answers pings. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";
import { LONG_BYTES } from "../../src/cluster/long_messages.ts";
import { connectClient } from "../../src/cluster/transport.ts";

const INFO = { server_id: "A", version: "2.12.0", max_payload: 2 ** 20, headers: true };

test("memory of what was put together to be sent is given back when it was, that of the caller is not", async () => {
  let received = "";
  const engine = createServer((socket) => {
    socket.write(`INFO ${JSON.stringify(INFO)}\r\n`);
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      if (chunk.toString("latin1").endsWith("PING\r\n")) socket.write("PONG\r\n");
    });
  }).listen(0, "127.0.0.1");
  await once(engine, "listening");
  const frames: Uint8Array[] = [];
  const { _send } = NodeTransport.prototype;
  NodeTransport.prototype._send = function (frame) {
    frames.push(frame);
    return _send.call(this, frame);
  };
  try {
    const { port } = engine.address() as AddressInfo;
    const client = await connectClient({ servers: `127.0.0.1:${port}` });
    const payload = new Uint8Array(LONG_BYTES).fill(65);
    client.publish("a", payload);
    await client.flush();
    client.publish("b", "short");
    await client.flush();
    await client.close();
    assertEquals(received.match(/A+(?=\r\n)/)?.[0].length, LONG_BYTES);
    assertEquals([payload.length, payload.at(-1)], [LONG_BYTES, 65]);
    assertEquals(frames.filter(({ length }) => length === 0).length, 1);
  } finally {
    NodeTransport.prototype._send = _send;
    engine.close();
  }
});
