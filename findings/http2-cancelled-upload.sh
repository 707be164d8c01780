#!/usr/bin/env bash
# Deno.serve, node:http2: an upload over HTTP/2 that its client cancels is a whole one for the server.
#
# A page that is left, an aborted `fetch`, a proxy whose client is gone: over HTTP/1.1 the connection breaks, and whoever
# reads the request's body gets an error. Over HTTP/2 a frame says it (RST_STREAM with CANCEL), and the body of `Deno.serve`
# ends there in good order, with a part of the bytes that Content-Length promised: what saves `request.body` has saved half a
# file and answers 201. In node:http2, of Node, Deno and Bun alike, such a request emits "end" and says `complete`; only
# `aborted` knows. `for await` and `pipeline` fail there, `pipe()` and listeners, which are safe with node:http, do not. Deno
# speaks HTTP/2 with every browser as soon as it has a certificate, and in plain text with proxies that ask for it.
set -euo pipefail
node_version=26.10.0
deno_version=2.9.6
bun_version=1.4.5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "node@$node_version" "deno@$deno_version" "bun@$bun_version"
export PATH=$work/node_modules/.bin:$PATH NO_COLOR=1 DENO_NO_UPDATE_CHECK=1

cat >serve.mjs <<'SERVE'
// Takes one upload, in a way that is named, and tells how it ended.
import { createWriteStream } from "node:fs";
const [way] = process.argv.slice(2);
const begun = () => console.log("begun");
const told = (outcome) => console.log(`told ${outcome}`);
const listening = (port) => console.log(`port ${port}`);
if (way === "Deno.serve") {
  const handler = async ({ body }) => {
    let bytes = 0;
    try {
      for await (const chunk of body) {
        if (bytes === 0) begun();
        bytes += chunk.length;
      }
      told(`whole with ${bytes} bytes`);
    } catch {
      told("an error");
    }
    return new Response();
  };
  Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: ({ port }) => listening(port) }, handler);
} else {
  const { createServer } = await import(way);
  const server = createServer((request) => {
    let bytes = 0;
    const file = createWriteStream("saved").on("finish", () => told(`whole with ${bytes} bytes, complete ${request.complete}`));
    request.on("data", (chunk) => {
      if (bytes === 0) begun();
      bytes += chunk.length;
    }).on("error", () => told("an error")).pipe(file);
  });
  server.listen(0, "127.0.0.1", () => listening(server.address().port));
}
SERVE
cat >probe.mjs <<'PROBE'
// Uploads 500 of 1000 bytes, and cancels as browsers do.
import { spawn } from "node:child_process";
import http from "node:http";
import http2 from "node:http2";
import { createInterface } from "node:readline";
const quiet = () => {};
const uploads = {
  "HTTP/1.1": (port) => {
    const request = http.request({ port, method: "PUT", headers: { "content-length": 1000 } }).on("error", quiet);
    request.write("a".repeat(500));
    return () => request.destroy();
  },
  "HTTP/2": (port) => {
    const session = http2.connect(`http://127.0.0.1:${port}`).on("error", quiet);
    const given = new AbortController(); // sends RST_STREAM alone; `close()` would complete the request first
    const request = session.request({ ":method": "PUT", "content-length": 1000 }, { signal: given.signal }).on("error", quiet);
    request.write("a".repeat(500));
    return () => given.abort();
  },
};
const outcome = async (command, way, protocol) => {
  const server = spawn(command[0], [...command.slice(1), "serve.mjs", way], { stdio: ["ignore", "pipe", "ignore"] });
  let cancel;
  for await (const line of createInterface(server.stdout)) {
    const [, word, rest] = /^(\w+) ?(.*)/.exec(line);
    if (word === "port") cancel = uploads[protocol](Number(rest));
    else if (word === "begun") cancel();
    else {
      server.kill("SIGKILL");
      return rest;
    }
  }
};
const deno = ["deno", "run", "-A"];
for (const [name, command, way, protocol] of [
  ["Deno", deno, "Deno.serve", "HTTP/1.1"],
  ["Deno", deno, "Deno.serve", "HTTP/2"],
  ["Node", ["node"], "node:http", "HTTP/1.1"],
  ["Node", ["node"], "node:http2", "HTTP/2"],
  ["Deno", deno, "node:http2", "HTTP/2"],
  ["Bun", ["bun"], "node:http2", "HTTP/2"],
]) console.log(`${name}, ${way}, ${protocol}: ${await outcome(command, way, protocol)}`);
process.exit();
PROBE
seen=$(timeout 120 node probe.mjs)
echo "Node $node_version, Deno $deno_version, Bun $bun_version; 500 of 1000 bytes, then the client cancels"
echo "guess: a body that its client has cancelled is an error, over HTTP/2 as over HTTP/1.1"
echo "seen:"
echo "$seen"
[ "$seen" = "Deno, Deno.serve, HTTP/1.1: an error
Deno, Deno.serve, HTTP/2: whole with 500 bytes
Node, node:http, HTTP/1.1: an error
Node, node:http2, HTTP/2: whole with 500 bytes, complete true
Deno, node:http2, HTTP/2: whole with 500 bytes, complete true
Bun, node:http2, HTTP/2: whole with 500 bytes, complete true" ] || {
  echo "this has changed"
  exit 1
}
