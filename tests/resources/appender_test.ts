/** The writing side of a resource: when bytes become readable, and how uploads end. */
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertLessOrEqual, assertMatch } from "@std/assert";
import fc from "fast-check";
import type { Catalog, ResourceChange } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { createDigest } from "../../src/digest.ts";
import { isFinal, LIMITS, type ResourceStatus, StreamError } from "../../src/protocol.ts";
import type { ResourcesOptions } from "../../src/resources.ts";
import type { Appender } from "../../src/resources/writing/appender.ts";
import type { Resource } from "../../src/resources/reading/resource.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { arbitraryBytes, concat, lineBreaksOf, linesOf, utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { checksumOf, readAll, register, statusWhere, world } from "../helpers/resources.ts";
import { changed, override, strict } from "../helpers/storage.ts";

/** Longer than any test. */
const NEVER_MS = 3_600_000;

/** Every status of a resource from now on. */
function record(resource: Resource): ResourceStatus[] {
  const statuses: ResourceStatus[] = [];
  resource.watch((status) => statuses.push(status));
  return statuses;
}

const sizes = (statuses: ResourceStatus[]) => statuses.map(({ currentSize }) => currentSize);

const ofSize = (size: number) => ({ currentSize }: ResourceStatus) => currentSize === size;

const isOver = ({ transferStatus }: ResourceStatus) => isFinal(transferStatus);

/** What its owner was told of a failure. */
function failureOf(appender: Appender): Promise<StreamError> {
  return new Promise((resolve) => appender.listen({ acknowledged: () => {}, failed: resolve }));
}

const full = () => new StreamError("STORAGE_FAILED", "the disk is full");

test("the first bytes are readable at once, however long the interval is", async () => {
  await using here = world({ checkpointIntervalMs: NEVER_MS });
  const upload = await register(here);
  upload.append(utf8("first\n"));
  await turn();
  assertEquals(upload.resource.status.currentSize, 6);
  assertEquals(await readAll(upload.resource), utf8("first\n"));
});

test("the first bytes after a silence are readable at once", async () => {
  const checkpointIntervalMs = 30;
  await using here = world({ checkpointIntervalMs });
  const upload = await register(here);
  for (let burst = 1; burst <= 3; burst++) {
    upload.append(utf8("burst\n"));
    await turn();
    assertEquals(upload.resource.status.currentSize, 6 * burst);
    await delay(2 * checkpointIntervalMs); // The silence.
  }
});

test("the first four bursts after a silence are readable at once, the fifth waits", async () => {
  await using here = world({ checkpointIntervalMs: NEVER_MS });
  const upload = await register(here);
  for (const text of ["1", "2", "3", "4", "5"]) {
    upload.append(utf8(text));
    await turn();
  }
  assertEquals(upload.received, 5);
  assertEquals(upload.resource.status.currentSize, 4);
});

test("under load there is one checkpoint per interval, after the first four", async () => {
  const checkpointIntervalMs = 25;
  await using here = world({ checkpointIntervalMs });
  const upload = await register(here);
  const statuses = record(upload.resource);
  const startMs = performance.now();
  for (let sent = 0; sent < 200; sent++) {
    upload.append(utf8("line\n"));
    await delay(1); // The load.
  }
  const elapsedMs = performance.now() - startMs;
  assertLessOrEqual(statuses.length, elapsedMs / checkpointIntervalMs + 4);
  assertGreater(statuses.length, 1);
  await statusWhere(upload.resource, ofSize(1000));
});

test("the last burst before a silence is readable without a further write", async () => {
  await using here = world({ checkpointIntervalMs: 20 });
  const upload = await register(here);
  const statuses = record(upload.resource);
  upload.append(utf8("first\n"));
  await turn();
  upload.append(utf8("last"));
  await statusWhere(upload.resource, ofSize(10));
  assertEquals(sizes(statuses), [6, 10]);
  assertEquals(await readAll(upload.resource), utf8("first\nlast"));
});

test("a burst that was written before its checkpoint is readable without a further write", async () => {
  // Long enough for a machine that is busy elsewhere between two bursts.
  await using here = world({ checkpointIntervalMs: 250 });
  const upload = await register(here);
  const told: string[] = [];
  upload.listen({
    acknowledged: (byteOffset) => told.push(`written ${byteOffset}`),
    failed: () => {},
  });
  upload.resource.watch(({ currentSize }) => told.push(`readable ${currentSize}`));
  for (const text of ["1", "2", "3", "4"]) {
    upload.append(utf8(text));
    await turn();
  }
  assertEquals(told.splice(0, 6).at(-1), "written 3");
  upload.append(new Uint8Array(upload.writeAfterBytes));
  await statusWhere(upload.resource, ofSize(65540));
  assertEquals(told, ["readable 4", "written 4", "written 65540", "readable 65540"]);
});

