#!/usr/bin/env bash
# koa-static, sirv, serve-handler, @hono/node-server, @hapi/inert: a log that grows is sent longer than its Content-Length.
#
# A static server looks at a file, promises its length and reads it. These five read to wherever the end is by then: what a
# program adds to its log during a download is sent behind the promised bytes, and node:http, which could count, does so
# only on request (`strictContentLength`). The download itself is whole. Where the connection is kept, the next answer on it
# begins with lines of the log: `curl URL URL` fails with 1 for the second, Python's http.client with BadStatusLine,
# node:http with a parse error, and whatever stands between takes the server for broken. (`fetch` and wget notice and
# connect anew; hapi closes.) `express.static` and @fastify/static read as much as they promised. Files that rest, and short
# ones, never show it.
set -euo pipefail
koa=3.3.0
koa_static=5.0.0
sirv=3.0.2
serve_handler=6.1.8
hono_server=2.1.9
hono=4.13.19
inert=7.1.2
hapi=21.4.10
express=5.3.0
fastify_static=10.1.11
fastify=5.12.8
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "koa@$koa" "koa-static@$koa_static" "sirv@$sirv" "serve-handler@$serve_handler" \
  "@hono/node-server@$hono_server" "hono@$hono" "@hapi/inert@$inert" "@hapi/hapi@$hapi" "express@$express" \
  "@fastify/static@$fastify_static" "fastify@$fastify" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { once } from "node:events";
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";

const root = `${process.cwd()}/logs`;
const load = async (name) => (await import(name)).default;
const servers = {
  "koa-static": async () => {
    const [Koa, serve] = [await load("koa"), await load("koa-static")];
    return createServer(new Koa().use(serve(root)).callback());
  },
  "sirv": async () => createServer((await load("sirv"))(root)),
  "serve-handler": async () => {
    const serve = await load("serve-handler");
    return createServer((request, response) => serve(request, response, { public: root }));
  },
  "@hono/node-server": async () => {
    const { Hono } = await import("hono");
    const { serveStatic } = await import("@hono/node-server/serve-static");
    const { getRequestListener } = await import("@hono/node-server");
    return createServer(getRequestListener(new Hono().use("*", serveStatic({ root })).fetch));
  },
  "@hapi/inert": async () => {
    const server = (await load("@hapi/hapi")).server();
    await server.register(await load("@hapi/inert"));
    server.route({ method: "GET", path: "/{path*}", handler: { directory: { path: root } } });
    await server.initialize();
    return server.listener;
  },
  "express.static": async () => {
    const express = await load("express");
    return createServer(express().use(express.static(root)));
  },
  "@fastify/static": async () => {
    const fastify = (await load("fastify"))({ forceCloseConnections: true });
    fastify.register(await load("@fastify/static"), { root });
    await fastify.ready();
    return fastify.server;
  },
};
mkdirSync(root);
writeFileSync(`${root}/short`, "short");
for (const [name, make] of Object.entries(servers)) {
  writeFileSync(`${root}/log`, "a line that was there\n".repeat(2_000_000)); // more than the buffers of a connection
  const server = (await make()).listen(0, "127.0.0.1");
  await once(server, "listening");

  // One connection: the log, which grows as soon as its answer has begun, then the short file.
  const socket = connect(server.address().port, "127.0.0.1");
  const received = [];
  let ended = false;
  socket.on("end", () => ended = true).on("close", () => ended = true).on("error", () => {});
  socket.write("GET /log HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await once(socket, "readable");
  appendFileSync(`${root}/log`, "a line that was added\n");
  socket.on("data", (bytes) => received.push(bytes));
  const all = () => Buffer.concat(received);
  const bodyFrom = async () => {
    let at;
    while ((at = all().indexOf("\r\n\r\n")) < 0) await new Promise((resolve) => setTimeout(resolve, 50));
    return at + 4;
  };
  const from = await bodyFrom();
  const promised = Number(/content-length: *(\d+)/i.exec(all().subarray(0, from).toString())[1]);
  let length = 0;
  while (length < from + promised) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    length = received.reduce((sum, bytes) => sum + bytes.length, 0);
  }
  socket.write("GET /short HTTP/1.1\r\nHost: localhost\r\n\r\n");
  let next;
  do {
    await new Promise((resolve) => setTimeout(resolve, 50));
    next = all().subarray(from + promised).toString();
  } while (!next.endsWith("short") && !ended);
  console.log(`${name}: the next answer begins with '${next.slice(0, 21).split(/[\r\n]/)[0]}'`);
  socket.destroy();
  server.closeAllConnections();
  server.close();
}
process.exit();
PROBE
seen=$(timeout 120 node_modules/node/bin/node probe.mjs)
echo "koa-static $koa_static (koa $koa), sirv $sirv, serve-handler $serve_handler, @hono/node-server $hono_server (hono $hono)," \
  "@hapi/inert $inert (hapi $hapi), express $express, @fastify/static $fastify_static, Node $node_version"
echo "guess: behind the bytes that were promised the next answer begins, with 'HTTP/1.1 200 OK'"
echo "seen:"
echo "$seen"
[ "$seen" = "koa-static: the next answer begins with 'a line that was added'
sirv: the next answer begins with 'a line that was added'
serve-handler: the next answer begins with 'a line that was added'
@hono/node-server: the next answer begins with 'a line that was added'
@hapi/inert: the next answer begins with 'a line that was added'
express.static: the next answer begins with 'HTTP/1.1 200 OK'
@fastify/static: the next answer begins with 'HTTP/1.1 200 OK'" ] || {
  echo "this has changed"
  exit 1
}
