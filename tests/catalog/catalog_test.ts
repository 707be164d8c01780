/** One contract for every catalog, and what a file has to stand besides. */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import type {
  Catalog,
  RecordChange,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "../../src/catalog.ts";
import { MemoryCatalog, MemoryRecords } from "../../src/catalog/memory.ts";
import { SqliteCatalog } from "../../src/catalog/sqlite.ts";
import { StreamError, TRANSFER_STATUSES, type TransferStatus } from "../../src/protocol.ts";
import { assertFails } from "../helpers/errors.ts";
import { eventually } from "../helpers/frames/connection.ts";
import { startServer } from "../helpers/server.ts";
import { inTurn, override } from "../helpers/storage.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";
import { onLookedAtClock, timesDuring, turnsDuring } from "../helpers/turns.ts";
import { inCluster } from "./in_cluster.ts";
import { record } from "./records.ts";

/** What a catalog is held to: with so many runs of what is tried at random. */
type Check = (catalog: Catalog, numRuns: number) => Promise<void>;

/** The same behaviour of all catalogs, and of two instances that share their records, each doing every other step. */
function contract(behaviour: string, check: Check): void {
  test(`MemoryCatalog: ${behaviour}`, async () => {
    const catalog = new MemoryCatalog();
    await check(catalog, 60);
    await catalog.close();
  });
  test(`MemoryCatalog of two nodes: ${behaviour}`, async () => {
    const records = new MemoryRecords();
    const catalog = inTurn(new MemoryCatalog(records), new MemoryCatalog(records));
    await check(catalog, 60);
    await catalog.close();
  });
  inFile(behaviour, async (path) => {
    const catalog = new SqliteCatalog(path);
    try {
      await check(catalog, 60);
    } finally {
      await catalog.close();
    }
  });
  inCluster(behaviour, (catalog) => check(catalog, 20));
}

function inFile(behaviour: string, check: (path: string) => Promise<void>): void {
  test(`SqliteCatalog: ${behaviour}`, async () => {
    await using directory = await temporaryDirectory();
    await check(join(directory.path, "catalog.sqlite"));
  });
}

/** A record that has everything, at its limits. */
const full = () =>
  record({
    metadata: {
      filename: `Grüße "x'; DROP TABLE resources;--\n😀`,
      mimeType: "application/octet-stream",
      supportsLineAccess: false,
    },
    contextId: "run/17 ü",
    createdAtMs: 1_700_000_000_500,
    transferStatus: "FAILED",
    size: 2 ** 40,
    lines: null,
    epoch: 2 ** 31,
    sequence: 2 ** 40,
    failure: "INTERRUPTED: it's over",
    digest: { algorithm: "sha256", value: "ab".repeat(32) },
    digestState: {
      algorithm: "xxh128",
      byteOffset: 2 ** 40,
      state: Uint8Array.from({ length: 580 }, (_, at) => at),
      version: "hash-wasm 4.13",
      boot: "0c5e3a2f",
      doubtfulFrom: 2 ** 39,
      flushed: { byteOffset: 2 ** 39, state: new Uint8Array(580).fill(7) },
    },
    secretHash: "cd".repeat(32),
    ownedBy: "ANYBODY",
    intent: { byteOffset: 2 ** 40, byteCount: 3, annotation: "{}" },
    durableSize: 2 ** 40 - 1,
    announced: { size: 2 ** 40, checksum: "ef".repeat(32) },
    owner: { node: "node ü", untilMs: 2 ** 50 },
    annotation: "filename R3LDvMOfZQ==,lines",
    updatedAtMs: 1_700_000_000_501,
  });

contract(
  "a record keeps how its producer ended, and has nothing of it where nobody told",
  async (catalog) => {
    for (const outcome of [{ exitCode: 0, signal: null }, { exitCode: null, signal: "SIGKILL" }]) {
      const created = record();
      await catalog.create(structuredClone(created));
      assertEquals("outcome" in (await catalog.get(created.id))!, false);
      await catalog.update(created.id, created.revision, { transferStatus: "COMPLETED", outcome });
      assertEquals((await catalog.get(created.id))?.outcome, outcome);
    }
  },
);

contract("a record comes back as it was created", async (catalog) => {
  for (const created of [record(), full()]) {
    assertEquals(await catalog.get(created.id), null);
    await catalog.create(structuredClone(created));
    assertEquals(await catalog.get(created.id), created);
    assertEquals(await catalog.list({ limit: 1, after: { ...created, id: "g" } }), [created]);
  }
});

contract("the state of a digest comes back as plain bytes", async (catalog) => {
  for (const length of [0, 1, 580, 100_000]) {
    const state = Uint8Array.from({ length }, (_, at) => at * 7);
    const created = record({
      digestState: {
        algorithm: "md5",
        byteOffset: length,
        state,
        version: null,
        boot: null,
        doubtfulFrom: null,
        flushed: null,
      },
    });
    await catalog.create(created);
    const found = (await catalog.get(created.id))!.digestState!.state;
    assertEquals(found.constructor, Uint8Array);
    assertEquals(found, state);
  }
});

contract("whose an upload is comes back, with and without an end", async (catalog) => {
  for (const untilMs of [0, 1_700_000_000_000, Infinity]) {
    const created = record({ owner: { node: "a", untilMs } });
    await catalog.create(created);
    assertEquals(await catalog.get(created.id), created);
    const { owner } = await catalog.update(created.id, 0, { owner: null });
    assertEquals([owner, (await catalog.get(created.id))?.owner], [null, null]);
  }
});

contract(
  "whoever watches is told what a record was and is, before the change is done",
  async (catalog) => {
    const changes: RecordChange[] = [];
    const unwatch = catalog.watch((change) => changes.push(structuredClone(change)));
    const created = record();
    await catalog.create(created);
    assertEquals(changes.splice(0), [{ was: null, is: created }]);
    const updated = await catalog.update(created.id, 0, { size: 5, digestState: null });
    assertEquals(changes.splice(0), [{ was: created, is: updated }]);
    await assertFails("CONFLICT", () => catalog.create(record({ id: created.id })));
    await assertFails("CONFLICT", () => catalog.update(created.id, 0, { size: 6 }));
    await assertFails("NOT_FOUND", () => catalog.update(crypto.randomUUID(), 0, { size: 6 }));
    assertEquals(await catalog.delete(crypto.randomUUID()), false);
    assertEquals(changes, []);
    await catalog.delete(created.id);
    assertEquals(changes.splice(0), [{ was: updated, is: null }]);
    unwatch();
    await catalog.create(record());
    assertEquals(changes, []);
  },
);

contract("a watcher that throws harms neither the change nor the others", async (catalog) => {
  let told = 0;
  const unwatch = [
    catalog.watch(() => {
      throw new Error("boom");
    }),
    catalog.watch(() => void told++),
  ];
  const created = record();
  await catalog.create(created);
  assertEquals([await catalog.get(created.id), told], [created, 1]);
  for (const end of unwatch) end();
});

contract("creating an id twice is a conflict that changes nothing", async (catalog) => {
  const first = record({ size: 1 });
  await catalog.create(first);
  await assertFails("CONFLICT", () => catalog.create(record({ id: first.id, size: 2 })));
  assertEquals(await catalog.get(first.id), first);
});

contract("an update changes what it names and counts the revision up", async (catalog) => {
  const created = full();
  await catalog.create(created);
  const first = await catalog.update(created.id, 0, { transferStatus: "IN_PROGRESS", size: 5 });
  assertEquals(first, { ...created, transferStatus: "IN_PROGRESS", size: 5, revision: 1 });
  assertEquals(await catalog.get(created.id), first);

  const change = {
    transferStatus: "COMPLETED",
    lines: 3,
    epoch: 4,
    sequence: 5,
    failure: null,
    digest: { algorithm: "md5", value: "00" },
    digestState: null,
    secretHash: null,
    ownedBy: "CONNECTION",
    updatedAtMs: 6,
  } as const;
  const second = await catalog.update(created.id, 1, change);
  assertEquals(second, { ...first, ...change, revision: 2 });
  assertEquals(await catalog.get(created.id), second);
});

contract("an update of another revision is a conflict that changes nothing", async (catalog) => {
  const { id } = record();
  await catalog.create(record({ id }));
  const current = await catalog.update(id, 0, { size: 1 });
  for (const revision of [0, 2, -1]) {
    await assertFails("CONFLICT", () => catalog.update(id, revision, { size: 9 }));
  }
  assertEquals(await catalog.get(id), current);
});

contract("of updates at the same time exactly one wins", async (catalog) => {
  const { id } = record();
  await catalog.create(record({ id }));
  const outcomes = await Promise.allSettled(
    [1, 2, 3, 4, 5].map((size) => catalog.update(id, 0, { size })),
  );
  const won = outcomes.filter(({ status }) => status === "fulfilled");
  assertEquals(won.length, 1);
  assertEquals((await catalog.get(id))?.revision, 1);
});

contract("an update of a record that is gone is NOT_FOUND", async (catalog) => {
  const { id } = record();
  await assertFails("NOT_FOUND", () => catalog.update(id, 0, { size: 1 }));
  await catalog.create(record({ id }));
  await catalog.delete(id);
  await assertFails("NOT_FOUND", () => catalog.update(id, 0, { size: 1 }));
});

contract(
  "a deletion that is meant for one life of an id leaves the next one alone",
  async (catalog) => {
    const former = record({ createdAtMs: 1_700_000_000_000 });
    const next = { ...former, createdAtMs: 1_700_000_000_001 };
    await catalog.create(former);
    assertEquals(await catalog.delete(former.id, next.createdAtMs), false);
    assertEquals(await catalog.delete(former.id, former.createdAtMs), true);
    await catalog.create(next);
    assertEquals(await catalog.delete(former.id, former.createdAtMs), false);
    assertEquals(await catalog.get(next.id), next);
  },
);

contract("a deleted record is gone, and its id can be used again", async (catalog) => {
  const { id } = record();
  assertEquals(await catalog.delete(id), false);
  await catalog.create(record({ id }));
  assertEquals(await catalog.delete(id), true);
  assertEquals(await catalog.delete(id), false);
  assertEquals(await catalog.get(id), null);
  assertEquals(await catalog.list({ limit: 10 }), []);
  await catalog.create(record({ id, size: 7 }));
  assertEquals((await catalog.get(id))?.size, 7);
});

/** The order of a list, from the time of registration and the id. */
function inOrder(records: ResourceRecord[], order: ResourceQuery["order"] = "newest") {
  const sorted = records.toSorted((a, b) =>
    b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1)
  );
  return order === "newest" ? sorted : sorted.reverse();
}

