import { createHash, randomBytes } from "node:crypto";
import { createServer as createHttpServer } from "node:http";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertLess,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import fc from "fast-check";
import { xxhash128 } from "hash-wasm";
import {
  deleteResource,
  type Download,
  follow,
  getResource,
  listResources,
  MemoryStorage,
  open,
  push,
  type PushedUpload,
  type PushOptions,
  type ResourceStatus,
  resumePush,
  statusEvents,
  StreamError,
  type Upload,
} from "../../mod.ts";
import type { Catalog } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { Retries } from "../../src/client/connection/retry.ts";
import type { ErrorCode } from "../../src/protocol.ts";
import { concat, utf8 } from "../helpers/bytes.ts";
import { assertBytes, eventually, within } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import { Proxy } from "../helpers/faults/proxy.ts";
import { lend } from "../helpers/lent.ts";
import { override } from "../helpers/storage.ts";
import {
  GatedCatalog,
  GatedStorage,
  isCompleted,
  isFailed,
  startServer,
  statusOf,
  type TestServer,
} from "../helpers/server.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const random = (byteCount: number) => new Uint8Array(randomBytes(byteCount));

const idOf = ({ reference }: Upload) => reference.slice(-36);

/** Pushes bytes in chunks of some size, and completes the upload. */
async function pushAll(
  server: TestServer,
  bytes: Uint8Array,
  { chunkBytes = MiB, ...options }: PushOptions & { chunkBytes?: number } = {},
): Promise<Upload> {
  const upload = await push(server.url, metadata, options);
  const writer = upload.writable.getWriter();
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    await lend(bytes.subarray(at, at + chunkBytes), (chunk) => writer.write(chunk));
  }
  await writer.close();
  return upload;
}

const pushText = (server: TestServer, text: string, options?: PushOptions) =>
  pushAll(server, utf8(text), options);

/** All bytes of a stream. */
function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return within("the end of a stream", new Response(stream).bytes());
}

/** All lines of a window. */
const linesOf = (download: Download, start: number, count: number) =>
  within("the lines", Array.fromAsync(download.lines(start, count)));

/** Waits until a number of bytes can be read. */
const arrived = ({ resources }: TestServer, upload: Upload, byteCount: number) =>
  statusOf(resources, idOf(upload), ({ currentSize }) => currentSize === byteCount);

test("what is pushed is followed, read, described, listed and deleted", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const followed = readAll(follow(upload.reference));
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  await writer.write(utf8("two"));
  await writer.close();
  const { size, numberOfLines, digest } = await upload.done;
  assertEquals([size, numberOfLines], [7, 2]);
  assertEquals(digest, { algorithm: "xxh128", value: await xxhash128("one\ntwo") });
  assertBytes(await followed, utf8("one\ntwo"));

  const info = await getResource(upload.reference);
  assertEquals([info.id, info.transferStatus], [idOf(upload), "COMPLETED"]);
  assertEquals([info.currentSize, info.numberOfLines], [7, 2]);
  assertEquals(info.digest, digest);
  assertEquals(await Array.fromAsync(listResources(server.url)), [info]);
  await deleteResource(upload.reference);
  await assertFails("NOT_FOUND", () => getResource(upload.reference));
});

test("a reference is understood in all its forms", async () => {
  await using server = await startServer();
  const upload = await pushText(server, "one\n");
  const id = idOf(upload);
  for (const reference of [upload.reference, `${server.url}/resources/${id}`]) {
    assertBytes(await readAll(follow(reference)), utf8("one\n"));
    assertEquals((await getResource(reference)).id, id);
  }
  for (const base of [server.url, server.ws, `${server.url}/`]) {
    assertBytes(await readAll(follow(id, { server: base })), utf8("one\n"));
    assertEquals((await getResource(id, { server: base })).id, id);
    assertEquals((await Array.fromAsync(listResources(base))).length, 1);
  }
  await assertFails("BAD_REQUEST", () => open(id));
  await assertFails("BAD_REQUEST", () => open("nonsense"));
  await assertFails("BAD_REQUEST", () => getResource("nonsense"));
  await assertFails("BAD_REQUEST", () => readAll(follow("nonsense")));
});

test("zero bytes are an upload, too", async () => {
  await using server = await startServer();
  for (const chunks of [[], [new Uint8Array(0)], [new Uint8Array(0), new Uint8Array(0)]]) {
    const upload = await push(server.url, metadata);
    const writer = upload.writable.getWriter();
    for (const chunk of chunks) await writer.write(chunk);
    await writer.close();
    const { size, numberOfLines } = await upload.done;
    assertEquals([size, numberOfLines], [0, 0]);
    assertBytes(await readAll(follow(upload.reference)), new Uint8Array(0));
    const download = await open(upload.reference);
    assertEquals(await linesOf(download, 0, 10), []);
    download.close();
  }
});

test("chunks of any size arrive as one sequence of bytes", async () => {
  await using server = await startServer();
  const sizes = [[1, 3000], [7, 20_000], [1000, MiB], [65_535, MiB], [65_536, MiB], [65_537, MiB]];
  for (const [chunkBytes, byteCount] of [...sizes, [1_000_000, 3_000_001], [5 * MiB, 5 * MiB]]) {
    const bytes = random(byteCount);
    const upload = await pushAll(server, bytes, { chunkBytes });
    assertEquals((await upload.done).digest.value, await xxhash128(bytes));
    assertBytes(await readAll(follow(upload.reference)), bytes);
  }
});

