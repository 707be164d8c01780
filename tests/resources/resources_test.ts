/** The life cycle of resources, and what their owner hears and decides. */
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { ResourceChange } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { isFinal, type ResourceMetadata, StreamError } from "../../src/protocol.ts";
import type {
  OwnedUpload,
  QuotaSubject,
  Registration,
  ResourceEvent,
  ResourcesOptions,
} from "../../src/resources.ts";
import type { Appender } from "../../src/resources/writing/appender.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eventually } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import {
  checksumOf,
  readAll,
  register,
  registration,
  statusWhere,
  type World,
  world,
} from "../helpers/resources.ts";
import { changed, override } from "../helpers/storage.ts";

const gone = () => new StreamError("INTERRUPTED", "the connection broke");

const withFilename = (filename: string): ResourceMetadata => ({
  filename,
  mimeType: "text/plain",
  supportsLineAccess: true,
});

async function uploaded(here: World, text: string): Promise<Appender> {
  const upload = await register(here);
  upload.append(utf8(text));
  await upload.complete(await checksumOf(utf8(text)));
  return upload;
}

/** An upload that runs, with these bytes readable. */
async function running(
  here: World,
  text: string,
  given: Partial<Registration> = {},
): Promise<Appender> {
  const upload = await register(here, given);
  upload.append(utf8(text));
  await statusWhere(upload.resource, ({ currentSize }) => currentSize === text.length);
  return upload;
}

/** What happened, each in a few words. */
function told(events: ResourceEvent[]): string[] {
  return events.map((event) => {
    switch (event.type) {
      case "created":
        return `created ${event.metadata.filename}`;
      case "status":
        return `${event.status.transferStatus} ${event.status.currentSize}`;
      case "refused":
        return `refused ${event.error.code}`;
      case "deleted":
        return "deleted";
    }
  });
}

test("a registered resource can be found and followed before its first byte", async () => {
  await using here = world();
  const before = Date.now();
  const { resource } = await register(here);
  const { id, status, createdAtMs, metadata, contextId } = await here.resources.get(resource.id);
  assertEquals([id, contextId], [resource.id, null]);
  assert(createdAtMs >= before && createdAtMs <= Date.now());
  assertEquals(metadata, registration().metadata);
  assertEquals([status.transferStatus, status.currentSize, status.numberOfLines], [
    "INITIATED",
    0,
    0,
  ]);
  assertEquals((await here.resources.list({ limit: 10 })).map((each) => each.id), [id]);
  await using opened = await here.resources.open(id);
  assertEquals(await opened.resource.read(0, 0), utf8(""));
});

test("what is asked for while an upload runs is newer than its record", async () => {
  await using here = world({ checkpointIntervalMs: 0 });
  const upload = await running(here, "one\n");
  upload.append(utf8("two\n"));
  await statusWhere(upload.resource, ({ currentSize }) => currentSize === 8);
  assertEquals((await here.catalog.get(upload.resource.id))?.size, 4);
  assertEquals((await here.resources.get(upload.resource.id)).status.currentSize, 8);
  assertEquals((await here.resources.list({ limit: 1 }))[0].status.currentSize, 8);
});

test("an id without a resource is NOT_FOUND, whatever it looks like", async () => {
  await using here = world();
  for (const id of [crypto.randomUUID(), "", "../x", "%2f", "a\0b", "x".repeat(10_000)]) {
    const { message } = await assertFails("NOT_FOUND", () => here.resources.open(id));
    assert(message.length < 200);
    await assertFails("NOT_FOUND", () => here.resources.get(id));
    await assertFails("NOT_FOUND", () => here.resources.delete(id));
  }
});

test("metadata that is not allowed is refused, and nothing is left of it", async () => {
  await using here = world();
  for (const filename of ["", "a\0b", "x".repeat(1025)]) {
    const metadata = withFilename(filename);
    await assertFails("BAD_METADATA", () => register(here, { metadata }));
  }
  assertEquals(await here.resources.list({ limit: 10 }), []);
});

test("an upload that cannot be recorded leaves no log behind", async () => {
  const created: string[] = [];
  const memory = new MemoryStorage();
  const storage = changed(memory, {
    storage: {
      create: (id, options) => {
        created.push(id);
        return memory.create(id, options);
      },
    },
  });
  const failing = () => Promise.reject(new StreamError("STORAGE_FAILED", "the disk is full"));
  const catalog = override(new MemoryCatalog(), { create: failing });
  await using here = world({ storage, catalog });
  await assertFails("STORAGE_FAILED", () => register(here));
  assertEquals(created.length, 1);
  await assertFails("NOT_FOUND", () => storage.openReader(created[0]));
  assertEquals(here.resources.uploads, 0);
});

