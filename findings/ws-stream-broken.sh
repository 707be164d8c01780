#!/usr/bin/env bash
# ws: `createWebSocketStream()` ends in good order when the connection breaks, and half an export is saved as all of it.
#
# `pipeline(createWebSocketStream(socket), createWriteStream(file))` is how Node saves what comes by a WebSocket; `pipeline`
# is there to tell when one of its streams fails. The stream of ws takes each "close" of its socket for the end: a server
# that says it failed (1011), one that was killed, so that the connection ends without a close frame (1006), and one that is
# reset. The promise resolves with a part of the bytes, and only the code of the socket's "close" event tells. The
# WebSocketStream of Deno fails where the connection breaks. Who reads a stream of ws has to look at that code as well: all
# but 1000 is a part.
set -euo pipefail
ws_version=8.23.0
node_version=26.10.0
deno_version=2.9.6
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "ws@$ws_version" "node@$node_version" "deno@$deno_version"

cat >reader.mjs <<'READER'
// Of Deno: one WebSocketStream, read to its end.
const socket = new WebSocketStream(Deno.args[0]);
socket.closed.catch(() => {});
let bytes = 0;
try {
  for await (const message of (await socket.opened).readable) bytes += message.length;
  console.log(`a success with ${bytes} bytes`);
} catch {
  console.log("a failure");
}
READER
cat >probe.mjs <<'PROBE'
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, statSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createWebSocketStream, WebSocket, WebSocketServer } from "ws";

const ends = {
  "all of it, then 1000": (socket) => socket.send("the other half\n", () => socket.close(1000)),
  "half of it, then 1011": (socket) => socket.close(1011, "the disk failed"),
  "half of it, then the end of the connection": (socket) => socket._socket.end(),
  "half of it, then a reset": (socket) => socket._socket.resetAndDestroy(),
};
const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
server.on("connection", (socket, { url }) => {
  socket.on("error", () => {});
  // The end comes when the reader has the first half.
  socket.send("one half\n", () => socket.ping());
  socket.once("pong", () => ends[decodeURIComponent(url.slice(1))](socket));
});
await once(server, "listening");
for (const name of Object.keys(ends)) {
  const url = `ws://127.0.0.1:${server.address().port}/${encodeURIComponent(name)}`;
  const socket = new WebSocket(url);
  const closed = once(socket, "close");
  const saved = await pipeline(createWebSocketStream(socket), createWriteStream("saved"))
    .then(() => `a success with ${statSync("saved").size} bytes`, () => "a failure");
  const [code] = await closed;
  const { stdout } = await promisify(execFile)("node_modules/deno/deno", ["run", "-A", "--unstable-net", "reader.mjs", url]);
  console.log(`${name}: ${saved} (${code}); Deno: ${stdout.trim()}`);
}
process.exit();
PROBE
seen=$(timeout 60 node_modules/node/bin/node probe.mjs 2>/dev/null)
echo "ws $ws_version, Node $node_version, Deno $deno_version"
echo "guess: pipeline() tells of all but the first, as it does for HTTP"
echo "seen:"
echo "$seen"
[ "$seen" = "all of it, then 1000: a success with 24 bytes (1000); Deno: a success with 24 bytes
half of it, then 1011: a success with 9 bytes (1011); Deno: a success with 9 bytes
half of it, then the end of the connection: a success with 9 bytes (1006); Deno: a failure
half of it, then a reset: a success with 9 bytes (1006); Deno: a failure" ] || {
  echo "this has changed"
  exit 1
}
