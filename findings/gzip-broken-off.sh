#!/usr/bin/env bash
# A response in gzip that ends too early, in good order for HTTP: two clients take the part for the whole, two do not.
#
# gzip ends with a checksum and a length, so that whoever unpacks it knows whether it is whole. That is the last guard when
# a server dies while it compresses and something between (a proxy that ends the body properly, a cached half file) hides
# it. `fetch` of Node, which is undici, and `curl --compressed` unpack as far as it goes and report success; `fetch` of Deno
# and of Bun fail. A checksum that is there and wrong is an error for all four.
set -euo pipefail
deno_version=2.9.6
bun_version=1.4.5
node_version=26.10.0
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "deno@$deno_version" "bun@$bun_version" "node@$node_version"

cat >server.cjs <<'SERVER'
// /whole, /half and /wrong: 32000 bytes of log in gzip, the first half of that, and with another checksum.
const whole = require("node:zlib").gzipSync("a line of a log\n".repeat(2000));
const wrong = Buffer.from(whole);
wrong[wrong.length - 8] ^= 1;
const bodies = { "/whole": whole, "/half": whole.subarray(0, whole.length / 2), "/wrong": wrong };
require("node:http").createServer((request, response) => {
  const body = bodies[request.url];
  response.writeHead(200, { "Content-Encoding": "gzip", "Content-Length": body.length }).end(body);
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
SERVER
node server.cjs >port &
pids+=($!)
until [ -s port ]; do sleep 0.1; done
origin=http://127.0.0.1:$(cat port)

cat >probe.mjs <<'PROBE'
const outcomes = [];
for (const path of ["whole", "half", "wrong"]) {
  const outcome = fetch(`${process.argv[2]}/${path}`).then((response) => response.text()).then(
    (text) => text.length === 32000 ? "all" : text.length > 0 ? "a part" : "nothing",
    () => "error",
  );
  outcomes.push(`${path}: ${await outcome}`);
}
console.log(outcomes.join(", "));
PROBE

curl_outcome() { # PATH
  local code=0
  curl -s -m 10 --compressed -o got "$origin/$1" || code=$?
  if [ "$code" != 0 ]; then echo error; elif [ "$(wc -c <got)" = 32000 ]; then echo all; else echo "a part"; fi
}
seen="node, $(timeout 30 node_modules/node/bin/node probe.mjs "$origin")
curl, whole: $(curl_outcome whole), half: $(curl_outcome half), wrong: $(curl_outcome wrong)
deno, $(timeout 30 node_modules/deno/deno run -A probe.mjs "$origin")
bun, $(timeout 30 node_modules/.bin/bun probe.mjs "$origin" 2>/dev/null)"
echo "Node $node_version, $(curl --version | cut -d' ' -f1,2 | head -1), Deno $deno_version, Bun $bun_version"
echo "guess: half a gzip stream is an error, as it is for gunzip"
echo "seen:"
echo "$seen"
[ "$seen" = "node, whole: all, half: a part, wrong: error
curl, whole: all, half: a part, wrong: error
deno, whole: all, half: error, wrong: error
bun, whole: all, half: error, wrong: error" ] || {
  echo "this has changed"
  exit 1
}
