/** Uploads and downloads by HTTP requests alone, and how a client comes to use them. */
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import {
  follow,
  framesRuntime,
  getResource,
  open,
  push,
  resumePush,
  shareResource,
  SignedLinks,
} from "../../mod.ts";
import type { Grant, PushedUpload, Scope, StreamError, Transport } from "../../mod.ts";
import { eventsOf } from "../../src/client/connection/server_sent_events.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertBytes, eventually, within } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import { lend } from "../helpers/lent.ts";
import { Place } from "../helpers/place.ts";
import { Proxy } from "../helpers/faults/proxy.ts";
import { withChance } from "../helpers/random.ts";
import { checksumOf } from "../helpers/resources.ts";
import {
  GatedStorage,
  isFailed,
  startServer,
  statusOf,
  type TestServer,
} from "../helpers/server.ts";

const MiB = 1024 * 1024;
const metadata = { filename: "a b/ü&?.log", mimeType: "text/plain", supportsLineAccess: true };
const random = (byteCount: number) => new Uint8Array(randomBytes(byteCount));
const http = { transport: "http" } as const;

const idOf = ({ resumeToken }: PushedUpload) => resumeToken.split(":")[0];

const readAll = (stream: ReadableStream<Uint8Array>) =>
  within("the end of a stream", new Response(stream).bytes());

const arrived = (
  { resources }: Pick<TestServer, "resources">,
  upload: PushedUpload,
  size: number,
) => statusOf(resources, idOf(upload), ({ currentSize }) => currentSize === size);

/** Pushes bytes by HTTP. */
async function pushAll(url: string, bytes: Uint8Array, chunkBytes = MiB): Promise<PushedUpload> {
  const upload = await push(url, metadata, http);
  const writer = upload.writable.getWriter();
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    await lend(bytes.subarray(at, at + chunkBytes), (chunk) => writer.write(chunk));
  }
  await writer.close();
  return upload;
}

/** Either transport shows the same behaviour, in any combination. */
function each(
  behaviour: string,
  check: (pushing: { transport: Transport }, following: { transport: Transport }) => Promise<void>,
): void {
  for (const [pushing, following] of [["http", "http"], ["http", "ws"], ["ws", "http"]] as const) {
    test(`pushed by ${pushing}, followed by ${following}: ${behaviour}`, async () => {
      await check({ transport: pushing }, { transport: following });
    });
  }
}

each("each burst is there before the next one is written", async (pushing, following) => {
  await using server = await startServer();
  const upload = await push(server.url, metadata, { ...pushing, contextId: "run 17/é&?#%" });
  const writer = upload.writable.getWriter();
  const download = await open(upload.reference, following);
  const statuses = Array.fromAsync(download.statuses());
  const reader = download.read().getReader();
  for (const line of ["one\n", "two\n", "three\n"]) {
    await writer.write(utf8(line));
    assertBytes((await within("the line", reader.read())).value!, utf8(line));
  }
  await writer.close();
  assertEquals((await within("the end", reader.read())).done, true);
  assertEquals(download.status.transferStatus, "COMPLETED");
  download.close();
  for (const list of [await statuses, await Array.fromAsync(upload.statuses())]) {
    const { transferStatus, currentSize, numberOfLines, durableSize } = list.at(-1)!;
    assertEquals([transferStatus, currentSize, numberOfLines, durableSize], [
      "COMPLETED",
      14,
      3,
      14,
    ]);
  }
  const { size, numberOfLines, digest } = await upload.done;
  assertEquals([size, numberOfLines], [14, 3]);
  assertEquals(digest, { algorithm: "xxh128", value: await checksumOf(utf8("one\ntwo\nthree\n")) });
  const info = await getResource(upload.reference);
  assertEquals([info.filename, info.contextId], [metadata.filename, "run 17/é&?#%"]);
});

