/** The Step listener against a client that writes frames as the Java ones do. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { follow, framesRuntime, push, type ServerOptions } from "../../mod.ts";
import { UPLOAD_PATH } from "../../src/protocol.ts";
import type { FramesOptions } from "../../src/runtime/frames.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eitherRuntime, own, quickest, Workspace } from "../helpers/cli.ts";
import { within } from "../helpers/frames/connection.ts";
import { OP } from "../helpers/frames/frames.ts";
import { getJson, isFailed, rawUpgrade, startServer, statusOf } from "../helpers/server.ts";
import {
  assertStepText,
  JETTY_BYTES,
  LOG,
  md5,
  StepClient,
  TOMCAT_BYTES,
  UPLOAD,
} from "../helpers/step/client.ts";
import { stepPort, transferOneMessage } from "../helpers/step/transfer.ts";

const either = eitherRuntime();

const MiB = 1024 * 1024;
const DOWNLOAD = "/ws/streaming/download/";
const BINARY = { filename: "a.bin", mimeType: "a/b", supportsLineAccess: false };

const ended = (status: string) => ({ transferStatus }: { transferStatus: string }) =>
  transferStatus === status;
const completed = ended("COMPLETED");
const failed = ended("FAILED");

/** A server with a Step listener beside its main port. */
async function stepServer(options: Partial<ServerOptions> = {}, times: FramesOptions = {}) {
  const place = await startServer(options);
  const { port } = await place.server.listen({ port: 0, runtime: framesRuntime(times) });
  return {
    ...place,
    port,
    upload: (given?: { metadata?: typeof LOG; path?: string }) => StepClient.upload(port, given),
    download: (id: string) => StepClient.open(port, DOWNLOAD + id),
    [Symbol.asyncDispose]: place.close,
  };
}

type Place = Awaited<ReturnType<typeof stepServer>>;

/** An upload that was completed by a Step client. */
async function uploaded(place: Place, bytes: Uint8Array, metadata = LOG): Promise<string> {
  const { client, id } = await place.upload({ metadata });
  using _ = client;
  await client.give(bytes);
  await client.end();
  await client.finish(md5(bytes));
  return id;
}

test("the validator takes what Java takes, and not one property more or less", () => {
  const status = { transferStatus: "INITIATED", currentSize: 0, numberOfLines: null };
  assertStepText(JSON.stringify({ resourceStatus: status, "@": "StatusChanged" }));
  const wrong = [
    { "@": "StatusChanged", resourceStatus: { ...status, epoch: 1 } },
    { "@": "StatusChanged", resourceStatus: { transferStatus: "FAILED", currentSize: 0 } },
    { "@": "StatusChanged", resourceStatus: { ...status, currentSize: -1 } },
    { "@": "StatusChanged", resourceStatus: { ...status, transferStatus: "DONE" } },
    { "@": "ReadyForUpload", reference: { uri: "ws://h/" }, id: "1" },
    { "@": "UploadAcknowledged", size: 1, numberOfLines: 1, checksum: "" },
    { "@": "Error", code: "INTERNAL", message: "" },
    { "@": "toString" },
  ];
  for (const message of wrong) assertThrows(() => assertStepText(JSON.stringify(message)));
});

test("lines of a live upload are read while its one message goes on", async () => {
  await using place = await stepServer();
  const { client, uri, id } = await place.upload();
  using uploader = client;
  assertEquals(uri, `ws://127.0.0.1${DOWNLOAD}${id}`);
  using reader = await place.download(id);
  assertEquals(await reader.status(() => true), {
    transferStatus: "INITIATED",
    currentSize: 0,
    numberOfLines: 0,
  });
  const written: string[] = [];
  for (let burst = 0; burst < 20; burst++) {
    const lines = Array.from({ length: 50 }, (_, at) => `burst ${burst}, line ${at} ü\r\n`);
    written.push(...lines);
    await uploader.give(utf8(lines.join("")), burst % 2 === 0 ? JETTY_BYTES : TOMCAT_BYTES);
    await reader.status(({ numberOfLines }) => numberOfLines === written.length);
    assertEquals(await reader.lines(written.length - 50, 50), lines);
  }
  await uploader.end();
  const text = utf8(written.join(""));
  assertEquals(await uploader.finish(md5(text)), {
    "@": "UploadAcknowledged",
    size: text.length,
    numberOflines: 1000,
    checksum: md5(text),
  });
  assertEquals(await uploader.closed(), { code: 1000, reason: "Upload completed" });
  const last = await reader.status(completed);
  assertEquals([last.currentSize, last.numberOfLines], [text.length, 1000]);
  assertEquals(await reader.bytes(0, text.length), Buffer.from(text));
  await reader.close(1000, "Client Session closed");
  assertEquals((await reader.closed()).code, 1000);
});

