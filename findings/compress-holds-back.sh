#!/usr/bin/env bash
# Hono, koa-compress, @fastify/compress, compression: a response that comes as it is made is held back until its end.
#
# A log that is followed over HTTP is a response that goes on for hours, a line at a time. Compression for all routes is one
# line in each of these frameworks, and each of them holds what it packs until it has a block of it: of a log that grows by
# a line a minute a browser sees nothing for hours. With gzip the head comes, so that the page waits; with brotli, which
# browsers ask for by https (Hono does not know it), not even that comes, and whoever waits for it gives up. curl, which
# asks for no compression, shows each line at once, and so does Hono on Deno; on Bun it is as on Node. @fastify/compress and
# Hono leave server-sent events alone, the other two do not. `Cache-Control: no-transform` keeps a response out of all but
# that of Fastify; a route without the middleware does, too.
set -euo pipefail
express=5.3.0
compression=1.8.2
koa=3.3.0
koa_compress=5.2.2
fastify=5.12.8
fastify_compress=9.2.0
hono=4.13.19
hono_node=2.1.9
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "express@$express" "compression@$compression" "koa@$koa" "koa-compress@$koa_compress" \
  "fastify@$fastify" "@fastify/compress@$fastify_compress" "hono@$hono" "@hono/node-server@$hono_node" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { once } from "node:events";
import { createServer, get } from "node:http";
import { Readable } from "node:stream";
import { setTimeout as within } from "node:timers/promises";
import { createBrotliDecompress, createGunzip } from "node:zlib";
import fastifyCompress from "@fastify/compress";
import { getRequestListener } from "@hono/node-server";
import compression from "compression";
import express from "express";
import Fastify from "fastify";
import { Hono } from "hono";
import { compress } from "hono/compress";
import Koa from "koa";
import koaCompress from "koa-compress";

// A source with one line, and a second one when the reader has seen the first or has waited long enough.
const ends = new Map();
async function* lines(id) {
  yield "data: the first line\n\n";
  await new Promise((resolve) => ends.set(id, resolve));
  yield "data: the last line\n\n";
}
const headers = (url) => ({
  "content-type": url.includes("events") ? "text/event-stream" : "text/plain",
  ...(url.includes("live") && { "cache-control": "no-transform" }),
});
const onExpress = express().use(compression()).use(({ url }, response) => {
  response.set(headers(url));
  Readable.from(lines(url)).pipe(response);
});
const onKoa = new Koa().use(koaCompress({ threshold: 0 })).use((context) => {
  context.set(headers(context.url));
  context.body = Readable.from(lines(context.url));
});
const onFastify = Fastify();
await onFastify.register(fastifyCompress, { threshold: 0 });
onFastify.get("/*", ({ url }, reply) => reply.headers(headers(url)).send(Readable.from(lines(url))));
await onFastify.ready();
const onHono = new Hono().use(compress()).get("/*", (context) => {
  const { pathname } = new URL(context.req.url);
  return context.body(ReadableStream.from(lines(pathname)).pipeThrough(new TextEncoderStream()), 200, headers(pathname));
});
const servers = {
  "compression": createServer(onExpress),
  "koa-compress": createServer(onKoa.callback()),
  "@fastify/compress": onFastify.server,
  "Hono": createServer(getRequestListener(onHono.fetch)),
};
const unpacks = { gzip: createGunzip, br: createBrotliDecompress };
async function first(server, path, encoding) {
  const request = get({ port: server.address().port, path, headers: { "accept-encoding": encoding }, agent: false });
  request.on("error", () => {});
  const head = once(request, "response");
  let begun = false;
  const line = head.then(([response]) => {
    begun = true;
    const unpack = unpacks[response.headers["content-encoding"]];
    return once(unpack ? response.pipe(unpack()) : response, "data");
  }).then(() => "at once");
  const late = async () => {
    await within(3000);
    return begun ? "held back" : "held back with its head";
  };
  const outcome = await Promise.race([line, late()]);
  ends.get(path)?.();
  request.destroy();
  return outcome;
}
for (const [name, server] of Object.entries(servers)) {
  if (!server.listening) await once(server.listen(0, "127.0.0.1"), "listening");
  const paths = { "/log": ["identity", "gzip", "br"], "/events": ["gzip"], "/live": ["gzip"] };
  const seen = await Promise.all(Object.entries(paths).flatMap(([path, encodings]) =>
    encodings.map(async (encoding) => `${path.slice(1)} as ${encoding} ${await first(server, `${path}/${encoding}`, encoding)}`)
  ));
  console.log(`${name}: ${seen.join(", ")}`);
}
process.exit();
PROBE
seen=$(timeout 50 node_modules/node/bin/node probe.mjs 2>/dev/null)
echo "compression $compression, koa-compress $koa_compress, @fastify/compress $fastify_compress, Hono $hono"
echo "guess: the first line comes at once, packed or not"
echo "seen:"
echo "$seen"
[ "$seen" = "compression: log as identity at once, log as gzip held back, log as br held back with its head, events as gzip held back, live as gzip at once
koa-compress: log as identity at once, log as gzip held back, log as br held back with its head, events as gzip held back, live as gzip at once
@fastify/compress: log as identity at once, log as gzip held back, log as br held back with its head, events as gzip at once, live as gzip held back
Hono: log as identity at once, log as gzip held back, log as br at once, events as gzip at once, live as gzip at once" ] || {
  echo "this has changed"
  exit 1
}