each("many bytes arrive as they were, from wherever they are read", async (pushing, following) => {
  await using server = await startServer();
  const bytes = random(5 * MiB + 17);
  const upload = await push(server.url, metadata, pushing);
  const ranges = [{}, { from: 1 }, { from: MiB, to: 3 * MiB + 1 }, { from: bytes.length }, {
    to: 0,
  }];
  const live = ranges.map((range) => readAll(follow(upload.reference, { ...range, ...following })));
  const writer = upload.writable.getWriter();
  for (let at = 0; at < bytes.length; at += 100_000) {
    await writer.write(bytes.slice(at, at + 100_000));
  }
  await writer.close();
  const late = ranges.map((range) => readAll(follow(upload.reference, { ...range, ...following })));
  for (const followed of [live, late]) {
    for (const [index, { from = 0, to }] of ranges.entries()) {
      assertBytes(await followed[index], bytes.subarray(from, to));
    }
  }
});

each("an empty upload is one, too", async (pushing, following) => {
  await using server = await startServer();
  const upload = await push(server.url, metadata, pushing);
  const followed = readAll(follow(upload.reference, following));
  await upload.writable.close();
  assertEquals((await upload.done).size, 0);
  assertBytes(await followed, new Uint8Array(0));
});

each("a FAILED resource is read to its last byte", async (pushing, following) => {
  await using server = await startServer();
  const upload = await push(server.url, metadata, pushing);
  const download = await open(upload.reference, following);
  const live = readAll(download.read());
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\ntwo"));
  // What waits to be sent when an upload is given up is sent before.
  await upload.abort("enough\n? & ü");
  assertBytes(await live, utf8("one\ntwo"));
  assertEquals(download.status.transferStatus, "FAILED");
  assertEquals(download.status.failure, "ABORTED: enough\n? & ü");
  download.close();
  assertBytes(await readAll(follow(upload.reference, following)), utf8("one\ntwo"));
  await assertFails(
    "RANGE_NOT_AVAILABLE",
    () => readAll(follow(upload.reference, { ...following, from: 8 })),
  );
});

test("a Step port speaks HTTP, too", async () => {
  await using server = await startServer({ runtime: framesRuntime() });
  const bytes = random(3 * MiB + 1);
  const upload = await push(server.url, metadata, http);
  const followed = readAll(follow(upload.reference, http));
  await new Blob([bytes]).stream().pipeTo(upload.writable);
  assertBytes(await followed, bytes);
  const failed = await push(server.url, metadata, http);
  const broken = readAll(follow(failed.reference, http));
  await failed.writable.getWriter().write(bytes.slice(0, 100_000));
  await failed.abort("enough");
  assertBytes(await broken, bytes.subarray(0, 100_000));
});

test("lines are located and read as on a WebSocket, however many and however long", async () => {
  await using server = await startServer();
  const lines = [
    ...Array.from({ length: 12_000 }, (_, index) => `line ${index}\n`),
    `${"é€😀".repeat(60_000)}\r\n`,
    "last",
  ];
  const upload = await pushAll(server.url, utf8(lines.join("")));
  const byHttp = await open(upload.reference, http);
  const byWebSocket = await open(upload.reference, { transport: "ws" });
  for (
    const [start, count] of [[0, 5], [0, 12_002], [9_999, 3], [11_999, 9], [12_002, 1], [3, 0]]
  ) {
    const actual = await Array.fromAsync(byHttp.lines(start, count));
    assertEquals(actual, lines.slice(start, start + count), `window ${start}+${count}`);
  }
  for (const [start, count] of [[-2, 2], [-99_999, 1], [5, 99_999], [99_999, 1], [-3, 0]]) {
    const expected = await byWebSocket.locateLines(start, count);
    assertEquals(await byHttp.locateLines(start, count), expected);
  }
  byWebSocket.close();
  await assertFails("LINES_NOT_AVAILABLE", () => Array.fromAsync(byHttp.lines(12_003, 1)));
});