test("any chunks arrive as one sequence of bytes, whoever follows from wherever", async () => {
  await using server = await startServer();
  const chunks = fc.array(fc.oneof(fc.nat(100), fc.nat(100_000)), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(chunks, fc.nat(), fc.nat(), async (lengths, anywhere, anywhereElse) => {
      const bytes = random(lengths.reduce((total, length) => total + length, 0));
      const [from, to] = [anywhere, anywhereElse].map((at) => at % (bytes.length + 1))
        .sort((a, b) => a - b);
      const upload = await push(server.url, metadata);
      const followed = readAll(follow(upload.reference, { from, to }));
      const writer = upload.writable.getWriter();
      let at = 0;
      for (const length of lengths) {
        await lend(bytes.subarray(at, at += length), (chunk) => writer.write(chunk));
      }
      await writer.close();
      assertBytes(await followed, bytes.subarray(from, to));
      assertBytes(await readAll(follow(upload.reference, { from })), bytes.subarray(from));
    }),
    { numRuns: 30 },
  );
});

test("the digest is one of those that were offered", async () => {
  await using server = await startServer();
  for (const algorithm of ["md5", "sha256"] as const) {
    const upload = await pushText(server, "one\n", { digests: [algorithm] });
    const value = createHash(algorithm).update("one\n").digest("hex");
    assertEquals((await upload.done).digest, { algorithm, value });
  }
});

test("several followers read the same bytes from different offsets while they are pushed", async () => {
  await using server = await startServer();
  const bytes = random(2 * MiB);
  const upload = await push(server.url, metadata);
  const ranges = [
    ...[{}, { from: 0 }, { from: 1 }, { from: 65_536 }, { from: MiB, to: MiB + 1 }],
    ...[{ to: 100 }, { from: 2 * MiB - 1 }, { from: 2 * MiB }, { from: 5, to: 5 }],
  ];
  const early = ranges.map((range) => readAll(follow(upload.reference, range)));
  const writer = upload.writable.getWriter();
  await writer.write(bytes.slice(0, MiB));
  const late = ranges.map((range) => readAll(follow(upload.reference, range)));
  await writer.write(bytes.slice(MiB));
  await writer.close();
  for (const followed of [early, late]) {
    for (const [index, { from = 0, to }] of ranges.entries()) {
      assertBytes(await followed[index], bytes.subarray(from, to));
    }
  }
});

test("the bytes of a burst are there before the next one is written", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const writer = upload.writable.getWriter();
  const reader = follow(upload.reference).getReader();
  for (const line of ["one\n", "two\n", "three\n"]) {
    await writer.write(utf8(line));
    assertBytes((await within("the line", reader.read())).value!, utf8(line));
  }
  await writer.close();
  assertEquals((await within("the end", reader.read())).done, true);
});

test("a follower that does not read slows no upload, holds no more than its window, and gets all", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  let carried = 0;
  proxy.tap = (bytes) => void (carried += bytes.length);
  const bytes = random(12 * MiB);
  const upload = await push(server.url, metadata);
  const stream = follow(`${proxy.url}/resources/${idOf(upload)}`);
  const writer = upload.writable.getWriter();
  for (let at = 0; at < bytes.length; at += MiB) await writer.write(bytes.slice(at, at + MiB));
  await within("the upload", writer.close());
  assertLess(carried, 4.5 * MiB);
  assertBytes(await readAll(stream), bytes);
});

test("a writer waits while the server takes no more, and goes on when it does", async () => {
  const storage = new GatedStorage();
  await using server = await startServer({ storage });
  const upload = await push(server.url, metadata);
  const writer = upload.writable.getWriter();
  using _shut = storage.appending.shut();
  await writer.write(random(256 * KiB));
  let isWritten = false;
  const bytes = random(64 * KiB);
  const write = writer.write(bytes).then(() => isWritten = true);
  await eventually("an append", () => storage.appending.waiting > 0);
  // What the server had to say before it answers this has arrived by then.
  await getResource(`${server.url}/resources/${idOf(upload)}`);
  assertEquals(isWritten, false);
  storage.appending.open();
  await within("the write", write);
  await writer.close();
  assertEquals((await upload.done).size, 320 * KiB);
});

test("a slow reader of a running upload gets exactly its bytes", async () => {
  await using server = await startServer();
  const bytes = random(3 * MiB);
  const upload = await push(server.url, metadata);
  const reading = (async () => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of follow(upload.reference)) {
      chunks.push(chunk.slice());
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return concat(chunks);
  })();
  const writer = upload.writable.getWriter();
  for (let at = 0; at < bytes.length; at += 10_000) {
    await writer.write(bytes.slice(at, at + 10_000));
  }
  await writer.close();
  assertBytes(await within("the reader", reading), bytes);
});

test("chunks that were read stay as they were", async () => {
  await using server = await startServer();
  const bytes = random(4 * MiB);
  const upload = await pushAll(server, bytes);
  assertBytes(concat(await Array.fromAsync(follow(upload.reference))), bytes);
});

for (const transport of ["ws", "http"] as const) {
  test(`with reuseBuffer a chunk stays as it was until the next is asked for, whatever breaks meanwhile: ${transport}`, async () => {
    await using server = await startServer();
    await using proxy = await Proxy.open(Number(new URL(server.url).port));
    const bytes = random(8 * MiB);
    const upload = await pushAll(server, bytes);
    let reconnects = 0;
    const download = await open(`${proxy.url}/resources/${idOf(upload)}`, {
      transport,
      onReconnect: () => reconnects++,
    });
    const copies: Uint8Array[] = [];
    const buffers = new Set<ArrayBufferLike>();
    for await (const chunk of download.read({ from: 1, reuseBuffer: true })) {
      buffers.add(chunk.buffer);
      if (copies.length === 2) {
        proxy.cut();
        // Everything that was not handed over arrives again; by HTTP a reader hears of a break when it reads on.
        if (transport === "ws") await eventually("another connection", () => reconnects === 1);
        await arrivals();
      }
      copies.push(chunk.slice());
    }
    assertBytes(concat(copies), bytes.subarray(1));
    assertLess(buffers.size, copies.length);
  });
}

