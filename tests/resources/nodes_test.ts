/** Several nodes over the same storage and catalog: what one does, all see, and each upload has one owner. */
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { Catalog } from "../../src/catalog.ts";
import { MemoryCatalog, MemoryRecords } from "../../src/catalog/memory.ts";
import { push, resumePush } from "../../src/client.ts";
import {
  parseReference,
  type ResourceStatus,
  StreamError,
  SUBPROTOCOL,
  UPLOAD_PATH,
} from "../../src/protocol.ts";
import type { ResourceEvent, Resources } from "../../src/resources.ts";
import type { Appender, OwnedUpload } from "../../src/resources.ts";
import { contextEvents } from "../../src/server/http/events.ts";
import { References } from "../../src/server/references.ts";
import type { Storage } from "../../src/storage.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { framesRuntime } from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes, eventually, within } from "../helpers/frames/connection.ts";
import { Cluster, LEASE_MS, sluggish } from "../helpers/nodes.ts";
import { withChance } from "../helpers/random.ts";
import {
  eventsOf,
  followElsewhere,
  gone,
  hopBetween,
  isOver,
  ofSize,
  RESUMABLE,
  resumeOn,
  typesOf,
  wander,
  write,
} from "../helpers/node_uploads.ts";
import { checksumOf, readAll, registration, statusWhere } from "../helpers/resources.ts";
import { RawClient, startServer, type TestServer } from "../helpers/server.ts";
import { changed, override } from "../helpers/storage.ts";

/** An upload on a node, with a text that can be read there. */
async function uploading(node: Resources, text: string, given = RESUMABLE): Promise<OwnedUpload> {
  const upload = await node.register(given);
  await write(upload.appender, text);
  return upload;
}

/** What its owner was told of a failure. */
function failureOf(appender: Appender): Promise<StreamError> {
  return new Promise((resolve) => appender.listen({ acknowledged: () => {}, failed: resolve }));
}

/** Two servers over the same data. */
async function servers(cluster: Cluster): Promise<[TestServer, TestServer]> {
  return [await startServer(cluster.options("a")), await startServer(cluster.options("b"))];
}

test("what is pushed to one node is followed on the other: bytes, statuses, end and digest", async () => {
  await using cluster = new Cluster();
  const [a, b] = await servers(cluster);
  await using _a = a;
  await using _b = b;
  await followElsewhere(a, b);
});

test("an upload goes on at the other node when its client gets there, with every byte once", async () => {
  await using cluster = new Cluster();
  const [a, b] = await servers(cluster);
  await using _a = a;
  await using _b = b;
  await hopBetween(a, b, 6);
});

test("resuming elsewhere takes over at once: the old uploader is FENCED, and nothing FAILED", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const events = eventsOf(a);
  const upload = await uploading(a, "one\n");
  const { resource } = upload.appender;
  await using opened = await a.open(resource.id);
  const told = failureOf(upload.appender);
  const later = await resumeOn(b, upload);
  assertEquals([later.received, later.epoch], [4, 2]);
  upload.appender.append(utf8("lost\n"));
  assertEquals((await within("the fence", told)).code, "FENCED");
  await assertFails("FENCED", () => upload.appender.complete(""));
  await write(later, "two\n");
  // Whoever follows on the old node goes on with what the tail brings.
  const { status } = opened.resource;
  assertEquals((await statusWhere(opened.resource, ofSize(8))).epoch, 2);
  assert(status.currentSize >= 4);
  await later.complete(await checksumOf(utf8("one\ntwo\n")), 8);
  assertEquals((await statusWhere(opened.resource, isOver)).transferStatus, "COMPLETED");
  assertBytes(await readAll(opened.resource), utf8("one\ntwo\n"));
  await eventually("the end there", () => typesOf(events).includes("COMPLETED"));
  assertEquals(typesOf(events).includes("FAILED"), false);
  assertEquals([a.uploads, b.uploads], [0, 0]);
});

test("an uploader that is connected to the old node is told FENCED, and only of what it sent itself", async () => {
  await using cluster = new Cluster();
  const [a, b] = await servers(cluster);
  await using _a = a;
  await using _b = b;
  using older = await RawClient.open(`${a.ws}${UPLOAD_PATH}`, SUBPROTOCOL);
  older.say({ "@": "StartUpload", metadata: RESUMABLE.metadata, digests: ["xxh128"] });
  const { id, secret } = await older.inbox.next("ReadyForUpload");
  older.give(utf8("one\n"));
  await older.inbox.next("StatusChanged");
  using newer = await RawClient.open(`${b.ws}${UPLOAD_PATH}`, SUBPROTOCOL);
  newer.say({ "@": "ResumeUpload", id: id!, secret: secret! });
  const { offset, epoch } = await newer.inbox.next("ReadyForUpload");
  assertEquals([offset, epoch], [4, 2]);
  assertEquals((await older.inbox.next("Error")).code, "FENCED");
  assertEquals((await older.inbox.close()).code, 1008);
  newer.give(utf8("two\n"));
  await newer.inbox.next("StatusChanged");
  const epochs = older.inbox.all("StatusChanged").map(({ resourceStatus }) =>
    (resourceStatus as ResourceStatus).epoch
  );
  assertEquals(new Set(epochs), new Set([1]));
  newer.say({ "@": "FinishUpload", checksum: await checksumOf(utf8("one\ntwo\n")) });
  assertEquals((await newer.inbox.next("UploadAcknowledged")).size, 8);
});

