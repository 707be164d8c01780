#!/usr/bin/env bash
# ws: what was sent before `close()` is cut off 30 s later, while it is still on its way.
#
# `close()` of a WebSocket takes effect behind all that was sent before it, so "send everything, then close" is how an export,
# a backlog or an upload ends. In ws the timer that guards against a peer which does not answer the close frame starts with
# the call, not when that frame leaves: what 30 s do not carry, on a slow uplink or to a slow reader, is thrown away with the
# connection, although bytes move all the time. The sender sees 1006 and no error event, the other side an end without a
# close frame. Clients and servers are the same in this; the WebSocket of Node, Deno and Bun delivers all. Tests are too
# small and too near for it. `closeTimeout` moves the limit.
set -euo pipefail
ws_version=8.23.0
node_version=26.10.0
deno_version=2.9.6
bun_version=1.4.5
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "ws@$ws_version" "node@$node_version" "deno@$deno_version" "bun@$bun_version"
export PATH=$work/node_modules/.bin:$PATH DENO_NO_UPDATE_CHECK=1

cat >slow.mjs <<'SLOW'
// The slow side: reads 1 MB a second for as long as it comes, as a server, or with a port as a client.
import { createHash } from "node:crypto";
import net from "node:net";
const total = 48e6;
const read = (name, socket, received) => {
  const begun = Date.now();
  const tell = (what) => {
    socket.removeAllListeners().on("error", () => {}).destroy();
    console.log(`${name}, the other side: ${what}`);
  };
  socket.on("data", (bytes) => {
    received += bytes.length;
    if (received >= total) return tell("all of it");
    socket.pause();
    setTimeout(() => socket.resume(), Math.max(0, begun + received / 1000 - Date.now()));
  }).on("end", () => tell("a part")).on("error", () => tell("a part"));
};
const port = Number(process.argv[2] ?? 0);
if (port > 0) {
  const head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
  const socket = net.connect(port, "127.0.0.1");
  socket.write(`GET / HTTP/1.1\r\nHost: x\r\n${head}\r\nSec-WebSocket-Key: ${btoa("0123456789abcdef")}\r\n\r\n`);
  read("ws, a server", socket, 0);
} else {
  const server = net.createServer((socket) => {
    let head = "";
    socket.on("data", function begin(bytes) {
      head += bytes.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      socket.off("data", begin);
      const key = /sec-websocket-key: *(\S+)/i.exec(head)[1];
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
      socket.write(`${answer}\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
      read(/GET \/(\S*)/.exec(head)[1].replaceAll("-", " "), socket, 0);
    });
  }).listen(0, "127.0.0.1", () => console.log(server.address().port));
}
SLOW
cat >send.mjs <<'SEND'
const [name, port] = process.argv.slice(2);
const socket = new (name.startsWith("ws") ? (await import("ws")).WebSocket : WebSocket)(`ws://127.0.0.1:${port}/${name}`);
socket.onopen = () => {
  for (let sent = 0; sent < 48e6; sent += 48_000) socket.send(new Uint8Array(48_000));
  socket.close(1000);
};
socket.onerror = () => console.log(`${name.replaceAll("-", " ")}: an error`);
socket.onclose = ({ code }) => console.log(`${name.replaceAll("-", " ")}: closed with ${code}`);
SEND
cat >serve.mjs <<'SERVE'
import { WebSocketServer } from "ws";
const server = new WebSocketServer({ port: 0, host: "127.0.0.1" }, () => console.log(server.address().port));
server.on("connection", (socket) => {
  for (let sent = 0; sent < 48e6; sent += 48_000) socket.send(new Uint8Array(48_000));
  socket.close(1000);
  socket.on("close", (code) => {
    console.log(`ws, a server: closed with ${code}`);
    server.close();
  });
});
SERVE
node slow.mjs >slow.out &
pids+=($!)
node serve.mjs >serve.out &
pids+=($!)
until [ -s slow.out ] && [ -s serve.out ]; do sleep 0.1; done
port=$(head -1 slow.out)
timeout 200 node slow.mjs "$(head -1 serve.out)" >client.out &
clients=($!)
# The slow side answers no close frame, so only those of ws are asked how it ends for them.
timeout 200 node send.mjs ws,-a-client "$port" >ws.out &
clients+=($!)
for runtime in node "deno run -A" bun; do
  timeout 200 $runtime send.mjs "${runtime%% *}" "$port" >/dev/null &
  pids+=($!)
done
wait "${clients[@]}"
until [ "$(wc -l <slow.out)" -eq 5 ] && [ "$(wc -l <serve.out)" -eq 2 ]; do sleep 0.2; done
seen=$(tail -qn +2 slow.out serve.out | cat - client.out ws.out | sort)
echo "ws $ws_version, Node $node_version, Deno $deno_version, Bun $bun_version; 48 MB to a reader of 1 MB a second, then close()"
echo "guess: the close frame comes behind all that was sent before it"
echo "seen:"
echo "$seen"
[ "$seen" = "bun, the other side: all of it
deno, the other side: all of it
node, the other side: all of it
ws, a client, the other side: a part
ws, a client: closed with 1006
ws, a server, the other side: a part
ws, a server: closed with 1006" ] || {
  echo "this has changed"
  exit 1
}
