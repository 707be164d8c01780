#!/usr/bin/env bash
# node:http, Deno: who listens for 'upgrade' (for WebSockets) reads no content of clients that offer HTTP/2.
#
# `curl --http2`, and Java's HttpClient unless it is told otherwise, add `Upgrade: h2c` to requests to http: addresses; a
# server that does not speak it answers by HTTP/1.1 as if it were not there (RFC 9110, 7.8). With a listener for 'upgrade'
# node:http hands every such request to that and stops parsing behind its head: on Node its content is empty and over, so
# that an upload of it is one of nothing; on Deno it never comes and never ends. Bun's node:http asks that listener for
# `websocket` only. `Deno.serve` refuses such requests with an empty 400 when they have a Content-Length, even 0, as those
# of Java have. Newer versions of Node, and Deno 2.9, have `shouldUpgradeCallback`, which says what is an upgrade.
set -euo pipefail
node_version=22.20.0
deno_version=2.9.6
bun_version=1.4.5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "node@$node_version" "deno@$deno_version" "bun@$bun_version"

cat >offer.mjs <<'SCRIPT'
import { createServer } from "node:http";
import { connect } from "node:net";

const head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n";
const offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";

/** What a request gets whose content comes a moment after its head, as from curl and Java. */
async function ask(port, fields) {
  const socket = connect(port, "127.0.0.1", () => {
    socket.write(`${head}${fields}\r\n`);
    setTimeout(() => socket.write("hello"), 200);
  });
  let text = "";
  socket.on("data", (bytes) => text += bytes).on("error", () => {});
  await new Promise((resolve) => setTimeout(resolve, 1000));
  socket.destroy();
  const status = text.split(" ")[1] ?? "no answer";
  return status + (/ \d of 5 bytes/.exec(text)?.[0] ?? "");
}

async function tell(server, port) {
  console.log(`${server}: ${await ask(port, "")} without the offer, ${await ask(port, offer)} with it`);
}

/** Tells how much content a request has. */
async function answer(request, write) {
  let length = 0;
  for await (const chunk of request) length += chunk.length;
  write(`with ${length} of 5 bytes`);
}
const server = createServer((request, response) => answer(request, (text) => response.end(text)));
// A server that speaks WebSocket has this listener; what asks for something else it may answer as ever.
server.on("upgrade", (request, socket) =>
  answer(request, (text) => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`)));
server.listen(0, "127.0.0.1", async () => {
  await tell("node:http", server.address().port);
  if (globalThis.Deno) {
    const handler = async (request) => new Response(`with ${(await request.text()).length} of 5 bytes`);
    const { addr } = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, handler);
    await tell("Deno.serve", addr.port);
  }
  process.exit();
});
SCRIPT

seen=$(
  for runtime in node deno bun; do
    run="node_modules/.bin/$runtime"
    [ $runtime != deno ] || run="$run run -A"
    NO_COLOR=1 $run offer.mjs 2>/dev/null | sed "s/^/$runtime, /"
  done
)
echo "Node $node_version, Deno $deno_version, Bun $bun_version"
echo "guess: an offer of h2c that is not taken changes nothing"
echo "seen:"
echo "$seen"
[ "$seen" = "node, node:http: 200 5 of 5 bytes without the offer, 200 0 of 5 bytes with it
deno, node:http: 200 5 of 5 bytes without the offer, no answer with it
deno, Deno.serve: 200 5 of 5 bytes without the offer, 400 with it
bun, node:http: 200 5 of 5 bytes without the offer, 200 5 of 5 bytes with it" ] || {
  echo "this has changed"
  exit 1
}
