#!/usr/bin/env bash
# undici: with the interceptor that merges equal requests, whoever aborts the first one aborts those of all others.
#
# `interceptors.deduplicate()` sends one request for several equal ones that wait at the same time. The first caller owns it:
# when that one gives up (its own `signal`, a timeout of a second, a user who left), the request ends, and callers who set no
# signal at all fail with it: `fetch` as if the network had, `request()` as if they had aborted themselves. It is so before
# the answer as while its body is awaited. Any other caller may leave without harm, so tests that abort the second one pass.
# In a server that asks for one log for many readers, the first one who closes the page ends it for all.
set -euo pipefail
undici_version=8.13.1
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "undici@$undici_version" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { createServer } from "node:http";
import { Agent, fetch, interceptors, request } from "undici";

let requests = 0, arrived;
const server = createServer(({ url }, response) => {
  requests += 1;
  if (url === "/begun") response.flushHeaders();
  arrived();
  setTimeout(() => response.end("all of it"), 1500);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${server.address().port}`;
const merging = new Agent().compose(interceptors.deduplicate());
const ways = {
  fetch: async (url, options) => (await fetch(url, options)).text(),
  request: async (url, options) => (await request(url, options)).body.text(),
};
const told = (outcome) => outcome.then((text) => `'${text}'`, ({ name, message }) => `${name}: ${message}`);

const outcome = async (way, path, leaver, dispatcher) => {
  requests = 0;
  const leave = new AbortController();
  const asked = new Promise((resolve) => arrived = resolve);
  const callers = ["first", "second"].map((caller) =>
    told(ways[way](origin + path, { dispatcher, signal: caller === leaver ? leave.signal : undefined }))
  );
  await asked;
  setTimeout(() => leave.abort(), 300);
  const other = await callers[leaver === "first" ? 1 : 0];
  console.log(`${way}, ${path}, the ${leaver} leaves: the other gets ${other}, requests ${requests}`);
  await Promise.all(callers);
};
for (const way of Object.keys(ways)) {
  for (const path of ["/waits", "/begun"]) await outcome(way, path, "first", merging);
  await outcome(way, "/waits", "second", merging);
}
await outcome("fetch", "/waits (not merged)", "first", new Agent());
process.exit();
PROBE
seen=$(timeout 60 node_modules/node/bin/node probe.mjs)
echo "undici $undici_version, Node $node_version; two callers of one URL, one aborts"
echo "guess: who aborts gives up for himself, and the other gets the answer"
echo "seen:"
echo "$seen"
[ "$seen" = "fetch, /waits, the first leaves: the other gets TypeError: fetch failed, requests 1
fetch, /begun, the first leaves: the other gets TypeError: terminated, requests 1
fetch, /waits, the second leaves: the other gets 'all of it', requests 1
request, /waits, the first leaves: the other gets AbortError: This operation was aborted, requests 1
request, /begun, the first leaves: the other gets AbortError: Request aborted, requests 1
request, /waits, the second leaves: the other gets 'all of it', requests 1
fetch, /waits (not merged), the first leaves: the other gets 'all of it', requests 2" ] || {
  echo "this has changed"
  exit 1
}
