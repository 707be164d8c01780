/** What a catalog in a cluster has to stand besides the contract: lost answers, gaps, absences, stalls. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { TimeoutError } from "@nats-io/transport-node";
import type { RecordChange, ResourceRecord } from "../../src/catalog.ts";
import { NatsCatalog } from "../../src/catalog/nats.ts";
import { Projection } from "../../src/catalog/nats/projection.ts";
import { type Engine, RECORD_BUCKETS, shardOf } from "../../src/cluster/engine.ts";
import { assertFails } from "../helpers/errors.ts";
import { eventually } from "../helpers/frames/connection.ts";
import { olderData, unpack } from "../helpers/older/data.ts";
import { override } from "../helpers/storage.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";
import { emptyPlace } from "./in_cluster.ts";
import { record } from "./records.ts";

/** Records that belong in a bucket. */
function recordsIn(bucket: string, count: number): ResourceRecord[] {
  const records: ResourceRecord[] = [];
  while (records.length < count) {
    const one = record();
    if (RECORD_BUCKETS[shardOf(one.id, RECORD_BUCKETS.length)] === bucket) records.push(one);
  }
  return records;
}

/** An engine that loses answers to changes: they are made, and nobody is told. */
function losing(engine: Engine, loses: () => boolean): Engine {
  const publish: Engine["js"]["publish"] = async (...given) => {
    const ack = await engine.js.publish(...given);
    if (loses()) throw new Error("TIMEOUT");
    return ack;
  };
  return override(engine, { js: override(engine.js, { publish }) });
}

/** An engine that says nothing of what it has, while nobody is to be told. */
function silent(engine: Engine, isAway: () => boolean): Engine {
  const { streams, direct } = engine.jsm;
  const away = () => {
    if (isAway()) throw new Error("TIMEOUT");
  };
  const jsm = override(engine.jsm, {
    streams: override(streams, {
      getMessage: async (...given) => (away(), await streams.getMessage(...given)),
    }),
    direct: override(direct, {
      getMessage: async (...given) => (away(), await direct.getMessage(...given)),
    }),
  });
  return override(engine, { jsm });
}

/** An engine that counts the messages that are fetched from it. */
function counting(engine: Engine, fetched: (count: number) => void): Engine {
  const direct = override(engine.jsm.direct, {
    async getBatch(stream, options) {
      const messages = await engine.jsm.direct.getBatch(stream, options);
      const { iterClosed } = messages as unknown as { iterClosed: Promise<unknown> };
      void iterClosed.then(() => fetched(messages.getProcessed()));
      return messages;
    },
  });
  return override(engine, { jsm: override(engine.jsm, { direct }) });
}

/** The clock of this process is behind until this is disposed of. */
function clockBehind(ms: number): Disposable {
  const { now } = Date;
  Date.now = () => now() - ms;
  return { [Symbol.dispose]: () => void (Date.now = now) };
}

test("a catalog is opened while a bucket has no leader for a moment, and one without a bucket says what makes it", async () => {
  await using place = await emptyPlace();
  const { engine: { jsm: { streams } } } = place;
  const info = streams.info.bind(streams);
  let unanswered = 0;
  streams.info = async (...given) => {
    // The first look, and the one when it is caught up.
    if (unanswered < 2 || unanswered === 8) throw (unanswered++, new TimeoutError());
    unanswered++;
    return await info(...given);
  };
  await place.catalog();
  assertGreater(unanswered, 8);
  await streams.delete("KV_ctx");
  const { message } = await assertFails("NOT_READY", () => place.catalog());
  assert(message.includes("KV_ctx") && message.includes("stream cluster init"), message);
});

test("a copy is not caught up while its bucket has no leader, whatever a member tells, and no records are taken", async () => {
  await using place = await emptyPlace();
  const { engine: { jsm: { streams } } } = place;
  const catalog = await place.catalog();
  const info = streams.info.bind(streams);
  streams.info = async (...given) => {
    const found = await info(...given);
    return { ...found, cluster: { ...found.cluster, leader: "" } };
  };
  await assertFails("NOT_READY", () => catalog.caughtUp());
  await assertFails("NOT_READY", () => catalog.probe());
  streams.info = info;
  await catalog.probe();
});