/** Lets much arrive. */
async function arrivals(): Promise<void> {
  for (let turns = 0; turns < 100; turns++) await new Promise((resolve) => setTimeout(resolve));
}

test("statuses come in order, the newest at once, and end with the last", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const download = await open(upload.reference);
  const collect = (statuses: AsyncIterable<ResourceStatus>) =>
    within("the last status", Array.fromAsync(statuses));
  const both = Promise.all([collect(upload.statuses()), collect(upload.statuses())]);
  const theirs = collect(download.statuses());
  const writer = upload.writable.getWriter();
  for (let size = 4; size <= 40; size += 4) {
    await writer.write(utf8("one\n"));
    await arrived(server, upload, size);
  }
  await writer.close();
  const isOver = () => download.status.transferStatus === "COMPLETED";
  await eventually("the last status", isOver);
  download.close();
  for (const statuses of [...await both, await theirs]) {
    for (let at = 1; at < statuses.length; at++) {
      const [older, newer] = [statuses[at - 1], statuses[at]];
      const isNewer = newer.epoch > older.epoch ||
        newer.epoch === older.epoch && newer.sequence > older.sequence;
      assert(isNewer, JSON.stringify([older, newer]));
      assert(newer.currentSize >= older.currentSize);
      assert(newer.durableSize <= newer.currentSize);
    }
    const { transferStatus, currentSize, numberOfLines, durableSize } = statuses.at(-1)!;
    assertEquals([transferStatus, currentSize, numberOfLines], ["COMPLETED", 40, 10]);
    assertEquals(durableSize, 40);
  }
  assertEquals(upload.status.transferStatus, "COMPLETED");
  const again = await Array.fromAsync(upload.statuses());
  assertEquals(again.map(({ transferStatus }) => transferStatus), ["COMPLETED"]);
});

test("the last status of an upload that failed says so, with the bytes that were known of", async () => {
  await using server = await startServer({ maxResourceBytes: 100 });
  const ends: ((upload: Upload, writer: WritableStreamDefaultWriter<Uint8Array>) => unknown)[] = [
    (upload) => upload.abort("enough"),
    (_upload, writer) => writer.write(random(200)),
  ];
  for (const end of ends) {
    const upload = await push(server.url, metadata);
    const writer = upload.writable.getWriter();
    await writer.write(utf8("one\n"));
    await eventually("a status", () => upload.status.currentSize === 4);
    const statuses = Array.fromAsync(upload.statuses());
    void Promise.resolve(end(upload, writer)).catch(() => {});
    const last = (await within("the last status", statuses)).at(-1)!;
    assertEquals([last.transferStatus, last.currentSize], ["FAILED", 4]);
    const { failure } = await statusOf(server.resources, idOf(upload), isFailed);
    assertEquals(last.failure, failure);
    assertEquals(upload.status, last);
  }
});

test("an upload that somebody else goes on with, or may, is not called FAILED", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  const ends: [ErrorCode, (upload: PushedUpload) => unknown][] = [
    ["FENCED", ({ resumeToken }) => resumePush(server.url, resumeToken)],
    ["INTERRUPTED", () => proxy.cut()],
  ];
  for (const [code, end] of ends) {
    const upload = await push(proxy.url, metadata, { retryForMs: 0 });
    await upload.writable.getWriter().write(utf8("one\n"));
    await eventually("a status", () => upload.status.currentSize === 4);
    const statuses = Array.fromAsync(upload.statuses());
    await end(upload);
    await assertFails(code, () => within("the end of the upload", upload.done));
    const { transferStatus, failure } = (await within("the last status", statuses)).at(-1)!;
    assertEquals([transferStatus, failure], ["IN_PROGRESS", null]);
    assertEquals((await getResource(upload.reference)).transferStatus, "IN_PROGRESS");
  }
});

for (const transport of ["ws", "http"] as const) {
  test(`a push whose first answer was lost makes one resource, whoever chose its id: ${transport}`, async () => {
    await using server = await startServer();
    await using proxy = await Proxy.open(Number(new URL(server.url).port));
    const refused: string[] = [];
    server.resources.listen((event) => void (event.type === "refused" && refused.push(event.id)));
    for (const id of [undefined, crypto.randomUUID()]) {
      let lost = 0;
      proxy.tap = (bytes) => {
        if (lost > 1 || !/ReadyForUpload|upload-offset/i.test(Buffer.from(bytes).toString())) {
          return;
        }
        lost++;
        proxy.cut();
      };
      const contextId = `run-${id}`;
      const upload = await push(proxy.url, metadata, { transport, id, contextId });
      await new Blob(["one\n"]).stream().pipeTo(upload.writable);
      assertEquals(lost, 2);
      const there = await Array.fromAsync(listResources(server.url, { contextId }));
      assertEquals(there.map(({ transferStatus }) => transferStatus), ["COMPLETED"]);
      assertEquals([idOf(upload), there[0].id], [id ?? there[0].id, idOf(upload)]);
    }
    assertEquals(refused, []);
  });
}

