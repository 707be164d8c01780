#!/usr/bin/env bash
# form-data (axios, got, superagent): a log that grows during its upload is refused as a bad request, whole as it was sent.
#
# `form.append("log", createReadStream("log"))` is how Node uploads a file as a form. form-data asks for the size of the file
# once, promises it, and streams the file to wherever its end is by then: a line that is added meanwhile follows behind the
# promised bytes, and what comes after a request has to be the next one. A server of node:http breaks the connection or
# answers 400, for an upload that was valid until its last byte; another try fails in the same way as long as there is
# somebody who writes. node-fetch does not ask for the size of such a form, and sends chunks, which hold what there was.
# With `{ knownLength }` and an `end` for the stream, or with the bytes read before, the others upload it, too.
set -euo pipefail
form_data=4.0.6
axios=1.21.1
got=14.6.6
superagent=10.4.2
node_fetch=3.3.2
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "form-data@$form_data" "axios@$axios" "got@$got" "superagent@$superagent" "node-fetch@$node_fetch" \
  "node@$node_version"

cat >probe.mjs <<'PROBE'
import { once } from "node:events";
import { appendFileSync, createReadStream, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import axios from "axios";
import FormData from "form-data";
import got from "got";
import fetch from "node-fetch";
import superagent from "superagent";

let grows;
const server = createServer((request, response) => {
  if (grows) appendFileSync("log", "a line that was added\n"); // the upload has begun
  grows = false;
  request.resume().on("end", () => response.end());
}).listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${server.address().port}/`;

const form = (...options) => {
  const form = new FormData();
  form.append("log", createReadStream("log", ...options));
  return form;
};
const bounded = () => {
  const knownLength = statSync("log").size;
  const form = new FormData();
  form.append("log", createReadStream("log", { end: knownLength - 1 }), { knownLength });
  return form;
};
const ways = {
  "axios": () => axios.post(url, form(), { maxBodyLength: Infinity, validateStatus: null }),
  "got": () => got.post(url, { body: form(), retry: { limit: 0 }, throwHttpErrors: false }),
  "superagent": () => superagent.post(url).attach("log", "log").ok(() => true),
  "node-fetch": () => fetch(url, { method: "POST", body: form() }),
  "axios, as long as it was": () => axios.post(url, bounded(), { maxBodyLength: Infinity, validateStatus: null }),
};
for (const [way, upload] of Object.entries(ways)) {
  const outcomes = [];
  for (const growing of [false, true]) {
    writeFileSync("log", "a line that was there\n".repeat(2_000_000)); // more than the buffers of a connection
    grows = growing;
    const status = await upload().then((answer) => answer.status ?? answer.statusCode, () => undefined);
    outcomes.push(status === 200 ? "stored" : "refused");
  }
  console.log(`${way}: at rest ${outcomes[0]}, growing ${outcomes[1]}`);
}
process.exit();
PROBE
seen=$(timeout 120 node_modules/node/bin/node --no-deprecation probe.mjs)
echo "form-data $form_data, axios $axios, got $got, superagent $superagent, node-fetch $node_fetch, Node $node_version"
echo "guess: a log is uploaded as it was at some moment, whether it grows or not"
echo "seen:"
echo "$seen"
[ "$seen" = "axios: at rest stored, growing refused
got: at rest stored, growing refused
superagent: at rest stored, growing refused
node-fetch: at rest stored, growing stored
axios, as long as it was: at rest stored, growing stored" ] || {
  echo "this has changed"
  exit 1
}
