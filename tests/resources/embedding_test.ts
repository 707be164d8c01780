/** Resources in the hands of the process that has the server: uploads and reads without a connection. */
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { assert, assertEquals, assertLess } from "@std/assert";
import {
  MemoryCatalog,
  MemoryLogs,
  MemoryRecords,
  MemoryStorage,
  type QuotaSubject,
  type ResourceEvent,
  type ResourceMetadata,
} from "../../mod.ts";
import type { ResourcesOptions } from "../../src/resources.ts";
import { concat, utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes, eventually, within } from "../helpers/frames/connection.ts";
import { lending, Lent } from "../helpers/lent.ts";
import { GatedStorage, memoryResources, statusOf } from "../helpers/server.ts";
import { changed } from "../helpers/storage.ts";

const LOG: ResourceMetadata = {
  filename: "a.log",
  mimeType: "text/plain",
  supportsLineAccess: true,
};
const MiB = 1024 * 1024;

/** Resources in memory, closed at the end. */
async function embedded(options: Partial<ResourcesOptions> = {}) {
  const resources = memoryResources(options);
  await resources.recover();
  return { resources, [Symbol.asyncDispose]: () => resources.close() };
}

const bytesOf = (stream: ReadableStream<Uint8Array>) =>
  within("the end of a stream", new Response(stream).bytes());

test("what a process appends is read by it while it grows, byte for byte, and completed with its digest", async () => {
  await using host = await embedded();
  const { resources } = host;
  const upload = await resources.startUpload(LOG, { digest: "sha256" });
  const read = bytesOf(resources.read(upload.id));
  const chunks = Array.from({ length: 40 }, (_, at) => new Uint8Array(randomBytes(at * 5001)));
  const expected = concat(chunks);
  for (const chunk of chunks) {
    const lent = new Lent(chunk);
    const appended = upload.append(lent.bytes);
    lent.takeBack();
    await appended;
  }
  const size = expected.length;
  const { digest, ...result } = await upload.complete({ size });
  assertEquals([result.size, digest.algorithm], [size, "sha256"]);
  assertBytes(await read, expected);
  assertEquals(
    await bytesOf(resources.read(upload.id, { from: 7, to: 70_000 })),
    expected.slice(7, 70_000),
  );
  assertEquals(upload.status.transferStatus, "COMPLETED");
  await assertFails("WRONG_STATE", () => upload.append(utf8("more")));
  await assertFails("WRONG_STATE", () => upload.complete());
});

test("what was appended may be changed at once, however long storage looks at it", async () => {
  const storage = changed(new MemoryStorage(), {
    writer: (log) => ({
      async append(...what) {
        for (let turns = 0; turns < 3; turns++) await turn();
        await log.append(...what);
      },
    }),
  });
  await using host = await embedded({ storage });
  const { resources } = host;
  await Promise.all([1, 2, 3].map(async () => {
    const chunks = [10, 5000, 70_000, 1, ...Array(10).fill(300_000)].map((length) => {
      return new Uint8Array(randomBytes(length));
    });
    const upload = await resources.startUpload(LOG);
    await lending(chunks).pipeTo(upload.writable);
    assertBytes(await bytesOf(resources.read(upload.id)), concat(chunks));
  }));
});

test("an upload in process fails with its bytes and its reason; its readers end with what is there", async () => {
  await using host = await embedded();
  const { resources } = host;
  const upload = await resources.startUpload(LOG);
  const read = bytesOf(resources.read(upload.id));
  await upload.append(utf8("one\ntwo"));
  await upload.fail("the job was stopped");
  const { transferStatus, failure, numberOfLines } = (await resources.get(upload.id)).status;
  assertEquals([transferStatus, failure], ["FAILED", "ABORTED: the job was stopped"]);
  assertEquals(numberOfLines, 2);
  assertEquals(await read, utf8("one\ntwo"));
  await assertFails("WRONG_STATE", () => upload.append(utf8("more")));
});

test("a stream is piped into an upload, and its end and its fault are those of the upload", async () => {
  await using host = await embedded();
  const { resources } = host;
  const upload = await resources.startUpload(LOG);
  await new Blob(["one\n"]).stream().pipeTo(upload.writable);
  assertEquals(upload.status.transferStatus, "COMPLETED");
  const failing = await resources.startUpload(LOG);
  const source = new ReadableStream({ pull: () => Promise.reject(new Error("no disk")) });
  await source.pipeTo(failing.writable).catch(() => {});
  assertEquals(failing.status.failure, "ABORTED: no disk");
  await assertFails(
    "BAD_REQUEST",
    async () => (await resources.startUpload(LOG)).append("text" as unknown as Uint8Array),
  );
});