test("an upload whose log cannot be made is not recorded", async () => {
  const failing = () => Promise.reject(new StreamError("STORAGE_FAILED", "the disk is full"));
  await using here = world({
    storage: changed(new MemoryStorage(), { storage: { create: failing } }),
  });
  await assertFails("STORAGE_FAILED", () => register(here));
  assertEquals(await here.resources.list({ limit: 10 }), []);
});

test("no more uploads run at the same time than allowed; a finished one makes room", async () => {
  await using here = world({ maxUploads: 2 });
  const outcomes = await Promise.allSettled(
    [1, 2, 3, 4].map(() => register(here)),
  );
  const uploads = outcomes.filter((outcome) => outcome.status === "fulfilled");
  assertEquals([uploads.length, here.resources.uploads], [2, 2]);
  await assertFails("LIMIT_REACHED", () => register(here));
  await uploads[0].value.fail(gone());
  await register(here);
  await assertFails("LIMIT_REACHED", () => register(here));
});

test("a context that somebody made is taken, others are made or refused, never left out", async () => {
  await using here = world();
  await here.resources.createContext("known");
  const contextOf = async (contextId: string | null, makeContext: boolean) => {
    const upload = await register(here, { contextId, makeContext });
    return (await here.resources.get(upload.resource.id)).contextId;
  };
  assertEquals(await contextOf(null, true), null);
  assertEquals(await contextOf("known", false), "known");
  await assertFails("CONTEXT_UNKNOWN", () => contextOf("unknown", false));
  assertEquals(await here.catalog.getContext("unknown"), null);
  assertEquals(await contextOf("new", true), "new");
  assertEquals((await here.catalog.getContext("new"))?.id, "new");
  assertEquals(await contextOf("new", false), "new");
});

test("where contexts are required, uploads without a known one are refused", async () => {
  await using here = world({ requireContext: true });
  await here.resources.createContext("known");
  const asking = (contextId: string | null, makeContext: boolean) => () =>
    register(here, { contextId, makeContext });
  await assertFails("CONTEXT_REQUIRED", asking(null, true));
  await assertFails("CONTEXT_REQUIRED", asking(null, false));
  await assertFails("CONTEXT_UNKNOWN", asking("unknown", false));
  await asking("known", false)();
  await asking("made", true)();
  assertEquals(here.resources.uploads, 2);
});

test("a context id that is not allowed is refused", async () => {
  await using here = world();
  for (const id of ["", "a\nb", "\0", "x".repeat(257), "ü".repeat(129)]) {
    await assertFails("BAD_METADATA", () => here.resources.createContext(id));
    const asked = { contextId: id, makeContext: true };
    await assertFails("BAD_METADATA", () => register(here, asked));
  }
  assertEquals((await here.resources.createContext("ü".repeat(128))).id, "ü".repeat(128));
});

test("a quota policy is asked with everything that is known, before anything is made", async () => {
  const asked: [QuotaSubject, number?][] = [];
  await using here = world({
    quota: {
      checkRegistration: (subject) => void asked.push([subject]),
      checkGrowth: (subject, size) => void asked.push([subject, size]),
    },
  });
  const upload = await register(here, { contextId: "run", makeContext: true });
  upload.append(utf8("abc"));
  await statusWhere(upload.resource, ({ currentSize }) => currentSize === 3);
  const subject = {
    id: upload.resource.id,
    metadata: registration().metadata,
    contextId: "run",
    attributes: {},
  };
  assertEquals(asked, [[subject], [subject, 3]]);
});

for (
  const [how, checkRegistration] of Object.entries({
    "throws": () => {
      throw new Error("project X has no room");
    },
    "rejects": async () => {
      await turn();
      throw new Error("project X has no room");
    },
  })
) {
  test(`a quota policy that ${how} refuses the registration with its message`, async () => {
    await using here = world({ quota: { checkRegistration } });
    const { message } = await assertFails(
      "QUOTA_EXCEEDED",
      () => register(here),
    );
    assertEquals(message, "project X has no room");
    assertEquals(await here.resources.list({ limit: 10 }), []);
  });
}

