#!/usr/bin/env bash
# Hono: a handler of `stream()` that fails half way ends its response in good order, whatever it does about the error.
#
# HTTP/1.1 and HTTP/2 can say that a body is not whole: by a connection that ends before the last chunk, by RST_STREAM. A
# ReadableStream that is handed to `c.body()` does so when it fails. `stream()`, `streamText()` and `stream.pipe()` of the
# same source close it instead: the client has a part with status 200 and no way to tell. Neither throwing again in the
# error handler of `stream()` nor `stream.abort()` in it changes that.
set -euo pipefail
hono=4.13.19
adapter=2.1.9
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "hono@$hono" "@hono/node-server@$adapter"

cat >server.mjs <<'SERVER'
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { stream, streamText } from "hono/streaming";

const failing = async (out) => {
  await out.write("half of it\n");
  await out.sleep(200);
  throw new Error("the disk");
};
async function* source() {
  yield new TextEncoder().encode("half of it\n");
  await new Promise((resolve) => setTimeout(resolve, 200));
  throw new Error("the disk");
}
process.on("unhandledRejection", () => {});
const app = new Hono();
app.get("/body", (c) => c.body(ReadableStream.from(source())));
app.get("/pipe", (c) => stream(c, (out) => out.pipe(ReadableStream.from(source()))));
app.get("/stream", (c) => stream(c, failing));
app.get("/text", (c) => streamText(c, failing));
app.get("/rethrow", (c) => stream(c, failing, (error) => Promise.reject(error)));
app.get("/abort", (c) => stream(c, failing, async (_error, out) => out.abort()));
serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) => console.log(port));
SERVER
node server.mjs >port 2>/dev/null &
pids+=($!)
until [ -s port ]; do sleep 0.1; done

seen=""
for way in body pipe stream text rethrow abort; do
  code=0
  body=$(curl -s -m 10 "http://127.0.0.1:$(head -1 port)/$way") || code=$?
  seen+="$way: '$body', curl ends with $code"$'\n'
done
echo "hono $hono, @hono/node-server $adapter"
echo "guess: a response whose handler failed is not whole for its client (18), at the latest if the error handler says so"
echo "seen:"
printf %s "$seen"
[ "$seen" = "body: 'half of it', curl ends with 18
pipe: 'half of it', curl ends with 0
stream: 'half of it', curl ends with 0
text: 'half of it', curl ends with 0
rethrow: 'half of it', curl ends with 0
abort: 'half of it', curl ends with 0
" ] || {
  echo "this has changed"
  exit 1
}
