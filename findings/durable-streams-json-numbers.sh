#!/usr/bin/env bash
# @durable-streams/server: messages of a JSON stream are not given back as they were appended; large integers are others.
#
# A stream of `application/json` takes messages and returns them in an array. The server parses and writes each with
# JavaScript's numbers: an identifier of 64 bits from another language (a snowflake, a trace, a nanosecond) comes back as
# its neighbour, the answer to the append is 204, and nothing tells the reader. A decimal of an amount and a large exponent
# change as well. A stream of `text/plain` or NDJSON keeps the bytes.
set -euo pipefail
version=0.3.7
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "@durable-streams/server@$version"

cat >probe.mjs <<'PROBE'
import { DurableStreamTestServer } from "@durable-streams/server";

const server = new DurableStreamTestServer({ host: "127.0.0.1", port: 0 });
const url = `${await server.start()}/stream-`;
const messages = ['{"id":1786543210987654321}', '{"amount":0.10000000000000000001}', '{"x":1e400}'];
for (const [name, type] of [["json", "application/json"], ["text", "text/plain"]]) {
  const headers = { "Content-Type": type };
  await fetch(url + name, { method: "PUT", headers });
  const statuses = [];
  for (const body of messages) statuses.push((await fetch(url + name, { method: "POST", headers, body })).status);
  console.log(`${type}: ${statuses.join(" ")}, ${await (await fetch(`${url}${name}?offset=-1`)).text()}`);
}
await server.stop();
process.exit();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "@durable-streams/server $version"
echo 'guess: {"id":1786543210987654321}, {"amount":0.10000000000000000001} and {"x":1e400} are read as they were appended'
echo "seen:"
echo "$seen"
[ "$seen" = 'application/json: 204 204 204, [{"id":1786543210987654400},{"amount":0.1},{"x":null}]
text/plain: 204 204 204, {"id":1786543210987654321}{"amount":0.10000000000000000001}{"x":1e400}' ] || {
  echo "this has changed"
  exit 1
}
