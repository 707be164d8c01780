#!/usr/bin/env bash
# tus-js-client on Node: a buffer that begins like one that was uploaded before is not uploaded, and told as a success.
#
# An upload is resumed as the README shows it: `findPreviousUploads()`, `resumeFromPreviousUpload()`, `start()`. Previous
# uploads are found by a fingerprint, and that of a Buffer is its length with the digest of its first 64 KiB (a file has its
# path and time of change, too). Images of a disk, archives and databases of one size with the same head share it. Entries
# are kept after a success unless `removeFingerprintOnSuccess` is set: the second buffer finds an upload that has all its
# bytes, `onSuccess` is called, and the URL leads to the content of the first. One that was left half done is continued
# with the other's rest.
set -euo pipefail
client_version=4.3.1
server_version=2.4.5
store_version=2.1.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "tus-js-client@$client_version" "@tus/server@$server_version" "@tus/file-store@$store_version"

cat >probe.mjs <<'PROBE'
import { createServer } from "node:http";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";
import { FileUrlStorage, Upload } from "tus-js-client";

const server = new Server({ path: "/files", datastore: new FileStore({ directory: "files" }) });
const http = createServer(server.handle.bind(server));
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
const endpoint = `http://127.0.0.1:${http.address().port}/files`;
const urlStorage = new FileUrlStorage("uploads.json");

const uploaded = (content) =>
  new Promise((resolve, reject) => {
    const onSuccess = () => resolve(upload.url);
    const upload = new Upload(content, { endpoint, urlStorage, retryDelays: [], onSuccess, onError: reject });
    upload.findPreviousUploads().then(([previous]) => {
      if (previous !== undefined) upload.resumeFromPreviousUpload(previous);
      upload.start();
    });
  });
const head = "the same head of 64 bytes in all images, whatever they hold... ".repeat(1100).slice(0, 65536);
const [monday, sunday] = ["monday", "sunday"].map((day) => Buffer.from(head + day.repeat(1000)));
const urls = [await uploaded(monday), await uploaded(sunday)];
for (const [index, content] of [monday, sunday].entries()) {
  const stored = Buffer.from(await (await fetch(urls[index])).arrayBuffer());
  console.log(`upload ${index + 1}: success, ${stored.equals(content) ? "its content" : "another content"}`);
}
console.log(`URLs: ${new Set(urls).size}`);
process.exit();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "tus-js-client $client_version, @tus/server $server_version; two buffers of 71536 bytes that differ behind the first 65536"
echo "guess: two contents are two uploads, and after a success the server has what was given"
echo "seen:"
echo "$seen"
[ "$seen" = "upload 1: success, its content
upload 2: success, another content
URLs: 1" ] || {
  echo "this has changed"
  exit 1
}