test("what cannot be had rejects with the server's code", async () => {
  await using server = await startServer({ requireContext: true, maxResourceBytes: 3 * MiB });
  await assertFails("CONTEXT_REQUIRED", () => push(server.url, metadata, http));
  const contextId = "a";
  const upload = await push(server.url, metadata, { ...http, contextId });
  const writer = upload.writable.getWriter();
  const writing = (async () => {
    for (;;) await writer.write(random(100_000));
  })();
  await assertFails("QUOTA_EXCEEDED", () => within("the refusal", writing));
  await assertFails("QUOTA_EXCEEDED", () => upload.done);
  const reference = `${server.url}/resources/${crypto.randomUUID()}`;
  await assertFails("NOT_FOUND", () => open(reference, http));
  await assertFails("NOT_OWNER", () => resumePush(server.url, `${idOf(upload)}:no`, http));
  await assertFails(
    "BAD_REQUEST",
    () => readAll(follow(upload.reference, { ...http, from: 3, to: 2 })),
  );
});

test("an upload can be aborted while the server takes nothing", async () => {
  const storage = new GatedStorage();
  await using server = await startServer({ storage });
  const upload = await push(server.url, metadata, http);
  const writer = upload.writable.getWriter();
  using _shut = storage.appending.shut();
  const write = writer.write(random(3 * MiB)).then(() => null, (error) => error);
  await eventually("an append", () => storage.appending.waiting > 0);
  void upload.abort("enough");
  await assertFails("ABORTED", () => within("the end of the upload", upload.done));
  assert(await within("the write", write) !== null);
});

test("a writer waits while the server takes no more, and goes on when it does", async () => {
  const storage = new GatedStorage();
  await using server = await startServer({ storage });
  const upload = await push(server.url, metadata, http);
  const writer = upload.writable.getWriter();
  using _shut = storage.appending.shut();
  let written = 0;
  const bytes = random(8 * MiB);
  const writing = (async () => {
    for (; written < bytes.length; written += 65_536) {
      await writer.write(bytes.slice(written, written + 65_536));
    }
    await writer.close();
  })();
  await eventually("an append", () => storage.appending.waiting > 0);
  // When another server has taken all of it, this one would have, too.
  await using other = await startServer();
  await (await pushAll(other.url, bytes)).done;
  assertLess(written, 3 * MiB);
  storage.appending.open();
  await within("the upload", writing);
  assertBytes(await readAll(follow(upload.reference, http)), bytes);
});

test("a follower that does not read holds a window, slows no upload, and gets all", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  let carried = 0;
  proxy.tap = (bytes) => void (carried += bytes.length);
  const bytes = random(48 * MiB);
  const upload = await push(server.url, metadata, http);
  const stream = follow(`${proxy.url}/resources/${idOf(upload)}`, http);
  const writer = upload.writable.getWriter();
  for (let at = 0; at < bytes.length; at += MiB) await writer.write(bytes.slice(at, at + MiB));
  await within("the upload", writer.close());
  // Who reads, by a proxy as well, has all of it when the other one would have, too.
  await using other = await Proxy.open(Number(new URL(server.url).port));
  await follow(`${other.url}/resources/${idOf(upload)}`, http).pipeTo(new WritableStream());
  // Its window, and what sockets (Linux lets one grow to 32 MiB) and `fetch` keep.
  assertLess(carried, 40 * MiB);
  assertBytes(await readAll(stream), bytes);
});

test("an upload that is silent goes on, however short the server waits for an owner", async () => {
  await using server = await startServer({ resumeWindowMs: 50 });
  const upload = await push(server.url, metadata, http);
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  await arrived(server, upload, 4);
  // Who came later and is not heard of again is given up later.
  const begun = await fetch(`${server.url}/resources?name=a`, {
    method: "POST",
    headers: { "upload-complete": "?0" },
  });
  const { id } = await begun.json();
  await statusOf(server.resources, id, isFailed);
  await writer.write(utf8("two\n"));
  await writer.close();
  assertEquals((await upload.done).size, 8);
});