test("bytes are counted while they are stored, in all and by upload context", async () => {
  await using here = world({ maxTotalBytes: 10, maxContextBytes: 6 });
  const send = async (contextId: string | null, text: string) => {
    const upload = await register(here, { contextId, makeContext: true });
    upload.append(utf8(text));
    await upload.complete(await checksumOf(utf8(text)));
    return upload.resource.id;
  };
  const first = await send("a", "1234");
  await assertFails("QUOTA_EXCEEDED", () => send("a", "567"));
  await send("a", "56");
  await send("b", "5678");
  assertEquals(here.resources.totalBytes, 10);
  await here.resources.delete(first);
  assertEquals(here.resources.totalBytes, 6);
  await send("a", "1234");
});

test("bytes that the storage refused are not counted", async () => {
  const full = () => Promise.reject(new StreamError("STORAGE_FAILED", "the disk is full"));
  await using here = world({
    storage: changed(new MemoryStorage(), { writer: () => ({ append: full }) }),
  });
  const upload = await register(here);
  upload.append(utf8("lost"));
  await assertFails("STORAGE_FAILED", () => upload.complete(""));
  assertEquals(here.resources.totalBytes, 0);
});

test("the free space that must stay is not used up", async () => {
  let free = 49;
  const storage = changed(new MemoryStorage(), {
    storage: { freeBytes: () => Promise.resolve(free) },
  });
  await using here = world({ storage, minFreeBytes: 50 });
  await assertFails("QUOTA_EXCEEDED", () => register(here));
  const another = { contextId: "another", makeContext: true };
  await assertFails("QUOTA_EXCEEDED", () => register(here, another));
  await assertFails("QUOTA_EXCEEDED", () => here.resources.createContext("a third"));
  assertEquals(await here.resources.listContexts({ limit: 10 }), []);
  free = 100;
  await here.resources.createContext("known");
  const upload = await running(here, "x".repeat(40));
  free = 60;
  upload.append(new Uint8Array(11));
  const { failure, currentSize } = await statusWhere(
    upload.resource,
    ({ transferStatus }) => isFinal(transferStatus),
  );
  assert(failure?.startsWith("QUOTA_EXCEEDED: "), failure ?? "");
  assertEquals(currentSize, 40);
  free = 49;
  assertEquals((await here.resources.createContext("known")).id, "known");
});

test("listeners hear what happens to resources, in order", async () => {
  await using here = world({ maxResourceBytes: 100 });
  const events: ResourceEvent[] = [];
  here.resources.listen((event) => events.push(event));
  const first = await uploaded(here, "one\n");
  const second = await register(here, { metadata: withFilename("b.log") });
  await second.fail(gone());
  const metadata = withFilename("");
  await assertFails("BAD_METADATA", () => register(here, { metadata }));
  await here.resources.delete(first.resource.id);
  assertEquals(told(events), [
    "created a.log",
    "IN_PROGRESS 4",
    "COMPLETED 4",
    "created b.log",
    "FAILED 0",
    "refused BAD_METADATA",
    "deleted",
  ]);
  assertEquals(events[6], {
    type: "deleted",
    id: first.resource.id,
    contextId: null,
    attributes: {},
  });
});

test("a listener hears of its upload context only", async () => {
  await using here = world();
  const events: ResourceEvent[] = [];
  here.resources.listen((event) => events.push(event), { contextId: "mine" });
  const ids: string[] = [];
  for (const contextId of ["mine", "other", null]) {
    const upload = await register(here, { contextId, makeContext: true });
    await upload.complete(await checksumOf(utf8("")));
    ids.push(upload.resource.id);
    const metadata = withFilename("");
    const asked = { contextId, makeContext: true, metadata };
    await assertFails("BAD_METADATA", () => register(here, asked));
  }
  for (const id of ids) await here.resources.delete(id);
  assertEquals(told(events), [
    "created a.log",
    "COMPLETED 0",
    "refused BAD_METADATA",
    "deleted",
  ]);
  assert(events.every(({ contextId }) => contextId === "mine"));
});

test("a listener hears of the transfer statuses it asked for, and of all other events", async () => {
  await using here = world();
  const events: ResourceEvent[] = [];
  here.resources.listen((event) => events.push(event), {
    transferStatuses: ["COMPLETED", "FAILED"],
  });
  const first = await uploaded(here, "one\n");
  const second = await running(here, "two\n");
  await second.fail(gone());
  await here.resources.delete(first.resource.id);
  assertEquals(told(events), [
    "created a.log",
    "COMPLETED 4",
    "created a.log",
    "FAILED 4",
    "deleted",
  ]);
});

