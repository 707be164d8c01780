/** Uploads a file by tus: tus_client.mjs PACKAGES ENDPOINT FILE */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createRequire } from "node:module";
import process from "node:process";

const [packages, endpoint, path] = process.argv.slice(2);
const { Upload } = createRequire(`${packages}/`)("tus-js-client");
const { size } = await stat(path);
const startedAtMs = performance.now();
await new Promise((onSuccess, onError) => {
  const options = { endpoint, uploadSize: size, onSuccess, onError };
  new Upload(createReadStream(path), { ...options, chunkSize: Infinity }).start();
});
const ms = performance.now() - startedAtMs;
console.log(JSON.stringify({ ms, movedBytes: size, isComplete: true }));
process.exit(0);