test("a change whose answer is lost was made once, and is no conflict", async () => {
  await using place = await emptyPlace();
  let lost = 0;
  const engine = losing(place.engine, () => ++lost % 2 === 1);
  const catalog = await place.catalog({ engine });
  const changes: RecordChange[] = [];
  catalog.watch((change) => changes.push(change));
  const created = record();
  await catalog.create(created);
  let revision = 0;
  for (let size = 1; size <= 5; size++) {
    ({ revision } = await catalog.update(created.id, revision, { size }));
  }
  assertEquals([revision, (await catalog.get(created.id))?.size], [5, 5]);
  assertEquals(await catalog.delete(created.id), true);
  assertEquals(changes.map(({ is }) => is?.revision), [0, 1, 2, 3, 4, 5, undefined]);
  assert(lost >= 7, `${lost}`);
});

test("a change whose answer is lost is no conflict, though whoever is asked then is behind for a while", async () => {
  await using place = await emptyPlace();
  const { jsm } = place.engine;
  let [lost, behind] = [0, 0];
  const catalog = await place.catalog({
    engine: override(losing(place.engine, () => lost-- > 0), {
      jsm: override(jsm, {
        streams: override(jsm.streams, {
          getMessage: async (...given) =>
            behind-- > 0 ? old : await jsm.streams.getMessage(...given),
        }),
      }),
    }),
  });
  const created = record();
  await catalog.create(created);
  const bucket = RECORD_BUCKETS[shardOf(created.id, RECORD_BUCKETS.length)];
  const last_by_subj = `$KV.${bucket}.${created.id}`;
  const old = await jsm.streams.getMessage(`KV_${bucket}`, { last_by_subj });
  [lost, behind] = [1, 2];
  assertEquals((await catalog.update(created.id, 0, { size: 1 })).revision, 1);
  assert(lost < 1 && behind < 1, "nobody was asked");
});

test("a record is not missing because a leader was left behind that has not heard of it", async () => {
  await using place = await emptyPlace();
  const { jsm } = place.engine;
  let behind = 0;
  const getMessage: typeof jsm.streams.getMessage = async (...given) =>
    behind-- > 0 ? null : await jsm.streams.getMessage(...given);
  const streams = override(jsm.streams, { getMessage });
  const catalog = await place.catalog({
    engine: override(place.engine, { jsm: override(jsm, { streams }) }),
  });
  const created = record();
  await catalog.create(created);
  behind = 1;
  assertEquals((await catalog.get(created.id))?.id, created.id);
  await catalog.delete(created.id);
  assertEquals(await catalog.get(created.id), null);
});

test("whoever was told NOT_READY, time and again, goes on from that change which was made after all", async () => {
  await using place = await emptyPlace();
  let isAway = false;
  const engine = silent(losing(place.engine, () => isAway), () => isAway);
  const catalog = await place.catalog({ engine, waitMs: 200 });
  const created = record();
  await catalog.create(created);
  isAway = true;
  await assertFails("NOT_READY", () => catalog.update(created.id, 0, { size: 1, epoch: 7 }));
  await assertFails("NOT_READY", () => catalog.update(created.id, 0, { size: 1, epoch: 7 }));
  isAway = false;
  const { size, epoch } = await catalog.update(created.id, 0, { size: 2 });
  assertEquals([size, epoch], [2, 7]);
  await assertFails("CONFLICT", () => catalog.update(created.id, 0, { size: 3 }));
});

test("a record that is made after whoever wanted it was refused is removed", async () => {
  await using place = await emptyPlace();
  const { js } = place.engine;
  let late: (() => Promise<unknown>) | null = null;
  let isLate = true;
  const publish: Engine["js"]["publish"] = async (...given) => {
    if (!isLate) return await js.publish(...given);
    late ??= () => js.publish(...given);
    throw new Error("TIMEOUT");
  };
  const engine = override(place.engine, { js: override(js, { publish }) });
  const [here, there] = [await place.catalog({ engine, waitMs: 100 }), await place.catalog()];
  const changes: RecordChange[] = [];
  there.watch((change) => changes.push(change));
  const refused = record();
  await assertFails("NOT_READY", () => here.create(refused));
  isLate = false;
  await late!();
  await eventually("its end", () => changes.length === 2);
  assertEquals(await here.get(refused.id), null);
  assertEquals(await here.list({ limit: 9 }), []);
});