test("completing on one node while another takes over ends in one COMPLETED, and nobody else is told it is", async () => {
  for (let turns = 0; turns < 8; turns++) {
    await using cluster = new Cluster();
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    const upload = await uploading(a, "one\n");
    const checksum = await checksumOf(utf8("one\n"));
    const completing = upload.appender.complete(checksum, 4).then(
      () => null,
      (error) => error.code,
    );
    for (let waited = 0; waited < turns; waited++) await turn();
    const resumed = await b.resume(upload.appender.resource.id, upload.secret!);
    const refusal = await completing;
    if ("completed" in resumed) assertEquals([refusal, resumed.completed.size], [null, 4]);
    else {
      assertEquals(refusal, "FENCED");
      await resumed.appender.complete(checksum, 4);
    }
    const { status } = await b.get(upload.appender.resource.id);
    assertEquals(status.transferStatus, "COMPLETED");
  }
});

for (const notices of ["at an append", "by news"]) {
  test(`an uploader whose node seemed to be gone comes back, and is not FENCED; noticed ${notices}`, async () => {
    await using cluster = new Cluster();
    const options = cluster.options("a");
    const catalog = options.catalog as Catalog;
    const deaf = { ...options, catalog: override(catalog, { watch: () => () => {} }) };
    await using server = await startServer(notices === "by news" ? options : deaf);
    const upload = await push(server.url, RESUMABLE.metadata);
    const writer = upload.writable.getWriter();
    await writer.write(utf8("one\n"));
    const { id } = parseReference(upload.reference);
    await eventually("the first line", () => cluster.records.records.get(id)?.size === 4);
    const b = cluster.node("b");
    assertEquals(await b.recover(), 0);
    cluster.nowMs += LEASE_MS;
    assertEquals(await b.recover(), 1);
    await writer.write(utf8("two\n"));
    await writer.close();
    assertEquals((await within("the end", upload.done)).size, 8);
    const { transferStatus, epoch } = cluster.records.records.get(id)!;
    assertEquals([transferStatus, epoch], ["COMPLETED", 3]);
    const bytes = await new Response(server.resources.read(id)).bytes();
    assertBytes(bytes, utf8("one\ntwo\n"));
  });
}

test("a node that heard nothing takes nothing over before owners had the time to be heard again", async () => {
  await using cluster = new Cluster();
  const leaseMs = 300;
  const inner: Catalog = new MemoryCatalog(cluster.records);
  let looks = 0, deafAtMs = 0;
  const looked = Promise.withResolvers<number>();
  const catalog = override(inner, {
    get lagMs() {
      if (looks++ >= 3) return 0;
      deafAtMs = performance.now();
      return 60_000;
    },
    list(query) {
      if (looks > 0) looked.resolve(performance.now());
      return inner.list(query);
    },
  });
  await cluster.node("b", { leaseMs, clock: Date.now, catalog }).recover();
  const afterMs = await within("a look at all uploads", looked.promise) - deafAtMs;
  assert(afterMs >= leaseMs, `${afterMs} ms after it was deaf`);
});

for (const [how, awayMs] of [["ahead", 2 * LEASE_MS], ["behind", -2 * LEASE_MS]] as const) {
  test(`a node whose clock is ${how} takes over what another does not renew, and nothing else`, async () => {
    await using cluster = new Cluster();
    const a = cluster.node("a");
    const b = cluster.node("b", { clock: () => cluster.nowMs + awayMs });
    const { appender } = await uploading(a, "one\n", registration());
    const events = eventsOf(a);
    for (let rounds = 0; rounds < 4; rounds++) {
      assertEquals(await b.recover(), 0);
      cluster.nowMs += LEASE_MS / 2;
      await appender.renew();
    }
    assertEquals([await b.recover(), typesOf(events)], [0, []]);
    cluster.nowMs += LEASE_MS;
    assertEquals(await b.recover(), 1);
  });

  test(`an upload that waits at a node whose clock is ${how} is resumed there, and elsewhere when it is gone`, async () => {
    await using cluster = new Cluster();
    const a = cluster.node("a", { clock: () => cluster.nowMs + awayMs });
    const b = cluster.node("b");
    const upload = await uploading(a, "one\n");
    await a.interrupt(upload.appender, gone());
    assertEquals(await b.recover(), 0);
    cluster.nowMs += LEASE_MS;
    assertEquals(await b.recover(), 0, "it waits for the window and a lease");
    cluster.nowMs += 60_000;
    assertEquals(await b.recover(), 1);
  });
}

