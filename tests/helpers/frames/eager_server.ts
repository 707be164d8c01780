/** A server that speaks right behind its 101, in a process of its own: within one, packets do not fall that way. */
import { Buffer } from "node:buffer";
import { createServer } from "node:net";
import { acceptOf } from "../../../src/runtime/frames/handshake.ts";
import { closing, OP, rawFrame } from "./frames.ts";

/** Frames come as long after each other as a client may need to change hands. */
const PAUSES = 20;
const PAUSE_US = 10;
let accepted = 0;

function rest(pauses: number): void {
  const startedAtMs = performance.now();
  while (performance.now() - startedAtMs < pauses * PAUSE_US / 1000);
}

const server = createServer((socket) => {
  socket.setNoDelay(true).on("error", () => {});
  socket.once("data", (request) => {
    const key = /sec-websocket-key: *(\S+)/i.exec(String(request))![1];
    const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
      `Connection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n\r\n`;
    const frames = [
      rawFrame({ opcode: OP.text, payload: "first" }),
      rawFrame({ opcode: OP.close, payload: closing(1008, "refused") }),
    ];
    const parts = [new TextEncoder().encode(head), ...frames];
    const isJoined = String(request).startsWith("GET /joined ");
    for (const part of isJoined ? [Buffer.concat(parts)] : parts) {
      socket.write(part);
      rest(accepted++ % PAUSES);
    }
    socket.end();
  });
});
server.listen(0, "127.0.0.1", () => console.log((server.address() as { port: number }).port));