/** Pages of so many records until there are no more. */
async function pages(
  catalog: Catalog,
  query: Omit<ResourceQuery, "limit" | "after">,
  limit: number,
): Promise<ResourceRecord[][]> {
  const found: ResourceRecord[][] = [];
  let after: ResourceQuery["after"];
  for (;;) {
    const page = await catalog.list({ ...query, limit, after });
    if (page.length === 0) return found;
    found.push(page);
    const last = page.at(-1)!;
    after = { createdAtMs: last.createdAtMs, id: last.id };
  }
}

contract("pages go from the newest to the oldest, each record once", async (catalog) => {
  const records = Array.from({ length: 25 }, (_, at) => record({ createdAtMs: 1000 + at % 9 }));
  for (const each of records) await catalog.create(each);
  for (const limit of [1, 2, 7, 24, 25, 26]) {
    const found = await pages(catalog, {}, limit);
    assertEquals(found.flat(), inOrder(records));
    assert(found.slice(0, -1).every((page) => page.length === limit));
    assertEquals(
      (await pages(catalog, { order: "oldest" }, limit)).flat(),
      inOrder(records, "oldest"),
    );
  }
});

contract("records that come or go between two pages shift none of the others", async (catalog) => {
  const records = [1, 2, 3, 4].map((createdAtMs) => record({ createdAtMs }));
  for (const each of records) await catalog.create(each);
  const [, third] = await catalog.list({ limit: 2 });
  await catalog.create(record({ createdAtMs: 9 }));
  await catalog.delete(third.id);
  const rest = await catalog.list({ limit: 2, after: third });
  assertEquals(rest.map(({ createdAtMs }) => createdAtMs), [2, 1]);
});