test("uploads of a node that vanished are resumable when its lease runs out, then FAILED, once", async () => {
  await using cluster = new Cluster();
  const vanished = cluster.node("a");
  const nodes = [
    cluster.node("b", { resumeWindowMs: 300 }),
    cluster.node("c", { resumeWindowMs: 300 }),
  ];
  const events = nodes.map(eventsOf);
  const kept = await uploading(vanished, "kept\n");
  const lost = await uploading(vanished, "lost\n");
  const short = await uploading(vanished, "short", registration());
  const recoverAll = async () => {
    const counts = await Promise.all(nodes.map((node) => node.recover()));
    return counts[0] + counts[1];
  };
  assertEquals(await recoverAll(), 0, "the lease holds");
  cluster.nowMs += LEASE_MS - 1;
  assertEquals(await recoverAll(), 0, "the lease still holds");
  cluster.nowMs += 1;
  assertEquals(await recoverAll(), 3);
  assertEquals((await nodes[0].get(short.appender.resource.id)).status.transferStatus, "FAILED");
  const resumed = await resumeOn(nodes[1], kept);
  assertEquals(resumed.received, 5);
  const { id } = lost.appender.resource;
  for (const seen of events) {
    const isLost = (event: ResourceEvent) => event.type === "status" && event.id === id;
    await eventually(
      "the end",
      () =>
        seen.some((event) => isLost(event) && isOver((event as { status: ResourceStatus }).status)),
    );
  }
  const { status } = await nodes[0].get(id);
  assertEquals([status.transferStatus, status.currentSize], ["FAILED", 5]);
  assert(status.failure?.startsWith("INTERRUPTED: "), status.failure ?? "");
  await resumed.complete(await checksumOf(utf8("kept\n")));
  for (let turns = 0; turns < 10; turns++) await turn();
  for (const seen of events) {
    const ends = typesOf(seen.filter((event) => event.type === "status" && isOver(event.status)));
    assertEquals(ends.toSorted(), ["COMPLETED", "FAILED", "FAILED"]);
  }
});

test("leases are renewed in good time, and what runs out is taken over without being asked for", async () => {
  await using cluster = new Cluster();
  const options = { leaseMs: 1000, clock: Date.now, resumeWindowMs: 60_000 };
  const storage = new MemoryStorage(cluster.logs);
  const catalog = new MemoryCatalog(cluster.records);
  let dead = false;
  const buried = Promise.withResolvers<never>();
  const a = cluster.node("a", {
    ...options,
    storage,
    catalog: override(catalog, {
      update: (id, revision, change) =>
        dead ? buried.promise : catalog.update(id, revision, change),
    }),
  });
  const b = cluster.node("b", options);
  await Promise.all([a.recover(), b.recover()]);
  const { appender: { resource: { id } } } = await uploading(a, "idle\n");
  await delay(2500);
  const { owner, epoch } = (await catalog.get(id))!;
  assertEquals([owner?.node, epoch], ["a", 1]);
  dead = true;
  let taken = await catalog.get(id);
  for (let waits = 0; waits < 2000 && taken!.epoch === 1; waits++) {
    await delay(10);
    taken = await catalog.get(id);
  }
  dead = false;
  buried.reject(new StreamError("NOT_READY", "the node was dead"));
  assertEquals([taken?.owner?.node, taken?.epoch, taken?.transferStatus], ["b", 2, "IN_PROGRESS"]);
});

test("a node that is alone renews nothing, and takes its own over when it starts again", async () => {
  await using cluster = new Cluster();
  let updates = 0;
  const catalog = new MemoryCatalog(cluster.records);
  const counted = override(catalog, {
    update(id, revision, change) {
      updates++;
      return catalog.update(id, revision, change);
    },
  });
  const first = cluster.node("a", { catalog: counted, leaseMs: undefined });
  const { appender } = await uploading(first, "one\n");
  await delay(50);
  assertEquals(updates, 1);
  const again = cluster.node("a", { leaseMs: undefined });
  assertEquals(await again.recover(), 1);
  assertEquals((await again.get(appender.resource.id)).status.epoch, 2);
});

test("a node that shuts down leaves its uploads to whichever comes first", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const upload = await uploading(a, "one\n");
  const waiting = await uploading(a, "two\n");
  await a.interrupt(waiting.appender, gone());
  await a.close();
  assertEquals(await b.recover(), 2);
  assertEquals((await resumeOn(b, upload)).received, 4);
  assertEquals((await resumeOn(b, waiting)).received, 4);
});

test("an upload that waits on one node and is resumed on another is not FAILED by the first", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a", { resumeWindowMs: 50 });
  const b = cluster.node("b");
  const upload = await uploading(a, "one\n");
  await a.interrupt(upload.appender, gone());
  const later = await resumeOn(b, upload);
  await delay(100); // The window of the first is over.
  await write(later, "two\n");
  await later.complete(await checksumOf(utf8("one\ntwo\n")), 8);
  assertEquals((await a.get(later.resource.id)).status.transferStatus, "COMPLETED");
});

test("an upload that comes back to a node has the digest of what was appended elsewhere", async () => {
  await using cluster = new Cluster(sluggish(() => 20));
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const upload = await uploading(a, "one\n");
  await a.interrupt(upload.appender, gone());
  const later = await resumeOn(b, upload);
  later.append(utf8("two\n"));
  await b.interrupt(later, gone());
  const last = await resumeOn(a, upload);
  assertEquals(last.received, 8);
  await last.complete(await checksumOf(utf8("one\ntwo\n")), 8);
});

test("lists, statuses and contexts are the same on every node", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const given = registration({ contextId: "run", makeContext: true });
  const upload = await uploading(a, "one\n", given);
  // The record is up to a second behind; the tail is not.
  await write(upload.appender, "two\n");
  const { id } = upload.appender.resource;
  assertEquals((await b.get(id)).status, upload.appender.resource.status);
  assertEquals((await b.list({ limit: 9, contextId: "run" })).map((view) => view.id), [id]);
  assertEquals((await b.getContext("run")).closedAtMs, null);
  await a.closeContext("run");
  await assertFails("CONTEXT_CLOSED", () => b.register(given));
  await using opened = await b.open(id);
  assertBytes(await readAll(opened.resource), utf8("one\ntwo\n"));
});

