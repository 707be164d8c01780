#!/usr/bin/env bash
# Bun: a second request that comes before the first was answered closes the connection, and neither is answered.
#
# HTTP/1.1 lets a client send requests without waiting (RFC 9112, 9.3.2): answers come in the same order. `Deno.serve`
# and node:http do that. `Bun.serve` closes the connection when its handler has not answered yet, without a word: a load
# generator or an old client that pipelines sees no answer at all, and what it sent may be done or not.
set -euo pipefail
deno_version=2.9.6
bun_version=1.4.5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "deno@$deno_version" "bun@$bun_version"

cat >pipeline.mjs <<'SCRIPT'
import { connect } from "node:net";
const handler = async (request) => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  return new Response(`answer ${new URL(request.url).pathname}`);
};
const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
const port = globalThis.Bun
  ? Bun.serve({ ...options, fetch: handler }).port
  : Deno.serve(options, handler).addr.port;
for (const paths of [["/1"], ["/1", "/2"]]) {
  const heads = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
  const socket = connect(port, "127.0.0.1", () => socket.write(heads.join("")));
  let text = "", end = "kept open";
  socket.on("data", (bytes) => text += bytes).on("error", () => {}).on("close", () => end = "closed");
  await new Promise((resolve) => setTimeout(resolve, 1000));
  console.log(`${paths.length} sent, ${text.match(/answer \/\d/g)?.length ?? 0} answered, ${end}`);
  socket.destroy();
}
process.exit();
SCRIPT

seen=$(
  for runtime in deno bun; do
    run="node_modules/.bin/bun"
    [ $runtime = bun ] || run="node_modules/.bin/deno run -A"
    NO_COLOR=1 $run pipeline.mjs 2>/dev/null | sed "s/^/$runtime: /"
  done
)
echo "Deno $deno_version, Bun $bun_version"
echo "guess: requests that are sent without waiting are answered one after the other"
echo "seen:"
echo "$seen"
[ "$seen" = "deno: 1 sent, 1 answered, kept open
deno: 2 sent, 2 answered, kept open
bun: 1 sent, 1 answered, kept open
bun: 2 sent, 0 answered, closed" ] || {
  echo "this has changed"
  exit 1
}