test("a wrong checksum, a wrong size and a refused growth fail the upload", async () => {
  await using host = await embedded({ maxResourceBytes: 10 });
  const { resources } = host;
  for (const end of [{ checksum: "00" }, { size: 1 }]) {
    const upload = await resources.startUpload(LOG);
    await upload.append(utf8("one\n"));
    await assertFails("CHECKSUM_MISMATCH", () => upload.complete(end));
    assertEquals(upload.status.transferStatus, "FAILED");
  }
  const upload = await resources.startUpload(LOG);
  await upload.append(utf8("more than ten bytes"));
  await eventually("its end", () => upload.status.transferStatus === "FAILED");
  await assertFails("QUOTA_EXCEEDED", () => upload.append(utf8("more")));
  await assertFails("QUOTA_EXCEEDED", () => upload.complete());
});

test("who appends faster than is written waits, and no wait outlives the upload", async () => {
  const storage = new GatedStorage();
  await using host = await embedded({ storage });
  const upload = await host.resources.startUpload({ ...LOG, supportsLineAccess: false });
  storage.appending.shut();
  let appended = 0;
  const appending = (async () => {
    for (; appended < 64; appended++) await upload.append(new Uint8Array(MiB / 4));
  })();
  await eventually("the gate", () => storage.appending.waiting > 0);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertLess(appended, 8);
  storage.appending.open();
  await within("the rest", appending);
  assertEquals((await upload.complete()).size, 16 * MiB);
});

test("an upload in process ends with the server, FAILED with everything it has", async () => {
  const [storage, catalog] = [
    new MemoryStorage(new MemoryLogs()),
    new MemoryCatalog(new MemoryRecords()),
  ];
  const host = memoryResources({ storage, catalog, resumeWindowMs: 60_000 });
  await host.recover();
  const upload = await host.startUpload(LOG);
  await upload.append(utf8("one\n"));
  await host.close();
  const { transferStatus, size, failure } = (await catalog.get(upload.id))!;
  assertEquals([transferStatus, size], ["FAILED", 4]);
  assertEquals(failure, "SHUTDOWN: the server was shut down");
  await assertFails("WRONG_STATE", () => upload.append(utf8("more")));
});

test("lines, long ones too, and the positions of their breaks", async () => {
  await using host = await embedded();
  const { resources } = host;
  const upload = await resources.startUpload(LOG);
  const long = "x".repeat(600_000);
  const lines = ["one\n", "two\r\n", `${long}\n`, "\n", "ü\n"];
  await upload.append(utf8(lines.join("") + "half"));
  await statusOf(resources, upload.id, ({ numberOfLines }) => numberOfLines === 5);
  const all = () => Array.fromAsync(resources.lines(upload.id, 0, 100));
  assertEquals(await all(), lines);
  const breaks = [3, 8, 9 + 600_000, 9 + 600_001, 9 + 600_004];
  assertEquals(await resources.lineBreaks(upload.id, 0, 100), breaks);
  await upload.complete();
  assertEquals(await all(), [...lines, "half"]);
  assertEquals(await resources.lineBreaks(upload.id, 0, 100), breaks);
  assertEquals(await resources.lineBreaks(upload.id, 1, 2), breaks.slice(1, 3));
  assertEquals(await resources.lineBreaks(upload.id, 5, 1), []);
  assertEquals(await resources.lineBreaks(upload.id, 6, 1), []);
  assertEquals(await Array.fromAsync(resources.lines(upload.id, 1, 1)), ["two\r\n"]);
  await assertFails("LINES_NOT_AVAILABLE", () => resources.lineBreaks(upload.id, 7, 1));
  await assertFails("LINES_NOT_AVAILABLE", () => Array.fromAsync(resources.lines(upload.id, 7, 1)));
  for (const bad of [-1, 0.5, NaN]) {
    await assertFails("BAD_REQUEST", () => resources.lineBreaks(upload.id, bad, 1));
    await assertFails("BAD_REQUEST", () => Array.fromAsync(resources.lines(upload.id, 0, bad)));
    await assertFails(
      "BAD_REQUEST",
      async () => await bytesOf(resources.read(upload.id, { from: bad })),
    );
  }
  await assertFails("BAD_REQUEST", () => resources.lineBreaks(upload.id, 0, 10_001));
  const whole = await resources.startUpload(LOG);
  await whole.append(utf8("a\n"));
  await whole.complete();
  assertEquals(await resources.lineBreaks(whole.id, 0, 9), [1]);
});

test("a read fails where there is nothing to read, and lets go of the resource when it is cancelled", async () => {
  await using host = await embedded();
  const { resources } = host;
  await assertFails("NOT_FOUND", () => bytesOf(resources.read(crypto.randomUUID())));
  const upload = await resources.startUpload(LOG);
  const waiting = resources.read(upload.id).getReader();
  const first = waiting.read();
  await within("its end", waiting.cancel());
  assertEquals((await first).done, true);
  await upload.append(utf8("one"));
  const beyond = bytesOf(resources.read(upload.id, { from: 9 }));
  const gone = resources.read(upload.id).getReader();
  await gone.read();
  await upload.complete();
  await assertFails("RANGE_NOT_AVAILABLE", () => beyond);
  assertEquals((await gone.read()).done, true);
});