test("a listener that stopped hears nothing more", async () => {
  await using here = world();
  const events: ResourceEvent[] = [];
  const stop = here.resources.listen((event) => events.push(event));
  await register(here);
  stop();
  await register(here);
  assertEquals(told(events), ["created a.log"]);
});

test("lists show the newest status of every resource, filtered and paged", async () => {
  await using here = world();
  for (const contextId of ["a", "b", "a", "b", "a"]) {
    await register(here, { contextId, makeContext: true });
  }
  const all = await here.resources.list({ limit: 10 });
  assertEquals(all.length, 5);
  const page = await here.resources.list({ limit: 2, contextId: "a" });
  const rest = await here.resources.list({ limit: 2, contextId: "a", after: page[1] });
  assertEquals(
    [...page, ...rest].map(({ id }) => id),
    all.filter(({ contextId }) => contextId === "a").map(({ id }) => id),
  );
});

test("a resource that is being uploaded cannot be deleted", async () => {
  await using here = world();
  const upload = await running(here, "one\n");
  await assertFails("WRONG_STATE", () => here.resources.delete(upload.resource.id));
  assertEquals(await readAll(upload.resource), utf8("one\n"));
  await upload.complete(await checksumOf(utf8("one\n")));
  await here.resources.delete(upload.resource.id);
});

test("deleting a resource takes its record and bytes and tells those who watch it", async () => {
  await using here = world();
  const { resource: { id } } = await uploaded(here, "one\n");
  await using opened = await here.resources.open(id);
  const { resource } = opened;
  const seen: boolean[] = [];
  resource.watch(() => seen.push(resource.deleted));
  await here.resources.delete(id);
  assertEquals(seen, [true]);
  await assertFails("DELETED", () => resource.read(0, 1));
  await assertFails("NOT_FOUND", () => here.resources.open(id));
  await assertFails("NOT_FOUND", () => here.resources.get(id));
  await assertFails("NOT_FOUND", () => here.resources.delete(id));
  assertEquals(await here.catalog.get(id), null);
  await assertFails("NOT_FOUND", () => here.storage.openReader(id));
  await opened.release();
});

test("a resource that was deleted gives no lines, either", async () => {
  await using here = world();
  const { resource: { id } } = await uploaded(here, "one\ntwo\n");
  await using opened = await here.resources.open(id);
  const { resource } = opened;
  await here.resources.delete(id);
  await assertFails("DELETED", () => resource.lineStart(1));
  await opened.release();
});

/** A storage that counts its open readers. */
function counting() {
  const counts = { open: 0, opened: 0 };
  const memory = new MemoryStorage();
  const storage = changed(memory, {
    storage: {
      async openReader(id) {
        const log = await memory.openReader(id);
        counts.open++;
        counts.opened++;
        return override(log, { close: () => Promise.resolve(void counts.open--) });
      },
    },
  });
  return { storage, counts };
}

test("all who hold a resource share one reader, which waits for others until the deletion", async () => {
  const { storage, counts } = counting();
  await using here = world({ storage });
  const { resource: { id } } = await uploaded(here, "one\ntwo\n");
  const [first, second] = await Promise.all([here.resources.open(id), here.resources.open(id)]);
  assert(first.resource === second.resource);
  assertEquals(counts, { open: 0, opened: 0 });
  await Promise.all([
    first.resource.read(0, 1),
    second.resource.read(1, 1),
    first.resource.lineStart(1),
  ]);
  assertEquals(counts, { open: 1, opened: 1 });
  await first.release();
  assertEquals(await second.resource.read(1, 1), utf8("n"));
  assertEquals(counts.open, 1);
  await second.release();
  assertEquals(counts.open, 1);

  const third = await here.resources.open(id);
  assertEquals(await readAll(third.resource), utf8("one\ntwo\n"));
  assertEquals(counts, { open: 1, opened: 1 });
  await here.resources.delete(id);
  await third.release();
  assertEquals(counts.open, 0);
});

test("no more hold a resource at the same time than allowed", async () => {
  await using here = world({ maxFollowers: 2 });
  const { resource: { id } } = await uploaded(here, "one\n");
  const [first] = [await here.resources.open(id), await here.resources.open(id)];
  await assertFails("LIMIT_REACHED", () => here.resources.open(id));
  await first.release();
  await here.resources.open(id);
});

