/** Which finished resources are deleted, when, and who is told. */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { FileStorage, getResource, open, push, SqliteCatalog } from "../../mod.ts";
import type { Catalog, CatalogTime, ResourceRecord } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { isFinal, StreamError, type TransferStatus } from "../../src/protocol.ts";
import { sweep, type Sweepable } from "../../src/resources/retention.ts";
import { SteadyClock } from "../../src/resources/steady_clock.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { logPath } from "../../src/storage/layout.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eventually, Gate, within } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import {
  checksumOf,
  finished,
  register,
  registration,
  statusWhere,
  type World,
  world,
} from "../helpers/resources.ts";
import { RawClient, startServer } from "../helpers/server.ts";
import { changed, override } from "../helpers/storage.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const HOUR_MS = 3_600_000;
const NOW_MS = 1000 * HOUR_MS;

/** A record of long ago: when it began and ended, in hours before now, and its size. */
interface Past {
  began: number;
  ended: number;
  size?: number;
  transferStatus?: TransferStatus;
}

function recordOf({ began, ended, size = 0, transferStatus = "COMPLETED" }: Past): ResourceRecord {
  return {
    id: crypto.randomUUID(),
    metadata: { filename: "a.log", mimeType: "text/plain", supportsLineAccess: false },
    contextId: null,
    createdAtMs: NOW_MS - began * HOUR_MS,
    transferStatus,
    size,
    durableSize: size,
    lines: null,
    epoch: 1,
    sequence: 1,
    failure: transferStatus === "FAILED" ? "ABORTED: it was enough" : null,
    digest: null,
    digestState: null,
    secretHash: null,
    ownedBy: "CONNECTION",
    announced: { size: null, checksum: null },
    owner: null,
    updatedAtMs: NOW_MS - ended * HOUR_MS,
    revision: 1,
  };
}

/** Resources of the past; tells which are left, by their number. */
async function past(records: Past[]) {
  const catalog = new MemoryCatalog();
  const all = records.map(recordOf);
  for (const record of all) await catalog.create(record);
  const here = world({ catalog, storage: missing() });
  await here.resources.recover();
  const left = async () => {
    const found = await Promise.all(all.map(({ id }) => catalog.get(id)));
    return found.flatMap((record, index) => record === null ? [] : [index]);
  };
  return { here, left };
}

/** Storage in which unfinished logs of the past cannot be opened just now. */
function missing() {
  const busy = () => Promise.reject(new StreamError("STORAGE_FAILED", "not now"));
  return changed(new MemoryStorage(), { storage: { recover: busy } });
}

test("what ended longer ago than the retention is deleted, be it COMPLETED or FAILED", async () => {
  const { here, left } = await past([
    { began: 9, ended: 8 },
    { began: 9, ended: 4 },
    { began: 8, ended: 7, transferStatus: "FAILED" },
    { began: 6, ended: 5.001 },
    { began: 6, ended: 5 },
    { began: 1, ended: 1 },
  ]);
  await using _ = here;
  const { deleted } = await sweep(here.resources, { retentionMs: 5 * HOUR_MS }, NOW_MS);
  assertEquals([deleted, await left()], [3, [1, 4, 5]]);
  const again = await sweep(here.resources, { retentionMs: 5 * HOUR_MS }, NOW_MS);
  assertEquals(again, { deleted: 0, gone: 0 });
});

test("what is being uploaded stays, whatever its age and size", async () => {
  const { here, left } = await past([
    { began: 900, ended: 900, size: 50, transferStatus: "IN_PROGRESS" },
    { began: 900, ended: 900, transferStatus: "INITIATED" },
    { began: 800, ended: 800, size: 10 },
  ]);
  await using _ = here;
  await sweep(here.resources, { retentionMs: HOUR_MS, maxTotalBytes: 1 }, NOW_MS);
  assertEquals(await left(), [0, 1]);
  assertEquals(here.resources.totalBytes, 50);
});