test("a record that was made, and shown, before whoever wanted it was refused is removed", async () => {
  await using place = await emptyPlace();
  let isAway = false;
  const engine = silent(losing(place.engine, () => isAway), () => isAway);
  const catalog = await place.catalog({ engine, waitMs: 100 });
  isAway = true;
  const changes: RecordChange[] = [];
  catalog.watch((change) => changes.push(change));
  await assertFails("NOT_READY", () => catalog.create(record()));
  assertEquals(changes.length, 1);
  isAway = false;
  await eventually("its end", () => changes.length === 2);
  assertEquals(await catalog.list({ limit: 9 }), []);
});

test("a node hears of what others change, in the order of each record", async () => {
  await using place = await emptyPlace();
  const [here, there] = [await place.catalog(), await place.catalog()];
  const changes: RecordChange[] = [];
  here.watch((change) => changes.push(change));
  const created = record();
  await there.create(created);
  for (let revision = 0; revision < 20; revision++) {
    await there.update(created.id, revision, { size: revision + 1 });
  }
  await there.delete(created.id);
  await eventually("the deletion", () => changes.at(-1)?.is === null);
  assertEquals(changes.map(({ is }) => is?.size), [
    ...Array.from({ length: 21 }, (_, size) => size),
    undefined,
  ]);
  assertEquals(changes.map(({ was }) => was?.size), [
    undefined,
    ...Array.from({ length: 21 }, (_, size) => size),
  ]);
});

test("two nodes that change one record take turns: no change is lost, and all are told", async () => {
  await using place = await emptyPlace();
  const nodes = [await place.catalog(), await place.catalog(), await place.catalog()];
  const told = nodes.map(() => [] as number[]);
  nodes.forEach((node, at) => node.watch(({ is }) => void told[at].push(is!.size)));
  const { id } = record();
  await nodes[0].create(record({ id }));
  const add = async (node: NatsCatalog) => {
    for (let added = 0; added < 20;) {
      const { revision, size } = (await node.get(id))!;
      const won = await node.update(id, revision, { size: size + 1 }).then(() => 1, () => 0);
      added += won;
    }
  };
  await Promise.all(nodes.map(add));
  await Promise.all(nodes.map((node) => node.caughtUp()));
  assertEquals((await nodes[0].get(id))?.size, 60);
  for (const sizes of told) {
    assertEquals(sizes.at(-1), 60);
    assertEquals(sizes, sizes.toSorted((a, b) => a - b));
  }
});

test("what a node did not hear it fetches: changes, deletions and ids that are used again", async () => {
  await using place = await emptyPlace();
  let isDeaf = false;
  const { nc } = place.engine;
  const deaf = override(nc, {
    subscribe: (subject, options) =>
      nc.subscribe(subject, {
        ...options,
        callback: (...told) => void (isDeaf || options!.callback!(...told)),
      }),
  });
  const here = await place.catalog({ engine: override(place.engine, { nc: deaf }) });
  const there = await place.catalog();
  const [kept, gone, again] = [record({ createdAtMs: 3 }), record(), record({ createdAtMs: 1 })];
  for (const each of [kept, gone, again]) await there.create(each);
  await here.caughtUp();
  const changes: RecordChange[] = [];
  here.watch((change) => changes.push(change));
  isDeaf = true;
  const updated = await there.update(kept.id, 0, { size: 9 });
  await there.delete(gone.id);
  await there.delete(again.id);
  const reborn = { ...again, createdAtMs: 2, size: 5 };
  await there.create(reborn);
  const added = record({ createdAtMs: 9 });
  await there.create(added);
  assertEquals((await here.list({ limit: 9 })).length, 3);
  await here.caughtUp();
  assertEquals(await here.list({ limit: 9 }), [added, updated, reborn]);
  const of = (id: string) =>
    changes.filter(({ was, is }) => (is ?? was)!.id === id).map(({ was, is }) => [
      was?.createdAtMs,
      is?.createdAtMs,
    ]);
  assertEquals(of(again.id), [[1, undefined], [undefined, 2]]);
  assertEquals(of(gone.id), [[gone.createdAtMs, undefined]]);
  isDeaf = false;
  // The next one that is heard brings all that were not.
  await there.update(kept.id, 1, { size: 10 });
  await eventually("the update", () => changes.some(({ is }) => is?.size === 10));
});

