/** Uploads and follows through connections that break all the time. */
import { join } from "node:path";
import { assert, assertEquals } from "@std/assert";
import {
  type Download,
  FileStorage,
  open,
  push,
  type PushedUpload,
  SqliteCatalog,
  type StreamError,
} from "../../../mod.ts";
import { assertBytes } from "../frames/connection.ts";
import { Proxy } from "./proxy.ts";
import { Chance } from "../random.ts";
import { checksumOf } from "../resources.ts";
import { startServer, type TestServer } from "../server.ts";
import { temporaryDirectory } from "../temporary.ts";

const metadata = { filename: "storm.log", mimeType: "text/plain", supportsLineAccess: true };
const LONGEST_PIECE = 40_000;
const MOST_ATTEMPTS = 100;

/**
 * Uploads so many resources at the same time, each with a follower, and checks what arrived everywhere.
 *
 * @returns How many connections broke on the way.
 */
export async function transferThroughStorm(
  chance: Chance,
  count: number,
  mostBytes: number,
): Promise<number> {
  await using directory = await temporaryDirectory();
  const storage = new FileStorage(directory.path);
  const catalog = new SqliteCatalog(join(directory.path, "catalog.sqlite"));
  try {
    await using server = await startServer({ storage, catalog });
    await using proxy = await Proxy.open(Number(new URL(server.url).port), chance);
    await Promise.all(Array.from({ length: count }, () => {
      const own = new Chance(chance.whole(0, 2 ** 32 - 1));
      return transferOne(server, proxy.url, own, own.whole(0, mostBytes));
    }));
    return proxy.broken;
  } finally {
    await catalog.close();
  }
}

async function transferOne(
  server: TestServer,
  url: string,
  chance: Chance,
  byteCount: number,
): Promise<void> {
  const bytes = chance.text(byteCount);
  const upload = await untilConnected<PushedUpload>(() => push(url, metadata));
  const download = await untilConnected<Download>(() => open(upload.reference));
  const [received] = await Promise.all([collect(download), write(upload, chance, bytes)]);
  const digest = { algorithm: "xxh128" as const, value: await checksumOf(bytes) };
  const { size, digest: acknowledged } = await upload.done;
  assertEquals([size, acknowledged], [byteCount, digest]);
  assertBytes(received, bytes);
  const [id] = upload.resumeToken.split(":");
  const { status, digest: recorded } = await server.resources.get(id);
  assertEquals([status.transferStatus, status.currentSize], ["COMPLETED", byteCount]);
  assertEquals(recorded, digest);
}

/** Whoever has no upload and no download yet tries again itself. */
async function untilConnected<T>(connect: () => Promise<T>): Promise<T> {
  for (let attempts = 1;; attempts++) {
    try {
      return await connect();
    } catch (error) {
      const { code } = error as StreamError;
      const mayPass = code === "INTERRUPTED" || code === "UNREACHABLE";
      if (!mayPass || attempts === MOST_ATTEMPTS) throw error;
    }
  }
}

async function write(upload: PushedUpload, chance: Chance, bytes: Uint8Array): Promise<void> {
  const writer = upload.writable.getWriter();
  for (const piece of chance.pieces(bytes, LONGEST_PIECE)) await writer.write(piece);
  await writer.close();
}

async function collect(download: Download): Promise<Uint8Array> {
  const bytes = await new Response(download.read()).bytes();
  assert(download.status.transferStatus === "COMPLETED", download.status.failure ?? "running");
  download.close();
  return bytes;
}