test("above the total the oldest are deleted until what is left fits", async () => {
  const { here, left } = await past([
    { began: 1, ended: 1, size: 10 },
    { began: 5, ended: 5, size: 10 },
    { began: 4, ended: 4, size: 10, transferStatus: "FAILED" },
    { began: 3, ended: 3, size: 10 },
    { began: 2, ended: 2, size: 10 },
  ]);
  await using _ = here;
  await sweep(here.resources, { maxTotalBytes: 50 }, NOW_MS);
  assertEquals(await left(), [0, 1, 2, 3, 4]);
  await sweep(here.resources, { maxTotalBytes: 25 }, NOW_MS);
  assertEquals([await left(), here.resources.totalBytes], [[0, 4], 20]);
});

test("what others have deleted, which counts for a moment yet, is no reason to delete more", async () => {
  const { here, left } = await past(
    Array.from({ length: 5 }, (_, index) => ({ began: 9 - index, ended: 9 - index, size: 10 })),
  );
  await using _ = here;
  const { resources } = here;
  const behind = override<Sweepable>(resources, {
    list: (query) => resources.list(query),
    delete: async (id, options) => {
      if ((await left()).length === 5) {
        throw new StreamError("NOT_FOUND", "another node deleted it");
      }
      await resources.delete(id, options);
    },
  });
  assertEquals(await sweep(behind, { maxTotalBytes: 30 }, NOW_MS), { deleted: 0, gone: 2 });
  assertEquals(await left(), [0, 1, 2, 3, 4]);
});

test("more old resources than a page of the catalog are deleted in one go", async () => {
  const { here, left } = await past(
    Array.from(
      { length: 250 },
      (_, index) => ({ began: 500 - index, ended: 400 - index, size: 1 }),
    ),
  );
  await using _ = here;
  const { deleted } = await sweep(here.resources, { retentionMs: 200 * HOUR_MS }, NOW_MS);
  assertEquals(deleted, 200);
  assertEquals([(await left())[0], here.resources.totalBytes], [200, 50]);
});

test("a resource that two delete at the same time is counted once, and told once", async () => {
  const { here, left } = await past([{ began: 9, ended: 9, size: 10 }, {
    began: 1,
    ended: 1,
    size: 7,
  }]);
  await using _ = here;
  let told = 0;
  here.resources.listen(({ type }) => type === "deleted" && told++);
  const sweepAgain = () => sweep(here.resources, { retentionMs: 5 * HOUR_MS }, NOW_MS);
  const swept = await Promise.all([sweepAgain(), sweepAgain(), sweepAgain()]);
  assertEquals(swept.reduce((sum, { deleted }) => sum + deleted, 0), 1);
  assertEquals([await left(), here.resources.totalBytes, told], [[1], 7, 1]);
});

async function uploaded(here: World, byteCount: number): Promise<string> {
  const upload = await register(here);
  const bytes = utf8("x".repeat(byteCount));
  upload.append(bytes.slice());
  await upload.complete(await checksumOf(bytes));
  return upload.resource.id;
}

async function ids(here: World): Promise<string[]> {
  const records = await here.resources.list({ limit: 100, order: "oldest" });
  return records.map(({ id }) => id);
}

test("an upload that needs room gets it from the oldest finished ones", async () => {
  await using here = world({ maxTotalBytes: 100 });
  const older = await register(here);
  older.append(utf8("1234567890"));
  const [, second, third] = [
    await uploaded(here, 30),
    await uploaded(here, 30),
    await uploaded(here, 30),
  ];
  const fourth = await uploaded(here, 25);
  assertEquals(new Set(await ids(here)), new Set([older.resource.id, second, third, fourth]));
  assertEquals(here.resources.totalBytes, 95);
});

test("uploads that need room at the same moment all get it", async () => {
  await using here = world({ maxTotalBytes: 100 });
  for (let count = 0; count < 10; count++) await uploaded(here, 10);
  const uploads = await Promise.all(Array.from({ length: 5 }, () => register(here)));
  const bytes = utf8("x".repeat(10));
  for (const upload of uploads) upload.append(bytes.slice());
  const checksum = await checksumOf(bytes);
  await Promise.all(uploads.map((upload) => upload.complete(checksum)));
  assertEquals([(await ids(here)).length, here.resources.totalBytes], [10, 100]);
});

test("an upload that does not fit even alone is FAILED with what fitted", async () => {
  await using here = world({ maxTotalBytes: 100 });
  await uploaded(here, 60);
  const upload = await register(here);
  upload.append(new Uint8Array(90));
  await statusWhere(upload.resource, ({ currentSize }) => currentSize === 90);
  upload.append(new Uint8Array(11));
  const { failure, currentSize } = await statusWhere(
    upload.resource,
    ({ transferStatus }) => isFinal(transferStatus),
  );
  assertEquals([failure?.split(":")[0], currentSize], ["QUOTA_EXCEEDED", 90]);
  await eventually("the count", () => here.resources.totalBytes === 90);
});

