/** Many followers of one server, and some that do not read; `bench/followers.ts` does this at length. */
import { test } from "node:test";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { follow, push, type PushedUpload } from "../../src/client.ts";
import { DOWNLOAD_PATH, LIMITS, parseReference, SUBPROTOCOL } from "../../src/protocol.ts";
import { concat } from "../helpers/bytes.ts";
import { assertBytes } from "../helpers/frames/connection.ts";
import { own, Workspace } from "../helpers/cli.ts";
import { OP, RawPeer } from "../helpers/frames/frames.ts";
import { startServer } from "../helpers/server.ts";

const IDLE = 200;
const ACTIVE = 20;
const LINES = 300;

const UPLOAD_BYTES = 64 * 1024 * 1024;
const STALLED = 8;
/** Their windows, and half as much for what memory varies anyway; all that they do not read would be 537 MB. */
const MAX_GROWTH_MEGABYTES = 1.5 * STALLED * LIMITS.downloadWindowBytes / 1e6;

const begin = (url: string, supportsLineAccess: boolean): Promise<PushedUpload> =>
  push(url, { filename: "a.log", mimeType: "text/plain", supportsLineAccess });

/** What each of them reads to the end; resolves when all have the first bytes. */
async function gather(reference: string, count: number): Promise<Promise<string>[]> {
  const begun: Promise<void>[] = [];
  const texts = Array.from({ length: count }, () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    begun.push(promise);
    return readText(reference, resolve);
  });
  await Promise.race([Promise.all(begun), Promise.all(texts)]);
  return texts;
}

async function readText(reference: string, begun: () => void): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of follow(reference)) {
    text += decoder.decode(bytes, { stream: true });
    begun();
  }
  return text;
}

test(`${IDLE} idle and ${ACTIVE} active followers receive every byte in order`, async () => {
  await using server = await startServer();
  const [silent, live] = [await begin(server.url, true), await begin(server.url, true)];
  const [silentWriter, writer] = [silent.writable.getWriter(), live.writable.getWriter()];
  const encoder = new TextEncoder();
  await Promise.all([silentWriter, writer].map((to) => to.write(encoder.encode("first\n"))));
  const idle = await gather(silent.reference, IDLE);
  const active = await gather(live.reference, ACTIVE);

  let written = "first\n";
  for (let line = 0; line < LINES; line++) {
    const text = `line ${line} ${"x".repeat(line % 100)}\n`;
    await writer.write(encoder.encode(text));
    written += text;
  }
  await writer.close();
  for (const text of await Promise.all(active)) assertEquals(text, written);

  await silentWriter.write(encoder.encode("last\n"));
  await silentWriter.close();
  for (const text of await Promise.all(idle)) assertEquals(text, "first\nlast\n");
});

/** A follower with the largest window, which then reads nothing. */
async function stall(reference: string): Promise<RawPeer> {
  const { server, id } = parseReference(reference);
  const headers = { "Sec-WebSocket-Protocol": SUBPROTOCOL };
  const peer = await RawPeer.open(Number(new URL(server).port), headers, `${DOWNLOAD_PATH}/${id}`);
  const request = { "@": "Follow", from: 0, window: LIMITS.downloadWindowBytes };
  await peer.send({ opcode: OP.text, payload: JSON.stringify(request) });
  return peer;
}

/** Uploads with a follower that keeps pace and compares what it gets. */
async function uploadFollowed(upload: PushedUpload): Promise<void> {
  const piece = new Uint8Array(LIMITS.dataMessageBytes).map((_, index) => index % 251);
  const repeated = concat(Array(LIMITS.agreedMessageBytes / piece.length + 1).fill(piece));
  const compare = async () => {
    let offset = 0;
    for await (const bytes of follow(upload.reference)) {
      const start = offset % piece.length;
      assertBytes(bytes, repeated.subarray(start, start + bytes.length));
      offset += bytes.length;
    }
    return offset;
  };
  const compared = compare();
  const writer = upload.writable.getWriter();
  for (let sent = 0; sent < UPLOAD_BYTES; sent += piece.length) await writer.write(piece);
  await writer.close();
  assertEquals(await compared, UPLOAD_BYTES);
}

test("followers that read nothing cost a server no more than their windows, and hold up nobody", async () => {
  await using workspace = await Workspace.open();
  const server = await workspace.serve(own);
  await uploadFollowed(await begin(workspace.server, false));
  const before = server.peakMegabytes();

  const upload = await begin(workspace.server, false);
  const stalled = await Promise.all(Array.from({ length: STALLED }, () => stall(upload.reference)));
  try {
    await uploadFollowed(upload);
    const growth = server.peakMegabytes() - before;
    assert(growth < MAX_GROWTH_MEGABYTES, `the server took ${growth} MB for those who do not read`);
    const first = await stalled[0].read();
    assertGreater(first?.payload.length, 0, "a follower that does not read was dropped");
  } finally {
    for (const peer of stalled) peer[Symbol.dispose]();
  }
});