test("a node that returns fetches the difference only, deletions included", async () => {
  await using place = await emptyPlace();
  const there = await place.catalog();
  const records: ResourceRecord[] = [];
  for (let count = 0; count < 300; count++) records.push(record({ createdAtMs: count }));
  await Promise.all(records.map((each) => there.create(each)));
  let fetched = 0;
  const engine = counting(place.engine, (count) => fetched += count);
  const first = await place.catalog({ engine, name: "returning.sqlite" });
  assertEquals([fetched, (await first.list({ limit: 999 })).length], [300, 300]);
  await first.close();
  fetched = 0;
  await there.update(records[0].id, 0, { size: 1 });
  await there.delete(records[1].id);
  const second = await place.catalog({ engine, name: "returning.sqlite" });
  assertEquals(fetched, 2);
  const listed = await second.list({ limit: 999, order: "oldest" });
  assertEquals(listed.length, 299);
  assertEquals([listed[0].size, listed[1].id], [1, records[2].id]);
  assertEquals(await second.usage(), [{ contextId: null, bytes: 1 }]);
});

test("a copy of buckets that were made anew, and a file that is none, are made again", async () => {
  await using place = await emptyPlace();
  const there = await place.catalog();
  const [old, recent] = [record(), record()];
  await there.create(old);
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "copy.sqlite");
  await (await NatsCatalog.open(place.engine, { path })).close();
  await there.close();
  await place.remake();
  const again = await place.catalog();
  await again.create(recent);
  const copy = await NatsCatalog.open(place.engine, { path });
  assertEquals(await copy.list({ limit: 9 }), [recent]);
  await copy.close();
  const damaged = join(directory.path, "damaged.sqlite");
  await writeFile(damaged, "no database at all\n".repeat(1000));
  const repaired = await NatsCatalog.open(place.engine, { path: damaged });
  assertEquals(await repaired.list({ limit: 9 }), [recent]);
  await repaired.close();
});

test("a copy that an older program kept is made anew: it may have left something out", async () => {
  await using directory = await temporaryDirectory();
  const { files } = olderData("2026-11-23");
  await unpack({ files }, directory.path);
  const path = join(directory.path, "catalog.sqlite");
  const older = new DatabaseSync(path);
  older.exec(
    "CREATE TABLE feeds (bucket TEXT PRIMARY KEY, life TEXT NOT NULL, sequence INTEGER NOT NULL, " +
      "at INTEGER NOT NULL); INSERT INTO feeds VALUES ('rec-0', 'a', 9, 0)",
  );
  older.close();
  const copy = new Projection(path, () => true);
  assertEquals([copy.positions().size, await copy.file.list({ limit: 9 })], [0, []]);
  await copy.close();
  const again = new Projection(path, () => true);
  again.keep("rec-0", { life: "a", sequence: 9, atMs: 0 });
  await again.close();
  const kept = new Projection(path, () => true);
  assertEquals(kept.positions().size, 1);
  await kept.close();
});

