#!/usr/bin/env bash
# Bun: a streamed response loses the Content-Length it was given, unless its queueing strategy has room for all of it.
#
# Who streams a file and knows its size sets Content-Length, so that clients show how much is left and can tell a part
# from the whole. `Deno.serve` sends it. `Bun.serve` drops it without a word and sends chunks, however the header is set,
# when the body is longer than the stream's `highWaterMark` - which by the standard counts chunks for such a stream, and
# here counts bytes. With room for all of it the header is there, even where nobody set it.
set -euo pipefail
deno_version=2.9.6
bun_version=1.4.5
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "deno@$deno_version" "bun@$bun_version"

cat >server.mjs <<'SERVER'
const SIZE = 50_000;
const handler = (request) => {
  const strategy = { usual: undefined, roomy: { highWaterMark: 2 * SIZE } };
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(SIZE).fill(97));
      controller.close();
    },
  }, strategy[new URL(request.url).pathname.slice(1)]);
  return new Response(body, { headers: { "content-length": String(SIZE) } });
};
const told = ({ port }) => console.log(port);
if (globalThis.Bun) {
  told(Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: handler }));
} else {
  Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: told }, handler);
}
SERVER
NO_COLOR=1 node_modules/deno/deno run -A server.mjs >deno.port 2>/dev/null &
pids+=($!)
node_modules/.bin/bun server.mjs >bun.port 2>/dev/null &
pids+=($!)

seen=""
for runtime in deno bun; do
  until [ -s "$runtime.port" ]; do sleep 0.1; done
  for strategy in usual roomy; do
    curl -s -m 10 -D head -o body "http://127.0.0.1:$(head -1 "$runtime.port")/$strategy"
    how=$(tr -d '\r' <head | grep -i -E '^(content-length|transfer-encoding):' | tr '[:upper:]' '[:lower:]')
    seen+="$runtime, $strategy strategy: $how, $(stat -c %s body) bytes"$'\n'
  done
done
echo "Deno $deno_version, Bun $bun_version"
echo "guess: a Content-Length that was set is sent, whatever the stream may hold"
echo "seen:"
printf %s "$seen"
[ "$seen" = "deno, usual strategy: content-length: 50000, 50000 bytes
deno, roomy strategy: content-length: 50000, 50000 bytes
bun, usual strategy: transfer-encoding: chunked, 50000 bytes
bun, roomy strategy: content-length: 50000, 50000 bytes
" ] || {
  echo "this has changed"
  exit 1
}