for (const kind of ["memory", "files"] as const) {
  test(`${kind}: an upload and its follower go on after each cut, and nothing is there twice`, async () => {
    await using place = await Place.open(kind);
    const bytes = random(6 * MiB);
    const upload = await push(place.url, metadata, http);
    const download = await open(`${place.url}/resources/${idOf(upload)}`, http);
    const followed = new Response(download.read()).bytes();
    const writer = upload.writable.getWriter();
    for (let at = 0; at < bytes.length; at += MiB) {
      const written = lend(bytes.subarray(at, at + MiB), (chunk) => writer.write(chunk));
      await sleep(1); // Any moment of a request will do.
      place.proxy.cut();
      await within("the write", written);
    }
    await within("the end of the upload", writer.close());
    assertEquals((await upload.done).digest.value, await checksumOf(bytes));
    assertBytes(await within("the follower", followed), bytes);
    download.close();
    assert(place.proxy.broken > 5);
  });

  test(`${kind}: an upload and its follower go on when the server was restarted`, async () => {
    await using place = await Place.open(kind);
    const bytes = random(300_000);
    const upload = await push(place.url, metadata, http);
    const download = await open(`${place.url}/resources/${idOf(upload)}`, http);
    const followed = new Response(download.read()).bytes();
    const writer = upload.writable.getWriter();
    await writer.write(bytes.slice(0, 100_000));
    await arrived(place, upload, 100_000);
    await place.restart();
    await within("a write", writer.write(bytes.slice(100_000)));
    await within("the end of the upload", writer.close());
    assertBytes(await within("the follower", followed), bytes);
    download.close();
  });
}

test("a push by another process sends what is missing; a source that is another one fails it", async () => {
  await using place = await Place.open("memory");
  const bytes = random(200_000);
  for (const [source, code] of [[bytes, null], [random(200_000), "CHECKSUM_MISMATCH"]] as const) {
    // An upload can change from one transport to the other.
    const upload = await push(place.url, metadata, { transport: code === null ? "ws" : "http" });
    await upload.writable.getWriter().write(bytes.slice(0, 100_000));
    await arrived(place, upload, 100_000);
    const again = await resumePush(place.url, upload.resumeToken, http);
    assertEquals(again.reference, upload.reference);
    const piped = new Blob([source]).stream().pipeTo(again.writable).then(
      () => null,
      (error) => error,
    );
    const error = await within("the end", piped);
    assertEquals((error as StreamError | null)?.code ?? null, code);
    if (code === null) {
      assertBytes(await readAll(follow(again.reference, http)), bytes);
      const once = await resumePush(place.url, upload.resumeToken, http);
      await new Blob([source]).stream().pipeTo(once.writable);
      assertEquals((await once.done).digest, (await again.done).digest);
    } else await statusOf(place.resources, idOf(upload), isFailed);
    await upload.abort().catch(() => {});
  }
});

test("whoever sends behind another owner is FENCED", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata, http);
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  await arrived(server, upload, 4);
  const other = await resumePush(server.url, upload.resumeToken, http);
  const otherWriter = other.writable.getWriter();
  await otherWriter.write(utf8("one\ntwo\nthree\n"));
  await arrived(server, upload, 14);
  await writer.write(utf8("two\n")).catch(() => {});
  await assertFails("FENCED", () => within("the older push", upload.done));
  await otherWriter.close();
  assertEquals((await other.done).size, 14);
});

