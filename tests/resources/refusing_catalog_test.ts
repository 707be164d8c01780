/** What waits while the catalog takes nothing: a full disk, a directory that turned read-only. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { ResourceRecord } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { StreamError } from "../../src/protocol.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eventually } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import {
  checksumOf,
  readAll,
  register,
  registration,
  statusWhere,
  world,
} from "../helpers/resources.ts";
import { changed } from "../helpers/storage.ts";

/** Takes no change of a record while `isFull`. */
class RefusingCatalog extends MemoryCatalog {
  isFull = false;
  /** Whether it takes changes again after the next one that it refuses. */
  makesRoom = false;
  refusals = 0;

  override async update(...args: Parameters<MemoryCatalog["update"]>) {
    if (!this.isFull) return await super.update(...args);
    this.refusals++;
    if (this.makesRoom) this.isFull = false;
    throw new StreamError("STORAGE_FAILED", "the catalog: database or disk is full");
  }
}

test("an upload whose owner did not come back while the catalog took nothing is FAILED when it does", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog, resumeWindowMs: 5 });
  const { appender } = await here.resources.register(registration({ ownedBy: "SECRET" }));
  appender.append(utf8("abc"));
  await using opened = await here.resources.open(appender.resource.id);
  await here.resources.interrupt(appender, new StreamError("INTERRUPTED", "its owner is gone"));
  catalog.isFull = true;
  // The takeover, and the word that it failed.
  await eventually("the end of the window", () => catalog.refusals >= 2);
  catalog.isFull = false;
  const { failure } = await statusWhere(
    opened.resource,
    ({ transferStatus }) => transferStatus === "FAILED",
  );
  assert(failure?.startsWith("INTERRUPTED"), String(failure));
  assertEquals(await readAll(opened.resource), utf8("abc"));
});

test("an upload whose takeover the catalog refused has all its bytes when it is FAILED, and its own reason", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog, resumeWindowMs: 5 });
  const { appender } = await here.resources.register(registration({ ownedBy: "SECRET" }));
  await using opened = await here.resources.open(appender.resource.id);
  catalog.isFull = true;
  appender.append(utf8("abc"));
  await here.resources.interrupt(appender, new StreamError("INTERRUPTED", "its owner is gone"));
  assertEquals((await catalog.get(appender.resource.id))?.size, 0);
  assertEquals(here.resources.totalBytes, 3);
  catalog.makesRoom = true;
  const { failure, currentSize } = await statusWhere(
    opened.resource,
    ({ transferStatus }) => transferStatus === "FAILED",
  );
  assert(failure?.startsWith("INTERRUPTED"), String(failure));
  assertEquals(currentSize, 3);
  assertEquals(await readAll(opened.resource), utf8("abc"));
});

test("an upload goes on while the catalog takes nothing, and counts", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog });
  const upload = await register(here);
  catalog.isFull = true;
  upload.append(utf8("abc"));
  await eventually("a word of the progress", () => catalog.refusals >= 1);
  upload.append(utf8("def"));
  await statusWhere(upload.resource, ({ currentSize }) => currentSize === 6);
  assertEquals(here.resources.totalBytes, 6);
  catalog.isFull = false;
  assertEquals((await upload.complete(await checksumOf(utf8("abcdef")))).size, 6);
  assertEquals((await catalog.get(upload.resource.id))?.transferStatus, "COMPLETED");
});

test("an end that the catalog refused is told to it again until it takes it, and once to others", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog });
  const upload = await register(here);
  const { id } = upload.resource;
  catalog.isFull = true;
  upload.append(utf8("abc"));
  const told: string[] = [];
  here.resources.listen(({ type }) => told.push(type), { id, transferStatuses: ["FAILED"] });
  await upload.fail(new StreamError("ABORTED", "enough"));
  assertEquals((await here.resources.get(id)).status.transferStatus, "FAILED");
  assertEquals((await catalog.get(id))?.transferStatus, "INITIATED");
  const { promise, resolve } = Promise.withResolvers<ResourceRecord | null>();
  catalog.watch(({ is }) => resolve(is));
  catalog.isFull = false;
  const record = await promise;
  assertEquals([record?.transferStatus, record?.size], ["FAILED", 3]);
  assertEquals(here.resources.totalBytes, 3);
  assertEquals(told, ["status"]);
});

test("acknowledged bytes that a disk refused to count at an end count when that is recorded", async () => {
  const catalog = new RefusingCatalog();
  const check = () => {
    if (catalog.isFull) throw new StreamError("STORAGE_FAILED", "the index: no space left");
  };
  const storage = changed(new MemoryStorage(), {
    writer: (log) => ({
      async append(byteOffset, parts, statusOf) {
        if (statusOf !== undefined) check();
        await log.append(byteOffset, parts, statusOf);
      },
      settle: () => Promise.try(check),
      flushData: () => Promise.resolve(),
    }),
  });
  await using here = world({ catalog, storage, durability: "disk" });
  const upload = await register(here);
  const { id } = upload.resource;
  catalog.isFull = true;
  upload.append(utf8("abc"));
  const told = await statusWhere(
    upload.resource,
    ({ transferStatus }) => transferStatus === "FAILED",
  );
  assertEquals([upload.acknowledged, told.currentSize], [3, 0]);
  const { promise, resolve } = Promise.withResolvers<ResourceRecord | null>();
  catalog.watch(({ is }) => resolve(is));
  catalog.isFull = false;
  const record = await promise;
  assertEquals([record?.transferStatus, record?.size], ["FAILED", 3]);
  await using later = world({ storage, catalog });
  await using opened = await later.resources.open(id);
  assertEquals(await readAll(opened.resource), utf8("abc"));
  await eventually("all are counted", () => here.resources.totalBytes === 3);
});