test("what a read hands over is its reader's own", async () => {
  await using host = await embedded();
  const { resources } = host;
  const upload = await resources.startUpload(LOG);
  const [spoiler, other] = [0, 1].map(() => resources.read(upload.id).getReader());
  const reads = [spoiler.read(), other.read()];
  await upload.append(utf8("one\n"));
  (await reads[0]).value!.fill(0);
  assertEquals((await reads[1]).value, utf8("one\n"));
  assertEquals(await bytesOf(resources.read(upload.id, { to: 4 })), utf8("one\n"));
  await upload.complete();
});

test("attributes of a context reach quota policies and listeners", async () => {
  const asked: QuotaSubject[] = [];
  const heard: ResourceEvent[] = [];
  const check = (subject: QuotaSubject) => void asked.push(subject);
  await using host = await embedded({ quota: { checkRegistration: check, checkGrowth: check } });
  const { resources } = host;
  const attributes = { project: "β", user: "1" };
  assertEquals((await resources.createContext("run", attributes)).attributes, attributes);
  resources.listen((event) => heard.push(event));
  const upload = await resources.startUpload(LOG, { contextId: "run" });
  await upload.append(utf8("one\n"));
  await upload.complete();
  await resources.delete(upload.id);
  await resources.closeContext("run");
  await assertFails("CONTEXT_CLOSED", () => resources.startUpload(LOG, { contextId: "run" }));
  for (const subject of asked) assertEquals(subject.attributes, attributes);
  assertEquals(
    new Set(heard.map(({ type }) => type)),
    new Set(["created", "status", "deleted", "refused"]),
  );
  for (const event of heard) assertEquals(event.attributes, attributes, event.type);
  const plain = await resources.startUpload(LOG);
  assertEquals(heard.find(({ id }) => id === plain.id)?.attributes, {});
});

test("attributes are known after a restart, and on another node; events keep their order", async () => {
  const [logs, records] = [new MemoryLogs(), new MemoryRecords()];
  const node = (nodeId: string) =>
    memoryResources({
      storage: new MemoryStorage(logs),
      catalog: new MemoryCatalog(records),
      nodeId,
      leaseMs: 60_000,
    });
  const [here, there] = [node("a"), node("b")];
  await Promise.all([here.recover(), there.recover()]);
  const heard: ResourceEvent[] = [];
  there.listen((event) => heard.push(event));
  await here.createContext("run", { project: "β" });
  const upload = await here.startUpload(LOG, { contextId: "run" });
  await upload.append(utf8("one\n"));
  await upload.complete();
  await eventually(
    "the news",
    () =>
      heard.some((event) => event.type === "status" && event.status.transferStatus === "COMPLETED"),
  );
  assertEquals(heard[0].type, "created");
  for (const event of heard) assertEquals(event.attributes, { project: "β" });
  await Promise.all([here.close(), there.close()]);
});

test("attributes that are no texts, or too many, are refused", async () => {
  await using host = await embedded();
  const { resources } = host;
  await assertFails(
    "BAD_METADATA",
    () => resources.createContext("run", { n: 1 as unknown as string }),
  );
  const much = { text: "x".repeat(16 * 1024) };
  await assertFails("BAD_METADATA", () => resources.createContext("run", much));
  await assertFails("CONTEXT_UNKNOWN", () => resources.getContext("run"));
});

test("one resource is listened to by its id: its refusal, every size, its end", async () => {
  let isFull = true;
  const checkRegistration = () => {
    if (isFull) throw new Error("no room");
  };
  await using host = await embedded({ quota: { checkRegistration } });
  const { resources } = host;
  const id = crypto.randomUUID();
  const heard: ResourceEvent[] = [];
  const stop = resources.listen((event) => heard.push(event), { id });
  await assertFails("QUOTA_EXCEEDED", () => resources.startUpload(LOG, { id }));
  isFull = false;
  const [upload, other] = [
    await resources.startUpload(LOG, { id }),
    await resources.startUpload(LOG),
  ];
  for (const each of [upload, other]) {
    await each.append(utf8("one\n"));
    await statusOf(resources, each.id, ({ currentSize }) => currentSize === 4);
    await each.complete();
  }
  stop();
  await resources.delete(id);
  const told = heard.map((event) =>
    event.type === "status"
      ? `${event.status.transferStatus} ${event.status.currentSize}`
      : event.type
  );
  assertEquals(told, ["refused", "created", "IN_PROGRESS 4", "COMPLETED 4"]);
  assert(heard.every((event) => event.id === id));
});