const arbitraryRecords = fc.array(
  fc.record({
    contextId: fc.constantFrom(null, "a", "b"),
    transferStatus: fc.constantFrom(...TRANSFER_STATUSES),
    createdAtMs: fc.nat(3),
  }),
  { maxLength: 25, size: "max" },
);

contract(
  "any filter and page size finds exactly what matches, in order",
  async (catalog, numRuns) => {
    await fc.assert(
      fc.asyncProperty(
        arbitraryRecords,
        fc.option(fc.constantFrom("a", "b", "c"), { nil: undefined }),
        fc.option(fc.uniqueArray(fc.constantFrom(...TRANSFER_STATUSES)), { nil: undefined }),
        fc.constantFrom(undefined, "newest" as const, "oldest" as const),
        fc.integer({ min: 1, max: 8 }),
        async (given, contextId, transferStatuses, order, limit) => {
          const records = given.map((each) => record(each));
          await Promise.all(records.map((each) => catalog.create(each)));
          const wanted = records
            .filter((each) => contextId === undefined || each.contextId === contextId)
            .filter((each) => transferStatuses?.includes(each.transferStatus) ?? true);
          const found = await pages(catalog, { contextId, transferStatuses, order }, limit);
          assertEquals(found.flat(), inOrder(wanted, order));
          await Promise.all(records.map(({ id }) => catalog.delete(id)));
        },
      ),
      { numRuns },
    );
  },
);

contract(
  "a part of the filename is found in any case of ASCII letters, and means itself",
  async (catalog) => {
    const names = ["Build.log", "test_1.log", "ÄRGER.txt", "100%.log"];
    for (const filename of names) {
      await catalog.create(record({ metadata: { ...record({}).metadata, filename } }));
    }
    const found = async (filenamePart: string) =>
      (await catalog.list({ filenamePart, limit: 10 })).map(({ metadata }) => metadata.filename);
    assertEquals(await found("bUiLd"), ["Build.log"]);
    assertEquals(await found("%"), ["100%.log"]);
    assertEquals(await found("t_1"), ["test_1.log"]);
    assertEquals(await found("är"), []);
    assertEquals((await found("")).length, 4);
  },
);

contract("records are found by the beginning of their id", async (catalog) => {
  const rest = "-0000-4000-8000-000000000000";
  const ids = ["0a0a0a0a", "0a0a0a0b", "0a0b0a0a", "f0000000"].map((begin) => begin + rest);
  for (const id of ids) await catalog.create(record({ id }));
  const found = async (idPrefix: string) =>
    (await catalog.list({ idPrefix, limit: 10 })).map(({ id }) => ids.indexOf(id)).sort();
  assertEquals(await found("0a0a"), [0, 1]);
  assertEquals(await found("0a0a0a0b-0"), [1]);
  assertEquals(await found(ids[3]), [3]);
  assertEquals(await found("0a0c"), []);
});