test("what waits for the interval is written, but not readable, when it is enough", async () => {
  await using here = world({ checkpointIntervalMs: NEVER_MS });
  const upload = await register(here);
  const acknowledged: number[] = [];
  upload.listen({
    acknowledged: (byteOffset) => acknowledged.push(byteOffset),
    failed: () => {},
  });
  upload.writeAfterBytes = 10;
  for (const text of ["1", "2", "3", "4", "123456789", "0", "12345678901"]) {
    upload.append(utf8(text));
    await turn();
  }
  assertEquals(acknowledged, [1, 2, 3, 4, 14, 25]);
  assertEquals(upload.received, 25);
  assertEquals(upload.resource.status.currentSize, 4);
  await assertFails("RANGE_NOT_AVAILABLE", () => upload.resource.read(4, 1));
});

test("with durability `disk` a byte is acknowledged, and shown, after it was flushed", async () => {
  const memory = new MemoryStorage();
  let flushed = 0;
  const storage = changed(memory, {
    writer: (log) => ({
      async flushData() {
        const { size } = log;
        await delay(2); // That long the disk takes.
        flushed = size;
      },
    }),
  });
  await using here = world({ storage, durability: "disk", checkpointIntervalMs: 0 });
  const upload = await register(here);
  const acknowledged: number[] = [];
  upload.listen({
    acknowledged(byteOffset) {
      assertLessOrEqual(byteOffset, flushed);
      acknowledged.push(byteOffset);
    },
    failed: () => {},
  });
  upload.resource.watch(({ currentSize, durableSize }) => {
    assertLessOrEqual(currentSize, flushed);
    assertEquals(durableSize, currentSize);
  });
  for (let sent = 0; sent < 30; sent++) {
    upload.append(utf8("line\n"));
    await turn();
  }
  await upload.complete(await checksumOf(utf8("line\n".repeat(30))));
  assertEquals(acknowledged.at(-1), 150);
  assertLessOrEqual(acknowledged.length, 30);
});

test("an upload tells its states, sizes and lines in order", async () => {
  await using here = world({ checkpointIntervalMs: 0 });
  const upload = await register(here);
  const { resource } = upload;
  const seen = [resource.status];
  resource.watch((status) => seen.push(status));
  for (const text of ["one\ntw", "o", "\nthree"]) {
    upload.append(utf8(text));
    await statusWhere(resource, ofSize(upload.received));
  }
  await upload.complete(await checksumOf(utf8("one\ntwo\nthree")), 13);

  const { life } = upload.resource.status;
  const common = { epoch: 1, life, failure: null };
  const running = { ...common, transferStatus: "IN_PROGRESS", durableSize: 0 } as const;
  assertEquals(seen, [
    { ...running, transferStatus: "INITIATED", currentSize: 0, numberOfLines: 0, sequence: 0 },
    { ...running, currentSize: 6, numberOfLines: 1, sequence: 1 },
    { ...running, currentSize: 7, numberOfLines: 1, sequence: 2 },
    { ...running, currentSize: 13, numberOfLines: 2, sequence: 3 },
    {
      ...common,
      transferStatus: "COMPLETED",
      currentSize: 13,
      numberOfLines: 3,
      durableSize: 13,
      sequence: 4,
    },
  ]);
});

test("without line access no status has a number of lines", async () => {
  await using here = world();
  const metadata = { filename: "a", mimeType: "image/png", supportsLineAccess: false };
  const upload = await register(here, { metadata });
  const statuses = record(upload.resource);
  upload.append(utf8("a\nb\n"));
  const { numberOfLines } = await upload.complete(await checksumOf(utf8("a\nb\n")));
  assertEquals(statuses.map((status) => status.numberOfLines), [null, null]);
  assertEquals(numberOfLines, null);
  await assertFails("NO_LINE_ACCESS", () => upload.resource.lineStart(0));
});

/** What somebody does with an upload and its resource. */
type Step =
  | { does: "append"; bytes: Uint8Array }
  | { does: "wait"; ms: number }
  | { does: "read"; from: number; to: number };

const share = fc.double({ min: 0, max: 1, noNaN: true });
const arbitrarySteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ does: fc.constant("append" as const), bytes: arbitraryBytes(40) }),
    fc.record({ does: fc.constant("wait" as const), ms: fc.nat(3) }),
    fc.record({ does: fc.constant("read" as const), from: share, to: share }),
  ),
  { maxLength: 25, size: "max" },
);

