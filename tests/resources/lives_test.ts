/** Ids that are used again, on nodes that do not hear of it: nothing of one life is told, or done, under the record of another. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { Catalog } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import type { Resources } from "../../src/resources.ts";
import { sweep } from "../../src/resources/retention.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes } from "../helpers/frames/connection.ts";
import { gone, RESUMABLE, resumeOn, write } from "../helpers/node_uploads.ts";
import { Cluster } from "../helpers/nodes.ts";
import { checksumOf, readAll } from "../helpers/resources.ts";

const ID = crypto.randomUUID();

async function uploading(node: Resources, text: string) {
  const upload = await node.register({ ...RESUMABLE, id: ID });
  await write(upload.appender, text);
  return upload;
}

async function completed(node: Resources, text: string): Promise<void> {
  const { appender } = await uploading(node, text);
  await appender.complete(await checksumOf(utf8(text)));
}

/** A catalog that does what a test says before or after one of its calls, and tells nobody of changes. */
function deaf(cluster: Cluster, given: Partial<Catalog> = {}): Catalog {
  const catalog = new MemoryCatalog(cluster.records);
  return new Proxy<Catalog>(catalog, {
    get(_, name) {
      if (name === "watch") return () => () => {};
      const method = given[name as keyof Catalog] ?? catalog[name as keyof MemoryCatalog];
      return typeof method === "function" ? method.bind(catalog) : method;
    },
  });
}

test("a record that is believed still is none of the next life's log", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const b = cluster.node("b", { catalog: deaf(cluster) });
  await completed(a, "old\n");
  const view = await b.get(ID);
  await a.delete(ID);
  await completed(a, "new, and longer\n");
  await using opened = await b.open(ID, view);
  await assertFails("NOT_FOUND", () => readAll(opened.resource));
});

test("who has a resource open when its id is used again has the old one, and who comes then the new one", async () => {
  await using cluster = new Cluster((tell) => void queueMicrotask(tell));
  const a = cluster.node("a");
  const b = cluster.node("b", { catalog: deaf(cluster) });
  await completed(a, "old\n");
  await using old = await b.open(ID);
  await a.delete(ID);
  const { appender } = await uploading(a, "new\n");
  const { status } = await b.get(ID);
  assertEquals([status.life, status.transferStatus], [
    appender.resource.status.life,
    "IN_PROGRESS",
  ]);
  await using opened = await b.open(ID, await b.get(ID));
  assertEquals([old.resource.deleted, opened.resource.deleted], [true, false]);
  assertEquals(old.resource.status.transferStatus, "COMPLETED");
  assertBytes(await opened.resource.read(0, 4), utf8("new\n"));
});

for (const isUsedAgain of [false, true]) {
  const after = isUsedAgain ? ", also where its id is used again" : "";
  test(`who opens what is deleted at that moment waits for nothing${after}`, async () => {
    await using cluster = new Cluster();
    const a = cluster.node("a");
    const catalog = new MemoryCatalog(cluster.records);
    let looks = 0;
    const b = cluster.node("b", {
      catalog: deaf(cluster, {
        async get(id) {
          const record = await catalog.get(id);
          if (++looks !== 1) return record;
          await a.delete(ID, { force: true });
          if (isUsedAgain) await uploading(a, "new\n");
          return record;
        },
      }),
    });
    await uploading(a, "old\n");
    await assertFails("NOT_FOUND", () => b.open(ID));
  });
}

test("who deletes an upload by force ends no other one that has its id since", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const catalog = new MemoryCatalog(cluster.records);
  let looks = 0;
  let next: Awaited<ReturnType<typeof uploading>> | undefined;
  const b = cluster.node("b", {
    catalog: deaf(cluster, {
      async get(id) {
        // The first look is at what is to be deleted, the second at what is to be ended before.
        if (++looks !== 2) return await catalog.get(id);
        await a.delete(ID, { force: true });
        next = await uploading(a, "new\n");
        return await catalog.get(id);
      },
    }),
  });
  await uploading(a, "old\n");
  await assertFails("NOT_FOUND", () => b.delete(ID, { force: true }));
  await next!.appender.complete(await checksumOf(utf8("new\n")));
});

test("the secret of an upload that was deleted is none of the next one with its id", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const catalog = new MemoryCatalog(cluster.records);
  let looks = 0;
  const b = cluster.node("b", {
    catalog: deaf(cluster, {
      async get(id) {
        const record = await catalog.get(id);
        if (++looks !== 1) return record;
        await a.delete(ID, { force: true });
        await uploading(a, "new\n");
        return record;
      },
    }),
  });
  const { secret } = await uploading(a, "old\n");
  await assertFails("NOT_OWNER", () => b.resume(ID, secret));
});

test("a takeover of what is deleted at that moment leaves the next upload with its id alone", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const catalog = new MemoryCatalog(cluster.records);
  let next: Awaited<ReturnType<typeof uploading>> | undefined;
  const b = cluster.node("b", {
    catalog: deaf(cluster, {
      async update(id, revision, change) {
        const updated = await catalog.update(id, revision, change);
        if (next !== undefined) return updated;
        await a.delete(ID, { force: true });
        next = await uploading(a, "new\n");
        return updated;
      },
    }),
  });
  const { secret } = await uploading(a, "old\n");
  await assertFails("NOT_FOUND", () => b.resume(ID, secret));
  assert(next !== undefined);
  await write(next.appender, "more\n");
  await next.appender.complete(await checksumOf(utf8("new\nmore\n")));
});

test("an upload that waited has no say in the digest of the next one with its id", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const b = cluster.node("b", { catalog: deaf(cluster) });
  const old = await uploading(b, "old\n");
  await b.interrupt(old.appender, gone());
  await a.delete(ID, { force: true });
  const upload = await uploading(a, "new\n");
  await a.interrupt(upload.appender, gone());
  const resumed = await resumeOn(b, upload);
  await write(resumed, "more\n");
  await resumed.complete(await checksumOf(utf8("new\nmore\n")));
});

test("retention deletes what it found, and not what has its id since", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  await completed(a, "old\n");
  const found = await a.list({ limit: 9 });
  await a.delete(ID);
  await completed(a, "new\n");
  const behind = {
    totalBytes: 4,
    list: () => Promise.resolve([]),
    listEnded: () => Promise.resolve(found),
    delete: (id: string, options?: { life: string }) => a.delete(id, options),
  };
  const { deleted } = await sweep(behind, { retentionMs: 1 }, Date.now());
  assertEquals(deleted, 0);
  assertEquals((await a.get(ID)).status.currentSize, 4);
});

test("a node that believes a record still deletes what has its id now", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const b = cluster.node("b", { catalog: deaf(cluster) });
  await completed(a, "old\n");
  await b.get(ID);
  await a.delete(ID);
  await completed(a, "new\n");
  await b.delete(ID);
  await assertFails("NOT_FOUND", () => a.get(ID));
});

test("a change that was meant for one life of an id changes nothing of the next", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const catalog = new MemoryCatalog(cluster.records);
  await a.register({ ...RESUMABLE, id: ID });
  const old = await catalog.get(ID);
  await a.delete(ID, { force: true });
  await a.register({ ...RESUMABLE, id: ID });
  await assertFails("CONFLICT", () => catalog.update(ID, old!.revision, { size: 7 }));
  assertEquals((await catalog.get(ID))?.size, 0);
});
