#!/usr/bin/env bash
# @durable-streams/client: a live tail by server-sent events ends with the first connection that breaks; by long-poll it goes on.
#
# `stream({ url, live })` reads what is there and then what comes. The client tries again for ever by default, and with
# `live: "long-poll"`, or `true`, a server or proxy that restarts, or a network that changes, is a pause: the offset is
# known. With `live: "sse"` the connection stands all the time, so it is the one that breaks, and is not made again: what
# comes later is never read. `onError`, which decides about retries, is not asked. Who has subscribed hears nothing at all
# unless he looks at `closed`, which fails with "terminated". A connection that the server ends in good order is made
# again, so that tests with a server that closes pass.
set -euo pipefail
client_version=0.2.7
server_version=0.3.7
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "@durable-streams/client@$client_version" "@durable-streams/server@$server_version" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { connect, createServer } from "node:net";
import { DurableStream, stream } from "@durable-streams/client";
import { DurableStreamTestServer } from "@durable-streams/server";

const server = new DurableStreamTestServer({ host: "127.0.0.1", port: 0 });
const origin = await server.start();
// What stands between: passes bytes on, and breaks its connections when it is told to.
const open = new Set();
const between = createServer((socket) => {
  const other = connect(new URL(origin).port, "127.0.0.1");
  socket.pipe(other).pipe(socket);
  for (const each of [socket, other]) each.on("error", () => {}).on("close", () => open.delete(socket));
  open.add(socket);
});
await new Promise((resolve) => between.listen(0, "127.0.0.1", resolve));
const proxy = `http://127.0.0.1:${between.address().port}`;

const ways = {
  "breaks": (socket) => socket.destroy(),
  "ends in good order": (socket) => socket.end("0\r\n\r\n"), // the last chunk of the answer
};
const outcome = async (live, way = "breaks") => {
  const path = `/log-${live}-${way.length}`;
  const writer = await DurableStream.create({ url: origin + path, contentType: "text/plain" });
  await writer.append("one ");
  let text = "", onError = 0, isClosed = false, heard;
  const reads = (part) => new Promise((resolve) => (heard = () => text.includes(part) && resolve())());
  const options = { url: proxy + path, offset: "-1", live, onError: () => (onError += 1, {}) };
  const tail = await stream(options);
  tail.closed.catch(({ message }) => isClosed = message);
  tail.subscribeText(({ text: chunk }) => {
    text += chunk;
    heard();
  });
  await reads("one");
  await writer.append("two ");
  await reads("two");
  await new Promise((resolve) => setTimeout(resolve, 500));
  for (const socket of open) ways[way](socket);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await writer.append("three ");
  await Promise.race([reads("three"), new Promise((resolve) => setTimeout(resolve, 5000))]);
  console.log(`${live}, the connection ${way}: '${text.trim()}', onError called ${onError} times, closed: ${isClosed || "no"}`);
};
for (const live of ["long-poll", true, "sse"]) await outcome(live);
await outcome("sse", "ends in good order");
process.exit();
PROBE
seen=$(timeout 60 node_modules/node/bin/node probe.mjs)
echo "@durable-streams/client $client_version, @durable-streams/server $server_version, Node $node_version;" \
  "'three' is appended after that"
echo "guess: a live tail reads 'one two three', whatever carries it"
echo "seen:"
echo "$seen"
[ "$seen" = "long-poll, the connection breaks: 'one two three', onError called 0 times, closed: no
true, the connection breaks: 'one two three', onError called 0 times, closed: no
sse, the connection breaks: 'one two', onError called 0 times, closed: terminated
sse, the connection ends in good order: 'one two three', onError called 0 times, closed: no" ] || {
  echo "this has changed"
  exit 1
}