test("registrations are in order across nodes, whatever their clocks say of the same moment", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const ids: string[] = [];
  for (let count = 0; count < 20; count++) {
    const { appender } = await (count % 2 === 0 ? a : b).register(registration());
    ids.push(appender.resource.id);
  }
  const listed = await a.list({ limit: 99, order: "oldest" });
  assertEquals(listed.map(({ id }) => id), ids);
});

test("what happens on one node is told on all: created, status, deleted; refusals stay where they are", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a", { maxResourceBytes: 10 }), cluster.node("b")];
  const [onA, onB] = [eventsOf(a), eventsOf(b)];
  const { appender } = await uploading(a, "one\n");
  await appender.complete(await checksumOf(utf8("one\n")));
  await a.delete(appender.resource.id);
  await assertFails(
    "QUOTA_EXCEEDED",
    () => a.register({ ...registration(), announced: { size: 11, checksum: null } }),
  );
  await eventually("the deletion there", () => typesOf(onB).includes("deleted"));
  assertEquals(typesOf(onA), ["created", "IN_PROGRESS", "COMPLETED", "deleted", "refused"]);
  assertEquals(typesOf(onB), ["created", "IN_PROGRESS", "COMPLETED", "deleted"]);
});

test("what a server counts of its own work leaves out that of other nodes", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const seen: ResourceEvent[] = [];
  b.listen((event) => seen.push(event), { onlyHere: true });
  const all = eventsOf(b);
  const { appender } = await uploading(a, "one\n");
  await appender.complete(await checksumOf(utf8("one\n")));
  const own = await b.register(registration());
  await eventually("the end there", () => typesOf(all).includes("COMPLETED"));
  assertEquals(seen.map((event) => event.type === "created" && event.id), [
    own.appender.resource.id,
  ]);
});

test("an id that is used again before a node heard of the deletion is the new resource there", async () => {
  // Nobody hears anything until the id is used again and opened.
  const held: (() => void)[] = [];
  let isHolding = false;
  await using cluster = new Cluster((tell) => isHolding ? void held.push(tell) : tell());
  const b = cluster.node("b");
  const a = cluster.node("a");
  const { appender } = await uploading(a, "old\n");
  await appender.complete(await checksumOf(utf8("old\n")));
  const { id, metadata } = appender.resource;
  const record = (await b.get(id))!;
  const [catalog, storage] = [new MemoryCatalog(cluster.records), new MemoryStorage(cluster.logs)];
  isHolding = true;
  void catalog.delete(id);
  await storage.delete(id);
  const { status: _, ...old } = record;
  void catalog.create({ ...old, metadata, createdAtMs: old.createdAtMs + 1, size: 4 });
  const log = await storage.create(id, { lineAccess: true, epoch: 1 });
  await log.append(0, [utf8("new\n")]);
  await using opened = await b.open(id, { ...record, createdAtMs: old.createdAtMs + 1 });
  isHolding = false;
  for (const tell of held) tell();
  assertEquals(opened.resource.deleted, false);
  assertBytes(await readAll(opened.resource), utf8("new\n"));
});

test("the events of a context tell of uploads on other nodes", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  await a.createContext("run");
  const parts = { resources: b, references: new References({ runtime: framesRuntime() }) };
  const stop = new AbortController();
  const events = contextEvents(parts, "run", "http://127.0.0.1", stop.signal);
  const texts: string[] = [];
  const reading = (async () => {
    for await (const bytes of events) texts.push(new TextDecoder().decode(bytes));
  })();
  await eventually("the snapshot", () => texts.length > 0);
  const { appender } = await uploading(a, "one\n", registration({ contextId: "run" }));
  await appender.complete(await checksumOf(utf8("one\n")));
  await eventually("the end", () => texts.some((text) => text.includes("COMPLETED")));
  await a.delete(appender.resource.id);
  await eventually("the deletion", () => texts.some((text) => text.startsWith("event: deleted")));
  assert(texts.some((text) => text.startsWith("event: created")));
  stop.abort();
  await reading;
});

test("what is deleted on one node is DELETED for those who follow on the other", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const { appender } = await uploading(a, "one\n");
  await appender.complete(await checksumOf(utf8("one\n")));
  const { id } = appender.resource;
  await using opened = await b.open(id);
  assertBytes(await readAll(opened.resource), utf8("one\n"));
  const told = Promise.withResolvers<void>();
  opened.resource.watch(() => opened.resource.deleted && told.resolve());
  await b.get(id);
  await a.delete(id);
  await within("the deletion", told.promise);
  await assertFails("DELETED", () => opened.resource.read(0, 1));
  await assertFails("NOT_FOUND", () => b.get(id));
  await assertFails("NOT_FOUND", () => b.open(id));
  // The id may be used again, while some still have the old one open.
  const again = await a.register(registration({ id }));
  await write(again.appender, "new\n");
  await again.appender.complete(await checksumOf(utf8("new\n")));
  await using reopened = await b.open(id);
  assertBytes(await readAll(reopened.resource), utf8("new\n"));
  assertEquals(opened.resource.deleted, true);
});

