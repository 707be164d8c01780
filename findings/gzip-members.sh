#!/usr/bin/env bash
# gzip files that were appended to each other: two APIs of Deno and of Bun return the first one only, without an error.
#
# RFC 1952 (2.2): a gzip file is a series of members, and what it holds is all of them. Logs are made so: rotated files are
# put together by cat, and bgzip writes a member for each block. `fetch` of Deno and `Bun.gunzipSync` stop behind the first
# member and call that the whole. Each of the two has an API beside it that reads both, so that a test of one says nothing
# of the other; `DecompressionStream` refuses them on Node and Deno, and reads them on Bun.
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
(printf 'one ' | gzip; printf two | gzip) >log.gz

cat >server.cjs <<'SERVER'
const body = require("node:fs").readFileSync("log.gz");
require("node:http").createServer((_request, response) => {
  response.writeHead(200, { "Content-Encoding": "gzip", "Content-Length": body.length }).end(body);
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
SERVER
node server.cjs >port &
pids+=($!)
until [ -s port ]; do sleep 0.1; done

cat >probe.mjs <<'PROBE'
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const log = readFileSync("log.gz");
const ways = {
  "node:zlib": () => gunzipSync(log).toString(),
  "fetch": async () => (await fetch(process.argv[2])).text(),
  "DecompressionStream": () =>
    new Response(new Blob([log]).stream().pipeThrough(new DecompressionStream("gzip"))).text(),
};
if (globalThis.Bun) ways["Bun.gunzipSync"] = () => new TextDecoder().decode(Bun.gunzipSync(log));
const outcomes = [];
for (const [way, unpack] of Object.entries(ways)) {
  try {
    outcomes.push(`${way}: '${await unpack()}'`);
  } catch {
    outcomes.push(`${way}: error`);
  }
}
console.log(outcomes.join(", "));
PROBE
origin=http://127.0.0.1:$(cat port)/
seen="gunzip: '$(gunzip -c log.gz)'
node, $(timeout 30 node_modules/node/bin/node probe.mjs "$origin")
deno, $(timeout 30 node_modules/deno/deno run -A probe.mjs "$origin")
bun, $(timeout 30 node_modules/.bin/bun probe.mjs "$origin")"
echo "Node $node_version, Deno $deno_version, Bun $bun_version; two members, 'one ' and 'two'"
echo "guess: who unpacks gzip returns both members, or fails"
echo "seen:"
echo "$seen"
[ "$seen" = "gunzip: 'one two'
node, node:zlib: 'one two', fetch: 'one two', DecompressionStream: error
deno, node:zlib: 'one two', fetch: 'one ', DecompressionStream: error
bun, node:zlib: 'one two', fetch: 'one two', DecompressionStream: 'one two', Bun.gunzipSync: 'one '" ] || {
  echo "this has changed"
  exit 1
}
