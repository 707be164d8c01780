#!/usr/bin/env bash
# @tus/file-store: `cleanUpExpiredUploads()` deletes uploads that were finished, and every one that is old enough.
#
# An expiration is for uploads that nobody goes on with: the README speaks of an ongoing upload, and the server tells the
# client of it (Upload-Expires) as long as bytes are missing, not in the answer to the last ones. The clean-up compares the
# size with the offset that was saved when the upload was created, which is always 0: with a period of a day it deletes on
# the next day what was completed. An upload that runs when the period ends loses its file, too; its request goes on
# writing, and is answered 204 with the whole offset.
set -euo pipefail
server_version=2.4.5
store_version=2.1.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "@tus/server@$server_version" "@tus/file-store@$store_version"

cat >probe.mjs <<'PROBE'
import { existsSync } from "node:fs";
import { createServer, request } from "node:http";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const datastore = new FileStore({ directory: "files", expirationPeriodInMilliseconds: 1000 });
const server = new Server({ path: "/files", datastore });
const http = createServer(server.handle.bind(server));
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
const endpoint = `http://127.0.0.1:${http.address().port}/files`;
const tus = { "Tus-Resumable": "1.0.0" };
const create = async () =>
  (await fetch(endpoint, { method: "POST", headers: { ...tus, "Upload-Length": "10" } })).headers.get("Location");
const append = (url) => {
  const headers = { ...tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream" };
  return request(url, { method: "PATCH", headers });
};
const answer = (patch) =>
  new Promise((resolve) => {
    patch.on("response", ({ statusCode, headers }) => {
      const expires = headers["upload-expires"] === undefined ? "no Upload-Expires" : "an Upload-Expires";
      resolve(`${statusCode}, offset ${headers["upload-offset"]} of 10, ${expires}`);
    });
  });
const file = (url) => existsSync(`files/${url.split("/").at(-1)}`) ? "there" : "gone";

const [finished, running] = [await create(), await create()];
const first = append(finished);
first.end("ten bytes.");
console.log(`finished: ${await answer(first)}`);
const second = append(running);
second.write("ten ");
await new Promise((resolve) => setTimeout(resolve, 1500));
console.log(`deleted: ${await server.cleanUpExpiredUploads()}`);
second.end("bytes.");
console.log(`running: ${await answer(second)}`);
console.log(`files: finished ${file(finished)}, running ${file(running)}`);
process.exit();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "@tus/server $server_version, @tus/file-store $store_version; a period of 1 s"
echo "guess: a finished upload does not expire, and an upload that is answered 204 is there"
echo "seen:"
echo "$seen"
[ "$seen" = "finished: 204, offset 10 of 10, no Upload-Expires
deleted: 2
running: 204, offset 10 of 10, no Upload-Expires
files: finished gone, running gone" ] || {
  echo "this has changed"
  exit 1
}