test("a deletion that nobody acknowledged, and that is carried out all the same, takes the bytes along", async () => {
  await using cluster = new Cluster();
  const { catalog, storage, ...options } = cluster.options("a");
  const late: (() => Promise<unknown>)[] = [];
  const a = cluster.node("a", {
    ...options,
    storage,
    catalog: override(catalog, {
      delete: (...given) => {
        late.push(() => catalog.delete(...given));
        return Promise.reject(new StreamError("NOT_READY", "nobody answers"));
      },
    }),
  });
  const { appender } = await uploading(a, "kept");
  await appender.complete(await checksumOf(utf8("kept")));
  const { id } = appender.resource;
  await assertFails("NOT_READY", () => a.delete(id));
  assert(cluster.logs.logs.has(id));
  await late[0]();
  await eventually("the end of its bytes", () => !cluster.logs.logs.has(id));
});

test("an upload cannot be deleted on another node while it runs, and two deletions are one", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const events = eventsOf(b);
  const { appender } = await uploading(a, "one\n");
  const { id } = appender.resource;
  await assertFails("WRONG_STATE", () => b.delete(id));
  await appender.fail(new StreamError("ABORTED", "enough"));
  await eventually("the end there", () => typesOf(events).includes("FAILED"));
  const ends = await Promise.allSettled([a.delete(id), b.delete(id)]);
  assertEquals(ends.filter(({ status }) => status === "fulfilled").length, 1);
  await assertFails("NOT_FOUND", () => b.get(id));
});

test("an upload of another node is ended, though its owner changes the record at that moment", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const { appender } = await uploading(a, "one\n");
  const told = failureOf(appender);
  const { id } = appender.resource;
  const catalog = new MemoryCatalog(cluster.records);
  let changes = 0;
  const b = cluster.node("b", {
    catalog: override(catalog, {
      async update(id, revision, change) {
        if (changes++ < 2) await catalog.update(id, revision, {});
        return await catalog.update(id, revision, change);
      },
    }),
  });
  await b.delete(id, { force: true });
  assertEquals(changes > 2, true);
  assertEquals((await told).code, "DELETED");
  await assertFails("NOT_FOUND", () => a.get(id));
});

/** A catalog in which somebody else changes a record before each change that is made while they are busy. */
function busyCatalog(cluster: Cluster, isBusy: () => boolean): Catalog {
  const catalog = new MemoryCatalog(cluster.records);
  return override(catalog, {
    async update(id, revision, change) {
      if (isBusy()) await catalog.update(id, revision, {});
      return await catalog.update(id, revision, change);
    },
  });
}

test("who resumes an upload whose record others change at that moment, again and again, gets it", async () => {
  await using cluster = new Cluster();
  const upload = await uploading(cluster.node("a"), "one\n");
  let changes = 0;
  const b = cluster.node("b", { catalog: busyCatalog(cluster, () => changes++ < 7) });
  assertEquals((await resumeOn(b, upload)).received, 4);
});

test("who resumes an upload gets it, though its owner tells of its progress whenever one begins to follow it", async () => {
  await using cluster = new Cluster();
  const upload = await uploading(cluster.node("a"), "one\n");
  const storage = new MemoryStorage(cluster.logs);
  let size = 100;
  const b = cluster.node("b", {
    storage: override(storage, {
      async follow(id, listener) {
        const tail = await storage.follow(id, listener);
        if (!upload.appender.isOver) {
          await upload.appender.keepAnnounced({ size: size++, checksum: null });
        }
        return tail;
      },
    }),
  });
  const resumed = await resumeOn(b, upload);
  assertEquals([resumed.received, resumed.announced.size], [4, 100]);
});

test("of two who resume an upload the later one has it, and the earlier one does not come back for it", async () => {
  await using cluster = new Cluster();
  const upload = await uploading(cluster.node("a"), "one\n");
  const opened = Promise.withResolvers<void>(), goes = Promise.withResolvers<void>();
  const storage = new MemoryStorage(cluster.logs);
  const slow = cluster.node("slow", {
    storage: override(storage, {
      async recover(id, options) {
        const writer = await storage.recover(id, options);
        opened.resolve();
        await goes.promise;
        return writer;
      },
    }),
  });
  const earlier = resumeOn(slow, upload);
  await opened.promise;
  const later = await resumeOn(cluster.node("b"), upload);
  goes.resolve();
  await assertFails("FENCED", () => earlier);
  await write(later, "two\n");
  await later.complete(await checksumOf(utf8("one\ntwo\n")), 8);
});

test("a client whose resume others are faster with for long comes again, and goes on; by either transport", async () => {
  await Promise.all((["ws", "http"] as const).map(async (transport) => {
    await using cluster = new Cluster();
    const upload = await uploading(cluster.node("a"), "one\n");
    let isBusy = true;
    const catalog = busyCatalog(cluster, () => isBusy);
    await using b = await startServer({ ...cluster.options("b"), catalog });
    const { id } = upload.appender.resource;
    const told: string[] = [];
    const resumed = await resumePush(b.url, `${id}:${upload.secret}`, {
      transport,
      onRetry({ code }) {
        told.push(code);
        isBusy = false;
      },
    });
    const writer = resumed.writable.getWriter();
    await writer.write(utf8("one\ntwo\n"));
    await writer.close();
    assertEquals([(await resumed.done).size, told], [8, ["NOT_READY"]]);
    assertEquals((await b.resources.get(id)).status.transferStatus, "COMPLETED");
  }));
});