test("an upload holds its resource until it ends", async () => {
  const { storage, counts } = counting();
  await using here = world({ storage });
  const upload = await running(here, "one\n");
  const follower = await here.resources.open(upload.resource.id);
  assert(follower.resource === upload.resource);
  await follower.resource.read(0, 1);
  await follower.release();
  assertEquals(counts.open, 1);
  await upload.fail(gone());
  await here.resources.delete(upload.resource.id);
  assertEquals(counts.open, 0);
});

test("readers of 64 resources wait for others, of an id that is used again none does", async () => {
  const { storage, counts } = counting();
  await using here = world({ storage });
  const read = async (id: string) => {
    await using opened = await here.resources.open(id);
    const { resource } = opened;
    const bytes = await readAll(resource);
    await opened.release();
    return bytes;
  };
  const first = await uploaded(here, "first\n");
  await read(first.resource.id);
  for (let count = 0; count < 64; count++) {
    await read((await uploaded(here, "x")).resource.id);
  }
  await eventually("the oldest is closed", () => counts.open === 64);
  const { id } = (await uploaded(here, "old\n")).resource;
  assertEquals(await read(id), utf8("old\n"));
  await here.resources.delete(id);
  const again = await register(here, { id });
  again.append(utf8("new\n"));
  await again.complete(await checksumOf(utf8("new\n")));
  assertEquals(await read(id), utf8("new\n"));
  await here.resources.close();
  assertEquals(counts.open, 0);
});

test("closing releases every reader", async () => {
  const { storage, counts } = counting();
  await using here = world({ storage });
  const { resource: { id } } = await uploaded(here, "one\n");
  await using opened = await here.resources.open(id);
  const { resource } = opened;
  await resource.read(0, 1);
  await here.resources.close();
  assertEquals(counts.open, 0);
  await opened.release();
  assertEquals(counts.open, 0);
});

test("a log that could not be opened once is opened by the next read", async () => {
  const memory = new MemoryStorage();
  let failures = 1;
  const storage = changed(memory, {
    storage: {
      openReader: (id) =>
        failures-- > 0
          ? Promise.reject(new StreamError("STORAGE_FAILED", "too many open files"))
          : memory.openReader(id),
    },
  });
  await using here = world({ storage });
  const { resource: { id } } = await uploaded(here, "one\n");
  await using opened = await here.resources.open(id);
  const { resource } = opened;
  await assertFails("STORAGE_FAILED", () => resource.read(0, 4));
  assertEquals(await resource.read(0, 4), utf8("one\n"));
  await opened.release();
});

test("releasing a resource works after its log could not be opened", async () => {
  const failing = () => Promise.reject(new StreamError("STORAGE_FAILED", "too many open files"));
  await using here = world({
    storage: changed(new MemoryStorage(), { storage: { openReader: failing } }),
  });
  const { resource: { id } } = await uploaded(here, "one\n");
  await using opened = await here.resources.open(id);
  const { resource } = opened;
  await assertFails("STORAGE_FAILED", () => resource.read(0, 4));
  await opened.release();
});

test("who opens a resource the moment it is listed follows the upload, too", async () => {
  const memory = new MemoryCatalog();
  const listed = Promise.withResolvers<void>();
  const isOpen = Promise.withResolvers<void>();
  const catalog = override(memory, {
    async create(record) {
      await memory.create(record);
      listed.resolve();
      await isOpen.promise;
    },
  });
  await using here = world({ catalog });
  const registering = register(here);
  await listed.promise;
  const [{ id }] = await here.resources.list({ limit: 1 });
  await using opened = await here.resources.open(id);
  const { resource } = opened;
  isOpen.resolve();
  const upload = await registering;
  upload.append(utf8("one\n"));
  await upload.complete(await checksumOf(utf8("one\n")));
  assertEquals(resource.status.transferStatus, "COMPLETED");
  await opened.release();
});

test("closing fails the uploads that cannot be resumed, with all their bytes", async () => {
  await using here = world({ checkpointIntervalMs: 3_600_000 });
  const uploads = await Promise.all([running(here, "one\n"), running(here, "two\n")]);
  for (const upload of uploads) upload.append(utf8("rest"));
  await here.resources.close();
  for (const { resource } of uploads) {
    const { transferStatus, currentSize, numberOfLines, failure } = resource.status;
    assertEquals([transferStatus, currentSize, numberOfLines], ["FAILED", 8, 2]);
    assert(failure?.startsWith("SHUTDOWN: "), failure ?? "");
    assertEquals((await here.catalog.get(resource.id))?.transferStatus, "FAILED");
  }
  assertEquals(here.resources.uploads, 0);
  await assertFails("SHUTDOWN", () => register(here));
});

