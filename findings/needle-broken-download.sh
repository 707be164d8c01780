#!/usr/bin/env bash
# needle, bent: a download that breaks off never ends, and the script that waits for it ends with the exit code 0.
#
# A server that goes away in the middle of a response closes the connection; node:http says so to the response ("aborted",
# "error"), and axios, got, node-fetch and superagent reject. needle and bent pipe the response to a stream of their own,
# and a pipe does not pass failures on: their promise is never settled. A server that waits for it waits for ever; a script
# has nothing left that could happen, so Node ends it in the middle of `await`, without the lines behind it, and with 0: CI
# goes on as if the report had been fetched, checked and stored. `timeout` and `response_timeout` of needle do not end it,
# as the answer has begun; `read_timeout`, which is off by default, does.
set -euo pipefail
needle=3.5.0
bent=7.3.12
superagent=10.4.2
node_fetch=3.3.2
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "needle@$needle" "bent@$bent" "superagent@$superagent" "node-fetch@$node_fetch" "node@$node_version"

cat >script.cjs <<'SCRIPT'
// A script that downloads a report and does something with it. The server beside it does not keep it alive.
const ways = {
  "needle": (url) => require("needle")("get", url),
  "needle with timeout": (url) => require("needle")("get", url, null, { timeout: 1000, response_timeout: 1000 }),
  "needle with read_timeout": (url) => require("needle")("get", url, null, { read_timeout: 1000 }),
  "bent": (url) => require("bent")("buffer")(url),
  "superagent": (url) => require("superagent").get(url),
  "node-fetch": async (url) => (await (await import("node-fetch")).default(url)).text(),
};
const server = require("node:net").createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", () => {
    const half = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 36\r\n\r\none half of it\n";
    socket.write(half, () => socket.end());
  });
});
server.listen(0, "127.0.0.1", async () => {
  server.unref();
  try {
    await ways[process.argv[2]](`http://127.0.0.1:${server.address().port}/`);
    console.log("it is there");
  } catch {
    console.log("it has failed");
    process.exitCode = 1;
  }
});
SCRIPT
seen=$(for way in "needle" "needle with timeout" "needle with read_timeout" "bent" "superagent" "node-fetch"; do
  said=$(timeout 20 node_modules/node/bin/node --no-deprecation script.cjs "$way" 2>/dev/null) && code=0 || code=$?
  echo "$way: ${said:-not a word}, exit code $code"
done)
echo "needle $needle, bent $bent, superagent $superagent, node-fetch $node_fetch, Node $node_version"
echo "guess: it has failed, exit code 1"
echo "seen:"
echo "$seen"
[ "$seen" = "needle: not a word, exit code 0
needle with timeout: not a word, exit code 0
needle with read_timeout: it has failed, exit code 1
bent: not a word, exit code 0
superagent: it has failed, exit code 1
node-fetch: it has failed, exit code 1" ] || {
  echo "this has changed"
  exit 1
}
