/** Moves many random bytes through a server while one follower keeps pace and another one does not. */
import { createHash, type Hash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, writeFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { assert, assertEquals } from "@std/assert";
import { type Kind, Workspace } from "./cli.ts";

const BLOCK_BYTES = 1024 * 1024;
const SLOW_BYTES_PER_SECOND = 1e6;
const MAX_SERVER_MEGABYTES = 250;

/** What a follower got. */
interface Received {
  bytes: number;
  readonly hash: Hash;
}

/**
 * Writes a file of random bytes while it is pushed and followed, and checks every side of it.
 *
 * @param size Bytes of the file, whole MiB.
 * @param deadlineMs How long each step may take.
 */
export async function transferRandomBytes(
  { server, client }: { server: Kind; client: Kind },
  size: number,
  deadlineMs: number,
): Promise<void> {
  await using workspace = await Workspace.open();
  const path = workspace.path("random.bin");
  const written = createHash("sha256");
  const file = await open(path, "w");
  await writeBlocks(file, 1, written);
  const serving = await workspace.serve(server);
  const { push, reference } = await workspace.push(client, [path, "--until-file", "done"]);

  const fast = workspace.start(client, ["follow", reference], { collect: false });
  const slow = workspace.start(client, ["follow", reference], { collect: false });
  const byFast = read(fast.output, Infinity);
  const bySlow = read(slow.output, SLOW_BYTES_PER_SECOND);
  await Promise.all([byFast.begun, bySlow.begun]);

  const startedAtMs = performance.now();
  await writeBlocks(file, size / BLOCK_BYTES - 1, written);
  await file.close();
  await writeFile(workspace.path("done"), "");
  assertEquals((await push.exit(deadlineMs)).code, 0);
  const seconds = (performance.now() - startedAtMs) / 1000;
  const behind = size - bySlow.received.bytes;

  assertEquals((await fast.exit(deadlineMs)).code, 0);
  await byFast.ended;
  assertEquals(byFast.received.bytes, size);
  assertEquals(byFast.received.hash.digest("hex"), written.digest("hex"));

  assert(behind > size / 2, `the upload waited for a slow follower: ${behind} bytes behind`);
  await slow.kill("SIGTERM");
  await bySlow.ended;
  const { bytes, hash } = bySlow.received;
  assertEquals(hash.digest("hex"), await prefixDigest(path, bytes));

  const peak = serving.peakMegabytes();
  console.log(
    `${size} bytes, server on ${server}, client on ${client}: ${Math.round(size / 1e6 / seconds)}` +
      ` MB/s, server ${peak} MB at most`,
  );
  assert(peak < MAX_SERVER_MEGABYTES, `the server took ${peak} MB`);
}

async function writeBlocks(file: FileHandle, count: number, hash: Hash): Promise<void> {
  for (let block = 0; block < count; block++) {
    const bytes = randomBytes(BLOCK_BYTES);
    hash.update(bytes);
    await file.writeFile(bytes);
  }
}

/** Reads a stream to its end, not faster than told. */
function read(stream: Readable, bytesPerSecond: number) {
  const received: Received = { bytes: 0, hash: createHash("sha256") };
  const first = Promise.withResolvers<void>();
  const readAll = async () => {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      received.bytes += chunk.length;
      received.hash.update(chunk);
      first.resolve();
      const pauseMs = chunk.length / bytesPerSecond * 1000;
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    first.reject(new Error("a follower ended without a byte"));
  };
  return { received, begun: first.promise, ended: readAll() };
}

async function prefixDigest(path: string, bytes: number): Promise<string> {
  const hash = createHash("sha256");
  const stream = createReadStream(path, { end: bytes - 1 });
  for await (const chunk of stream as AsyncIterable<Uint8Array>) hash.update(chunk);
  return hash.digest("hex");
}