test("what is anybody's is let go of while the catalog takes nothing, is read whole, and goes on", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog, resumeWindowMs: 5 });
  const { appender } = await here.resources.register(
    registration({ ownedBy: "ANYBODY", annotation: "none" }),
  );
  const { id } = appender.resource;
  await appender.appendWhole(utf8("one\n"), "first");
  catalog.isFull = true;
  await here.resources.interrupt(appender, new StreamError("INTERRUPTED", "nobody came"));
  await assertFails("NOT_READY", () => here.resources.resume(id, null));
  assertEquals((await here.resources.get(id)).status.currentSize, 4);
  const { promise, resolve } = Promise.withResolvers<void>();
  catalog.watch(({ is }) => is?.owner === null && resolve());
  catalog.isFull = false;
  await promise;
  const next = await here.resources.resume(id, null);
  assert("appender" in next);
  assertEquals(next.appender.annotation, "first");
  await next.appender.appendWhole(utf8("two\n"), "second");
  assertEquals(await readAll(next.appender.resource), utf8("one\ntwo\n"));
});

test("an upload that is to be COMPLETED while the catalog takes nothing is when it does, and its owner may ask again", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog, resumeWindowMs: 5 });
  const { appender, secret } = await here.resources.register(registration({ ownedBy: "SECRET" }));
  const { id } = appender.resource;
  await using opened = await here.resources.open(id);
  appender.append(utf8("abc"));
  catalog.isFull = true;
  const error = await assertFails("NOT_READY", async () => {
    await appender.complete(await checksumOf(utf8("abc")));
  });
  await here.resources.interrupt(appender, error);
  await assertFails("NOT_READY", () => here.resources.resume(id, secret));
  assertEquals((await here.resources.get(id)).status.transferStatus, "IN_PROGRESS");
  catalog.isFull = false;
  await statusWhere(opened.resource, ({ transferStatus }) => transferStatus === "COMPLETED");
  const resumed = await here.resources.resume(id, secret);
  assert("completed" in resumed);
  assertEquals(resumed.completed.size, 3);
  assertEquals(here.resources.uploads, 0);
});

test("an uploader that cannot come back waits until the catalog takes the end of its upload", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog });
  const upload = await register(here);
  catalog.isFull = true;
  const completed = upload.complete(await checksumOf(utf8("")));
  await eventually("a refusal", () => upload.isHeldUp);
  catalog.isFull = false;
  assertEquals((await completed).size, 0);
});

test("an upload that has everything when its server ends goes on after it, if the catalog took nothing", async () => {
  const catalog = new RefusingCatalog();
  const storage = new MemoryStorage();
  const here = world({ catalog, storage });
  const { appender, secret } = await here.resources.register(registration({ ownedBy: "SECRET" }));
  const { id } = appender.resource;
  const checksum = await checksumOf(utf8("abc"));
  appender.append(utf8("abc"));
  catalog.isFull = true;
  await assertFails("NOT_READY", () => appender.complete(checksum));
  await here.resources.close();
  catalog.isFull = false;
  await using later = world({ catalog, storage });
  await later.resources.recover();
  const resumed = await later.resources.resume(id, secret);
  assert("appender" in resumed);
  assertEquals(resumed.appender.received, 3);
  assertEquals((await resumed.appender.complete(checksum)).size, 3);
});

test("an upload whose end the catalog does not take is deleted by force", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog });
  const { appender } = await here.resources.register(registration({ ownedBy: "SECRET" }));
  const { id } = appender.resource;
  await using opened = await here.resources.open(id);
  catalog.isFull = true;
  await assertFails("NOT_READY", async () => {
    await appender.complete(await checksumOf(utf8("")));
  });
  await here.resources.delete(id, { force: true });
  assertEquals(opened.resource.status.transferStatus, "FAILED");
  assertEquals([await catalog.get(id), here.resources.uploads], [null, 0]);
});

test("what the catalog refuses of an upload that goes on is to be asked for again", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog });
  const { appender, secret } = await here.resources.register(registration({ ownedBy: "SECRET" }));
  catalog.isFull = true;
  const announced = { size: 3, checksum: null };
  await assertFails("NOT_READY", () => appender.keepAnnounced(announced));
  await assertFails("NOT_READY", () => here.resources.resume(appender.resource.id, secret));
  catalog.isFull = false;
  const resumed = await here.resources.resume(appender.resource.id, secret);
  assert("appender" in resumed);
  await resumed.appender.keepAnnounced(announced);
});