test("a copy that missed what the engine has forgotten by now is made again, whatever the clock of its node says", async () => {
  await using place = await emptyPlace();
  const there = await place.catalog();
  const [gone, recent, late] = [record(), record(), record()];
  for (const each of [gone, recent]) await there.create(each);
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "copy.sqlite");
  await (await NatsCatalog.open(place.engine, { path })).close();
  await there.delete(gone.id);
  for (const name of RECORD_BUCKETS) {
    await place.engine.jsm.streams.purge(`KV_${name}`, { filter: `$KV.${name}.${gone.id}` });
  }
  // As many records as before: their number tells nothing.
  await there.create(late);
  // Eight days pass, and its clock is set back by as much.
  const away = 8 * 24 * 3_600_000;
  const copy = new DatabaseSync(path);
  copy.exec(`UPDATE feeds SET at = at - ${away}`);
  copy.close();
  using _late = clockBehind(away);
  const again = await NatsCatalog.open(place.engine, { path });
  const listed = (await again.list({ limit: 9 })).map(({ id }) => id);
  assertEquals(listed.sort(), [recent.id, late.id].sort());
  await again.close();
});

test("a copy that knows more than buckets that were put back as they were before is made again", async () => {
  await using place = await emptyPlace();
  const there = await place.catalog();
  const old = record();
  await there.create(old);
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "copy.sqlite");
  await (await NatsCatalog.open(place.engine, { path })).close();
  // It had heard of changes, a minute ago, whose numbers are those of others now.
  const copy = new DatabaseSync(path);
  copy.exec("UPDATE feeds SET sequence = sequence + 2, at = at - 60000");
  copy.close();
  const recent = Array.from({ length: 40 }, () => record());
  for (const each of recent) await there.create(each);
  for (const id of ["a", "b", "c"]) await there.createContext(id, {});
  const again = await NatsCatalog.open(place.engine, { path });
  assertEquals((await again.list({ limit: 99 })).length, 1 + recent.length);
  await again.close();
});

test("records that somebody purged under a node are told to be lost, and a copy that has them is made again", async () => {
  await using place = await emptyPlace();
  const there = await place.catalog({ name: "copy.sqlite" });
  const records = Array.from({ length: 9 }, () => record());
  for (const each of records) await there.create(each);
  await there.delete(records[0].id);
  await there.probe();
  const name = RECORD_BUCKETS[shardOf(records[1].id, RECORD_BUCKETS.length)];
  await place.engine.jsm.streams.purge(`KV_${name}`);
  const error = await assertFails("WRONG_STATE", () => there.probe());
  assertStringIncludes(error.message, `bucket ${name} of the engine was purged`);
  assertEquals((await there.lost).message, error.message);
  await there.close();
  const again = await place.catalog({ name: "copy.sqlite" });
  const kept = records.slice(1).filter(({ id }) =>
    RECORD_BUCKETS[shardOf(id, RECORD_BUCKETS.length)] !== name
  );
  assertEquals((await again.list({ limit: 99 })).length, kept.length);
});

test("a record that somebody purged by its key is gone at every node as soon as one of them misses it", async () => {
  await using place = await emptyPlace();
  const [a, b] = [await place.catalog(), await place.catalog({ name: "b.sqlite" })];
  const purge = (id: string) =>
    place.engine.jsm.streams.purge("KV_rec-0", { filter: `$KV.rec-0.${id}` });
  const all = recordsIn("rec-0", 8);
  for (const each of all) await a.create(each);
  const [asked, changed, found, returned] = all.map(({ id }) => id);
  const has = async (catalog: NatsCatalog, id: string) => {
    await catalog.caughtUp();
    return (await catalog.list({ limit: 10 })).some((each) => each.id === id);
  };
  const isGone = async (catalog: NatsCatalog, id: string) => {
    while (await has(catalog, id)) await setImmediate();
  };
  assertEquals(await has(b, returned), true);
  const heard: string[] = [];
  b.watch(({ was, is }) => is === null && heard.push(was!.id));
  await purge(asked);
  assertEquals(await a.get(asked), null);
  await purge(changed);
  await assertFails("NOT_FOUND", () => a.update(changed, 0, { size: 1 }));
  assertEquals([await has(b, asked), await has(b, changed)], [false, false]);
  assertEquals(heard, [asked, changed]);
  // No node deleted it.
  assertEquals(await a.deletedAtMs(asked), null);
  await purge(found);
  await Promise.all([isGone(a, found), isGone(b, found)]);
  await b.close();
  await purge(returned);
  await isGone(await place.catalog({ name: "b.sqlite" }), returned);
  assertEquals(await a.delete(all[4].id), true);
  assertNotEquals(await a.deletedAtMs(all[4].id), null);
});