test("no error shows the secret of an upload", async () => {
  const server = await startServer();
  const upload = await push(server.url, metadata, { ...http, retryForMs: 300 });
  const writer = upload.writable.getWriter();
  await server.close();
  const told: string[] = [];
  writer.write(utf8("one\n")).catch(() => {});
  const error = await upload.done.then(() => null, (thrown) => thrown);
  for (let cause = error; cause instanceof Error; cause = cause.cause) told.push(cause.message);
  const [, secret] = upload.resumeToken.split(":");
  assertMatch(told[0], /cannot be reached|shut down|broke/);
  assert(!told[0].includes(secret), told[0]);
});

test("uploads and followers survive connections that break by chance", async () => {
  await withChance(async (chance) => {
    await using server = await startServer({ resumeWindowMs: 10_000 });
    const port = Number(new URL(server.url).port);
    await using proxy = await Proxy.open(port, chance);
    const bytes = random(MiB);
    const begun = async <T>(begin: () => Promise<T>) => {
      for (;;) {
        const result = await begin().catch(() => null);
        if (result !== null) return result;
      }
    };
    const upload = await begun(() => push(proxy.url, metadata, http));
    const reference = `${proxy.url}/resources/${idOf(upload)}`;
    const download = await begun(() => open(reference, http));
    const followed = new Response(download.read()).bytes();
    const writer = upload.writable.getWriter();
    for (let at = 0; at < bytes.length; at += 50_000) {
      await writer.write(bytes.slice(at, at + 50_000));
    }
    await writer.close();
    assertEquals((await upload.done).digest.value, await checksumOf(bytes));
    assertBytes(await followed, bytes);
    download.close();
    assert(proxy.broken > 0);
  });
});

test("an uploader need not read, a reader need not upload, and a signed link needs no token", async () => {
  const scopes: Record<string, Scope> = { pusher: "upload", reader: "read" };
  const grant: Grant = {
    name: "",
    scopes: [],
    contextId: null,
    resourceId: null,
    expiresAtMs: null,
  };
  const authenticate = (token: string) => Promise.resolve({ ...grant, scopes: [scopes[token]] });
  await using server = await startServer({
    access: { tokens: { authenticate }, links: new SignedLinks() },
  });
  const upload = await push(server.url, metadata, { ...http, token: "pusher" });
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  await writer.close();
  assertEquals((await upload.done).numberOfLines, 1);
  const again = await resumePush(server.url, upload.resumeToken, { ...http, token: "pusher" });
  await new Blob(["one\n"]).stream().pipeTo(again.writable);
  await assertFails("UNAUTHORIZED", () => open(upload.reference, http));
  await assertFails("FORBIDDEN", () => open(upload.reference, { ...http, token: "pusher" }));
  await assertFails("FORBIDDEN", () => push(server.url, metadata, { ...http, token: "reader" }));
  assertBytes(await readAll(follow(upload.reference, { ...http, token: "reader" })), utf8("one\n"));
  const { reference } = await shareResource(upload.reference, { token: "reader" });
  const download = await open(reference, http);
  assertEquals(await Array.fromAsync(download.lines(0, 9)), ["one\n"]);
  assertBytes(await readAll(download.read()), utf8("one\n"));
  download.close();
});

test("events are read however they are cut, and bounded", async () => {
  const text = ': comment\r\n\r\nid: 1.1\nevent: status\ndata: {"a":\ndata: "ü"}\n\n' +
    "data\n\nevent:deleted\ndata:x\n\nevent: status\ndata: cut off";
  for (const pieceBytes of [1, 3, 1000]) {
    const bytes = utf8(text);
    let heard = 0;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < bytes.length; at += pieceBytes) {
          controller.enqueue(bytes.slice(at, at + pieceBytes));
        }
        controller.close();
      },
    });
    const events = await Array.fromAsync(eventsOf(body, () => heard++));
    assertEquals(events, [{ type: "status", data: '{"a":"ü"}' }, { type: "deleted", data: "x" }]);
    assert(heard > 0);
  }
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(10_000).fill(97)),
  });
  await assertFails("BAD_MESSAGE", () => Array.fromAsync(eventsOf(endless, () => {})));
});