test("where an unanswered attempt left an id taken that nobody chose, another one is, once", async () => {
  const ids: string[] = [];
  const fates = ["LOST", "LOST", "CONFLICT", "CONFLICT"];
  const other = createHttpServer((request, response) => {
    ids.push(request.url!.slice(11, 47));
    const fate = fates[ids.length - 1];
    if (fate === "LOST") return void request.socket.destroy();
    response.writeHead(409, { "content-type": "application/problem+json" });
    response.end(JSON.stringify({ code: fate, detail: "the log exists already" }));
  });
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(other.address() as { port: number }).port}`;
  const pushes = async (id?: string) => {
    ids.length = 0;
    await assertFails("CONFLICT", () => push(url, metadata, { transport: "http", id }));
    return ids.map((used) => ids.indexOf(used));
  };
  try {
    assertEquals(await pushes(), [0, 0, 0, 3]);
    assertEquals(await pushes(crypto.randomUUID()), [0, 0, 0]);
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});

test("an attempt to go on whose answer was lost may fence its own upload later, once; another owner does for good", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  let reconnects = 0;
  const upload = await push(proxy.url, metadata, { onReconnect: () => reconnects++ });
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  await eventually("a status", () => upload.status.currentSize === 4);
  let isLost = false;
  proxy.tap = (bytes) => {
    if (isLost || !Buffer.from(bytes).includes("ReadyForUpload")) return;
    isLost = true;
    proxy.cut();
  };
  proxy.cut();
  await eventually("another connection", () => reconnects === 1);
  // As the attempt that was not answered would, had the server waited with it.
  const late = await resumePush(server.url, upload.resumeToken);
  await assertFails("FENCED", () => within("the end of the late attempt", late.done));
  await writer.write(utf8("two\n"));
  await eventually("what was written behind it", () => upload.status.currentSize === 8);
  await resumePush(server.url, upload.resumeToken);
  await assertFails("FENCED", () => within("the end of the upload", upload.done));
});

test("events whose connection breaks are asked for again, which is said in words that are no runtime's", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  const upload = await push(server.url, metadata);
  upload.done.catch(() => {});
  const said: string[] = [];
  const events = statusEvents(upload.reference.split("/").pop()!, {
    server: proxy.url,
    onRetry: ({ code, message }) => said.push(`${code}: ${message}`),
  });
  await events.next();
  proxy.cut();
  const next = events.next();
  await eventually("the next attempt", () => said.length > 0);
  assertEquals(said, ["INTERRUPTED: the connection to the server broke"]);
  await upload.abort();
  await next;
});

test("an attempt to go on that was refused fences nothing later: another owner does for good", async () => {
  const catalog = new MemoryCatalog();
  let isAway = false;
  const get: Catalog["get"] = (id) =>
    isAway ? Promise.reject(new StreamError("NOT_READY", "it is away")) : catalog.get(id);
  await using server = await startServer({ catalog: override<Catalog>(catalog, { get }) });
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  let refusals = 0;
  const upload = await push(proxy.url, metadata, {
    onRetry({ code }) {
      if (code === "NOT_READY") refusals++;
      isAway &&= refusals < 2;
    },
  });
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  await eventually("a status", () => upload.status.currentSize === 4);
  isAway = true;
  proxy.cut();
  await writer.write(utf8("two\n"));
  await eventually("what came behind two refusals", () => upload.status.currentSize === 8);
  assertEquals(refusals, 2);
  const other = await resumePush(server.url, upload.resumeToken);
  await assertFails("FENCED", () => within("the end of the upload", upload.done));
  await other.abort();
});

test("lines are read by index, page by page, however many and however long they are", async () => {
  await using server = await startServer();
  const lines = [
    ...Array.from({ length: 12_000 }, (_, index) => `line ${index}\n`),
    `${"é€😀".repeat(60_000)}\r\n`,
    "\n",
    `${"x".repeat(262_144)}\n`,
    `${"y".repeat(262_143)}\n`,
    "last",
  ];
  const upload = await pushText(server, lines.join(""));
  const download = await open(upload.reference);
  const windows = [[0, 5], [0, lines.length], [9_999, 3], [11_998, 4], [12_000, 1], [12_001, 99]];
  for (const [start, count] of [...windows, [12_004, 1], [lines.length, 9], [3, 0]]) {
    const expected = lines.slice(start, start + count);
    const actual = await linesOf(download, start, count);
    assertEquals(actual.length, expected.length, `window ${start}+${count}`);
    assert(actual.every((line, index) => line === expected[index]), `window ${start}+${count}`);
  }
  download.close();
});

test("only complete lines are there while an upload runs", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\ntw"));
  await arrived(server, upload, 6);
  const download = await open(upload.reference);
  assertEquals(await linesOf(download, 0, 9), ["one\n"]);
  await writer.close();
  await eventually("the end", () => download.status.transferStatus === "COMPLETED");
  assertEquals(await linesOf(download, 0, 9), ["one\n", "tw"]);
  download.close();
});

test("the last lines are found and read as bytes", async () => {
  await using server = await startServer();
  const upload = await pushText(server, "one\ntwo\nthree\n");
  const download = await open(upload.reference);
  const range = await download.locateLines(-2, 2);
  assertEquals(range, { startingLineIndex: 1, linesCount: 2, startOffset: 4, endOffset: 14 });
  const { startOffset: from, endOffset: to } = range;
  assertBytes(await readAll(download.read({ from, to })), utf8("two\nthree\n"));
  assertEquals(await linesOf(download, range.startingLineIndex, 1), ["two\n"]);
  download.close();
});

test("one download reads several ranges, one after the other", async () => {
  await using server = await startServer();
  const bytes = random(200_000);
  const upload = await pushAll(server, bytes);
  const download = await open(upload.reference);
  for (const [from, to] of [[0, 100], [100, 100], [150_000, 200_000], [0, 200_000]]) {
    assertBytes(await readAll(download.read({ from, to })), bytes.subarray(from, to));
  }
  download.close();
});

test("a download does one thing at a time: more is WRONG_STATE, and harms nothing", async () => {
  await using server = await startServer();
  const upload = await pushText(server, "one\ntwo\n");
  const download = await open(upload.reference);
  const stream = download.read();
  const others = [
    () => readAll(download.read()),
    () => linesOf(download, 0, 1),
    () => download.locateLines(0, 1),
  ];
  for (const other of others) {
    await assertFails("WRONG_STATE", async () => void await other());
  }
  assertBytes(await readAll(stream), utf8("one\ntwo\n"));
  const locating = download.locateLines(0, 1);
  await assertFails("WRONG_STATE", () => linesOf(download, 0, 1));
  assertEquals((await locating).endOffset, 4);
  assertEquals(await linesOf(download, 0, 9), ["one\n", "two\n"]);
  download.close();
});

test("a read that is cancelled closes its connection, and so does leaving a loop", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  const upload = await push(server.url, metadata);
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  const reference = `${proxy.url}/resources/${idOf(upload)}`;
  const noConnection = () => eventually("no connection", () => proxy.connections === 0);

  const download = await open(reference);
  const reader = download.read().getReader();
  assertBytes((await within("a chunk", reader.read())).value!, utf8("one\n"));
  await reader.cancel();
  await noConnection();
  await assertFails("ABORTED", () => download.locateLines(0, 1));

  for await (const bytes of follow(reference)) {
    assertBytes(bytes, utf8("one\n"));
    break;
  }
  await noConnection();

  await follow(reference).cancel();
  await noConnection();
  await writer.close();
});

test("a download that is closed ends what it was doing", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const download = await open(upload.reference);
  const statuses = Array.fromAsync(download.statuses());
  const reading = readAll(download.read());
  download.close();
  download.close();
  await assertFails("ABORTED", () => reading);
  assertEquals((await within("the statuses", statuses)).length, 1);
  await assertFails("ABORTED", async () => void await readAll(download.read()));
  await upload.abort();
});

/** Whatever is asked of an upload that was given up, it says why. */
async function assertGivenUp(
  server: TestServer,
  upload: Upload,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  reason: string,
): Promise<StreamError> {
  const error = await assertFails("ABORTED", () => within("the end of the upload", upload.done));
  assertEquals(error.message, reason);
  const refused = await writer.write(utf8("more")).then(() => null, (thrown) => thrown);
  assert(refused !== null);
  const { failure } = await statusOf(server.resources, idOf(upload), isFailed);
  assertEquals(failure, `ABORTED: ${reason}`);
  return error;
}

test("an upload that is aborted is FAILED with the cause, and keeps what arrived", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const writer = upload.writable.getWriter();
  await writer.write(utf8("kept"));
  const followed = readAll(follow(upload.reference));
  await arrived(server, upload, 4);
  const cause = new TypeError("no more paper");
  await within("the abort", upload.abort(cause));
  const error = await assertGivenUp(server, upload, writer, "no more paper");
  assertStrictEquals(error.cause, cause);
  assertBytes(await followed, utf8("kept"));
});

test("an upload that is aborted is FAILED wherever somebody asks when that is over", async () => {
  const catalog = new GatedCatalog();
  await using server = await startServer({ catalog, storage: new MemoryStorage() });
  const upload = await push(server.url, metadata);
  let isOver = false;
  using shut = catalog.updating.shut();
  const aborting = upload.abort("enough").finally(() => isOver = true);
  await eventually("the record", () => catalog.updating.waiting > 0);
  // What was on its way to the client before is there.
  await getResource(upload.reference);
  assertEquals(isOver, false);
  shut[Symbol.dispose]();
  await within("the abort", aborting);
  assertEquals((await catalog.get(idOf(upload)))?.transferStatus, "FAILED");
});

test("an upload can be aborted with any cause, or none", async () => {
  await using server = await startServer();
  const causes: [unknown, string][] = [["enough", "enough"], [undefined, "cancelled"], [42, "42"]];
  for (const [cause, reason] of causes) {
    const upload = await push(server.url, metadata);
    const writer = upload.writable.getWriter();
    await upload.abort(cause);
    await assertGivenUp(server, upload, writer, reason);
  }
});

test("a stream that breaks gives the upload up: it is piped with its error", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const source = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(utf8("kept"));
    },
    pull(controller) {
      controller.error(new Error("the disk is on fire"));
    },
  });
  await source.pipeTo(upload.writable).catch(() => {});
  await assertFails("ABORTED", () => within("the end of the upload", upload.done));
  const { failure } = await statusOf(server.resources, idOf(upload), isFailed);
  assertEquals(failure, "ABORTED: the disk is on fire");
});

test("what is no Uint8Array gives the upload up: nobody waits for its end", async () => {
  await using server = await startServer();
  for (const transport of ["ws", "http"] as const) {
    const upload = await push(server.url, metadata, { transport });
    const texts = new ReadableStream({ start: (controller) => controller.enqueue("text") });
    await assertFails("BAD_REQUEST", () => texts.pipeTo(upload.writable));
    await assertFails("BAD_REQUEST", () => upload.done);
    assertMatch(
      (await statusOf(server.resources, idOf(upload), isFailed)).failure!,
      /is a Uint8Array, no string/,
    );
  }
});

test("an upload can be aborted while a write waits for credit", async () => {
  const aborts: ((upload: Upload, writer: WritableStreamDefaultWriter<Uint8Array>) => unknown)[] = [
    (upload) => upload.abort("enough"),
    (_upload, writer) => writer.abort("enough"),
  ];
  for (const abort of aborts) {
    const storage = new GatedStorage();
    await using server = await startServer({ storage });
    const upload = await push(server.url, metadata);
    const writer = upload.writable.getWriter();
    using _shut = storage.appending.shut();
    const write = writer.write(random(MiB)).then(() => null, (error) => error);
    await eventually("an append", () => storage.appending.waiting > 0);
    void Promise.resolve(abort(upload, writer)).catch(() => {});
    await assertFails("ABORTED", () => within("the end of the upload", upload.done));
    assert(await within("the write", write) !== null);
  }
});

test("an abort after the end changes nothing", async () => {
  await using server = await startServer();
  const upload = await pushText(server, "one\n");
  const { size } = await upload.done;
  await within("the abort", upload.abort("too late"));
  assertEquals((await upload.done).size, size);
  assertEquals((await getResource(upload.reference)).transferStatus, "COMPLETED");
});

test("a signal gives an upload up, before it begins, while it does, and while it runs", async () => {
  await using server = await startServer({ resumeWindowMs: 0 });
  const aborted = AbortSignal.abort("too early");
  await assertFails("ABORTED", () => push(server.url, metadata, { signal: aborted }));

  const controller = new AbortController();
  const pushing = push(server.url, metadata, { signal: controller.signal });
  controller.abort(new Error("changed my mind"));
  await assertFails("ABORTED", () => within("the push", pushing));

  const running = new AbortController();
  const upload = await push(server.url, metadata, { signal: running.signal });
  const writer = upload.writable.getWriter();
  await writer.write(utf8("kept"));
  running.abort("enough");
  await assertGivenUp(server, upload, writer, "enough");
  await eventually("no upload", () => server.resources.uploads === 0);

  const late = new AbortController();
  const completed = await pushText(server, "one\n", { signal: late.signal });
  late.abort();
  assertEquals((await completed.done).size, 4);
});

/** A signal that tells how many listen to it. */
function countingSignal() {
  const { signal } = new AbortController();
  const listeners = new Set<unknown>();
  signal.addEventListener = (_type: string, listener: unknown) => void listeners.add(listener);
  signal.removeEventListener = (_type: string, listener: unknown) => {
    listeners.delete(listener);
  };
  return { signal, listeners };
}

test("a signal forgets uploads that are over, and attempts that were made", async () => {
  const { signal, listeners } = countingSignal();
  const server = await startServer();
  const upload = await push(server.url, metadata, { signal });
  assertEquals(listeners.size, 1);
  await upload.writable.close();
  assertEquals(listeners.size, 0);
  await server.close();
  await assertFails("UNREACHABLE", () => push(server.url, metadata, { signal, retryForMs: 0 }));
  assertEquals(listeners.size, 0);

  const retries = new Retries({});
  const waiting = retries.wait(new StreamError("INTERRUPTED", "the connection broke"), signal);
  assertEquals(listeners.size, 1);
  assert(await waiting);
  assertEquals(listeners.size, 0);
});

test("nobody there is UNREACHABLE, whatever is asked", async () => {
  const server = await startServer();
  await server.close();
  const reference = `${server.url}/resources/${crypto.randomUUID()}`;
  const atOnce = { retryForMs: 0 };
  await assertFails("UNREACHABLE", () => push(server.url, metadata, atOnce));
  await assertFails("UNREACHABLE", () => open(reference, atOnce));
  await assertFails("UNREACHABLE", () => readAll(follow(reference, atOnce)));
  await assertFails("UNREACHABLE", () => getResource(reference));
  await assertFails("UNREACHABLE", () => deleteResource(reference));
  await assertFails("UNREACHABLE", () => Array.fromAsync(listResources(server.url)));
});

test("a server of another kind is an error with a code", async () => {
  const other = createHttpServer((_request, response) => {
    response.writeHead(200, { "content-type": "text/html" }).end("<html>");
  });
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(other.address() as { port: number }).port}`;
  const reference = `${url}/resources/${crypto.randomUUID()}`;
  try {
    await assertFails("UNREACHABLE", () => push(url, metadata));
    await assertFails("UNREACHABLE", () => open(reference));
    for (
      const ask of [() => getResource(reference), () => Array.fromAsync(listResources(url))]
    ) {
      const thrown = await ask().then(() => null, (error) => error);
      assert(thrown instanceof StreamError, String(thrown));
    }
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});