test("an upload that was being registered when everything was closed does not run on", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  await using here = world({
    quota: {
      checkRegistration() {
        asked.resolve();
        return answer.promise;
      },
    },
  });
  const registering = register(here);
  await asked.promise;
  await here.resources.close();
  answer.resolve();
  await assertFails("SHUTDOWN", () => registering);
  assertEquals(here.resources.uploads, 0);
  assertEquals(await here.catalog.list({ limit: 10 }), []);
});

/** A later process on what an earlier one left without a word. */
function successor({ storage, catalog }: World, options: Partial<ResourcesOptions> = {}): World {
  return world({ ...options, storage, catalog });
}

test("recovery fails what cannot be resumed, with size and lines from the log", async () => {
  await using crashed = world({ checkpointIntervalMs: 0 });
  const upload = await running(crashed, "one\n");
  upload.append(utf8("two\nthree"));
  await statusWhere(upload.resource, ({ currentSize }) => currentSize === 13);
  const { resource: { id } } = upload;
  assertEquals((await crashed.catalog.get(id))?.size, 4, "the record is older than the log");
  const untouched = await register(crashed);
  const { resource: finished } = await uploaded(crashed, "finished\n");
  const before = await crashed.catalog.get(finished.id);

  await using here = successor(crashed);
  assertEquals(await here.resources.recover(), 2);
  const { status, ...record } = await here.resources.get(id);
  assertEquals(
    [status.transferStatus, status.currentSize, status.numberOfLines, status.epoch],
    ["FAILED", 13, 3, 2],
  );
  assert(status.failure?.startsWith("INTERRUPTED: "), status.failure ?? "");
  assertEquals([record.size, record.lines], [13, 3]);
  assertEquals([record.digest, record.digestState], [null, null]);
  const empty = (await here.resources.get(untouched.resource.id)).status;
  assertEquals([empty.transferStatus, empty.currentSize, empty.numberOfLines], ["FAILED", 0, 0]);
  assertEquals(await crashed.catalog.get(finished.id), before);
  await using opened = await here.resources.open(id);
  const { resource } = opened;
  assertEquals(await readAll(resource), utf8("one\ntwo\nthree"));
});

test("a second recovery changes nothing", async () => {
  await using crashed = world();
  const { resource: { id } } = await running(crashed, "one\n");
  await using here = successor(crashed);
  assertEquals(await here.resources.recover(), 1);
  const before = await crashed.catalog.get(id);
  assertEquals(await here.resources.recover(), 0);
  await using later = successor(crashed);
  assertEquals(await later.resources.recover(), 0);
  assertEquals(await crashed.catalog.get(id), before);
});

test("recovery finds more unfinished resources than one page of the catalog", async () => {
  await using crashed = world();
  for (let count = 0; count < 102; count++) {
    await register(crashed, { ownedBy: count > 0 ? "SECRET" : "CONNECTION" });
  }
  await using here = successor(crashed);
  assertEquals(await here.resources.recover(), 102);
  const views = await here.resources.list({ limit: 1000 });
  assertEquals(views.filter(({ status }) => isFinal(status.transferStatus)).length, 1);
  assert(views.every(({ epoch }) => epoch === 2));
});

test("recovery fails a resource whose log is gone, with no bytes, and goes on", async () => {
  await using crashed = world();
  const { resource: { id } } = await running(crashed, "one\n");
  const { resource: other } = await running(crashed, "other\n");
  await crashed.storage.delete(id);
  await using here = successor(crashed);
  assertEquals(await here.resources.recover(), 2);
  const { transferStatus, currentSize, numberOfLines } = (await here.resources.get(id)).status;
  assertEquals([transferStatus, currentSize, numberOfLines], ["FAILED", 0, 0]);
  assertEquals((await here.resources.get(other.id)).status.currentSize, 6);
});