test("an upload refused by its context deletes nothing of others", async () => {
  await using here = world({ maxTotalBytes: 100, maxContextBytes: 20 });
  const kept = await uploaded(here, 90);
  const upload = await register(here, { contextId: "a", makeContext: true });
  upload.append(new Uint8Array(21));
  await assertFails("QUOTA_EXCEEDED", () => upload.complete(""));
  assertEquals((await ids(here)).includes(kept), true);
});

test("an upload that says it will not fit even alone deletes nothing, whenever it says so", async () => {
  await using here = world({ maxTotalBytes: 100, maxContextBytes: 50 });
  const kept = await uploaded(here, 90);
  const isRefused = (size: number, contextId: string | null) =>
    assertFails(
      "QUOTA_EXCEEDED",
      () => register(here, { contextId, makeContext: true, announced: { size, checksum: null } }),
    );
  await isRefused(101, null);
  await isRefused(51, "a");
  const upload = await register(here, { announced: { size: 100, checksum: null } });
  await upload.fail(new StreamError("ABORTED", "enough"));
  const later = await register(here);
  await later.keepAnnounced({ size: 101, checksum: null });
  later.append(new Uint8Array(20));
  await assertFails("QUOTA_EXCEEDED", () => later.complete(""));
  assertEquals((await ids(here)).includes(kept), true);
});

test("an upload that needs room is not harmed by one that is just being completed", async () => {
  const syncing = new Gate();
  const catalog = new MemoryCatalog();
  let syncs = 0;
  const slow = override<Catalog>(catalog, {
    sync: () => ++syncs === 1 ? syncing.passed() : Promise.resolve(),
  });
  await using here = world({ catalog: slow, maxTotalBytes: 100 });
  syncing.shut();
  const completing = uploaded(here, 60);
  await eventually("the flush", () => syncing.waiting === 1);
  const upload = await register(here);
  upload.append(new Uint8Array(30));
  await statusWhere(upload.resource, ({ currentSize }) => currentSize === 30);
  upload.append(new Uint8Array(20));
  const { failure } = await statusWhere(
    upload.resource,
    ({ transferStatus }) => isFinal(transferStatus),
  ).finally(() => syncing.open());
  assertEquals(failure?.split(":")[0], "QUOTA_EXCEEDED");
  await completing;
});

test("deleting what the disk does not let go of is told, and counts and followers know", async () => {
  const stuck = () => Promise.reject(new StreamError("STORAGE_FAILED", "the disk refused"));
  const storage = changed(new MemoryStorage(), { storage: { delete: stuck } });
  await using here = world({ storage });
  const id = await uploaded(here, 10);
  await using opened = await here.resources.open(id);
  const { resource } = opened;
  await assertFails("STORAGE_FAILED", () => here.resources.delete(id));
  await assertFails("NOT_FOUND", () => here.resources.get(id));
  assertEquals([here.resources.totalBytes, resource.deleted], [0, true]);
  await opened.release();
});

test("what the disk kept of a deleted resource is deleted when it lets go, unless its id is used again", async () => {
  const parts = { storage: new MemoryStorage(), catalog: new MemoryCatalog() };
  let isStuck = true;
  const storage = changed(parts.storage, {
    storage: {
      delete: async (id) => {
        if (isStuck) throw new StreamError("STORAGE_FAILED", "the disk refused");
        return await parts.storage.delete(id);
      },
    },
  });
  await using here = world({ ...parts, storage });
  const [kept, used] = [await finished(here, "abc"), await finished(here, "def")];
  for (const { id } of [kept, used]) {
    await assertFails("STORAGE_FAILED", () => here.resources.delete(id));
  }
  await here.resources.sweep();
  await (await parts.storage.openReader(kept.id)).close();
  // As where somebody took the log away by hand.
  await parts.storage.delete(used.id);
  await here.resources.register(registration({ id: used.id }));
  isStuck = false;
  await here.resources.sweep();
  await assertFails("NOT_FOUND", () => parts.storage.openReader(kept.id));
  await (await parts.storage.openReader(used.id)).close();
});