test("deleting and resuming at the same time leaves either all or nothing", async () => {
  for (let round = 0; round < 10; round++) {
    await using cluster = new Cluster();
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    const upload = await uploading(a, "one\n");
    const { id } = upload.appender.resource;
    const [failed, deleted, resumed] = await Promise.allSettled([
      upload.appender.fail(new StreamError("ABORTED", "enough")),
      turn().then(() => a.delete(id)),
      b.resume(id, upload.secret!),
    ]);
    assertEquals(failed.status, "fulfilled");
    if (resumed.status === "fulfilled") {
      assertEquals(deleted.status, "rejected");
      assert("appender" in resumed.value);
      await resumed.value.appender.complete(await checksumOf(utf8("one\n")));
      assertEquals((await b.get(id)).status.transferStatus, "COMPLETED");
    } else if (deleted.status === "fulfilled") {
      await assertFails("NOT_FOUND", () => b.get(id));
    }
  }
});

test("usage and quotas count what other nodes store", async () => {
  await using cluster = new Cluster();
  const limits = { maxTotalBytes: 100, maxContextBytes: 60 };
  const [a, b] = [cluster.node("a", limits), cluster.node("b", limits)];
  await Promise.all([a.recover(), b.recover()]);
  const given = registration({ contextId: "run", makeContext: true, ownedBy: "SECRET" });
  const upload = await uploading(a, "x".repeat(50), given);
  const checksum = await checksumOf(utf8("x".repeat(50)));
  await eventually("the count there", () => b.totalBytes === 50);
  assertEquals(a.totalBytes, 50);
  const there = await b.register(given);
  there.appender.append(new Uint8Array(11));
  await assertFails("QUOTA_EXCEEDED", () => there.appender.complete(""));
  await there.appender.fail(gone());
  const later = await resumeOn(b, upload);
  await eventually("one count on each", () => a.totalBytes === 50 && b.totalBytes === 50);
  await later.complete(checksum);
  await b.delete(later.resource.id);
  await eventually("the deletion there", () => a.totalBytes === 0);
  assertEquals(b.totalBytes, 0);
  // Everything can be used again.
  await uploading(a, "y".repeat(60), given);
  assertEquals(a.totalBytes, 60);
});

test("an upload that needs room waits for a catalog that deletes nothing at the moment", async () => {
  await using cluster = new Cluster();
  const catalog = new MemoryCatalog(cluster.records);
  let refusals = 0;
  const a = cluster.node("a", {
    maxTotalBytes: 10,
    catalog: override(catalog, {
      delete: (...given) =>
        refusals++ < 3
          ? Promise.reject(new StreamError("NOT_READY", "nobody answers"))
          : catalog.delete(...given),
    }),
  });
  const old = await uploading(a, "12345678");
  await old.appender.complete(await checksumOf(utf8("12345678")));
  const { appender } = await uploading(a, "one\n");
  assertEquals([appender.received, a.totalBytes, refusals], [4, 4, 4]);
  await appender.complete(await checksumOf(utf8("one\n")));
});

test("an upload that comes while another node closes its context is in it before, or refused", async () => {
  await using cluster = new Cluster();
  const b = cluster.node("b");
  const catalog = new MemoryCatalog(cluster.records);
  const a = cluster.node("a", {
    catalog: override(catalog, {
      async create(record) {
        await b.closeContext("run");
        await catalog.create(record);
      },
    }),
  });
  const given = registration({ contextId: "run", makeContext: true });
  await assertFails("CONTEXT_CLOSED", () => a.register(given));
  assertEquals([await b.list({ limit: 9 }), cluster.logs.logs.size, a.uploads], [[], 0, 0]);
});

test("a status between the record and the tail is not missed, nor is an end", async () => {
  for (const how of ["status", "end", "end and nobody there"] as const) {
    await using cluster = new Cluster();
    const a = cluster.node("a");
    const { appender } = await uploading(a, "one\n");
    const storage = new MemoryStorage(cluster.logs);
    const b = cluster.node("b", {
      storage: changed(storage, {
        storage: {
          // The record was read before.
          async follow(id, listener) {
            if (how === "status") await write(appender, "two\n");
            else await appender.complete(await checksumOf(utf8("one\n")));
            if (how === "end and nobody there") {
              for (let turns = 0; turns < 5; turns++) await turn();
            }
            return await storage.follow(id, listener);
          },
        },
      }),
    });
    await using opened = await b.open(appender.resource.id);
    const { currentSize, transferStatus } = opened.resource.status;
    const expected = how === "status" ? [8, "IN_PROGRESS"] : [4, "COMPLETED"];
    assertEquals([currentSize, transferStatus], expected);
  }
});

