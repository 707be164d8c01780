/**
 * Uploads a file by tus, followed live where the server tells where: tus_client.mjs PACKAGES ENDPOINT FILE [curl]
 * With `curl` that sends the bytes, as tus-js-client takes longer for them than most servers.
 */
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createRequire } from "node:module";
import process from "node:process";
import { promisify } from "node:util";

const [packages, endpoint, path, sender] = process.argv.slice(2);
const { Upload } = createRequire(`${packages}/`)("tus-js-client");
const { size } = await stat(path);
let following = Promise.resolve({ stdout: String(size) });
const startedAtMs = performance.now();
await (sender === "curl" ? uploadByCurl() : upload());
const received = Number((await following).stdout);
const ms = performance.now() - startedAtMs;
if (received !== size) throw new Error(`${received} of ${size} bytes arrived at the follower`);
console.log(JSON.stringify({ ms, movedBytes: size, isComplete: true }));
process.exit(0);

function upload() {
  return new Promise((onSuccess, onError) => {
    const options = { endpoint, uploadSize: size, chunkSize: Infinity, onSuccess, onError };
    const onAfterResponse = (request, response) => {
      const reference = response.getHeader("stream-reference");
      if (request.getMethod() === "POST" && reference) following = follow(reference);
    };
    new Upload(createReadStream(path), { ...options, onAfterResponse }).start();
  });
}

async function uploadByCurl() {
  const version = { "tus-resumable": "1.0.0" };
  const made = await fetch(endpoint, {
    method: "POST",
    headers: { ...version, "upload-length": String(size) },
  });
  const reference = made.headers.get("stream-reference");
  if (reference) following = follow(reference);
  const fields = {
    ...version,
    "upload-offset": "0",
    "content-type": "application/offset+octet-stream",
    expect: "",
  };
  const headers = Object.entries(fields).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
  const url = new URL(made.headers.get("location"), endpoint).href;
  await promisify(execFile)("curl", ["-sSf", "-X", "PATCH", "-T", path, ...headers, url]);
}

/** Reads while it grows, in a process of its own, until the end. */
function follow(reference) {
  const id = new URL(reference).pathname.split("/").at(-1);
  const url = new URL(`/resources/${id}/content`, endpoint).href;
  return promisify(execFile)("curl", ["-sSf", "-o", "/dev/null", "-w", "%{size_download}", url]);
}
