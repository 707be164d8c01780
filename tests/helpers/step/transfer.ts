/** Moves many bytes through a server that must not hold them: one message up, and one down. */
import { createHash, type Hash, randomBytes } from "node:crypto";
import { assert, assertEquals } from "@std/assert";
import { type Kind, own, type Program, Workspace } from "../cli.ts";
import { StepClient, TOMCAT_BYTES } from "./client.ts";

const BLOCK_BYTES = 1024 * 1024;
const MAX_SERVER_MEGABYTES = 250;
const METADATA = { filename: "a.bin", mimeType: "a/b", supportsLineAccess: false };

/** The servers that the run on this runtime is to test. */
export const servers: Kind[] = own === "deno" ? ["deno"] : ["bun", "binary"];

/** The port that a server with `--log-format json` said is for Step clients. */
export async function stepPort(serving: Program): Promise<number> {
  const pattern = /"listening for Step clients".*:(\d+)"/;
  return Number(pattern.exec(await serving.stderr.until((text) => pattern.test(text)))![1]);
}

/**
 * Uploads one message and downloads it as one, and checks the bytes and the memory of the server.
 *
 * @param size Bytes of the message, whole MiB.
 */
export async function transferOneMessage(server: Kind, size: number): Promise<void> {
  await using workspace = await Workspace.open();
  const serving = await workspace.serve(server, ["--step-port", "0", "--log-format", "json"]);
  const port = await stepPort(serving);
  const { client, uri } = await StepClient.upload(port, { metadata: METADATA });
  using uploader = client;
  const startedAtMs = performance.now();
  const sent = createHash("md5");
  await sendBlocks(uploader, size / BLOCK_BYTES, sent);
  const checksum = sent.digest("hex");
  assertEquals((await uploader.finish(checksum)).size, size);
  const uploadedAtMs = performance.now();

  using reader = await StepClient.open(port, new URL(uri).pathname);
  const received = createHash("md5");
  assertEquals(await reader.chunk(0, size, (piece) => received.update(piece)), size);
  assertEquals(received.digest("hex"), checksum);
  const rate = (fromMs: number, toMs: number) => Math.round(size / 1e3 / (toMs - fromMs));
  const peak = serving.peakMegabytes();
  console.log(
    `${size} bytes, Step port on ${server}: up ${rate(startedAtMs, uploadedAtMs)} MB/s, ` +
      `down ${rate(uploadedAtMs, performance.now())} MB/s, server ${peak} MB at most`,
  );
  assert(peak < MAX_SERVER_MEGABYTES, `the server took ${peak} MB`);
}

/**
 * Uploads one message in fragments as Jetty sends them while a Step client follows, and checks the bytes and the memory
 * of the server.
 *
 * @param size Bytes of the message, whole MiB.
 * @param fragmentBytes Length of a fragment.
 * @param maxMegabytes Memory that the server may take.
 */
export async function transferFollowed(
  server: Kind,
  { size, fragmentBytes, maxMegabytes }: {
    size: number;
    fragmentBytes: number;
    maxMegabytes: number;
  },
): Promise<void> {
  await using workspace = await Workspace.open();
  const serving = await workspace.serve(server, ["--step-port", "0", "--log-format", "json"]);
  const port = await stepPort(serving);
  const block = randomBytes(BLOCK_BYTES);
  const sent = createHash("md5");
  for (let bytes = 0; bytes < size; bytes += BLOCK_BYTES) sent.update(block);
  const checksum = sent.digest("hex");
  const { client, uri } = await StepClient.upload(port, { metadata: METADATA });
  using uploader = client;
  using reader = await StepClient.open(port, new URL(uri).pathname);
  const startedAtMs = performance.now();
  const followed = follow(reader, size);
  await uploader.give(block, fragmentBytes);
  await uploader.repeat(block, fragmentBytes, size / BLOCK_BYTES - 1);
  await uploader.end();
  assertEquals((await uploader.finish(checksum)).size, size);
  assertEquals(await followed, checksum);
  const [tookS, peak] = [(performance.now() - startedAtMs) / 1000, serving.peakMegabytes()];
  console.log(
    `${size} bytes with a follower, fragments of ${fragmentBytes}, Step port on ${server}: ` +
      `${tookS.toFixed(1)} s, server ${peak} MB at most`,
  );
  assert(peak < maxMegabytes, `the server took ${peak} MB`);
}

/** Follows as a Java client does: all that a status shows, as one chunk; the digest of it all. */
async function follow(reader: StepClient, size: number): Promise<string> {
  const received = createHash("md5");
  for (let at = 0; at < size;) {
    await reader.status(({ currentSize }) => currentSize > at);
    const { currentSize } = reader.statuses.at(-1)!;
    at += await reader.chunk(at, currentSize, (piece) => received.update(piece));
  }
  return received.digest("hex");
}

async function sendBlocks(uploader: StepClient, count: number, hash: Hash): Promise<void> {
  const block = randomBytes(BLOCK_BYTES);
  await uploader.give(block);
  for (let sent = 0; sent < count; sent++) hash.update(block);
  await uploader.repeat(block, TOMCAT_BYTES, count - 1);
  await uploader.end();
}
