#!/usr/bin/env bash
# tus-js-client: the output of a command is uploaded up to where the command ended, and told as a success.
#
# `new Upload(spawn("make").stdout, { uploadLengthDeferred: true, chunkSize })` sends the output of a command while it runs.
# The client listens to its source only while it reads; during a request it does not. Node and Bun empty the pipes of a
# process that ended unless somebody listens: what the command printed last, while a request was on its way, is thrown
# away, and the client takes the end that follows for the end of all. `onSuccess` is called, the server has the length of
# the part. Of a quick command nothing is left, of a long one its last lines, which say how it went. A PassThrough between
# the two loses nothing.
set -euo pipefail
bun_version=1.4.5
client_version=4.3.1
server_version=2.4.5
store_version=2.1.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "bun@$bun_version" "tus-js-client@$client_version" "@tus/server@$server_version" \
  "@tus/file-store@$store_version"

cat >probe.mjs <<'PROBE'
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { PassThrough } from "node:stream";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";
import { Upload } from "tus-js-client";

const directory = process.argv[2];
const server = new Server({ path: "/files", datastore: new FileStore({ directory }) });
// A server that is half a second away.
const http = createServer((request, response) => setTimeout(() => server.handle(request, response), 500));
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
const endpoint = `http://127.0.0.1:${http.address().port}/files`;

const uploaded = (source) =>
  new Promise((resolve, reject) => {
    const onSuccess = () => resolve(readFileSync(`${directory}/${upload.url.split("/").at(-1)}`, "utf8"));
    const stream = { uploadLengthDeferred: true, chunkSize: 40, storeFingerprintForResuming: false };
    const upload = new Upload(source, { endpoint, ...stream, onSuccess, onError: reject });
    upload.start();
  });
const commands = {
  quick: "echo compiling; echo error: no such file",
  long: "for i in 1 2 3 4 5 6 7 8; do echo compiling $i.c; sleep 0.1; done; echo error: no such file",
};
for (const [name, command] of Object.entries(commands)) {
  const direct = await uploaded(spawn("sh", ["-c", command]).stdout);
  const through = await uploaded(spawn("sh", ["-c", command]).stdout.pipe(new PassThrough()));
  const told = (text) => {
    const how = text === through ? "all" : text === "" ? "nothing" : "a part";
    return `success with ${how}, its last line ${text.includes("error:") ? "there" : "lost"}`;
  };
  console.log(`${name}: ${told(direct)}; PassThrough: ${told(through)}`);
}
process.exit();
PROBE
seen="node, $(timeout 60 node probe.mjs on-node)
bun, $(timeout 60 node_modules/.bin/bun probe.mjs on-bun)"
echo "tus-js-client $client_version, @tus/server $server_version, Node $(node --version | tr -d v), Bun $bun_version"
echo "guess: after a success the server has all that the command printed"
echo "seen:"
echo "$seen"
[ "$seen" = "node, quick: success with nothing, its last line lost; PassThrough: success with all, its last line there
long: success with a part, its last line lost; PassThrough: success with all, its last line there
bun, quick: success with nothing, its last line lost; PassThrough: success with all, its last line there
long: success with a part, its last line lost; PassThrough: success with all, its last line there" ] || {
  echo "this has changed"
  exit 1
}
