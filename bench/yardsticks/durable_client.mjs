/**
 * Appends a file to a durable stream while it is read live, for half a minute at most, as the server becomes slower
 * with the length of the stream: durable_client.mjs PACKAGES URL FILE
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createRequire } from "node:module";
import process from "node:process";

/** Appends that are under way at once; the client joins them to one request. */
const APPENDS_AT_ONCE = 16;
const PIECE_BYTES = 64 * 1024;
const LIMIT_MS = 30_000;

const [packages, server, path] = process.argv.slice(2);
const { DurableStream, stream } = createRequire(`${packages}/`)("@durable-streams/client");
const url = `${server}/bench-${process.pid}`;
const { size } = await stat(path);
const handle = await DurableStream.create({ url, contentType: "application/octet-stream" });
const startedAtMs = performance.now();
let sent = 0, received = 0;
const limit = new Promise((resolve) => setTimeout(resolve, LIMIT_MS));
await Promise.race([limit, Promise.all([read(), write()])]);
const ms = performance.now() - startedAtMs;
console.log(JSON.stringify({ ms, movedBytes: sent + received, isComplete: received === size }));
process.exit(0);

async function write() {
  const underWay = [];
  for await (const piece of createReadStream(path, { highWaterMark: PIECE_BYTES })) {
    underWay.push(handle.append(piece));
    sent += piece.length;
    if (underWay.length === APPENDS_AT_ONCE) await Promise.all(underWay.splice(0));
  }
  await Promise.all(underWay);
}

/** The stream is not left early: its client takes that for an error. */
async function read() {
  const response = await stream({ url, offset: "-1", live: true });
  await new Promise((resolve, reject) => {
    const count = async () => {
      for await (const piece of response.bodyStream()) {
        received += piece.length;
        if (received >= size) resolve();
      }
    };
    count().catch(reject);
  });
}