const empty: Record<string, (client: StepClient) => Promise<void>> = {
  "an empty fragment and an empty end": async (client) => {
    await client.peer.send({ opcode: OP.binary, fin: false }, { opcode: OP.cont });
  },
  "one empty frame": (client) => client.peer.send({ opcode: OP.binary }),
  "no frame at all": () => Promise.resolve(),
};

for (const [form, send] of Object.entries(empty)) {
  test(`an empty upload as ${form} completes with 0 bytes and 0 lines`, async () => {
    await using place = await stepServer();
    const { client, id } = await place.upload();
    using uploader = client;
    await send(uploader);
    const { size, numberOflines } = await uploader.finish(md5(new Uint8Array()));
    assertEquals([size, numberOflines], [0, 0]);
    using reader = await place.download(id);
    assertEquals((await reader.status(() => true)).transferStatus, "COMPLETED");
    assertEquals(await reader.bytes(0, 0), Buffer.alloc(0));
    assertEquals(await reader.lines(0, 0), []);
  });
}

test("windows of lines and of bytes are exact", async () => {
  await using place = await stepServer();
  const lines = ["ä\r\n", "\n", "b".repeat(100_000) + "\n", "last"];
  const bytes = utf8(lines.join(""));
  using reader = await place.download(await uploaded(place, bytes));
  assertEquals((await reader.status(() => true)).numberOfLines, 4);
  for (const [start, count] of [[0, 0], [4, 0], [0, 4], [1, 1], [2, 2], [3, 1]]) {
    assertEquals(await reader.lines(start, count), lines.slice(start, start + count));
  }
  const size = bytes.length;
  for (const [start, end] of [[0, size], [0, 0], [size, size], [1, 2], [4096, 90_000]]) {
    assertEquals(await reader.bytes(start, end), Buffer.from(bytes.subarray(start, end)));
  }
});

test("lines and bytes beyond what is there close the connection", async () => {
  await using place = await stepServer();
  const id = await uploaded(place, utf8("one\ntwo\n"));
  using byLines = await place.download(id);
  await byLines.say({ "@": "RequestLines", startingLineIndex: 1, linesCount: 2 });
  assertEquals((await byLines.closed()).code, 1008);
  using byBytes = await place.download(id);
  await byBytes.say({ "@": "RequestChunk", startOffset: 0, endOffset: 9 });
  assertEquals((await byBytes.closed()).code, 1008);
  assertEquals(byBytes.statuses.length, 1);
});

test("without line access there is no count, and asking for lines is an error", async () => {
  await using place = await stepServer();
  const { client, id } = await place.upload({ metadata: BINARY });
  using uploader = client;
  await uploader.give(utf8("one\ntwo\n"));
  await uploader.end();
  assertEquals((await uploader.finish(md5(utf8("one\ntwo\n")))).numberOflines, null);
  using reader = await place.download(id);
  assertEquals((await reader.status(() => true)).numberOfLines, null);
  await reader.say({ "@": "RequestLines", startingLineIndex: 0, linesCount: 1 });
  assertEquals((await reader.closed()).code, 1008);
});

test("an id nobody has is 404 before the upgrade: a Java client hears no close that comes so early", async () => {
  await using place = await stepServer();
  await assertRejects(() => place.download("00000000-0000"), Error, "the answer was 404");
});

test("pages of other origins are refused on the Step port, too, unless they were allowed", async () => {
  await using place = await stepServer({ allowOrigins: ["https://a.example"] });
  for (
    const [origin, status] of [["https://a.example", 101], ["https://b.example", 403]] as const
  ) {
    using answer = await rawUpgrade(`127.0.0.1:${place.port}`, UPLOAD_PATH, { Origin: origin });
    assertEquals(answer.status, status, origin);
  }
});

test("metadata without supportsLineAccess have no lines", async () => {
  await using place = await stepServer();
  const { filename, mimeType } = BINARY;
  const metadata = { filename, mimeType } as typeof BINARY;
  const { client, id } = await place.upload({ metadata });
  using uploader = client;
  await uploader.give(utf8("one\n"));
  await uploader.end();
  assertEquals((await uploader.finish(md5(utf8("one\n")))).numberOflines, null);
  using reader = await place.download(id);
  assertEquals((await reader.status(() => true)).numberOfLines, null);
});