/** Holds everything a status says against what was appended. */
class Model {
  appended: Uint8Array = new Uint8Array(0);
  readonly #resource: Resource;
  readonly #pending: Promise<void>[] = [];
  #last: ResourceStatus;

  constructor(resource: Resource) {
    this.#resource = resource;
    this.#last = resource.status;
  }

  /** Looks at a new status, and reads all it promises before anything else can happen. */
  see(status: ResourceStatus): void {
    assertEquals(status.sequence, this.#last.sequence + 1);
    assertLessOrEqual(this.#last.currentSize, status.currentSize);
    assertLessOrEqual(status.durableSize, status.currentSize);
    this.#last = status;
    this.#pending.push(this.#check(status));
  }

  async #check({ currentSize, numberOfLines, transferStatus }: ResourceStatus): Promise<void> {
    const visible = this.appended.slice(0, currentSize);
    assertEquals(visible.length, currentSize);
    const breaks = lineBreaksOf(visible);
    assertEquals(numberOfLines, isFinal(transferStatus) ? linesOf(visible) : breaks.length);
    const reading = [
      this.read(0, currentSize),
      ...breaks.map(async (at, index) =>
        assertEquals(await this.#resource.lineStart(index + 1), at + 1)
      ),
    ];
    await Promise.all(reading);
  }

  /** Reads a range that is there. */
  async read(from: number, to: number): Promise<void> {
    const expected = this.appended.slice(from, to);
    for (let at = from; at < to;) {
      const piece = await this.#resource.read(at, to - at);
      assertEquals(piece, expected.slice(at - from, at - from + piece.length));
      at += piece.length;
    }
  }

  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }
}

async function play(upload: Appender, model: Model, step: Step): Promise<void> {
  const { currentSize, numberOfLines } = upload.resource.status;
  if (step.does === "append") {
    model.appended = concat([model.appended, step.bytes]);
    upload.append(step.bytes);
  } else if (step.does === "wait") await (step.ms === 0 ? turn() : delay(step.ms));
  else {
    const [from, to] = [step.from, step.to].map((part) => Math.floor(part * currentSize)).sort(
      (a, b) => a - b,
    );
    const past = assertFails(
      "RANGE_NOT_AVAILABLE",
      () => upload.resource.read(from, currentSize + 1 - from),
    );
    const pastLines = assertFails(
      "LINES_NOT_AVAILABLE",
      () => upload.resource.lineStart(numberOfLines! + 1),
    );
    await Promise.all([model.read(from, to), past, pastLines]);
  }
}

test("whatever happens in whatever order, a status never shows what cannot be read", async () => {
  const ends = ["complete", "complete with another digest", "fail"] as const;
  await fc.assert(
    fc.asyncProperty(
      arbitrarySteps,
      fc.constantFrom(...ends),
      fc.constantFrom(0, 2, 10),
      fc.boolean(),
      async (steps, end, checkpointIntervalMs, followed) => {
        await using here = world({ checkpointIntervalMs, storage: strict(new MemoryStorage()) });
        const upload = await register(here);
        const model = new Model(upload.resource);
        // With somebody who watches, the newest bytes come from memory.
        if (followed) upload.resource.watch(() => {});
        here.resources.listen((event) => event.type === "status" && model.see(event.status));
        await using opened = await here.resources.open(upload.resource.id);
        const { resource } = opened;
        upload.writeAfterBytes = 60;
        for (const step of steps) await play(upload, model, step);

        if (end === "fail") await upload.fail(new StreamError("INTERRUPTED", "gone"));
        else if (end === "complete") await upload.complete(await checksumOf(model.appended));
        else await assertFails("CHECKSUM_MISMATCH", () => upload.complete("00"));
        assertEquals(resource.status.transferStatus, end === "complete" ? "COMPLETED" : "FAILED");
        assertEquals(await readAll(resource), model.appended);
        await model.settled();
        await opened.release();
      },
    ),
    { numRuns: 40 },
  );
});

for (const algorithm of ["xxh128", "sha256", "md5"] as const) {
  test(`an upload completes with its ${algorithm}, in any case of letters`, async () => {
    await using here = world();
    const upload = await register(here, { digests: [algorithm] });
    assertEquals(upload.digestAlgorithm, algorithm);
    upload.append(utf8("one\n"));
    upload.append(utf8("two"));
    const digest = await createDigest(algorithm);
    digest.update(utf8("one\ntwo"));
    const value = digest.value();
    assertEquals(
      await upload.complete(value.toUpperCase(), 7),
      { size: 7, numberOfLines: 2, digest: { algorithm, value } },
    );
    const { transferStatus, digest: kept, digestState } = await here.resources.get(
      upload.resource.id,
    );
    assertEquals([transferStatus, kept, digestState], ["COMPLETED", { algorithm, value }, null]);
    assertEquals(here.resources.uploads, 0);
  });
}

test("an empty upload completes with no bytes and no lines", async () => {
  await using here = world();
  const upload = await register(here);
  const statuses = record(upload.resource);
  upload.append(new Uint8Array(0));
  const { size, numberOfLines } = await upload.complete(await checksumOf(utf8("")), 0);
  assertEquals([size, numberOfLines], [0, 0]);
  assertEquals(statuses.map(({ transferStatus }) => transferStatus), ["COMPLETED"]);
});

for (
  const [what, checksum, size] of [
    ["another digest", "00".repeat(16), 7],
    ["no digest", "", 7],
    ["another size", "right", 8],
  ] as const
) {
  test(`completing with ${what} fails the upload and keeps its bytes`, async () => {
    await using here = world();
    const upload = await register(here);
    upload.append(utf8("one\ntwo"));
    const given = checksum === "right" ? await checksumOf(utf8("one\ntwo")) : checksum;
    const { message } = await assertFails(
      "CHECKSUM_MISMATCH",
      () => upload.complete(given, size),
    );
    const { status, digest } = await here.resources.get(upload.resource.id);
    assertEquals(status.transferStatus, "FAILED");
    assertEquals(status.failure, `CHECKSUM_MISMATCH: ${message}`);
    assertEquals([status.currentSize, status.numberOfLines, digest], [7, 2, null]);
    assertEquals(await readAll(upload.resource), utf8("one\ntwo"));
  });
}

test("COMPLETED is told after bytes and record were brought to disk, in this order", async () => {
  const calls: string[] = [];
  const catalog = new MemoryCatalog();
  await using here = world({
    storage: changed(new MemoryStorage(), {
      writer: (log) => ({
        async flush() {
          await turn();
          calls.push("bytes on disk");
          await log.flush?.();
        },
      }),
    }),
    catalog: override<Catalog>(catalog, {
      update(id: string, revision: number, change: ResourceChange) {
        if (change.transferStatus === "COMPLETED") calls.push("record written");
        return catalog.update(id, revision, change);
      },
      async sync() {
        await turn();
        calls.push("record on disk");
      },
    }),
  });
  const upload = await register(here);
  upload.resource.watch(({ transferStatus }) => calls.push(transferStatus));
  upload.append(utf8("a"));
  await upload.complete(await checksumOf(utf8("a")));
  const order = ["IN_PROGRESS", "bytes on disk", "record written", "record on disk", "COMPLETED"];
  assertEquals(calls, order);
});

test("a failed upload keeps and counts everything that was received", async () => {
  await using here = world({ checkpointIntervalMs: NEVER_MS });
  const upload = await register(here);
  for (const text of ["one\n", "two\n", "thr", "ee"]) upload.append(utf8(text));
  await upload.fail(new StreamError("INTERRUPTED", "the connection broke"));
  const { status, ...kept } = await here.resources.get(upload.resource.id);
  assertEquals(status, upload.resource.status);
  const { currentSize, numberOfLines, durableSize } = status;
  assertEquals([currentSize, numberOfLines, durableSize], [13, 3, 13]);
  const { transferStatus, size, lines, failure, digestState } = kept;
  assertEquals([transferStatus, size, lines, digestState], ["FAILED", 13, 3, null]);
  assertEquals(failure, "INTERRUPTED: the connection broke");
  assertEquals(await readAll(upload.resource), utf8("one\ntwo\nthree"));
});

test("an upload ends once: what comes later changes nothing", async () => {
  await using here = world();
  const upload = await register(here);
  const statuses = record(upload.resource);
  upload.append(utf8("a"));
  const completing = upload.complete(await checksumOf(utf8("a")));
  upload.append(utf8("too late"));
  await upload.fail(new StreamError("INTERRUPTED", "too late"));
  await completing;
  await upload.fail(new StreamError("INTERRUPTED", "too late"));
  upload.append(utf8("too late"));
  await turn();
  assertEquals(statuses.map((status) => status.transferStatus), ["IN_PROGRESS", "COMPLETED"]);
  assertEquals(await readAll(upload.resource), utf8("a"));
});

test("completing an upload that failed says why it failed", async () => {
  await using here = world();
  const upload = await register(here);
  await upload.fail(new StreamError("PEER_SILENT", "nothing was heard"));
  await assertFails("PEER_SILENT", async () => upload.complete(await checksumOf(utf8(""))));
});

/** A storage that refuses one append, the one with this number, and takes all others. */
function refusing(refused: number) {
  const memory = new MemoryStorage();
  let appends = 0;
  return changed(memory, {
    writer: (log) => ({
      async append(byteOffset, parts, statusOf) {
        await turn();
        if (++appends === refused) throw full();
        await log.append(byteOffset, parts, statusOf);
      },
    }),
  });
}

test("a refused append fails the upload with exactly the bytes before it", async () => {
  await using here = world({ storage: refusing(2), checkpointIntervalMs: 0 });
  const upload = await register(here);
  const told = failureOf(upload);
  upload.append(utf8("one\ntw"));
  await statusWhere(upload.resource, ofSize(6));
  upload.append(utf8("lost"));
  upload.append(utf8("lost, too"));
  await turn();
  upload.append(utf8("not in the place of what was lost"));
  const status = await statusWhere(upload.resource, isOver);
  assertEquals((await told).code, "STORAGE_FAILED");
  assertEquals(status.transferStatus, "FAILED");
  assertEquals(status.failure, "STORAGE_FAILED: the disk is full");
  assertEquals([status.currentSize, status.numberOfLines], [6, 2]);
  upload.append(utf8("after the end"));
  await turn();
  assertEquals(await readAll(upload.resource), utf8("one\ntw"));
  const log = await here.storage.openReader(upload.resource.id);
  await assertFails("STORAGE_FAILED", () => log.read(0, 7));
});

test("completing while an append is refused tells the refusal, not its consequence", async () => {
  await using here = world({ storage: refusing(1) });
  const upload = await register(here);
  const checksum = await checksumOf(utf8("lost"));
  upload.append(utf8("lost"));
  await assertFails("STORAGE_FAILED", () => upload.complete(checksum, 4));
  assertEquals(upload.resource.status.failure, "STORAGE_FAILED: the disk is full");
});

test("a digest of the bytes before a refused append does not complete the upload", async () => {
  await using here = world({ storage: refusing(2), checkpointIntervalMs: 0 });
  const upload = await register(here);
  upload.append(utf8("kept"));
  await statusWhere(upload.resource, ofSize(4));
  const checksum = await checksumOf(utf8("kept"));
  await turn();
  upload.append(utf8("lost"));
  await assertFails("STORAGE_FAILED", () => upload.complete(checksum));
  assertEquals(upload.resource.status.transferStatus, "FAILED");
});

test("an upload whose bytes cannot be brought to disk fails, with all that is readable", async () => {
  const storage = changed(new MemoryStorage(), {
    writer: () => ({ flush: () => Promise.reject(full()) }),
  });
  await using here = world({ storage });
  const upload = await register(here);
  const statuses = record(upload.resource);
  upload.append(utf8("one\ntwo"));
  const checksum = await checksumOf(utf8("one\ntwo"));
  await assertFails("STORAGE_FAILED", () => upload.complete(checksum, 7));
  assertEquals(statuses.map(({ transferStatus }) => transferStatus), ["IN_PROGRESS", "FAILED"]);
  const { currentSize, numberOfLines, durableSize } = statuses[1];
  assertEquals([currentSize, numberOfLines, durableSize], [7, 2, 0]);
  assertEquals(await upload.resource.lineStart(1), 4);
  assertEquals(await readAll(upload.resource), utf8("one\ntwo"));
});

const unflushed: [string, (upload: Appender, checksum: string) => Promise<unknown>, RegExp][] = [
  [
    "completes",
    (upload, checksum) => assertFails("STORAGE_FAILED", () => upload.complete(checksum)),
    /^STORAGE_FAILED: the disk is full$/,
  ],
  [
    "fails for another reason",
    (upload) => upload.fail(new StreamError("INTERRUPTED", "the connection broke")),
    /^INTERRUPTED: the connection broke$/,
  ],
];
for (const [what, end, failure] of unflushed) {
  test(`an upload that ${what} and cannot be brought to disk never claims it is, not even later`, async () => {
    const storage = changed(new MemoryStorage(), {
      writer: () => ({ flush: () => Promise.reject(full()) }),
    });
    await using here = world({ storage });
    const upload = await register(here);
    const { id } = upload.resource;
    upload.append(utf8("one\ntwo"));
    await end(upload, await checksumOf(utf8("one\ntwo")));
    assertEquals(upload.resource.status.durableSize, 0);
    assertMatch(upload.resource.status.failure!, failure);
    await using later = world({ storage, catalog: here.catalog });
    await later.resources.recover();
    for (const { resources } of [here, later]) {
      const { status } = await resources.get(id);
      assertEquals(status, upload.resource.status);
      assertEquals([status.currentSize, status.durableSize], [7, 0]);
    }
  });
}

const MIB = 1024 * 1024;
const isFlushed = ({ durableSize }: ResourceStatus) => durableSize > 0;

test("what is large is brought to disk while it goes on, and its statuses tell so", async () => {
  const begun = Promise.withResolvers<void>();
  let flushes = 0;
  const storage = changed(new MemoryStorage(), {
    writer: () => ({
      flushData() {
        flushes++;
        begun.resolve();
        return Promise.resolve();
      },
    }),
  });
  await using here = world({ storage });
  const upload = await register(here);
  upload.append(new Uint8Array(31 * MIB));
  await statusWhere(upload.resource, ofSize(31 * MIB));
  await turn();
  assertEquals(flushes, 0);
  upload.append(new Uint8Array(MIB));
  await begun.promise;
  await turn();
  upload.append(utf8("more"));
  const { durableSize } = await statusWhere(upload.resource, isFlushed);
  assertEquals([durableSize, flushes], [32 * MIB, 1]);
});

test("an upload of which a part cannot be brought to disk fails at once", async () => {
  const storage = changed(new MemoryStorage(), {
    writer: () => ({ flushData: () => Promise.reject(full()) }),
  });
  await using here = world({ storage });
  const upload = await register(here);
  const failed = failureOf(upload);
  upload.append(new Uint8Array(32 * MIB));
  assertEquals((await failed).message, "the disk is full");
  const { failure, durableSize } = await statusWhere(upload.resource, isOver);
  assertEquals([failure, durableSize], ["STORAGE_FAILED: the disk is full", 0]);
});

const endings: [string, (upload: Appender) => Promise<unknown>][] = [
  ["complete", (upload) => assertFails("STORAGE_FAILED", () => upload.complete(null))],
  ["detach", async (upload) => assertEquals(await upload.detach(null), null)],
];
for (const [what, end] of endings) {
  test(`an upload does not ${what} before a flush beside it is over, and fails with it`, async () => {
    const begun = Promise.withResolvers<void>();
    const flush = Promise.withResolvers<void>();
    const storage = changed(new MemoryStorage(), {
      writer: () => ({
        flushData() {
          begun.resolve();
          return flush.promise;
        },
      }),
    });
    await using here = world({ storage });
    const upload = await register(here);
    upload.append(new Uint8Array(32 * MIB));
    await begun.promise;
    const ended = end(upload);
    flush.reject(full());
    await ended;
    assertEquals(upload.resource.status.failure, "STORAGE_FAILED: the disk is full");
  });
}

test("an upload that is let go of is brought to disk before its log is closed, or FAILED", async () => {
  const flushed: number[] = [];
  let isFull = false;
  const storage = changed(new MemoryStorage(), {
    writer: (log) => ({
      flushData() {
        flushed.push(log.size);
        return isFull ? Promise.reject(full()) : Promise.resolve();
      },
    }),
  });
  await using here = world({ storage });
  const kept = await register(here);
  kept.append(utf8("one"));
  assert(await kept.detach(null) !== null);
  assertEquals(flushed, [3]);
  isFull = true;
  const lost = await register(here);
  lost.append(utf8("three"));
  assertEquals(await lost.detach(null), null);
  assertEquals([flushed, lost.resource.status.failure], [
    [3, 5],
    "STORAGE_FAILED: the disk is full",
  ]);
});

test("after a flush failed, one that succeeds at the end does not make the bytes durable", async () => {
  const storage = changed(new MemoryStorage(), {
    writer: () => ({ flushData: () => Promise.reject(full()) }),
  });
  await using here = world({ storage, durability: "disk" });
  const upload = await register(here);
  upload.append(utf8("one\ntwo"));
  // Both ends begin at once; the flush that is refused is not the reason that is told first.
  await upload.fail(new StreamError("INTERRUPTED", "the connection broke"));
  const { status } = await here.resources.get(upload.resource.id);
  assertEquals([status.transferStatus, status.currentSize, status.durableSize], ["FAILED", 7, 0]);
  assertEquals(status.failure, "INTERRUPTED: the connection broke");
});

test("an upload whose record cannot be brought to disk fails, and has no digest", async () => {
  const catalog = new MemoryCatalog();
  await using here = world({
    catalog: override<Catalog>(catalog, { sync: () => Promise.reject(full()) }),
  });
  const upload = await register(here);
  const statuses = record(upload.resource);
  const checksum = await checksumOf(utf8(""));
  await assertFails("STORAGE_FAILED", () => upload.complete(checksum, 0));
  assertEquals(statuses.map(({ transferStatus }) => transferStatus), ["FAILED"]);
  const { transferStatus, digest } = await here.resources.get(upload.resource.id);
  assertEquals([transferStatus, digest], ["FAILED", null]);
});

test("an index that cannot be written fails the upload before its lines are told", async () => {
  const storage = changed(new MemoryStorage(), {
    writer: (log) => ({
      append: (byteOffset, parts, statusOf) =>
        statusOf ? Promise.reject(full()) : log.append(byteOffset, parts),
      settle: () => Promise.reject(full()),
    }),
  });
  await using here = world({ storage });
  const upload = await register(here);
  const told = failureOf(upload);
  const statuses = record(upload.resource);
  upload.append(utf8("one\n"));
  assertEquals((await told).code, "STORAGE_FAILED");
  await statusWhere(upload.resource, isOver);
  assertEquals(statuses.map(({ transferStatus }) => transferStatus), ["FAILED"]);
});

test("an upload whose record another owner has is FENCED, not FAILED, and leaves the record alone", async () => {
  for (const when of ["it is told", "it looks"]) {
    const catalog = new MemoryCatalog();
    await using here = world({
      catalog: when === "it looks" ? override(catalog, { watch: () => () => {} }) : catalog,
    });
    const upload = await register(here);
    const statuses = record(upload.resource);
    const { id } = upload.resource;
    const told = failureOf(upload);
    const { revision } = (await here.catalog.get(id))!;
    const theirs = await here.catalog.update(id, revision, { epoch: 5, owner: null });
    upload.append(utf8("a\n"));
    assertEquals((await told).code, "FENCED");
    await assertFails("FENCED", async () => upload.complete(await checksumOf(utf8("a\n"))));
    assertEquals(statuses.filter(isOver), []);
    assertEquals(await here.catalog.get(id), theirs);
    assertEquals(here.resources.uploads, 0);
  }
});

test("an upload whose record somebody else changed fails and leaves the record alone", async () => {
  await using here = world();
  const upload = await register(here);
  const { id } = upload.resource;
  const { revision } = (await here.catalog.get(id))!;
  const theirs = await here.catalog.update(id, revision, { failure: "theirs" });
  const told = failureOf(upload);
  upload.append(utf8("a\n"));
  assertEquals((await told).code, "CONFLICT");
  assertEquals((await statusWhere(upload.resource, isOver)).transferStatus, "FAILED");
  assertEquals(await here.catalog.get(id), theirs);
  await assertFails("CONFLICT", async () => upload.complete(await checksumOf(utf8("a\n"))));
});

test("an upload whose log somebody else took over is FENCED, not FAILED, and writes nothing more", async () => {
  await using here = world({ checkpointIntervalMs: 0 });
  const upload = await register(here);
  const { id } = upload.resource;
  upload.append(utf8("ours\n"));
  await statusWhere(upload.resource, ofSize(5));
  const theirs = await here.storage.recover(id, { lineAccess: true, epoch: 2 });
  const told = failureOf(upload);
  upload.append(utf8("lost\n"));
  assertEquals((await told).code, "FENCED");
  await assertFails("FENCED", () => upload.complete("", 5));
  assertEquals(upload.resource.status.transferStatus, "IN_PROGRESS");
  await theirs.append(5, [utf8("theirs\n")]);
  await theirs.close();
  const log = await here.storage.openReader(id);
  assertEquals(await log.read(0, 12), utf8("ours\ntheirs\n"));
});

const policies: Record<string, [Partial<ResourcesOptions>, message: string]> = {
  "the size limit": [{ maxResourceBytes: 8 }, "a resource may hold 8 bytes at most"],
  "a quota policy": [{
    quota: {
      checkGrowth: (_subject, size) => {
        if (size > 8) throw new Error("project X is full");
      },
    },
  }, "project X is full"],
  "a quota policy that takes its time": [{
    quota: {
      async checkGrowth(_subject, size) {
        await turn();
        if (size > 8) throw new Error("project X is full");
      },
    },
  }, "project X is full"],
};

for (const [who, [options, message]] of Object.entries(policies)) {
  test(`growth beyond what ${who} allows fails the upload with that message`, async () => {
    await using here = world({ ...options, checkpointIntervalMs: 0 });
    const upload = await register(here);
    const told = failureOf(upload);
    for (const text of ["four", "\neig"]) {
      upload.append(utf8(text));
      await statusWhere(upload.resource, ofSize(upload.received));
    }
    upload.append(utf8("x"));
    const failure = await told;
    assertEquals([failure.code, failure.message], ["QUOTA_EXCEEDED", message]);
    const { currentSize, numberOfLines, failure: shown } = await statusWhere(
      upload.resource,
      isOver,
    );
    assertEquals([currentSize, numberOfLines], [8, 2]);
    assertEquals(shown, `QUOTA_EXCEEDED: ${message}`);
    assertEquals(await readAll(upload.resource), utf8("four\neig"));
  });
}

test("completing while growth is refused tells the refusal", async () => {
  await using here = world({ maxResourceBytes: 8 });
  const upload = await register(here);
  const checksum = await checksumOf(utf8("123456789"));
  upload.append(utf8("123456789"));
  await assertFails("QUOTA_EXCEEDED", () => upload.complete(checksum, 9));
  assertEquals(upload.resource.status.currentSize, 0);
});

test("the catalog hears of the first checkpoint, not of every one, and of the end", async () => {
  const changes: ResourceChange[] = [];
  const catalog = new MemoryCatalog();
  await using here = world({
    checkpointIntervalMs: 0,
    catalog: override(catalog, {
      update(id: string, revision: number, change: ResourceChange) {
        changes.push(change);
        return catalog.update(id, revision, change);
      },
    }),
  });
  const upload = await register(here);
  const statuses = record(upload.resource);
  const startMs = performance.now();
  for (let line = 1; line <= 20; line++) {
    upload.append(utf8("line\n"));
    await statusWhere(upload.resource, ofSize(5 * line));
  }
  const elapsedMs = performance.now() - startMs;
  await upload.complete(await checksumOf(utf8("line\n".repeat(20))));
  assertEquals(statuses.length, 21);
  assertEquals([changes[0].size, changes.at(-1)?.transferStatus], [5, "COMPLETED"]);
  assertLessOrEqual(changes.length, 2 + elapsedMs / 1000);
});

test("the digest continues from the state that the catalog was told of", async () => {
  await using here = world();
  const upload = await register(here);
  upload.append(utf8("one\n"));
  await statusWhere(upload.resource, ofSize(4));
  await turn();
  const { digestState, size } = (await here.catalog.get(upload.resource.id))!;
  assert(digestState !== null);
  assertEquals([digestState.byteOffset, size], [4, 4]);
  const digest = await createDigest(digestState.algorithm, digestState.state);
  digest.update(utf8("two\n"));
  assertEquals(digest.value(), await checksumOf(utf8("one\ntwo\n")));
});

test("bytes at the tail are read once for all followers, and only while somebody follows", async () => {
  let reads = 0;
  const storage = changed(new MemoryStorage(), {
    reader: (log) => ({
      read(byteOffset, byteCount) {
        reads++;
        return log.read(byteOffset, byteCount);
      },
    }),
  });
  await using here = world({ storage, checkpointIntervalMs: 0 });
  const upload = await register(here);
  upload.append(Uint8Array.of(7));
  await turn();
  const unwatch = upload.resource.watch(() => {});
  assertEquals(await upload.resource.read(0, 1), Uint8Array.of(7));
  assertEquals(reads, 1);
  for (let round = 1; round <= 3; round++) {
    upload.append(new Uint8Array(1000).fill(round));
    await statusWhere(upload.resource, ofSize(1 + 1000 * round));
    for (let follower = 0; follower < 5; follower++) {
      assertEquals(await upload.resource.read(1000 * round - 999, 1), Uint8Array.of(round));
    }
  }
  assertEquals(reads, 1);
  unwatch();
  assertEquals(await upload.resource.read(3000, 1), Uint8Array.of(3));
  assertEquals(reads, 2);
});

test("followers far behind the tail read from storage what memory has let go", async () => {
  await using here = world({ checkpointIntervalMs: 0 });
  const upload = await register(here);
  upload.resource.watch(() => {});
  const block = LIMITS.dataMessageBytes;
  for (let index = 0; index < 8; index++) {
    upload.append(new Uint8Array(block).fill(index));
    await statusWhere(upload.resource, ofSize(block * (index + 1)));
  }
  const expected = concat(Array.from({ length: 8 }, (_, at) => new Uint8Array(block).fill(at)));
  assertEquals(await readAll(upload.resource), expected);
});

test("a follower or listener that throws does not harm the upload", async () => {
  await using here = world();
  const boom = () => {
    throw new Error("boom");
  };
  here.resources.listen(boom);
  const upload = await register(here);
  upload.resource.watch(boom);
  upload.append(utf8("a"));
  await upload.complete(await checksumOf(utf8("a")), 1);
  assertEquals(upload.resource.status.transferStatus, "COMPLETED");
});