test("one that the disk does not let go of keeps neither the others nor the server from anything", async () => {
  const parts = { storage: new MemoryStorage(), catalog: new MemoryCatalog() };
  {
    await using here = world(parts);
    for (let count = 0; count < 3; count++) await uploaded(here, 10);
  }
  let refusals = 0;
  const stuck = (id: string) =>
    refusals++ === 0
      ? Promise.reject(new StreamError("STORAGE_FAILED", "the disk refused"))
      : parts.storage.delete(id);
  const storage = changed(parts.storage, { storage: { delete: stuck } });
  await using here = world({ ...parts, storage, retentionMs: -1 });
  await here.resources.recover();
  assertEquals(await here.resources.list({ limit: 10 }), []);
  assertEquals(refusals, 3);
});

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

async function pushed(url: string, text: string): Promise<string> {
  const upload = await push(url, metadata);
  await new Blob([text]).stream().pipeTo(upload.writable);
  return upload.reference;
}

async function untilGone(path: string): Promise<void> {
  while (await access(path).then(() => true, () => false));
}

test("a server deletes what is old while it runs; followers hear DELETED and the files are gone", async () => {
  await using directory = await temporaryDirectory();
  const catalog = new SqliteCatalog(join(directory.path, "catalog.sqlite"));
  const storage = new FileStorage(directory.path);
  try {
    await using server = await startServer({ storage, catalog, retentionMs: 700 });
    const running = await push(server.url, metadata);
    const reference = await pushed(server.url, "one\n");
    const id = reference.split("/").pop()!;
    const path = logPath(directory.path, id);
    await access(path);
    using follower = await RawClient.open(reference, "stream.v1");
    await follower.inbox.next("StatusChanged");
    const { code, reason } = await follower.inbox.close();
    assertEquals([code, reason.split(":")[0]], [1008, "DELETED"]);
    await assertFails("NOT_FOUND", () => getResource(reference));
    await within("the end of the file", untilGone(path));
    assertEquals((await getResource(running.reference)).transferStatus, "INITIATED");
    assertEquals(server.resources.totalBytes, 0);
    await running.abort();
  } finally {
    await catalog.close();
  }
});

test("a server deletes what became old while it was away before it listens", async () => {
  const parts = { storage: new MemoryStorage(), catalog: new MemoryCatalog() };
  let reference: string;
  {
    await using server = await startServer(parts);
    reference = await pushed(server.url, "one\n");
  }
  const id = reference.split("/").pop()!;
  const retentionMs = 10;
  const { updatedAtMs } = (await parts.catalog.get(id))!;
  await eventually("its age", () => Date.now() - updatedAtMs > retentionMs);
  await using server = await startServer({ ...parts, retentionMs });
  await assertFails("NOT_FOUND", () => getResource(id, { server: server.url }));
  assertEquals(server.resources.totalBytes, 0);
});

test("a download of the library hears that its resource is deleted", async () => {
  await using server = await startServer();
  const reference = await pushed(server.url, "one\n");
  const download = await open(reference);
  await server.resources.delete(reference.split("/").pop()!);
  await within("the end", Array.fromAsync(download.statuses()));
  await assertFails("DELETED", () => download.locateLines(0, 1));
});

test("no more connections have a resource open than allowed; the next may come when one has left", async () => {
  await using server = await startServer({ maxFollowers: 2 });
  const reference = await pushed(server.url, "one\n");
  const first = await open(reference);
  const second = await open(reference, { retryForMs: 0 });
  await assertFails("LIMIT_REACHED", () => open(reference, { retryForMs: 0 }));
  using refused = await RawClient.open(reference, "stream.v1");
  assertEquals((await refused.inbox.close()).code, 1013);
  first.close();
  const third = await within("a place", untilOpen(reference));
  for (const download of [second, third]) download.close();
});

/** A place is free a moment after somebody closed. */
async function untilOpen(reference: string) {
  for (;;) {
    try {
      return await open(reference, { retryForMs: 0 });
    } catch (error) {
      assertEquals((error as StreamError).code, "LIMIT_REACHED");
    }
  }
}

const DAY_MS = 24 * HOUR_MS;
/** A server that was away for so long is believed at once. */
const SHORT_MS = 15 * 60_000;