test("an abort ends the message and closes with 1011: FAILED with every byte and line", async () => {
  await using place = await stepServer();
  const { client, id } = await place.upload();
  using uploader = client;
  using reader = await place.download(id);
  await uploader.give(utf8("one\ntwo"));
  await uploader.end();
  const why = "Upload session was closed before input was signalled to be complete";
  await uploader.close(1011, why);
  const { currentSize, numberOfLines } = await reader.status(failed);
  assertEquals([currentSize, numberOfLines], [7, 2]);
  assertEquals(await reader.lines(0, 2), ["one\n", "two"]);
  const { status } = await place.resources.get(id);
  assert(status.failure?.includes(why), status.failure ?? "");
});

test("a connection that drops in the middle of the message is FAILED at once", async () => {
  await using place = await stepServer();
  const { client, id } = await place.upload();
  using reader = await place.download(id);
  await client.give(utf8("one\ntwo\nthr"), 3);
  await reader.status(({ currentSize }) => currentSize === 11);
  client[Symbol.dispose]();
  const { currentSize, numberOfLines } = await reader.status(failed);
  assertEquals([currentSize, numberOfLines], [11, 3]);
  assertEquals(await reader.bytes(0, 11), Buffer.from("one\ntwo\nthr"));
});

test("a wrong checksum is told, and FAILED", async () => {
  await using place = await stepServer();
  const { client, id } = await place.upload();
  using uploader = client;
  await uploader.give(utf8("one\n"));
  await uploader.end();
  await uploader.say({ "@": "FinishUpload", checksum: md5(utf8("two\n")) });
  const { code, reason } = await uploader.closed();
  assertEquals([code, reason.split(":")[0]], [1011, "CHECKSUM_MISMATCH"]);
  assertEquals((await statusOf(place.resources, id, isFailed)).currentSize, 4);
});

test("an upload without the required context is refused in the words that Java knows", async () => {
  await using place = await stepServer({ requireContext: true });
  using client = await StepClient.open(place.port);
  await client.say({ "@": "StartUpload", metadata: LOG });
  const reason = "Missing parameter streamingUploadContextId";
  assertEquals(await client.closed(), { code: 1008, reason });
});

test("a context belongs to the upload, and one that nobody made is refused", async () => {
  await using place = await stepServer();
  await place.resources.createContext("run-17");
  const path = `${UPLOAD}?streamingUploadContextId=`;
  const { client, id } = await place.upload({ path: `${path}run-17` });
  using _ = client;
  assertEquals((await place.resources.get(id)).contextId, "run-17");
  using refused = await StepClient.open(place.port, `${path}unknown`);
  await refused.say({ "@": "StartUpload", metadata: LOG });
  const { code, reason } = await refused.closed();
  assertEquals([code, reason.split(":")[0]], [1008, "CONTEXT_UNKNOWN"]);
});

test("where contexts are made as they are named, any id is taken, as Java does", async () => {
  await using place = await stepServer({ requireContext: true, stepContexts: "make" });
  const { client, id } = await place.upload({ path: `${UPLOAD}?streamingUploadContextId=new` });
  using _ = client;
  assertEquals((await place.resources.get(id)).contextId, "new");
  assertEquals((await place.resources.getContext("new")).id, "new");
});

test("a quota's refusal reaches the uploader in the words that Java knows", async () => {
  const refuse = (when: string) => {
    throw new Error(`no ${when} ${"ü".repeat(100)}`);
  };
  await using place = await stepServer({
    quota: {
      checkRegistration: ({ metadata }) => metadata.filename === "no" ? refuse("room") : undefined,
      checkGrowth: (_subject, size) => size > 10 ? refuse("growth") : undefined,
    },
  });
  using refused = await StepClient.open(place.port);
  await refused.say({ "@": "StartUpload", metadata: { ...LOG, filename: "no" } });
  const atOnce = await refused.closed();
  assertEquals(atOnce.code, 1008);
  assert(atOnce.reason.startsWith("QuotaExceededException: no room ü"), atOnce.reason);
  assert(utf8(atOnce.reason).length <= 123 && !atOnce.reason.includes("\ufffd"));

  const { client, id } = await place.upload();
  using growing = client;
  await growing.give(utf8("one\n"));
  await growing.give(utf8("more than ten bytes\n"));
  const later = await growing.closed();
  assertEquals(later.code, 1008);
  assert(later.reason.startsWith("QuotaExceededException: no growth ü"), later.reason);
  assertEquals((await statusOf(place.resources, id, isFailed)).transferStatus, "FAILED");
});

