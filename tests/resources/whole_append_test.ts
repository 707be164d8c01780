/** Uploads that are anybody's, and appends that count whole or not at all. */
import { appendFile, readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { Catalog } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { SqliteCatalog } from "../../src/catalog/sqlite.ts";
import { StreamError } from "../../src/protocol.ts";
import { type Appender, Resources, type ResourcesOptions } from "../../src/resources.ts";
import type { Storage } from "../../src/storage.ts";
import { FileStorage } from "../../src/storage/file.ts";
import { logPath } from "../../src/storage/layout.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { Cluster } from "../helpers/nodes.ts";
import { readAll, registration, statusWhere, world } from "../helpers/resources.ts";
import { changed, override } from "../helpers/storage.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const ANYBODYS = registration({ ownedBy: "ANYBODY", annotation: "none" });
const decoded = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const gone = () => new StreamError("INTERRUPTED", "nobody came");

/** A place for logs and records that outlives those who work there. */
interface Place {
  storage: Storage;
  catalog: Catalog;
  /** Path of a log; null in memory. */
  path(id: string): string | null;
}

/** The same behaviour in memory and in files. */
function both(behaviour: string, check: (place: Place) => Promise<void>): void {
  test(`memory: ${behaviour}`, () =>
    check({ storage: new MemoryStorage(), catalog: new MemoryCatalog(), path: () => null }));
  test(`files: ${behaviour}`, async () => {
    await using directory = await temporaryDirectory();
    const catalog = new SqliteCatalog(join(directory.path, "catalog.sqlite"));
    const path = (id: string) => logPath(directory.path, id);
    try {
      await check({ storage: new FileStorage(directory.path), catalog, path });
    } finally {
      await catalog.close();
    }
  });
}

async function resumed(resources: Resources, id: string): Promise<Appender> {
  const found = await resources.resume(id, null);
  if ("completed" in found) throw new Error(`${id} is completed`);
  return found.appender;
}

/** What is there for whoever takes the upload over, and that it goes on. */
async function assertStands(place: Place, id: string, text: string, annotation: string) {
  await using next = world(place);
  await next.resources.recover();
  const record = await place.catalog.get(id);
  assertEquals(record?.annotation, annotation, "what recovery found");
  const upload = await resumed(next.resources, id);
  assertEquals(upload.annotation, annotation);
  assertEquals(decoded(await readAll(upload.resource)), text);
  await upload.appendWhole(utf8("more\n"), "more");
  assertEquals(decoded(await readAll(upload.resource)), `${text}more\n`);
  assertEquals(upload.resource.status.numberOfLines, `${text}more`.split("\n").length);
  const path = place.path(id);
  if (path !== null) assertEquals(await readFile(path, "utf8"), `${text}more\n`);
}

/** A process that stops for good at a step of storage: what it has done stays. */
function stopping(place: Place, stopsAt: "before" | "after"): {
  options: ResourcesOptions;
  stop(): void;
  stopped: Promise<void>;
} {
  let isArmed = false;
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  const forever = () => {
    resolve();
    return new Promise<never>(() => {});
  };
  const storage = changed(place.storage, {
    writer: (log) => ({
      append: async (...given) => {
        if (!isArmed) return await log.append(...given);
        if (stopsAt === "after") await log.append(...given);
        return await forever();
      },
    }),
  });
  return {
    options: { storage, catalog: place.catalog },
    stop: () => void (isArmed = true),
    stopped,
  };
}

both("an append can be read once it counts, with its annotation", async (place) => {
  await using here = world(place);
  const { appender, secret } = await here.resources.register(ANYBODYS);
  assertEquals(secret, null);
  await appender.appendWhole(utf8("one\n"), "first");
  assertEquals(appender.resource.status.currentSize, 4);
  assertEquals(appender.annotation, "first");
  await Promise.all([
    appender.appendWhole(utf8("two\n"), "second"),
    appender.appendWhole(utf8("three\n"), "third"),
  ]);
  assertEquals(decoded(await readAll(appender.resource)), "one\ntwo\nthree\n");
  await here.resources.interrupt(appender, gone());
  assertEquals((await here.resources.get(appender.resource.id)).annotation, "third");
});

both("an append whose process stops before its bytes never was", async (place) => {
  const process = stopping(place, "before");
  const first = new Resources(process.options);
  const { appender } = await first.register(ANYBODYS);
  await appender.appendWhole(utf8("one\n"), "first");
  process.stop();
  void appender.appendWhole(utf8("two\n"), "second");
  await process.stopped;
  const { id } = appender.resource;
  assertEquals((await place.catalog.get(id))?.intent?.annotation, "second");
  await assertStands(place, id, "one\n", "first");
});

both(
  "an append whose process stops behind its bytes counts, with its annotation",
  async (place) => {
    const process = stopping(place, "after");
    const first = new Resources(process.options);
    const { appender } = await first.register(ANYBODYS);
    await appender.appendWhole(utf8("one\n"), "first");
    process.stop();
    void appender.appendWhole(utf8("two\n"), "second");
    await process.stopped;
    const { id } = appender.resource;
    assertEquals((await place.catalog.get(id))?.annotation, "first", "the record does not know");
    await assertStands(place, id, "one\ntwo\n", "second");
  },
);

both("an append whose process stops after it stands", async (place) => {
  const first = new Resources(place);
  const { appender } = await first.register(ANYBODYS);
  await appender.appendWhole(utf8("one\n"), "first");
  await assertStands(place, appender.resource.id, "one\n", "first");
});

test("files: of an append that was torn at any byte nothing is left", async () => {
  for (let torn = 1; torn < 8; torn++) {
    await using directory = await temporaryDirectory();
    const catalog = new MemoryCatalog();
    const path = (id: string) => logPath(directory.path, id);
    const place = { storage: new FileStorage(directory.path), catalog, path };
    const process = stopping(place, "before");
    const first = new Resources(process.options);
    const { appender } = await first.register(ANYBODYS);
    await appender.appendWhole(utf8("one\n"), "first");
    process.stop();
    void appender.appendWhole(utf8("two\nfour"), "second");
    await process.stopped;
    const { id } = appender.resource;
    await appendFile(path(id), "two\nfour".slice(0, torn));
    await assertStands(place, id, "one\n", "first");
  }
});

test("files: a log that lost more than the last append keeps what it has", async () => {
  await using directory = await temporaryDirectory();
  const path = (id: string) => logPath(directory.path, id);
  const place = { storage: new FileStorage(directory.path), catalog: new MemoryCatalog(), path };
  const first = new Resources(place);
  const { appender } = await first.register(ANYBODYS);
  await appender.appendWhole(utf8("one\n"), "first");
  await appender.appendWhole(utf8("two\n"), "second");
  await truncate(path(appender.resource.id), 2);
  await assertStands(place, appender.resource.id, "on", "first");
});

test("files: a log that lost appends goes on behind them, and is FAILED when it is closed", async () => {
  await using directory = await temporaryDirectory();
  await using here = world({ storage: new FileStorage(directory.path) });
  const { appender } = await here.resources.register(ANYBODYS);
  const { id } = appender.resource;
  await appender.appendWhole(utf8("one\n"), "first");
  await appender.appendWhole(utf8("two\n"), "second");
  await here.resources.interrupt(appender, gone());
  // As a backup of the log has it that is older than that of the catalog.
  await truncate(logPath(directory.path, id), 4);
  const next = await resumed(here.resources, id);
  await next.appendWhole(utf8("three\n"), "third");
  await here.resources.interrupt(next, gone());
  const last = await resumed(here.resources, id);
  await assertFails("OFFSET_LOST", () => last.complete(null));
  assertEquals((await here.resources.get(id)).status.transferStatus, "FAILED");
});

both("an append that a quota refuses leaves everything as it was", async (place) => {
  await using here = world({ ...place, maxResourceBytes: 8 });
  const { appender } = await here.resources.register(ANYBODYS);
  await appender.appendWhole(utf8("one\n"), "first");
  await assertFails("QUOTA_EXCEEDED", () => appender.appendWhole(utf8("three\n"), "second"));
  assertEquals(appender.annotation, "first");
  await appender.appendWhole(utf8("two\n"), "second");
  assertEquals(decoded(await readAll(appender.resource)), "one\ntwo\n");
});

test("an append that the record cannot tell of is not made, and everything is as before", async () => {
  const inner = new MemoryCatalog();
  let isBroken = false;
  const catalog = override<Catalog>(inner, {
    update: (id, revision, change) => {
      if (!isBroken || change.intent === null) return inner.update(id, revision, change);
      throw new StreamError("STORAGE_FAILED", "the catalog is gone");
    },
  });
  await using here = world({ catalog });
  const { appender } = await here.resources.register(ANYBODYS);
  await appender.appendWhole(utf8("one\n"), "first");
  isBroken = true;
  await assertFails("NOT_READY", () => appender.appendWhole(utf8("two\n"), "second"));
  const { annotation, status } = await here.resources.get(appender.resource.id);
  assertEquals([annotation, status.currentSize], ["first", 4]);
  isBroken = false;
  await appender.appendWhole(utf8("two\n"), "second");
  assertEquals(decoded(await readAll(appender.resource)), "one\ntwo\n");
});

both("an append that the disk refuses is not made, and the next owner goes on", async (place) => {
  let isFull = false;
  const storage = changed(place.storage, {
    writer: (log) => ({
      append: async (...given) => {
        if (isFull) throw new StreamError("STORAGE_FAILED", "no space is left on the device");
        await log.append(...given);
      },
    }),
  });
  const here = world({ ...place, storage });
  const { appender } = await here.resources.register(ANYBODYS);
  await appender.appendWhole(utf8("one\n"), "first");
  isFull = true;
  await assertFails("STORAGE_FAILED", () => appender.appendWhole(utf8("two\n"), "second"));
  isFull = false;
  const { id } = appender.resource;
  const next = await resumed(here.resources, id);
  assertEquals(next.annotation, "first");
  await next.appendWhole(utf8("three\n"), "second");
  await here.resources.close();
  await assertStands(place, id, "one\nthree\n", "second");
});

both(
  "what is anybody's waits without an end, costs no place, and goes on without a secret",
  async (place) => {
    await using here = world({ ...place, resumeWindowMs: 1, maxUploads: 1 });
    const { appender } = await here.resources.register(ANYBODYS);
    await appender.appendWhole(utf8("one\n"), "first");
    await here.resources.interrupt(appender, gone());
    assertEquals(here.resources.uploads, 0);
    const { id } = appender.resource;
    const { owner } = (await place.catalog.get(id))!;
    assertEquals(owner, null);
    assertEquals(await here.resources.recover(), 0, "nothing is to be brought in line");
    const next = await resumed(here.resources, id);
    assertEquals(next.annotation, "first");
    await next.appendWhole(utf8("two\n"), "second");
    await next.complete(null);
    const { status, annotation } = await here.resources.get(id);
    assertEquals([status.transferStatus, status.currentSize], ["COMPLETED", 8]);
    assertEquals(annotation, "second");
    assertEquals("completed" in await here.resources.resume(id, null), true);
  },
);

test("what somebody owns is refused without the secret", async () => {
  await using here = world();
  for (const ownedBy of ["CONNECTION", "SECRET"] as const) {
    const { appender } = await here.resources.register(registration({ ownedBy }));
    await assertFails("NOT_OWNER", () => here.resources.resume(appender.resource.id, null));
  }
});

test("what is anybody's goes from node to node, and its annotation with it", async () => {
  await using cluster = new Cluster();
  const nodes = [cluster.node("a"), cluster.node("b")];
  await Promise.all(nodes.map((node) => node.recover()));
  const { appender } = await nodes[0].register(ANYBODYS);
  const { id } = appender.resource;
  let text = "";
  for (let turn = 0; turn < 6; turn++) {
    const upload = await resumed(nodes[turn % 2], id);
    assertEquals(upload.annotation, turn === 0 ? "none" : `turn ${turn - 1}`);
    await upload.appendWhole(utf8(`${turn}\n`), `turn ${turn}`);
    text += `${turn}\n`;
    await statusWhere(upload.resource, ({ currentSize }) => currentSize === text.length);
    assertEquals(decoded(await readAll(upload.resource)), text);
  }
});

test("a deleted id is used again while somebody still follows the old one", async () => {
  await using here = world();
  const { appender } = await here.resources.register({ ...ANYBODYS, id: crypto.randomUUID() });
  const { id } = appender.resource;
  await appender.appendWhole(utf8("old\n"), "old");
  await using follower = await here.resources.open(id);
  await here.resources.delete(id, { force: true });
  assertEquals(follower.resource.deleted, true);
  const second = await here.resources.register({ ...ANYBODYS, id });
  await second.appender.appendWhole(utf8("new one\n"), "new");
  await using opened = await here.resources.open(id);
  assertEquals(decoded(await readAll(opened.resource)), "new one\n");
  await assertFails("DELETED", () => follower.resource.read(0, 4));
});