contract("a context is made once and keeps its time", async (catalog) => {
  assertEquals(await catalog.getContext("run-17"), null);
  const before = Date.now();
  const made = await catalog.createContext("run-17");
  assert(made.id === "run-17" && made.createdAtMs >= before && made.createdAtMs <= Date.now());
  assertEquals(await catalog.createContext("run-17"), made);
  assertEquals(await catalog.getContext("run-17"), made);
  assertEquals(await catalog.getContext("RUN-17"), null);
});

contract("attributes are those that a context was made with", async (catalog) => {
  const attributes = { project: "β", __proto__x: "", "a b": '"' };
  const given = { ...attributes };
  const made = await catalog.createContext("run", given);
  given.project = "changed";
  assertEquals(made.attributes, attributes);
  assertEquals((await catalog.createContext("run", { other: "1" })).attributes, attributes);
  assertEquals((await catalog.getContext("run"))?.attributes, attributes);
  assertEquals((await catalog.closeContext("run"))?.attributes, attributes);
  assertEquals((await catalog.listContexts({ limit: 1 }))[0].attributes, attributes);
  assertEquals((await catalog.createContext("plain")).attributes, {});
});

contract("a context is closed once and keeps that time", async (catalog) => {
  assertEquals(await catalog.closeContext("run-17"), null);
  const { createdAtMs, closedAtMs } = await catalog.createContext("run-17");
  assertEquals(closedAtMs, null);
  const closed = await catalog.closeContext("run-17");
  assert(closed!.closedAtMs! >= createdAtMs);
  assertEquals(await catalog.closeContext("run-17"), closed);
  assertEquals(await catalog.createContext("run-17"), closed);
  assertEquals(await catalog.getContext("run-17"), closed);
});

contract("contexts are listed page by page, newest first", async (catalog) => {
  const ids = ["b", "run/17 ü", "a_b", "c", "a"];
  for (const id of ids) await catalog.createContext(id);
  await catalog.closeContext("c");
  const found: UploadContext[] = [];
  let after: UploadContext | undefined;
  for (;;) {
    const page = await catalog.listContexts({ limit: 2, after });
    assert(page.length <= 2);
    if (page.length === 0) break;
    found.push(...page);
    after = page.at(-1);
  }
  assertEquals(found.map(({ id }) => id).sort(), [...ids].sort());
  const inOrder = found.toSorted((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1));
  assertEquals(found, inOrder);
  assertEquals(found.filter(({ closedAtMs }) => closedAtMs !== null).map(({ id }) => id), ["c"]);
});

contract("usage is the sum of sizes, by upload context", async (catalog) => {
  assertEquals(await catalog.usage(), []);
  const sizes: [string | null, number][] = [["a", 1], [null, 2], ["a", 2 ** 40], ["b", 0], [
    null,
    4,
  ]];
  for (const [contextId, size] of sizes) await catalog.create(record({ contextId, size }));
  const usage = new Map((await catalog.usage()).map((each) => [each.contextId, each.bytes]));
  assertEquals(usage, new Map([["a", 2 ** 40 + 1], [null, 6], ["b", 0]]));
});

contract("changing what was given or returned changes nothing in the catalog", async (catalog) => {
  const given = full();
  const expected = structuredClone(given);
  await catalog.create(given);
  const deface = (found: ResourceRecord) => {
    found.size = -1;
    found.metadata.filename = "defaced";
    found.digest!.value = "defaced";
    found.digestState!.byteOffset = -1;
    found.digestState!.state.fill(0);
  };
  deface(given);
  assertEquals(await catalog.get(given.id), expected);
  deface((await catalog.get(given.id))!);
  assertEquals(await catalog.get(given.id), expected);
  deface((await catalog.list({ limit: 1 }))[0]);
  assertEquals(await catalog.get(given.id), expected);

  const { digest, digestState } = full();
  deface(await catalog.update(given.id, 0, { digest, digestState }));
  digestState!.state.fill(0);
  assertEquals(await catalog.get(given.id), { ...expected, revision: 1 });

  const made = await catalog.createContext("run");
  const { createdAtMs } = made;
  made.createdAtMs = -1;
  (await catalog.getContext("run"))!.createdAtMs = -1;
  assertEquals(await catalog.getContext("run"), {
    id: "run",
    createdAtMs,
    closedAtMs: null,
    attributes: {},
  });
});

contract("bringing everything to disk works before, between and after writes", async (catalog) => {
  await catalog.sync?.();
  await catalog.create(record());
  await Promise.all([catalog.sync?.(), catalog.create(record()), catalog.sync?.()]);
  await catalog.sync?.();
  assertEquals((await catalog.list({ limit: 10 })).length, 2);
});

