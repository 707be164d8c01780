/** Appends a file to a durable stream while it is read live: durable_client.mjs PACKAGES URL FILE */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createRequire } from "node:module";
import process from "node:process";

/** Appends that are under way at once; the client joins them to one request. */
const APPENDS_AT_ONCE = 16;
const PIECE_BYTES = 64 * 1024;

const [packages, server, path] = process.argv.slice(2);
const { DurableStream, stream } = createRequire(`${packages}/`)("@durable-streams/client");
const url = `${server}/bench`;
const { size } = await stat(path);
const handle = await DurableStream.create({ url, contentType: "application/octet-stream" });
const startedAtMs = performance.now();
const [bytes] = await Promise.all([read(), write()]);
console.log(JSON.stringify({ ms: performance.now() - startedAtMs, bytes }));
process.exit(0);

async function write() {
  const underWay = [];
  for await (const piece of createReadStream(path, { highWaterMark: PIECE_BYTES })) {
    underWay.push(handle.append(piece));
    if (underWay.length === APPENDS_AT_ONCE) await Promise.all(underWay.splice(0));
  }
  await Promise.all(underWay);
}

async function read() {
  let received = 0;
  const response = await stream({ url, offset: "-1", live: true });
  for await (const piece of response.bodyStream()) {
    received += piece.length;
    if (received >= size) return received;
  }
  return received;
}
