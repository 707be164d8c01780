#!/usr/bin/env bash
# sirv, serve-handler, http-server, @hono/node-server: a continued download gets the rest of another version of the file.
#
# Who continues a download asks for a range "if it is still the same" (If-Range, with the date or the ETag of the first
# answer), as browsers do; a server for which it is not sends all of it, with 200 (RFC 9110, 13.1.5). These four serve
# ranges and tell a date, and do not look at the condition: a file that was replaced meanwhile, by a rotation or a
# deployment, answers 206 with the middle of the new one, and the client, which did everything right, puts two halves
# together as a success. If-Match and If-Unmodified-Since are not looked at, either. `express.static` and @fastify/static
# heed them.
set -euo pipefail
sirv=3.0.2
serve_handler=6.1.8
http_server=14.1.1
hono_server=2.1.9
hono=4.13.19
express=5.3.0
fastify_static=10.1.11
fastify=5.12.8
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "sirv@$sirv" "serve-handler@$serve_handler" "http-server@$http_server" "@hono/node-server@$hono_server" \
  "hono@$hono" "express@$express" "@fastify/static@$fastify_static" "fastify@$fastify" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import fastifyStatic from "@fastify/static";
import { getRequestListener } from "@hono/node-server";
import { serveStatic } from "@hono/node-server/serve-static";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import httpServer from "http-server";
import serveHandler from "serve-handler";
import sirv from "sirv";

const root = `${process.cwd()}/public`;
mkdirSync(root);
const store = (version, lines, time) => {
  writeFileSync(`${root}/build.log`, `${version} line\n`.repeat(lines));
  utimesSync(`${root}/build.log`, time, time);
};
const servers = {
  "sirv": () => createServer(sirv(root, { etag: true })),
  "serve-handler": () => createServer((request, response) => serveHandler(request, response, { public: root })),
  "http-server": () => httpServer.createServer({ root }).server,
  "@hono/node-server": () =>
    createServer(getRequestListener(new Hono().use("/*", serveStatic({ root: "./public" })).fetch)),
  "express": () => createServer(express().use(express.static(root))),
  "@fastify/static": async () => {
    const app = fastify().register(fastifyStatic, { root });
    await app.ready();
    return app.server;
  },
};
const whileServing = async (make, use) => {
  const server = await make();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const result = await use(`http://127.0.0.1:${server.address().port}/build.log`);
  server.closeAllConnections();
  server.close();
  return result;
};
for (const [name, make] of Object.entries(servers)) {
  store("old", 10_000, 1.6e9);
  const [half, date] = await whileServing(make, async (url) => {
    const answer = await fetch(url);
    return [(await answer.text()).slice(0, 45_000), answer.headers.get("Last-Modified")];
  });
  store("new", 20_000, 1.7e9);
  // A server that is started anew, as after a deployment: sirv looks at its files once.
  console.log(await whileServing(make, async (url) => {
    const answer = await fetch(url, { headers: { Range: `bytes=${half.length}-`, "If-Range": date } });
    const text = await answer.text();
    const file = answer.status === 206 ? half + text : text;
    const count = (version) => file.split(`${version} line\n`).length - 1;
    return `${name}: ${answer.status}, ${count("old")} old and ${count("new")} new lines`;
  }));
}
process.exit();
PROBE
seen=$(timeout 60 node_modules/node/bin/node probe.mjs)
echo "sirv $sirv, serve-handler $serve_handler, http-server $http_server, @hono/node-server $hono_server, express $express," \
  "@fastify/static $fastify_static; half of 10000 old lines, then If-Range with their date; 20000 new ones"
echo "guess: the answer is 200 with all of the new file, as it is not the one of If-Range"
echo "seen:"
echo "$seen"
[ "$seen" = "sirv: 206, 5000 old and 15000 new lines
serve-handler: 206, 5000 old and 15000 new lines
http-server: 206, 5000 old and 15000 new lines
@hono/node-server: 206, 5000 old and 15000 new lines
express: 200, 0 old and 20000 new lines
@fastify/static: 200, 0 old and 20000 new lines" ] || {
  echo "this has changed"
  exit 1
}