test("an upload that ends while its record is read has its digest", async () => {
  await using cluster = new Cluster();
  const { appender } = await uploading(cluster.node("a"), "one\n");
  const { id } = appender.resource;
  const checksum = await checksumOf(utf8("one\n"));
  const catalog = new MemoryCatalog(cluster.records);
  const b = cluster.node("b", { catalog });
  await using opened = await b.open(id);
  const get = catalog.get.bind(catalog);
  catalog.get = async (id) => {
    const record = await get(id);
    catalog.get = get;
    await appender.complete(checksum);
    await statusWhere(opened.resource, isOver);
    return record;
  };
  const { status, digest } = await b.get(id);
  assertEquals([status.transferStatus, digest?.value], ["COMPLETED", checksum]);
});

test("a node that hears nothing shows what the record says", async () => {
  await using cluster = new Cluster();
  const { appender } = await uploading(cluster.node("a"), "one\n");
  const storage = new MemoryStorage(cluster.logs);
  const catalog = new MemoryCatalog(cluster.records);
  catalog.watch = () => () => {};
  const follow: Storage["follow"] = (id) => storage.follow(id, { appended() {}, told() {} });
  const newest = () => Promise.resolve(null);
  const deaf = changed(storage, { storage: { follow, newest } });
  const b = cluster.node("b", { catalog, storage: deaf });
  await using opened = await b.open(appender.resource.id);
  await appender.complete(await checksumOf(utf8("one\n")));
  assertEquals(opened.resource.status.transferStatus, "IN_PROGRESS");
  assertEquals((await b.get(opened.resource.id)).status.transferStatus, "COMPLETED");
});

test("a node whose tail is behind shows what storage knows", async () => {
  await using cluster = new Cluster();
  const { appender } = await uploading(cluster.node("a"), "one\n");
  const { id } = appender.resource;
  const storage = new MemoryStorage(cluster.logs);
  const b = cluster.node("b", {
    storage: changed(storage, {
      storage: {
        follow: (id, { appended }) => storage.follow(id, { appended, told() {} }),
        newest: () => Promise.resolve(appender.resource.status),
      },
    }),
  });
  await using opened = await b.open(id);
  await write(appender, "two\n");
  assertEquals(opened.resource.status.currentSize, 4);
  assertEquals((await b.get(id)).status.currentSize, 8);
});

test("an upload that ended is not taken over by a node that has not heard of it", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const [completed, failed] = [await uploading(a, "one\n"), await uploading(a, "one\n")];
  const storage = new MemoryStorage(cluster.logs);
  const deaf: Storage["follow"] = (id, { appended }) => storage.follow(id, { appended, told() {} });
  const b = cluster.node("b", {
    storage: changed(storage, { storage: { follow: deaf } }),
    catalog: override(new MemoryCatalog(cluster.records), { watch: () => () => {} }),
  });
  const [{ id }, other] = [completed, failed].map(({ appender }) => appender.resource);
  await using _one = await b.open(id);
  await using _other = await b.open(other.id);
  await completed.appender.complete(await checksumOf(utf8("one\n")), 4);
  await failed.appender.fail(gone());
  const resumed = await b.resume(id, completed.secret);
  assert("completed" in resumed);
  assertEquals(resumed.completed.size, 4);
  await assertFails("WRONG_STATE", () => b.resume(other.id, failed.secret));
  assertEquals((await a.get(id)).status.transferStatus, "COMPLETED");
});

test("a tail that is behind its record is not believed: the next one is", async () => {
  await using cluster = new Cluster();
  const upload = await uploading(cluster.node("a"), "one\n");
  const { id } = upload.appender.resource;
  const storage = new MemoryStorage(cluster.logs);
  const tails: ResourceStatus[] = [];
  const b = cluster.node("b", {
    storage: changed(storage, {
      storage: {
        async follow(id, listener) {
          const tail = await storage.follow(id, listener);
          return { ...tail, status: tails.shift() ?? tail.status };
        },
      },
    }),
  });
  const old = (await b.get(id)).status;
  const resumed = await resumeOn(cluster.node("c"), upload);
  await write(resumed, "two\n");
  const { status } = await b.get(id);
  assertEquals([status.epoch, status.currentSize], [2, 8]);
  tails.push(old);
  assertEquals((await b.get(id)).status, status);
  for (let times = 0; times < 20; times++) tails.push(old);
  assertEquals((await b.get(id)).status.epoch, 2);
});

test("a status is the newest one also while another reader begins to follow", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a");
  const { appender } = await uploading(a, "one\n");
  const { id } = appender.resource;
  await write(appender, "two\n");
  const storage = new MemoryStorage(cluster.logs);
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
  const b = cluster.node("b", {
    storage: changed(storage, {
      storage: {
        async follow(id, listener) {
          ask();
          await answered;
          return await storage.follow(id, listener);
        },
      },
    }),
  });
  const opening = b.open(id);
  await asked;
  const getting = b.get(id);
  answer();
  assertEquals((await getting).status.currentSize, 8);
  await (await opening).release();
});