test("an owner that was recovered from changes nothing any more", async () => {
  await using crashed = world();
  const upload = await running(crashed, "one\n");
  const { resource: { id } } = upload;
  await using here = successor(crashed);
  await here.resources.recover();
  const before = await crashed.catalog.get(id);
  const checksum = await checksumOf(utf8("one\nlost"));
  upload.append(utf8("lost"));
  await assertFails("FENCED", () => upload.complete(checksum));
  assertEquals(await crashed.catalog.get(id), before);
  await using opened = await here.resources.open(id);
  const { resource } = opened;
  assertEquals(await readAll(resource), utf8("one\n"));
});

/** Long enough for a test to come back in. */
const WINDOW = { resumeWindowMs: 60_000 };

async function started(here: World, text: string): Promise<OwnedUpload & { secret: string }> {
  const { appender, secret } = await here.resources.register(registration({ ownedBy: "SECRET" }));
  appender.append(utf8(text));
  await statusWhere(appender.resource, ({ currentSize }) => currentSize === text.length);
  return { appender, secret: secret! };
}

/** What the owner gets back who comes with the right secret in time. */
async function resumed({ resources }: World, id: string, secret: string): Promise<Appender> {
  const upload = await resources.resume(id, secret);
  assert("appender" in upload);
  return upload.appender;
}

test("an interrupted upload goes on where it was, for whoever knows its secret", async () => {
  await using here = world(WINDOW);
  const { appender: first, secret } = await started(here, "one\n");
  const { resource } = first;
  first.append(utf8("two\nth"));
  await here.resources.interrupt(first, gone());
  assertEquals([resource.status.transferStatus, resource.status.currentSize], ["IN_PROGRESS", 10]);
  const second = await resumed(here, resource.id, secret);
  assert(second.resource === resource);
  assertEquals([second.received, second.epoch], [10, 2]);
  second.append(utf8("ree\n"));
  const { numberOfLines } = await second.complete(await checksumOf(utf8("one\ntwo\nthree\n")), 14);
  assertEquals(numberOfLines, 3);
  assertEquals(await readAll(resource), utf8("one\ntwo\nthree\n"));
});

test("nobody else can resume an upload", async () => {
  await using here = world(WINDOW);
  const { appender, secret } = await started(here, "one\n");
  const { resource: { id } } = appender;
  const plain = await register(here);
  for (const wrong of ["", "x", secret.slice(1), secret.toUpperCase(), `${secret}0`]) {
    await assertFails("NOT_OWNER", () => here.resources.resume(id, wrong));
  }
  await assertFails("NOT_OWNER", () => here.resources.resume(plain.resource.id, secret));
  await assertFails("NOT_FOUND", () => here.resources.resume(crypto.randomUUID(), secret));
  await appender.complete(await checksumOf(utf8("one\n")));
});

test("a resumed upload counts as one that runs; its own older owner makes room", async () => {
  await using here = world({ ...WINDOW, maxUploads: 1 });
  const { appender, secret } = await started(here, "one\n");
  const { id } = appender.resource;
  await here.resources.interrupt(await resumed(here, id, secret), gone());
  const other = await register(here);
  await assertFails("LIMIT_REACHED", () => here.resources.resume(id, secret));
  await other.fail(gone());
  await resumed(here, id, secret);
  assertEquals(here.resources.uploads, 1);
});

test("of two owners the newer one writes, and the older is told", async () => {
  await using here = world(WINDOW);
  const { appender: older, secret } = await started(here, "one\n");
  const told = new Promise<StreamError>((failed) =>
    older.listen({ acknowledged: () => {}, failed })
  );
  const newer = await resumed(here, older.resource.id, secret);
  assertEquals((await told).code, "FENCED");
  older.append(utf8("lost\n"));
  await older.fail(gone());
  newer.append(utf8("two\n"));
  await newer.complete(await checksumOf(utf8("one\ntwo\n")));
  assertEquals(await readAll(newer.resource), utf8("one\ntwo\n"));
});

