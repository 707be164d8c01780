#!/usr/bin/env bash
# Socket.IO: after a volatile event that ends with a text, a connection that breaks is not recovered, and events are lost.
#
# With `connectionStateRecovery` the server sends after a short break what its client missed in it: behind each event stands
# a mark that the client keeps, and tells when it comes back. Volatile events are not kept, so they have no mark; the client
# takes the last argument of whatever comes, if it is a string, for one. After `volatile.emit("progress", "50%")` it asks
# for what came behind "50%", which the server does not know: a new session, `recovered` is false, and all that was emitted
# in the break is gone, events that were not volatile as well. A number at the end, or the next event that is not
# volatile, mends it: tests that break the connection at another moment pass.
set -euo pipefail
socketio_version=4.8.4 # server and client
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "socket.io@$socketio_version" "socket.io-client@$socketio_version" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { Server } from "socket.io";
import { io } from "socket.io-client";

const http = createServer().listen(0, "127.0.0.1");
await once(http, "listening");
const server = new Server(http, { connectionStateRecovery: {} });

async function lines(emit) {
  const client = io(`http://127.0.0.1:${http.address().port}`, {
    transports: ["websocket"],
    forceNew: true,
    reconnectionDelay: 100,
  });
  const got = [];
  const heard = new EventEmitter();
  const came = async (text) => {
    while (!got.some((line) => line.startsWith(text))) await once(heard, "line");
  };
  client.onAny((_, text) => {
    got.push(String(text));
    heard.emit("line");
  });
  const [socket] = await once(server, "connection");
  server.emit("line", "1");
  await came("1");
  while (!socket.conn.transport.writable) await once(socket.conn, "drain"); // or the volatile event would be dropped
  emit(socket);
  await came("50");
  const left = once(socket, "disconnect");
  client.io.engine.close();
  await left;
  server.emit("line", "2 in the break");
  const [again] = await once(server, "connection");
  again.emit("line", "3");
  await came("3");
  client.close();
  return `${got.join(", ")}; recovered: ${client.recovered}`;
}
console.log("an event with a text:", await lines((socket) => socket.emit("progress", "50%")));
console.log("a volatile event with a number:", await lines((socket) => socket.volatile.emit("progress", 50)));
console.log("a volatile event with a text:", await lines((socket) => socket.volatile.emit("progress", "50%")));
process.exit();
PROBE
seen=$(timeout 40 node_modules/node/bin/node probe.mjs)
echo "Socket.IO $socketio_version, Node $node_version"
echo "guess: volatile events may be lost, and nothing else"
echo "seen:"
echo "$seen"
[ "$seen" = "an event with a text: 1, 50%, 2 in the break, 3; recovered: true
a volatile event with a number: 1, 50, 2 in the break, 3; recovered: true
a volatile event with a text: 1, 50%, 3; recovered: false" ] || {
  echo "this has changed"
  exit 1
}