/** A file's catalog and a server's resources on it, whose machine has this clock. */
async function aged(
  path: string,
  wall: { nowMs: number },
  step: (here: World) => Promise<void>,
): Promise<void> {
  const catalog = new SqliteCatalog(path);
  try {
    await using here = world({ catalog, retentionMs: 7 * DAY_MS, clock: () => wall.nowMs });
    await here.resources.recover();
    await step(here);
  } finally {
    await catalog.close();
  }
}

test("a clock that jumps from 1970 to now, or ahead for a minute, deletes nothing", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "catalog.sqlite");
  const wall = { nowMs: Date.now() };
  const kept: string[] = [];
  const all = async (here: World) => assertEquals((await ids(here)).toSorted(), kept.toSorted());
  const later = { nowMs: wall.nowMs + 730 * DAY_MS };
  // An upload in the right time, one in 1970, one after the jump, one of two years later.
  await aged(path, wall, async (here) => void kept.push(await uploaded(here, 1)));
  const early = { nowMs: 60_000 };
  await aged(path, early, async (here) => {
    kept.push(await uploaded(here, 2));
    early.nowMs = wall.nowMs;
    kept.push(await uploaded(here, 3));
    await here.resources.sweep();
    await all(here);
  });
  await aged(path, later, async (here) => {
    await all(here);
    kept.push(await uploaded(here, 4));
    later.nowMs = wall.nowMs + HOUR_MS;
    await here.resources.sweep();
    await all(here);
  });
  await aged(path, wall, async (here) => {
    kept.push(await uploaded(here, 5));
    // The order of lists is that of registration.
    assertEquals(await ids(here), kept);
    await here.resources.sweep();
    await all(here);
  });
});

test("a clock that is ahead when a server starts deletes nothing, however often it starts before that is mended", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "catalog.sqlite");
  const wall = { nowMs: Date.now() };
  let kept = "";
  await aged(path, wall, async (here) => void (kept = await uploaded(here, 1)));
  const ahead = { nowMs: wall.nowMs + 20 * DAY_MS };
  for (const clock of [ahead, ahead, wall, ahead, wall, wall]) {
    await aged(path, clock, async (here) => {
      await here.resources.sweep();
      assertEquals(await ids(here), [kept]);
    });
  }
});

test("time away counts at once when it is short, and a longer one when the clock proved right", async () => {
  let [wallMs, monotonicMs] = [NOW_MS, 5];
  let last: CatalogTime = { steadyMs: 1000, wallMs: NOW_MS };
  const catalog = {
    lastTime: () => Promise.resolve(last),
    keepTime: (time: typeof last) => Promise.resolve(void (last = time)),
  };
  const started = async () => {
    const clock = new SteadyClock(catalog, { wall: () => wallMs, monotonic: () => monotonicMs });
    await clock.start();
    return clock;
  };
  const pass = (ms: number) => {
    wallMs += ms;
    monotonicMs += ms;
  };
  wallMs += SHORT_MS;
  const short = await started();
  assertEquals([short.nowMs, short.certainMs], [1000 + SHORT_MS, 1000 + SHORT_MS]);
  // A clock that is set while a server runs tells nothing.
  wallMs += 9 * DAY_MS;
  pass(500);
  assertEquals(short.certainMs, 1500 + SHORT_MS);
  await short.keep();

  // It may also be one that is in another time zone until it hears the time.
  wallMs += HOUR_MS;
  const long = await started();
  assertEquals([long.nowMs, long.certainMs], [1500 + SHORT_MS + HOUR_MS, 1500 + SHORT_MS]);
  pass(1000);
  await long.keep();
  const again = await started();
  assertEquals([again.nowMs, again.certainMs], [2500 + SHORT_MS + HOUR_MS, 2500 + SHORT_MS]);
  pass(HOUR_MS);
  assertEquals([again.certainMs, again.nowMs], Array(2).fill(2500 + SHORT_MS + 2 * HOUR_MS));
  await again.keep();

  wallMs += 730 * DAY_MS;
  const wrong = await started();
  pass(30_000);
  wallMs -= 730 * DAY_MS;
  assertEquals(wrong.certainMs, last.steadyMs + 30_000);
  wallMs = 0;
  assertEquals((await started()).certainMs, last.steadyMs);
});
