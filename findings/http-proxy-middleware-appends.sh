#!/usr/bin/env bash
# http-proxy-middleware: a download whose server is reset half way ends as a success, with a sentence of the proxy at its end.
#
# When its target fails, the middleware answers for it: a status, if none was sent, and "Error occurred while trying to proxy:"
# with host and path as the body, if none was begun; if one was, the sentence is written behind what was passed on already,
# and the response ends in good order. A log or an archive that a server that was killed (RST) had sent half of has status
# 200, is whole for curl, `fetch` and browsers, and has a line in it that nobody wrote; where the length is known, the
# sentence takes the place of the missing bytes. Version 4, on another proxy below, is no different. When the target's
# connection ends instead (FIN), 4.2 breaks the response off, as @fastify/http-proxy does for both.
set -euo pipefail
version=4.2.2
before=3.0.11
fastify_proxy=11.6.3
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "v4@npm:http-proxy-middleware@$version" "v3@npm:http-proxy-middleware@$before" \
  "@fastify/http-proxy@$fastify_proxy" fastify@5.9.0 express@5.2.1 "node@$node_version"

cat >probe.mjs <<'PROBE'
import { createServer } from "node:http";
import { createServer as listenTo } from "node:net";
import fastifyProxy from "@fastify/http-proxy";
import express from "express";
import fastify from "fastify";
import { createProxyMiddleware as v3 } from "v3";
import { createProxyMiddleware as v4 } from "v4";

const listening = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
// A target that sends a part, and whose connection is reset, as of a process that is killed, or ends.
const target = `http://127.0.0.1:${await listening(listenTo((socket) => {
  socket.on("error", () => {}).on("data", (request) => {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhalf of it\n\r\n");
    setTimeout(() => String(request).includes("/reset") ? socket.resetAndDestroy() : socket.destroy(), 500);
  });
}))}`;
const byExpress = (middleware) => listening(createServer(express().use(middleware({ target }))));
const byFastify = async () => {
  const app = fastify();
  await app.register(fastifyProxy, { upstream: target });
  await app.listen({ port: 0, host: "127.0.0.1" });
  return app.server.address().port;
};
const outcome = async (name, port, path) => {
  const text = fetch(`http://127.0.0.1:${port}${path}`).then((answer) => answer.text());
  const told = await text.then((body) => `success with ${JSON.stringify(body.replaceAll(port, "PORT"))}`, () => "an error");
  console.log(`${name}, ${path}: ${told}`);
};
const [old, current, other] = [await byExpress(v3), await byExpress(v4), await byFastify()];
await outcome("version 3", old, "/reset.log");
await outcome("version 4", current, "/reset.log");
await outcome("version 4", current, "/ended.log");
await outcome("@fastify/http-proxy", other, "/reset.log");
await outcome("@fastify/http-proxy", other, "/ended.log");
process.exit();
PROBE
seen=$(timeout 60 node_modules/node/bin/node probe.mjs 2>/dev/null)
echo "http-proxy-middleware $version and $before, @fastify/http-proxy $fastify_proxy, Node $node_version"
echo "guess: a response that breaks off behind the proxy is an error, and nothing is in it that its server did not send"
echo "seen:"
echo "$seen"
[ "$seen" = 'version 3, /reset.log: success with "half of it\nError occurred while trying to proxy: 127.0.0.1:PORT/reset.log"
version 4, /reset.log: success with "half of it\nError occurred while trying to proxy: 127.0.0.1:PORT/reset.log"
version 4, /ended.log: an error
@fastify/http-proxy, /reset.log: an error
@fastify/http-proxy, /ended.log: an error' ] || {
  echo "this has changed"
  exit 1
}