test("an error that is none of ours is an error of the server, whatever it holds", async () => {
  let answer = "", status = 500;
  const other = createHttpServer((_request, response) => {
    response.writeHead(status, { "content-type": "application/problem+json" }).end(answer);
  });
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(other.address() as { port: number }).port}`;
  const odd = { toString: null };
  const answers = [null, 5, "gone", [], { code: 5, detail: 5 }, { code: odd, detail: odd }];
  try {
    for (const transport of ["auto", "http"] as const) {
      for (const value of answers) {
        answer = JSON.stringify(value);
        for (const code of [500, 400]) {
          status = code;
          const options = { transport, retryForMs: 0 };
          const error = await assertFails("UNREACHABLE", () => push(url, metadata, options));
          assertMatch(
            error.message,
            new RegExp(`answered .* with ${code}: is it a stream server\\?$`),
          );
        }
      }
    }
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});

test("an upload that is refused rejects with the server's code and words", async () => {
  const quota = {
    checkRegistration() {
      throw new Error("the shelf is full");
    },
  };
  await using strict = await startServer({ requireContext: true });
  await assertFails("CONTEXT_REQUIRED", () => push(strict.url, metadata));
  await assertFails("BAD_METADATA", () => push(strict.url, metadata, { contextId: "a\nb" }));
  await using full = await startServer({ quota });
  const error = await assertFails("QUOTA_EXCEEDED", () => push(full.url, metadata));
  assertEquals(error.message, "the shelf is full");
  await using busy = await startServer({ maxUploads: 0 });
  await assertFails("LIMIT_REACHED", () => push(busy.url, metadata, { retryForMs: 0 }));
  await using closed = await startServer({ maxConnections: 0 });
  await assertFails("LIMIT_REACHED", () => push(closed.url, metadata, { retryForMs: 0 }));
  await assertFails("BAD_METADATA", () => push(closed.url, { ...metadata, filename: "" }));
});

test("an upload that grows too large rejects everything with QUOTA_EXCEEDED, at once", async () => {
  await using server = await startServer({ maxResourceBytes: 100_000 });
  const upload = await push(server.url, metadata);
  const writer = upload.writable.getWriter();
  const writing = (async () => {
    for (;;) await writer.write(random(50_000));
  })();
  await assertFails("QUOTA_EXCEEDED", () => within("the refusal", writing));
  await assertFails("QUOTA_EXCEEDED", () => upload.done);
  const { currentSize } = await statusOf(server.resources, idOf(upload), isFailed);
  assert(currentSize <= 100_000);
});

test("an upload context without a name is refused, and not taken for none", async () => {
  await using server = await startServer();
  await assertFails("BAD_METADATA", () => push(server.url, metadata, { contextId: "" }));
});

test("an upload belongs to its context", async () => {
  await using server = await startServer({ requireContext: true });
  const contextId = "run 17/é&?#%";
  const upload = await pushText(server, "one\n", { contextId });
  assertEquals((await getResource(upload.reference)).contextId, contextId);
  const listed = (id: string) => Array.fromAsync(listResources(server.url, { contextId: id }));
  assertEquals((await listed(contextId)).map(({ id }) => id), [idOf(upload)]);
  assertEquals(await listed("run 17"), []);
});

test("all resources are listed, whatever the size of a page, even while they are deleted", async () => {
  await using server = await startServer();
  const ids: string[] = [];
  for (let count = 0; count < 5; count++) ids.push(idOf(await pushText(server, "x")));
  for (const pageSize of [1, 2, 5, 6]) {
    const infos = await Array.fromAsync(listResources(server.url, { pageSize }));
    assertEquals(infos.map(({ id }) => id).toSorted(), ids.toSorted());
  }
  for await (const { reference } of listResources(server.url, { pageSize: 2 })) {
    await deleteResource(reference);
  }
  assertEquals(await Array.fromAsync(listResources(server.url)), []);
  await assertFails(
    "BAD_REQUEST",
    () => Array.fromAsync(listResources(server.url, { pageSize: 0 })),
  );
});

test("what counts from 0 and is no such number is refused by its name, and closes nothing", async () => {
  await using server = await startServer();
  const { reference } = await pushText(server, "one\ntwo\n");
  const download = await open(reference);
  const asks: [RegExp, () => Promise<unknown>][] = [
    [/^from is -5: /, async () => await readAll(download.read({ from: -5 }))],
    [/^to is 1\.5: /, async () => await readAll(download.read({ to: 1.5 }))],
    [/^startingLineIndex is -1: /, () => linesOf(download, -1, 1)],
    [/^linesCount is NaN: /, () => linesOf(download, 0, NaN)],
    [/^linesCount is -1: /, () => download.locateLines(-1, -1)],
    [/^startingLineIndex is 1\.5: /, () => download.locateLines(1.5, 1)],
    [/^from is -5: /, () => readAll(follow(reference, { from: -5 }))],
  ];
  for (const [message, ask] of asks) {
    const error = await assertRejects(ask, StreamError);
    assertMatch(error.message, message);
    assertEquals(error.code, "BAD_REQUEST");
  }
  assertEquals(await linesOf(download, 0, 2), ["one\n", "two\n"]);
  download.close();
});

test("what a download asks for and cannot get rejects with the server's code", async () => {
  await using server = await startServer();
  const upload = await pushText(server, "one\n");
  const asks: [ErrorCode, (download: Download) => Promise<unknown>][] = [
    ["LINES_NOT_AVAILABLE", (download) => linesOf(download, 2, 1)],
    ["RANGE_NOT_AVAILABLE", (download) => readAll(download.read({ from: 5 }))],
    ["BAD_REQUEST", (download) => readAll(download.read({ from: 3, to: 2 }))],
  ];
  for (const [code, ask] of asks) {
    const download = await open(upload.reference);
    await assertFails(code, () => ask(download));
    await assertFails(code, () => download.locateLines(0, 1));
  }
  const binary = await push(server.url, { ...metadata, supportsLineAccess: false });
  await binary.writable.close();
  assertEquals((await binary.done).numberOfLines, null);
  for (const ask of [(download: Download) => linesOf(download, 0, 1)]) {
    const download = await open(binary.reference);
    await assertFails("NO_LINE_ACCESS", () => ask(download));
  }
});

test("what does not exist is NOT_FOUND, whatever is asked", async () => {
  await using server = await startServer();
  const reference = `${server.url}/resources/${crypto.randomUUID()}`;
  await assertFails("NOT_FOUND", () => open(reference));
  await assertFails("NOT_FOUND", () => readAll(follow(reference)));
  await assertFails("NOT_FOUND", () => getResource(reference));
  await assertFails("NOT_FOUND", () => deleteResource(reference));
});

test("a running upload cannot be deleted", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  await assertFails("WRONG_STATE", () => deleteResource(upload.reference));
  await upload.writable.close();
  await deleteResource(upload.reference);
});

test("a resource that is deleted while it is read is DELETED", async () => {
  await using server = await startServer();
  const upload = await pushAll(server, random(8 * MiB));
  const download = await open(upload.reference);
  const reader = download.read().getReader();
  await within("a chunk", reader.read());
  await deleteResource(upload.reference);
  const reading = (async () => {
    while (!(await reader.read()).done);
  })();
  await assertFails("DELETED", () => within("the end", reading));
});

test("a FAILED resource is read to its last byte, and its status says why it failed", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const download = await open(upload.reference);
  const reading = readAll(download.read());
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\ntwo"));
  await arrived(server, upload, 7);
  await upload.abort("enough");
  assertBytes(await reading, utf8("one\ntwo"));
  assertEquals([download.status.transferStatus, download.status.numberOfLines], ["FAILED", 2]);
  assertMatch(download.status.failure!, /^ABORTED: enough$/);
  download.close();
  assertEquals((await getResource(upload.reference)).transferStatus, "FAILED");
});

const breaks: [string, ErrorCode, (server: TestServer, proxy: Proxy) => unknown][] = [
  ["is shut down", "SHUTDOWN", (server) => server.close()],
  ["vanishes", "INTERRUPTED", (_server, proxy) => proxy.cut()],
];
for (const [what, code, break_] of breaks) {
  test(`a server that ${what} ends everything with ${code} where nothing is tried again`, async () => {
    await using server = await startServer();
    await using proxy = await Proxy.open(Number(new URL(server.url).port));
    const upload = await push(proxy.url, metadata, { retryForMs: 0 });
    const writer = upload.writable.getWriter();
    await writer.write(utf8("one\n"));
    await arrived(server, upload, 4);
    const download = await open(upload.reference, { retryForMs: 0 });
    const reader = download.read().getReader();
    assertBytes((await within("a chunk", reader.read())).value!, utf8("one\n"));
    const follower = follow(upload.reference, { retryForMs: 0 }).getReader();
    assertBytes((await within("a chunk", follower.read())).value!, utf8("one\n"));
    const statuses = Array.fromAsync(download.statuses());

    await break_(server, proxy);
    await assertFails(code, () => within("the end of the upload", upload.done));
    await assertFails(code, () => within("the end of a read", reader.read()));
    await assertFails(code, () => within("the end of a follower", follower.read()));
    const refused = await writer.write(utf8("two")).then(() => null, (error) => error);
    assert(refused !== null);
    await within("the end of the statuses", statuses);
    await assertFails(code, () => download.locateLines(0, 1));
  });
}

test("what arrived before a server vanished is read before the error comes", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  const bytes = random(MiB);
  const upload = await push(server.url, metadata);
  const writer = upload.writable.getWriter();
  await writer.write(bytes.slice());
  await arrived(server, upload, MiB);
  const reference = `${proxy.url}/resources/${idOf(upload)}`;
  const download = await open(reference, { retryForMs: 0 });
  const reader = download.read().getReader();
  const chunks = [(await within("a chunk", reader.read())).value!];
  // The status of a further byte comes after all bytes before it.
  await writer.write(utf8("x"));
  const statuses = Array.fromAsync(download.statuses());
  await eventually("all bytes", () => download.status.currentSize > MiB);
  proxy.cut();
  await within("the end of the connection", statuses);
  const reading = (async () => {
    for (;;) {
      const { value } = await reader.read();
      chunks.push(value!);
    }
  })();
  await assertFails("INTERRUPTED", () => within("the error", reading));
  const received = concat(chunks);
  // The further byte may have arrived, too.
  assert(received.length >= MiB, `${received.length} bytes`);
  assertBytes(received, concat([bytes, utf8("x")]).subarray(0, received.length));
  await writer.close();
});

test("an upload that breaks once goes on, and is told apart by nobody who follows it", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  const bytes = random(MiB);
  const retried: ErrorCode[] = [];
  const onRetry = ({ code }: StreamError) => void retried.push(code);
  const upload = await push(proxy.url, metadata, { onRetry });
  const followed = readAll(follow(`${server.url}/resources/${idOf(upload)}`));
  const writer = upload.writable.getWriter();
  await writer.write(bytes.slice(0, MiB / 2));
  proxy.cut();
  await writer.write(bytes.slice(MiB / 2));
  await writer.close();
  assertEquals((await upload.done).digest.value, await xxhash128(bytes));
  assertBytes(await followed, bytes);
  assertEquals(retried, ["INTERRUPTED"]);
  await statusOf(server.resources, idOf(upload), isCompleted);
});

/** Counts the binary messages that a step sends by WebSocket. */
async function countingMessages(step: () => Promise<void>): Promise<number> {
  const Standard = globalThis.WebSocket;
  let count = 0;
  globalThis.WebSocket = class extends Standard {
    override send(data: Parameters<WebSocket["send"]>[0]): void {
      if (typeof data !== "string") count++;
      super.send(data);
    }
  };
  try {
    await step();
  } finally {
    globalThis.WebSocket = Standard;
  }
  return count;
}

test("lines that follow each other are gathered: the first goes at once, the others together", async () => {
  await using server = await startServer();
  const count = await countingMessages(async () => {
    const upload = await push(server.url, metadata);
    const writer = upload.writable.getWriter();
    await writer.write(utf8("first\n"));
    await statusOf(server.resources, idOf(upload), ({ currentSize }) => currentSize === 6);
    for (let line = 0; line < 1000; line++) await writer.write(utf8("another\n"));
    await writer.close();
    assertEquals((await upload.done).size, 6 + 8 * 1000);
  });
  assertLess(count, 200);
});

test("what was gathered is sent without a further write, and before an abort", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const writer = upload.writable.getWriter();
  for (const text of ["1", "2", "3"]) await writer.write(utf8(text));
  await statusOf(server.resources, idOf(upload), ({ currentSize }) => currentSize === 3);
  for (const text of ["4", "5", "6"]) await writer.write(utf8(text));
  await upload.abort("enough");
  const { currentSize } = await statusOf(server.resources, idOf(upload), isFailed);
  assertEquals(currentSize, 6);
});