inFile("everything is there again after the file was closed", async (path) => {
  const created = full();
  const first = new SqliteCatalog(path);
  await first.create(created);
  const updated = await first.update(created.id, 0, { size: 5 });
  const context = await first.createContext("run", { project: "β" });
  await first.close();

  const second = new SqliteCatalog(path);
  await second.sync();
  assertEquals(await second.get(created.id), updated);
  assertEquals(await second.getContext("run"), context);
  await assertFails("CONFLICT", () => second.update(created.id, 0, { size: 6 }));
  await second.close();
});

inFile("the directory of the file is made", async (path) => {
  const catalog = new SqliteCatalog(join(path, "deep", "catalog.sqlite"));
  await catalog.create(record());
  await catalog.close();
});

inFile("two on one file see each other's updates, and neither overwrites them", async (path) => {
  const [one, other] = [new SqliteCatalog(path), new SqliteCatalog(path)];
  const { id } = record();
  await one.create(record({ id }));
  assertEquals((await other.update(id, 0, { size: 1 })).revision, 1);
  await assertFails("CONFLICT", () => one.update(id, 0, { size: 2 }));
  assertEquals((await one.update(id, 1, { size: 3 })).revision, 2);
  assertEquals((await other.get(id))?.size, 3);
  await one.close();
  await other.close();
});

inFile("what is written can be brought to disk while others write", async (path) => {
  const [one, other] = [new SqliteCatalog(path), new SqliteCatalog(path)];
  const writing = [one, other].map(async (catalog) => {
    for (let count = 0; count < 200; count++) {
      await catalog.create(record());
      if (count % 10 === 0) await catalog.sync();
    }
  });
  const syncing = Array.from({ length: 20 }, () => one.sync());
  await Promise.all([...writing, ...syncing]);
  assertEquals((await one.list({ limit: 1000 })).length, 400);
  await one.close();
  await other.close();
});

function refusal(path: string): StreamError {
  const error = assertThrows(() => new SqliteCatalog(path), StreamError);
  assertEquals(error.code, "STORAGE_FAILED");
  assert(error.message.includes(path), error.message);
  return error;
}

inFile("a file of the first version gets what is new, and keeps what it has", async (path) => {
  const made = new SqliteCatalog(path);
  const kept = record({ contextId: "run" });
  await made.create(kept);
  // What is known to be on disk is worked out of what the first version kept.
  const ended = { size: 9, durableSize: 9, transferStatus: "FAILED" } as const;
  const flushed = record({ ...ended, failure: "ABORTED: enough" });
  const refused = record({ ...ended, failure: "STORAGE_FAILED: full" });
  const complete = record({ ...ended, transferStatus: "COMPLETED" });
  for (const one of [flushed, refused, complete]) await made.create(one);
  const context = await made.createContext("run");
  await made.close();
  const first = new DatabaseSync(path);
  first.exec(`
    ALTER TABLE contexts DROP COLUMN attributes;
    ALTER TABLE resources DROP COLUMN annotation;
    ALTER TABLE resources DROP COLUMN owned_by;
    ALTER TABLE resources DROP COLUMN intent;
    ALTER TABLE resources DROP COLUMN flushed_offset;
    ALTER TABLE resources DROP COLUMN flushed_state;
    ALTER TABLE resources DROP COLUMN state_version;
    ALTER TABLE resources DROP COLUMN state_boot;
    ALTER TABLE resources DROP COLUMN doubtful_from;
    ALTER TABLE resources DROP COLUMN exit_code;
    ALTER TABLE resources DROP COLUMN exit_signal;
    ALTER TABLE resources DROP COLUMN owner_node;
    ALTER TABLE resources DROP COLUMN owner_until;
    ALTER TABLE resources DROP COLUMN durable_size;
    ALTER TABLE resources DROP COLUMN announced_size;
    ALTER TABLE resources DROP COLUMN announced_checksum;
    DROP INDEX contexts_newest;
    DROP TABLE usage;
    DROP TABLE clock;
    DROP TRIGGER usage_created;
    DROP TRIGGER usage_changed;
    DROP TRIGGER usage_deleted;
    DROP INDEX resources_status;
    DROP INDEX resources_context_status;
    DROP INDEX resources_ended;
    CREATE INDEX resources_unfinished ON resources (transfer_status)
      WHERE transfer_status IN ('INITIATED', 'IN_PROGRESS');
    ALTER TABLE contexts DROP COLUMN closed_at;
    PRAGMA user_version = 1;
  `);
  first.close();

  const catalog = new SqliteCatalog(path);
  for (const one of [kept, flushed, complete]) assertEquals(await catalog.get(one.id), one);
  assertEquals(await catalog.get(refused.id), { ...refused, durableSize: 0 });
  assertEquals(await catalog.listContexts({ limit: 9 }), [context]);
  const announced = { size: 5, checksum: "ab" };
  assertEquals((await catalog.update(kept.id, 0, { announced })).announced, announced);
  assertEquals((await catalog.get(kept.id))?.announced, announced);
  assert((await catalog.closeContext("run"))?.closedAtMs);
  await catalog.close();
});