test("a record that a restored bucket has as it was before is not waited for", async () => {
  await using place = await emptyPlace();
  const there = await place.catalog();
  const older = record();
  await there.create(older);
  const { revision } = await there.update(older.id, older.revision, { size: 1 });
  await place.remake();
  await (await place.catalog()).create(older);
  const error = await assertFails("CONFLICT", () => there.update(older.id, revision, { size: 2 }));
  assertStringIncludes(error.message, `is at revision ${older.revision}`);
  assertEquals((await there.get(older.id))?.size, older.size);
});

test("the time that one node keeps, another goes on from", async () => {
  await using place = await emptyPlace();
  const [here, there] = [await place.catalog(), await place.catalog()];
  assert(Math.abs((await here.lastTime()).steadyMs - Date.now()) < 60_000);
  await here.keepTime({ steadyMs: 5, wallMs: 7 });
  assertEquals((await there.lastTime()).steadyMs, 5);
  await there.keepTime({ steadyMs: 8, wallMs: 9 });
  assertEquals((await here.lastTime()).steadyMs, 8);
});

test("what passed since the time was kept is no more than the engine says, whatever the clocks of nodes do", async () => {
  await using place = await emptyPlace();
  const catalog = await place.catalog();
  const day = 24 * 3_600_000;
  const nowMs = Date.now();
  await catalog.keepTime({ steadyMs: nowMs - 30 * day, wallMs: nowMs - 30 * day });
  const { steadyMs, wallMs } = await catalog.lastTime();
  assertEquals(steadyMs, nowMs - 30 * day);
  assertLess(Date.now() - wallMs, 10_000);
  // What was in doubt then still is.
  const doubtMs = 2 * day;
  await catalog.keepTime({ steadyMs: nowMs, wallMs: nowMs - doubtMs, doubtMs });
  assertLess(Math.abs(Date.now() - (await catalog.lastTime()).wallMs - doubtMs), 10_000);
  const laterMs = nowMs + day;
  await catalog.keepTime({ steadyMs: laterMs, wallMs: laterMs });
  // A clock that is behind tells nothing of that.
  assertLess(Math.abs(Date.now() - (await catalog.lastTime()).wallMs), 10_000);
});

test("nodes that are the first to start have one time, whatever their clocks say", async () => {
  await using place = await emptyPlace();
  const [here, there] = [await place.catalog(), await place.catalog()];
  const { steadyMs } = await here.lastTime();
  for (const behindMs of [24 * 3_600_000, -24 * 3_600_000]) {
    using _other = clockBehind(behindMs);
    const last = await there.lastTime();
    assertEquals(last.steadyMs, steadyMs);
    // As much has passed as the engine says.
    assertLess(Math.abs(Date.now() - last.wallMs), 10_000);
  }
});

test("a bucket that is nearly full takes nothing new: changes and deletions still have room", async () => {
  await using place = await emptyPlace();
  const { jsm } = place.engine;
  let isFull = false;
  const info: typeof jsm.streams.info = async (...given) => {
    const found = await jsm.streams.info(...given);
    const { state, config } = found;
    return isFull ? { ...found, state: { ...state, bytes: config.max_bytes * 0.95 } } : found;
  };
  const streams = override(jsm.streams, { info });
  const engine = override(place.engine, { jsm: override(jsm, { streams }) });
  const catalog = await place.catalog({ engine });
  const there = record();
  await catalog.create(there);
  await catalog.createContext("there");
  isFull = true;
  await catalog.caughtUp();
  await assertFails("QUOTA_EXCEEDED", () => catalog.create(record()));
  await assertFails("QUOTA_EXCEEDED", () => catalog.createContext("new"));
  await assertFails("QUOTA_EXCEEDED", () => catalog.probe());
  assertEquals((await catalog.createContext("there")).id, "there");
  await catalog.update(there.id, 0, { size: 1 });
  assertEquals(await catalog.delete(there.id), true);
  isFull = false;
  await catalog.caughtUp();
  await catalog.create(record());
});