test("a second binary message, or one before StartUpload, does not fit the state", async () => {
  await using place = await stepServer();
  const { client, id } = await place.upload();
  using uploader = client;
  await uploader.give(utf8("one\n"));
  await uploader.end();
  await uploader.peer.send({ opcode: OP.binary, payload: "two\n" });
  assertEquals((await uploader.closed()).code, 1008);
  assertEquals((await statusOf(place.resources, id, isFailed)).currentSize, 4);
  using early = await StepClient.open(place.port);
  await early.give(utf8("one\n"));
  assertEquals((await early.closed()).code, 1008);
});

test("sessions are pinged with an asterisk, uploads and downloads", async () => {
  await using place = await stepServer({}, { pingEveryMs: 5 });
  const { client, id } = await place.upload();
  using uploader = client;
  using reader = await place.download(id);
  for (let burst = 1; uploader.pings.length < 3 || reader.pings.length < 3; burst++) {
    await uploader.give(utf8("line\n"));
    await reader.status(({ numberOfLines }) => numberOfLines === burst);
  }
  assertEquals(new Set([...uploader.pings, ...reader.pings]), new Set(["*"]));
});

test("a shutdown closes uploads and downloads with 1001 and its reason", async () => {
  await using place = await stepServer();
  const { client, id } = await place.upload();
  using uploader = client;
  using reader = await place.download(id);
  await uploader.give(utf8("one\n"));
  await reader.status(({ currentSize }) => currentSize === 4);
  const closed = place.close();
  for (const peer of [uploader, reader]) {
    assertEquals(await peer.closed(), { code: 1001, reason: "Server shutdown" });
  }
  await closed;
});

test("50 uploads at once arrive unaltered, each with its own reader", async () => {
  await using place = await stepServer();
  const contents = Array.from(
    { length: 50 },
    (_, at) => Buffer.from(`upload ${at}\n`.repeat(20_000)),
  );
  await Promise.all(contents.map(async (bytes) => {
    const { client, id } = await place.upload();
    using uploader = client;
    using reader = await place.download(id);
    for (let at = 0; at < bytes.length; at += 50_000) {
      await uploader.give(bytes.subarray(at, at + 50_000), JETTY_BYTES);
    }
    await uploader.end();
    assertEquals((await uploader.finish(md5(bytes))).size, bytes.length);
    await reader.status(completed);
    const hash = createHash("md5");
    await reader.chunk(0, bytes.length, (piece) => hash.update(piece));
    assertEquals(hash.digest("hex"), md5(bytes));
  }));
});

either("serve --step-base-url is the base of references from the Step port only", async () => {
  await using workspace = await Workspace.open();
  const options = ["--step-port", "0", "--step-base-url", "ws://logs.example.org:81"];
  const serving = await workspace.serve(quickest, [...options, "--log-format", "json"]);
  const { client, uri, id } = await StepClient.upload(await stepPort(serving));
  using _ = client;
  assertEquals(uri, `ws://logs.example.org:81${DOWNLOAD}${id}`);
  const { reference } = await getJson(`${workspace.server}/resources/${id}`);
  assertEquals(reference, `${workspace.server.replace("http", "ws")}${DOWNLOAD}${id}`);
  const alone = await workspace.run(quickest, ["serve", "--step-base-url", "ws://h"]);
  assertEquals(alone.code, 2);
});

test("128 MiB in one message come back as one, and the server holds only part of them", async () => {
  await transferOneMessage(own, 128 * MiB);
});

test("what a Step client pushes is followed natively while it is pushed", async () => {
  await using place = await stepServer();
  const { client, id } = await place.upload();
  using uploader = client;
  const followed = follow(id, { server: place.url }).getReader();
  const seen: Uint8Array[] = [];
  for (const text of ["one\n", "two\n", "three"]) {
    await uploader.give(utf8(text));
    const { value } = await within(`the bytes of ${text}`, followed.read());
    seen.push(value!);
  }
  await uploader.end();
  await uploader.finish(md5(utf8("one\ntwo\nthree")));
  assertEquals(await within("the end", followed.read()), { done: true, value: undefined });
  assertEquals(Buffer.concat(seen).toString(), "one\ntwo\nthree");
});

test("what is pushed natively is followed by a Step client while it is pushed", async () => {
  await using place = await stepServer();
  const upload = await push(place.url, LOG);
  using reader = await place.download(upload.reference.split("/").at(-1)!);
  const writer = upload.writable.getWriter();
  let size = 0;
  for (const text of ["one\n", "two\n", "three"]) {
    await writer.write(utf8(text));
    await reader.status(({ currentSize }) => currentSize === size + text.length);
    assertEquals((await reader.bytes(size, size + text.length)).toString(), text);
    size += text.length;
  }
  await writer.close();
  assertEquals((await reader.status(completed)).numberOfLines, 3);
  assertEquals(await reader.lines(2, 1), ["three"]);
});