inFile("a file of a newer version is refused, and not touched", async (path) => {
  await new SqliteCatalog(path).close();
  const newer = new DatabaseSync(path);
  newer.exec("PRAGMA user_version = 99; CREATE TABLE novelty (id TEXT)");
  newer.close();
  const before = readFileSync(path);
  const { message } = refusal(path);
  assert(message.includes("version 99") && message.includes("newer"), message);
  assertEquals(readFileSync(path), before);
});

inFile("a file that is no database is refused, and not touched", async (path) => {
  for (const content of ["hello", "no database at all\n".repeat(1000)]) {
    writeFileSync(path, content);
    refusal(path);
    assertEquals(readFileSync(path, "utf8"), content);
  }
  await mkdir(join(path, "..", "directory"));
  refusal(join(path, "..", "directory"));
});

inFile("a catalog that was closed says so in its errors", async (path) => {
  const catalog = new SqliteCatalog(path);
  await catalog.close();
  await assertFails("STORAGE_FAILED", () => catalog.get(crypto.randomUUID()));
  await assertFails("STORAGE_FAILED", () => catalog.create(record()));
});

/** The SQL that a step prepares on the way. */
async function preparedBy(step: () => Promise<unknown>): Promise<string[]> {
  const statements: string[] = [];
  const { prepare } = DatabaseSync.prototype;
  DatabaseSync.prototype.prepare = function (sql) {
    statements.push(sql);
    return prepare.call(this, sql);
  };
  try {
    await step();
  } finally {
    DatabaseSync.prototype.prepare = prepare;
  }
  return statements;
}

/** How SQLite goes about what a step asks. */
async function plan(path: string, step: (catalog: Catalog) => Promise<unknown>): Promise<string> {
  const catalog = new SqliteCatalog(path);
  const statements = await preparedBy(() => step(catalog));
  await catalog.close();
  assertEquals(statements.length, 1);
  const database = new DatabaseSync(path);
  const rows = database.prepare(`EXPLAIN QUERY PLAN ${statements[0]}`).all();
  database.close();
  return rows.map((row) => String(row.detail)).join("; ");
}

inFile("a page of a million records is read off an index, without sorting", async (path) => {
  const after = { createdAtMs: 5, id: crypto.randomUUID() };
  const filters: Partial<ResourceQuery>[] = [{}, { contextId: "a" }].flatMap((context) =>
    [[], ["FAILED"], ["INITIATED", "IN_PROGRESS"], ["COMPLETED", "FAILED", "INITIATED"]].map(
      (statuses) => ({
        ...context,
        ...(statuses.length === 0 ? {} : { transferStatuses: statuses as TransferStatus[] }),
      }),
    )
  );
  const places = [{}, { after }, { after, order: "oldest" as const }];
  const steps = filters.flatMap((filter) => places.map((place) => ({ ...filter, ...place })));
  for (const query of steps) {
    const found = await plan(path, (catalog) => catalog.list({ limit: 100, ...query }));
    assert(isOffIndexes(found), `${JSON.stringify(query)}: ${found}`);
  }
  const ended = { beforeMs: 5, limit: 100, after: { updatedAtMs: 1, id: "a" } };
  assert(isOffIndexes(await plan(path, (catalog) => catalog.listEnded(ended))));
  assert(isOffIndexes(await plan(path, (catalog) => catalog.listContexts({ limit: 9, after }))));
});

/** Whether a plan sorts nothing, and looks at a table by an index alone. */
function isOffIndexes(plan: string): boolean {
  const steps = plan.split("; ").filter((step) => /SEARCH|SCAN/.test(step));
  return steps.length > 0 && !plan.includes("TEMP") &&
    steps.every((step) => /^(SEARCH|SCAN) \w+ USING (COVERING )?INDEX/.test(step));
}

inFile(
  "the few unfinished among a million are found without a look at the others",
  async (path) => {
    const transferStatuses = ["INITIATED", "IN_PROGRESS"] as const;
    const found = await plan(path, (catalog) => catalog.list({ limit: 100, transferStatuses }));
    const looks = found.split("; ").filter((step) => /SEARCH|SCAN/.test(step));
    assertEquals(looks.length, 2);
    for (const look of looks) {
      assert(look.startsWith("SEARCH resources USING INDEX resources_status"), look);
    }
  },
);

contract("finished resources are listed by their end, page by page", async (catalog) => {
  const ends = [[5, "COMPLETED"], [3, "FAILED"], [1, "IN_PROGRESS"], [3, "COMPLETED"], [
    9,
    "FAILED",
  ]];
  const records = ends.map(([updatedAtMs, transferStatus]) =>
    record({ updatedAtMs, transferStatus } as Partial<ResourceRecord>)
  );
  for (const each of records) await catalog.create(each);
  const found: ResourceRecord[] = [];
  for (;;) {
    const page = await catalog.listEnded({ beforeMs: 9, limit: 2, after: found.at(-1) });
    found.push(...page);
    if (page.length < 2) break;
  }
  const wanted = [records[1], records[3]].toSorted((a, b) => a.id < b.id ? -1 : 1);
  assertEquals(found, [...wanted, records[0]]);
});