test("an upload that is being taken over shows what it has, not what its record says", async () => {
  await using cluster = new Cluster();
  const upload = await uploading(cluster.node("a"), "one\n");
  const { id } = upload.appender.resource;
  await write(upload.appender, "two\n");
  const storage = new MemoryStorage(cluster.logs);
  let isClaimed = false;
  const { promise: free, resolve: release } = Promise.withResolvers<void>();
  const b = cluster.node("b", {
    storage: changed(storage, {
      storage: {
        async recover(id, options) {
          isClaimed = true;
          await free;
          return await storage.recover(id, options);
        },
      },
    }),
  });
  const resuming = resumeOn(b, upload);
  await eventually("the claim", () => isClaimed);
  const c = cluster.node("c");
  const { status } = await c.get(id);
  assertEquals([status.epoch, status.currentSize], [1, 8]);
  await using opened = await c.open(id);
  assertEquals([opened.resource.status.epoch, opened.resource.status.currentSize], [1, 8]);
  release();
  assertEquals((await resuming).received, 8);
  await statusWhere(opened.resource, ({ epoch }) => epoch === 2);
  assertEquals(opened.resource.status.currentSize, 8);
});

test("another node lists what an upload has that pauses", async () => {
  await using cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const { appender } = await uploading(a, "one\n");
  await write(appender, "two\n");
  const sizeThere = async () => (await b.list({ limit: 1 }))[0].status.currentSize;
  await within(
    "the size there",
    (async () => {
      while (await sizeThere() !== 8) await turn();
    })(),
  );
});

test("nothing past a checkpoint is read on another node", async () => {
  await using cluster = new Cluster();
  const a = cluster.node("a", { checkpointIntervalMs: 3_600_000 });
  const b = cluster.node("b");
  const { appender } = await a.register(registration());
  appender.writeAfterBytes = 1;
  for (const text of ["1", "2", "3", "4", "5"]) {
    appender.append(utf8(text));
    await turn();
  }
  assertEquals(appender.acknowledged, 5);
  await using opened = await b.open(appender.resource.id);
  assertEquals(opened.resource.status.currentSize, 4);
  await assertFails("RANGE_NOT_AVAILABLE", () => opened.resource.read(0, 5));
  const unwatch = opened.resource.watch(() => {});
  appender.append(utf8("6"));
  for (let turns = 0; turns < 5; turns++) await turn();
  await assertFails("RANGE_NOT_AVAILABLE", () => opened.resource.read(4, 1));
  unwatch();
});

test("an end that its record does not tell, as one of an older backup, is what the log says", async () => {
  const fail = (upload: Appender) => upload.fail(new StreamError("ABORTED", "it was given up"));
  const complete = async (upload: Appender) =>
    void await upload.complete(await checksumOf(utf8("one\ntwo\n")));
  for (const end of [fail, complete]) {
    await using cluster = new Cluster();
    const { appender } = await uploading(cluster.node("a"), "one\n");
    const { id } = appender.resource;
    // As a log in the engine, it is known as long as somebody follows it.
    await new MemoryStorage(cluster.logs).follow(id, { appended() {}, told() {} });
    const older = structuredClone(cluster.records.records.get(id)!);
    await write(appender, "two\n");
    await end(appender);
    const ended = structuredClone(cluster.records.records.get(id)!);
    const records = new MemoryRecords();
    records.records.set(id, older);
    const again = cluster.node("a", { catalog: new MemoryCatalog(records) });
    await again.recover();
    const { revision, updatedAtMs, ...told } = records.records.get(id)!;
    assert(revision > older.revision && updatedAtMs > 0);
    const { revision: _revision, updatedAtMs: _updatedAtMs, ...wanted } = ended;
    assertEquals(told, wanted);
  }
});

test("a lost announcement of an end is made good by the record", async () => {
  await using cluster = new Cluster();
  const storage = new MemoryStorage(cluster.logs);
  const refused = () => Promise.reject(new StreamError("STORAGE_FAILED", "the engine is gone"));
  const a = cluster.node("a", {
    storage: changed(storage, { writer: () => ({ announce: refused }) }),
  });
  const b = cluster.node("b");
  const { appender } = await uploading(a, "one\n");
  await using there = await b.open(appender.resource.id);
  await using here = await a.open(appender.resource.id);
  await appender.complete(await checksumOf(utf8("one\n")));
  assertEquals(here.resource.status.transferStatus, "COMPLETED");
  assertEquals((await statusWhere(there.resource, isOver)).transferStatus, "COMPLETED");
});

test("wherever an upload goes, under any delays, no acknowledged byte is lost and none is doubled", () =>
  withChance(async (chance) => {
    for (let round = 0; round < 15; round++) {
      await using cluster = new Cluster(sluggish(() => chance.whole(0, 3)));
      const nodes = ["a", "b", "c"].map((name) => cluster.node(name));
      await wander(nodes, chance, 3000);
    }
  }));

test("whoever announces a size for an upload that another node took hears so, and its uploader, too", async () => {
  const waiting: (() => void)[] = [];
  const { promise: isClaimed, resolve: claimed } = Promise.withResolvers<void>();
  let holds = false;
  await using cluster = new Cluster((tell) => {
    if (!holds) return void turn().then(tell);
    waiting.push(tell);
    claimed();
  });
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const { appender, secret } = await a.register(registration({ ownedBy: "SECRET" }));
  const failures: string[] = [];
  appender.listen({ acknowledged() {}, failed: ({ code }) => failures.push(code) });
  holds = true;
  const resuming = b.resume(appender.resource.id, secret);
  await isClaimed;
  await assertFails("FENCED", () => appender.keepAnnounced({ size: 3, checksum: null }));
  holds = false;
  for (const tell of waiting.splice(0)) tell();
  await resuming;
  assertEquals([failures, appender.isOver], [["FENCED"], true]);
});
