/** What a process leaves of a deletion, or of a registration, in the middle of which it is killed. */
import { test } from "node:test";
import { existsSync } from "node:fs";
import { copyFile, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { assertEquals } from "@std/assert";
import type { Catalog } from "../../src/catalog.ts";
import { SqliteCatalog } from "../../src/catalog/sqlite.ts";
import { StreamError } from "../../src/protocol.ts";
import { Resources } from "../../src/resources.ts";
import { FileStorage } from "../../src/storage/file.ts";
import { logPath } from "../../src/storage/layout.ts";
import { findFiles } from "../../src/storage/verify.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes } from "../helpers/frames/connection.ts";
import { checksumOf, readAll, registration } from "../helpers/resources.ts";
import { override } from "../helpers/storage.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const ID = "0e9b1f00-0000-4000-8000-000000000001";
const CONTENT = utf8("one\ntwo\n");

/** A data directory, and the processes that use it one after the other. */
async function place() {
  const directory = await temporaryDirectory();
  const { path } = directory;
  return {
    path,
    log: logPath(path, ID),
    /** A process, which dies with whatever it is at. */
    start({ storage = {}, catalog = {} }: {
      storage?: Partial<FileStorage>;
      catalog?: Partial<Catalog>;
    } = {}): Resources {
      return new Resources({
        storage: override(new FileStorage(path), storage),
        catalog: override<Catalog>(new SqliteCatalog(join(path, "catalog.sqlite")), catalog),
      });
    },
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

async function finish(resources: Resources): Promise<void> {
  const { appender } = await resources.register(registration({ id: ID }));
  appender.append(CONTENT);
  await appender.complete(await checksumOf(CONTENT), CONTENT.length);
}

/** Reads what the id has. */
async function read(resources: Resources): Promise<Uint8Array> {
  await using opened = await resources.open(ID);
  return await readAll(opened.resource);
}

/** Deletes the resource in a process that is killed when its record is gone. */
async function killInDeletion(here: Awaited<ReturnType<typeof place>>): Promise<void> {
  const { promise: killed, resolve } = Promise.withResolvers<void>();
  const dying = here.start({
    storage: {
      delete: () => {
        resolve();
        return new Promise(() => {});
      },
    },
  });
  await finish(dying);
  void dying.delete(ID);
  await killed;
}

test("a start finishes a deletion in the middle of which a process was killed", async () => {
  await using here = await place();
  await killInDeletion(here);
  assertEquals(existsSync(here.log), true);
  const next = here.start();
  await next.recover();
  assertEquals(existsSync(here.log), false);
  assertEquals((await Array.fromAsync(findFiles(here.path))).length, 0);
  assertEquals(await readdir(join(here.path, "deleted")), []);
  await finish(next);
  assertBytes(await read(next), CONTENT);
  await next.close();
});

test("a start deletes nothing whose record is still there", async () => {
  await using here = await place();
  const { promise: killed, resolve } = Promise.withResolvers<void>();
  const dying = here.start({
    catalog: {
      delete: () => {
        resolve();
        return new Promise(() => {});
      },
    },
  });
  await finish(dying);
  void dying.delete(ID);
  await killed;
  for (let starts = 0; starts < 2; starts++) {
    const next = here.start();
    await next.recover();
    assertBytes(await read(next), CONTENT);
    await next.close();
  }
  assertEquals(await readdir(join(here.path, "deleted")), []);
});

test("a start deletes nothing whose record was only lost, also where its deletion was refused before", async () => {
  await using here = await place();
  const held = new StreamError("NOT_READY", "another process holds the catalog");
  const first = here.start({ catalog: { delete: () => Promise.reject(held) } });
  await finish(first);
  await assertFails("NOT_READY", () => first.delete(ID));
  await first.close();
  await rename(join(here.path, "catalog.sqlite"), join(here.path, "lost"));
  const next = here.start();
  await next.recover();
  assertEquals(existsSync(here.log), true);
  await assertFails("CONFLICT", () => next.register(registration({ id: ID })));
  await next.close();
});

test("a start does not take what an id has now for what it had when a process was killed", async () => {
  await using here = await place();
  await killInDeletion(here);
  // As a restore does it.
  await copyFile(here.log, `${here.log}.new`);
  await rename(`${here.log}.new`, here.log);
  const next = here.start();
  await next.recover();
  assertEquals(existsSync(here.log), true);
  assertEquals(await readdir(join(here.path, "deleted")), []);
  await next.close();
});

test("an id can be used whose registration was killed before it had a record", async () => {
  await using here = await place();
  const { promise: killed, resolve } = Promise.withResolvers<void>();
  const dying = here.start({
    catalog: {
      create: () => {
        resolve();
        return new Promise(() => {});
      },
    },
  });
  void dying.register(registration({ id: ID }));
  await killed;
  assertEquals(existsSync(here.log), true);
  const next = here.start();
  await next.recover();
  await finish(next);
  assertBytes(await read(next), CONTENT);
  await next.close();
});

/** Begins an upload of the id and completes it without a byte. */
async function finishEmpty(resources: Resources): Promise<void> {
  const { appender } = await resources.register(registration({ id: ID }));
  await appender.complete(await checksumOf(new Uint8Array(0)), 0);
}

test("an empty resource is not taken for what a registration left by who asked before it had a record", async () => {
  await using here = await place();
  const catalog = new SqliteCatalog(join(here.path, "catalog.sqlite"));
  let looks = 0;
  const resources = here.start({
    catalog: { get: async (id) => ++looks === 2 ? null : await catalog.get(id) },
  });
  await finishEmpty(resources);
  looks = 1;
  await assertFails("CONFLICT", () => resources.register(registration({ id: ID })));
  assertEquals(existsSync(here.log), true);
  await resources.close();
  await catalog.close();
});

test("an id is used again only when what it had is deleted, though that was empty", async () => {
  await using here = await place();
  const gone = Promise.withResolvers<void>();
  const letGo = Promise.withResolvers<void>();
  const storage = new FileStorage(here.path);
  const resources = here.start({
    storage: {
      delete: async (id) => {
        gone.resolve();
        await letGo.promise;
        return await storage.delete(id);
      },
    },
  });
  await finishEmpty(resources);
  const deleting = resources.delete(ID);
  await gone.promise;
  await assertFails("CONFLICT", () => finish(resources));
  letGo.resolve();
  await deleting;
  await finish(resources);
  assertBytes(await read(resources), CONTENT);
  assertEquals((await stat(here.log)).size, CONTENT.length);
  await resources.close();
});

test("an empty log that somebody appends to is not deleted for being empty", async () => {
  await using here = await place();
  const storage = new FileStorage(here.path);
  const log = await storage.create(ID, { lineAccess: false, epoch: 1 });
  assertEquals(await storage.deleteLeft(ID), false);
  await log.append(0, [CONTENT]);
  await log.close();
  assertEquals(await storage.deleteLeft(ID), false);
  assertEquals((await stat(here.log)).size, CONTENT.length);
});