contract("usage follows what is made, grows, shrinks and is deleted", async (catalog) => {
  const [first, second, bare] = [{ contextId: "a", size: 5 }, { contextId: "a", size: 7 }, {
    size: 1,
  }]
    .map(record);
  for (const each of [first, second, bare]) await catalog.create(each);
  await catalog.update(first.id, 0, { size: 50 });
  await catalog.update(second.id, 0, { transferStatus: "FAILED", size: 2 });
  await catalog.delete(bare.id);
  assertEquals(await catalog.usage(), [{ contextId: "a", bytes: 52 }]);
  await catalog.delete(first.id);
  await catalog.delete(second.id);
  assertEquals(await catalog.usage(), []);
});

/** Puts many records into a catalog at once: their ids begin alike, every tenth name holds `build`. */
function fill(path: string, count: number): void {
  const database = new DatabaseSync(path);
  database.exec(`
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${count})
    INSERT INTO resources (id, filename, mime_type, line_access, created_at, transfer_status, size,
      epoch, sequence, updated_at, revision)
    SELECT printf('0a0a0000-0000-4000-8000-%012d', n),
      printf(CASE WHEN n % 10 = 0 THEN 'Build %d.log' ELSE 'test %d.log' END, n),
      'text/plain', 0, n, 'COMPLETED', 1, 1, 1, n, 0 FROM numbers;
  `);
  database.close();
}

/** The longest time between two turns of the event loop during a step, in ms. */
async function longestPauseMs(step: () => Promise<unknown>): Promise<number> {
  let longestMs = 0;
  let lastMs = performance.now();
  let goesOn = true;
  const watching = (async () => {
    while (goesOn) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      longestMs = Math.max(longestMs, performance.now() - lastMs);
      lastMs = performance.now();
    }
  })();
  await step();
  goesOn = false;
  await watching;
  return longestMs;
}

inFile("looks that no index answers go in slices, and let others run", async (path) => {
  const catalog = new SqliteCatalog(path);
  fill(path, 50_000);
  // Each slice looks at the clock, so that two fill a turn.
  const turnsFor = async (step: () => Promise<unknown>) =>
    (await onLookedAtClock(1, () => turnsDuring(step))).result;
  let turns = await turnsFor(async () => {
    assertEquals(await catalog.list({ filenamePart: "nowhere", limit: 9 }), []);
  });
  assert(turns >= 100, `${turns} turns`);
  turns = await turnsFor(async () => {
    const found = await catalog.list({ idPrefix: "0a0a", filenamePart: "BUILD", limit: 3 });
    assertEquals(found.map(({ createdAtMs }) => createdAtMs), [50_000, 49_990, 49_980]);
  });
  assert(turns >= 100, `${turns} turns`);
  const query = { filenamePart: "build", order: "oldest", limit: 2 } as const;
  const [, last] = await catalog.list(query);
  assertEquals((await catalog.list({ ...query, after: last }))[0].createdAtMs, 30);
  turns = await turnsFor(() =>
    Promise.all(
      Array.from({ length: 10 }, () => catalog.list({ filenamePart: "x", limit: 1 })),
    )
  );
  // Those who look at the same time take turns.
  assert(turns >= 1000, `${turns} turns`);
  await catalog.close();
});

inFile("long pages are whole, and looks leave turns to sockets", async (path) => {
  const catalog = new SqliteCatalog(path);
  fill(path, 20_000);
  const pages = Array.from({ length: 4 }, () => catalog.list({ limit: 1001 }));
  for (const page of await Promise.all(pages)) {
    assertEquals(page.map(({ createdAtMs }) => createdAtMs), newest(1001));
  }
  await using server = await startServer();
  const answers = await timesDuring(
    async () => {
      for (let looks = 0; looks < 5; looks++) {
        assertEquals(await catalog.list({ filenamePart: "nowhere", limit: 9 }), []);
      }
    },
    async () => await (await fetch(`${server.url}/healthz`)).text(),
  );
  assert(answers >= 3, `${answers} answers beside looks`);
  await catalog.close();
});

/** When the newest were made, of as many as {@link fill} makes. */
const newest = (count: number) => Array.from({ length: count }, (_, index) => 20_000 - index);

inFile(
  "more looks through everything than a catalog can have are told to come back",
  async (path) => {
    const catalog = new SqliteCatalog(path);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 100 }, () => catalog.list({ filenamePart: "x", limit: 1 })),
    );
    const refused = outcomes.filter(({ status }) => status === "rejected");
    assertEquals(refused.length, 36);
    assertEquals((refused[0] as PromiseRejectedResult).reason.code, "LIMIT_REACHED");
    await catalog.close();
  },
);

