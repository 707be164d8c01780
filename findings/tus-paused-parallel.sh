#!/usr/bin/env bash
# tus-js-client: a parallel upload that was paused once tells of no error any more.
#
# `abort()` pauses an upload and `start()` goes on with it, as the API says. An upload in one piece then forgets that it was
# paused; one with `parallelUploads` does not, and takes every later error for one of the pause: `onError` is not called,
# nor `onShouldRetry`, nor is anything tried again. A quota, an expired token, a server that is gone: the page shows an
# upload that runs for ever. Without the pause the same refusal is told at once.
set -euo pipefail
client_version=4.3.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "tus-js-client@$client_version"

cat >probe.mjs <<'PROBE'
import { createServer } from "node:http";
import { Upload } from "tus-js-client";

// As much of a server as the client needs: parts of uploads, each request takes a moment; later all are refused.
const lengths = [];
const offsets = [];
let isFull = false;
const server = createServer(async (request, response) => {
  const answer = (status, headers) => response.writeHead(status, { "Tus-Resumable": "1.0.0", ...headers }).end();
  const id = Number(request.url.split("/").at(-1));
  if (request.method === "POST") {
    lengths.push(request.headers["upload-length"]);
    offsets.push(0);
    return answer(201, { Location: `/files/${lengths.length - 1}` });
  }
  if (request.method === "HEAD") return answer(200, { "Upload-Offset": offsets[id], "Upload-Length": lengths[id] });
  let bytes = 0;
  for await (const chunk of request) bytes += chunk.length;
  if (isFull) return answer(403, {});
  await new Promise((resolve) => setTimeout(resolve, 100));
  offsets[id] += bytes;
  answer(204, { "Upload-Offset": offsets[id] });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const endpoint = `http://127.0.0.1:${server.address().port}/files`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const outcome = async (parallelUploads, isPaused) => {
  isFull = false;
  let told = "nothing within 5 s";
  const upload = new Upload(Buffer.alloc(400_000), {
    endpoint,
    parallelUploads,
    chunkSize: 1000,
    retryDelays: [],
    storeFingerprintForResuming: false,
    onSuccess: () => told = "success",
    onError: () => told = "the error",
  });
  upload.start();
  await pause(1000);
  if (isPaused) {
    await upload.abort();
    await pause(500);
    isFull = true;
    upload.start();
  } else {
    isFull = true;
  }
  await pause(5000);
  return told;
};
for (const parallelUploads of [1, 2]) {
  const [straight, paused] = [await outcome(parallelUploads, false), await outcome(parallelUploads, true)];
  console.log(`parallelUploads ${parallelUploads}: ${straight}; paused before: ${paused}`);
}
process.exit();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "tus-js-client $client_version; a server that refuses (403) from some point on"
echo "guess: a refusal is told (onError), whether the upload was paused before or not"
echo "seen:"
echo "$seen"
[ "$seen" = "parallelUploads 1: the error; paused before: the error
parallelUploads 2: the error; paused before: nothing within 5 s" ] || {
  echo "this has changed"
  exit 1
}
