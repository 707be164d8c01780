#!/usr/bin/env bash
# Bun: what a streamed response says just before it fails never reaches the client.
#
# A server that cannot go on with a body it has begun says why as the last line, and then fails the stream so that nobody
# takes the part for the whole. With `Deno.serve` the line arrives, and then the failure is seen. With `Bun.serve` the
# line is dropped, unless some time lies between the two: tests that wait between writes pass, and the one message that
# would explain the outage is missing when it happens.
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
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const handler = (request) => {
  const wait = Number(new URL(request.url).pathname.slice(1));
  const bytes = (text) => new TextEncoder().encode(text);
  return new Response(
    new ReadableStream({
      async start(controller) {
        controller.enqueue(bytes("first line,"));
        await pause(300);
        controller.enqueue(bytes("the disk is full"));
        if (wait > 0) await pause(wait);
        controller.error(new Error("the disk is full"));
      },
    }),
  );
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
  for wait in 0 200; do
    code=0
    body=$(curl -s -m 10 "http://127.0.0.1:$(head -1 "$runtime.port")/$wait") || code=$?
    seen+="$runtime, $wait ms between: '$body', $([ "$code" = 0 ] && echo "no error" || echo "an error")"$'\n'
  done
done
echo "Deno $deno_version, Bun $bun_version"
echo "guess: what was written before the failure arrives before it"
echo "seen:"
printf %s "$seen"
[ "$seen" = "deno, 0 ms between: 'first line,the disk is full', an error
deno, 200 ms between: 'first line,the disk is full', an error
bun, 0 ms between: 'first line,', an error
bun, 200 ms between: 'first line,the disk is full', an error
" ] || {
  echo "this has changed"
  exit 1
}