inFile("statements that are kept are few, however statuses are put together", async (path) => {
  const catalog = new SqliteCatalog(path);
  const prepared = await preparedBy(async () => {
    for (let length = 1; length < 400; length++) {
      const transferStatuses = Array.from({ length }, (_, at) => TRANSFER_STATUSES[at % 3]);
      await catalog.list({ transferStatuses, limit: 1 });
    }
  });
  assertEquals(new Set(prepared).size, 3);
  await catalog.close();
});

/** Another process that holds the file, as far as SQLite can tell: for writers, or for everybody. */
function holder(path: string, how: "writers" | "everybody"): Disposable {
  const database = new DatabaseSync(path);
  if (how === "everybody") database.exec("PRAGMA locking_mode = EXCLUSIVE");
  database.exec("BEGIN IMMEDIATE; DELETE FROM contexts WHERE id = 'nobody';");
  return { [Symbol.dispose]: () => database.close() };
}

inFile(
  "while another process holds the file, calls wait and everything else goes on",
  async (path) => {
    const catalog = new SqliteCatalog(path);
    const known = record();
    await catalog.create(known);
    const done: string[] = [];
    const pauseMs = await longestPauseMs(async () => {
      const held = holder(path, "writers");
      const other = record();
      const writing = [
        catalog.create(other).then(() => done.push("create")),
        catalog.update(other.id, 0, { size: 1 }).then(() => done.push("update")),
        catalog.update(other.id, 1, { size: 2 }).then(() => done.push("update again")),
        catalog.delete(other.id).then(() => done.push("delete")),
      ];
      assertEquals(await catalog.get(known.id), known);
      await new Promise((resolve) => setTimeout(resolve, 300));
      assertEquals(done, []);
      held[Symbol.dispose]();
      await Promise.all(writing);
    });
    // None overtook another.
    assertEquals(done, ["create", "update", "update again", "delete"]);
    assert(pauseMs < 1000, `${pauseMs} ms`);
    await catalog.close();
  },
);

inFile("a file that is held for too long is NOT_READY, and later as before", async (path) => {
  const catalog = new SqliteCatalog(path, { waitMs: 100 });
  const known = record();
  await catalog.create(known);
  {
    using _held = holder(path, "writers");
    const calls = [
      () => catalog.update(known.id, 0, { size: 1 }),
      () => catalog.create(record()),
      () => catalog.delete(known.id),
    ];
    await Promise.all(calls.map((call) => assertFails("NOT_READY", call)));
  }
  assertEquals((await catalog.update(known.id, 0, { size: 5 })).size, 5);
  await catalog.close();
});

/** Errors of a full disk, as SQLite has them, from every write while a file is there. */
function fullWhile(isFull: () => boolean): Disposable {
  const { prepare } = DatabaseSync.prototype;
  DatabaseSync.prototype.prepare = function (sql) {
    const statement = prepare.call(this, sql);
    return override(statement, {
      run: (...values: unknown[]) => {
        if (isFull()) throw Object.assign(new Error("database or disk is full"), { errcode: 13 });
        return statement.run(...values as Parameters<typeof statement.run>);
      },
    });
  };
  return { [Symbol.dispose]: () => void (DatabaseSync.prototype.prepare = prepare) };
}

inFile("on a full disk a record can be deleted, and nothing else is taken", async (path) => {
  const reserve = `${path}-reserve`;
  using _full = fullWhile(() => existsSync(reserve) && isFull);
  let isFull = false;
  const catalog = new SqliteCatalog(path);
  const known = record();
  await catalog.create(known);
  isFull = true;
  await assertFails("STORAGE_FAILED", () => catalog.create(record()));
  await assertFails("STORAGE_FAILED", () => catalog.probe());
  assertEquals(await catalog.delete(known.id), true);
  assertEquals(existsSync(reserve), false);
  // There is room again: it is kept for the next time.
  await catalog.create(known);
  await eventually("the reserve", () => existsSync(reserve) && statSync(reserve).size > 4e6);
  await catalog.close();
});

inFile(
  "whether records are taken is found out by bytes that a full disk would refuse",
  async (path) => {
    const catalog = new SqliteCatalog(path);
    const before = statSync(`${path}-wal`).size;
    await catalog.probe();
    assert(statSync(`${path}-wal`).size > before);
    await catalog.close();
  },
);

inFile("a catalog whose file was deleted takes no records", async (path) => {
  const catalog = new SqliteCatalog(path);
  await catalog.probe();
  rmSync(dirname(path), { recursive: true });
  const { message } = await assertFails("STORAGE_FAILED", () => catalog.probe());
  assert(message.includes("deleted"), message);
  await catalog.close();
});

inFile(
  "the time that was kept is there again, and goes on from the newest record",
  async (path) => {
    const first = new SqliteCatalog(path);
    assert(Math.abs((await first.lastTime()).steadyMs - Date.now()) < 60_000);
    await first.keepTime({ steadyMs: 5, wallMs: 7 });
    await first.close();
    const second = new SqliteCatalog(path);
    assertEquals(await second.lastTime(), { steadyMs: 5, wallMs: 7 });
    await second.close();
  },
);