test("of many who resume at the same time one owns the upload in the end", async () => {
  await using here = world(WINDOW);
  const { appender, secret } = await started(here, "one\n");
  const { resource } = appender;
  const owners = await Promise.all([1, 2, 3, 4].map(() => resumed(here, resource.id, secret)));
  for (const owner of owners) owner.append(utf8("two\n"));
  const outcomes = await Promise.allSettled(
    owners.map(async (owner) => owner.complete(await checksumOf(utf8("one\ntwo\n")))),
  );
  assertEquals(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
  assertEquals(await readAll(resource), utf8("one\ntwo\n"));
  assertEquals(here.resources.uploads, 0);
});

test("an upload whose owner does not come back is FAILED with everything it has", async () => {
  await using here = world({ resumeWindowMs: 10 });
  const { appender: { resource }, secret, appender } = await started(here, "one\ntwo");
  await here.resources.interrupt(appender, gone());
  const status = await statusWhere(resource, ({ transferStatus }) => isFinal(transferStatus));
  assertEquals([status.transferStatus, status.currentSize, status.numberOfLines], ["FAILED", 7, 2]);
  assertEquals(status.failure, "INTERRUPTED: the connection broke");
  await assertFails("WRONG_STATE", () => here.resources.resume(resource.id, secret));
});

test("an interrupted upload whose log cannot be opened any more is FAILED in the end", async () => {
  const memory = new MemoryStorage();
  const broken = () => Promise.reject(new StreamError("STORAGE_FAILED", "the disk is gone"));
  await using here = world({
    storage: changed(memory, { storage: { recover: broken } }),
    resumeWindowMs: 10,
  });
  const { appender } = await started(here, "one\n");
  await here.resources.interrupt(appender, gone());
  const { transferStatus } = await statusWhere(
    appender.resource,
    (status) => isFinal(status.transferStatus),
  );
  assertEquals(transferStatus, "FAILED");
});

test("an upload can be resumed again after a resumption failed halfway", async () => {
  const catalog = new MemoryCatalog();
  let failing = false;
  await using here = world({
    ...WINDOW,
    catalog: override(catalog, {
      update(id: string, revision: number, change: ResourceChange) {
        if (!failing) return catalog.update(id, revision, change);
        failing = false;
        return Promise.reject(new StreamError("STORAGE_FAILED", "the disk is busy"));
      },
    }),
  });
  const { appender, secret } = await started(here, "one\n");
  const { resource: { id } } = appender;
  await here.resources.interrupt(appender, gone());
  failing = true;
  await assertFails("NOT_READY", () => here.resources.resume(id, secret));
  const again = await resumed(here, id, secret);
  await again.complete(await checksumOf(utf8("one\n")));
});

test("an owner who missed the end of its upload is told what was completed", async () => {
  await using here = world(WINDOW);
  const { appender, secret } = await started(here, "one\n");
  const completed = await appender.complete(await checksumOf(utf8("one\n")));
  assertEquals(await here.resources.resume(appender.resource.id, secret), { completed });
});

test("a later process takes up uploads, their digests too, and waits for their owners", async () => {
  await using earlier = world({ ...WINDOW, checkpointIntervalMs: 0 });
  const { appender, secret } = await started(earlier, "one\n");
  const { resource: { id } } = appender;
  appender.append(utf8("two\nth"));
  await statusWhere(appender.resource, ({ currentSize }) => currentSize === 10);
  assertEquals((await earlier.catalog.get(id))?.digestState?.byteOffset, 4);

  await using later = successor(earlier, WINDOW);
  assertEquals(await later.resources.recover(), 1);
  const { status } = await later.resources.get(id);
  assertEquals([status.transferStatus, status.currentSize, status.numberOfLines, status.epoch], [
    "IN_PROGRESS",
    10,
    2,
    2,
  ]);
  const owner = await resumed(later, id, secret);
  assertEquals([owner.received, owner.digestAlgorithm], [10, "xxh128"]);
  owner.append(utf8("ree"));
  await owner.complete(await checksumOf(utf8("one\ntwo\nthree")), 13);
});

test("closing leaves uploads that can be resumed to a later process", async () => {
  await using earlier = world({ ...WINDOW, checkpointIntervalMs: 3_600_000 });
  const { appender: first, secret } = await started(earlier, "one\n");
  const { appender: second } = await started(earlier, "interrupted before");
  first.append(utf8("two\n"));
  await earlier.resources.interrupt(second, gone());
  await earlier.resources.close();
  await using later = successor(earlier, WINDOW);
  assertEquals(await later.resources.recover(), 2);
  const owner = await resumed(later, first.resource.id, secret);
  assertEquals(owner.received, 8);
  await owner.complete(await checksumOf(utf8("one\ntwo\n")));
});

test("an upload whose log is gone is deleted by force", async () => {
  await using here = world();
  const { appender } = await here.resources.register(registration({ ownedBy: "ANYBODY" }));
  const { id } = appender.resource;
  await here.resources.interrupt(appender, new StreamError("INTERRUPTED", "nobody came"));
  await here.storage.delete(id);
  await here.resources.delete(id, { force: true });
  assertEquals(await here.catalog.get(id), null);
});
