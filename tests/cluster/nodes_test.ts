/** Several nodes whose logs are in the engine: what one writes all read, and each upload has one owner. */
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import type { ResourceStatus } from "../../src/protocol.ts";
import type { OwnedUpload } from "../../src/resources.ts";
import type { LogEnd } from "../../src/storage.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes, eventually } from "../helpers/frames/connection.ts";
import { Cluster } from "../helpers/nodes.ts";
import { withChance } from "../helpers/random.ts";
import {
  followElsewhere,
  gone,
  hopBetween,
  isOver,
  RESUMABLE,
  resumeOn,
  write,
} from "../helpers/node_uploads.ts";
import { checksumOf, readAll, statusWhere } from "../helpers/resources.ts";
import { startServer } from "../helpers/server.ts";
import { changed } from "../helpers/storage.ts";
import { logsInEngine } from "./logs.ts";

/** A storage that outlives its node. */
const close = () => Promise.resolve();

test("engine: what is pushed to one node is followed on the other, line by line, to its end and digest", async () => {
  await using logs = await logsInEngine();
  await using cluster = new Cluster();
  await using a = await startServer({ ...cluster.options("a"), storage: await logs.node() });
  await using b = await startServer({ ...cluster.options("b"), storage: await logs.node() });
  const { durableSize } = await followElsewhere(a, b);
  assertEquals(durableSize, 13);
});

test("engine: an upload goes on at the other node when its client gets there, with every byte once", async () => {
  await using logs = await logsInEngine();
  await using cluster = new Cluster();
  await using a = await startServer({ ...cluster.options("a"), storage: await logs.node() });
  await using b = await startServer({ ...cluster.options("b"), storage: await logs.node() });
  await hopBetween(a, b, 4);
});

test("engine: resuming elsewhere takes over at once, and the old owner appends nothing more", async () => {
  await using logs = await logsInEngine();
  await using cluster = new Cluster();
  const a = cluster.node("a", { storage: await logs.node() });
  const b = cluster.node("b", { storage: await logs.node() });
  const upload = await a.register(RESUMABLE);
  await write(upload.appender, "one\n");
  await using opened = await a.open(upload.appender.resource.id);
  const later = await resumeOn(b, upload);
  assertEquals([later.received, later.epoch], [4, 2]);
  upload.appender.append(utf8("lost\n"));
  await assertFails("FENCED", () => upload.appender.complete(""));
  await write(later, "two\n");
  await later.complete(await checksumOf(utf8("one\ntwo\n")), 8);
  assertEquals((await statusWhere(opened.resource, isOver)).transferStatus, "COMPLETED");
  assertBytes(await readAll(opened.resource), utf8("one\ntwo\n"));
});

test("engine: a busy owner that nobody stops loses its log to the next one in a moment", async () => {
  await using logs = await logsInEngine();
  const [a, b] = [await logs.node(), await logs.node()];
  const id = crypto.randomUUID();
  let owner = await a.create(id, { lineAccess: false, epoch: 1 });
  const block = new Uint8Array(64 * 1024).fill(7);
  for (let epoch = 2; epoch < 8; epoch++) {
    let acknowledged = 0;
    const busy = (async () => {
      for (const log = owner;;) {
        await log.append(log.size, [block]);
        acknowledged = log.size;
      }
    })();
    const lost = assertFails("FENCED", () => busy);
    await delay(20);
    owner = await (epoch % 2 === 0 ? b : a).recover(id, { lineAccess: false, epoch });
    const found = owner.size;
    await lost;
    // What was acknowledged behind the takeover would be lost.
    assertLessOrEqual(acknowledged, found);
    assertEquals(found % block.length, 0);
  }
  await owner.close();
});

test("engine: wherever an upload goes, no acknowledged byte is lost and none is doubled", () =>
  withChance(async (chance) => {
    await using logs = await logsInEngine();
    const storages = [await logs.node(), await logs.node(), await logs.node()];
    for (let round = 0; round < 3; round++) {
      await using cluster = new Cluster();
      const nodes = storages.map((storage, at) =>
        cluster.node(`${at}`, { storage: changed(storage, { storage: { close } }) })
      );
      const first = await chance.pick(nodes).register(RESUMABLE);
      let owner: OwnedUpload = first;
      await using opened = await nodes[0].open(first.appender.resource.id);
      const content = chance.text(3000);
      for (let at = 0; at < content.length;) {
        const { appender } = owner;
        const end = Math.min(content.length, at + chance.whole(1, 300));
        appender.append(content.slice(at, end));
        at = end;
        if (chance.happens(0.5)) await delay(chance.whole(0, 3));
        if (chance.happens(0.6)) continue;
        const acknowledged = appender.acknowledged;
        if (chance.happens(0.3)) void nodes.map((each) => each.interrupt(appender, gone()));
        owner = { appender: await resumeOn(chance.pick(nodes), owner), secret: owner.secret };
        assertLessOrEqual(acknowledged, owner.appender.received);
        at = owner.appender.received;
      }
      await owner.appender.complete(await checksumOf(content), content.length);
      await statusWhere(opened.resource, isOver);
      assertBytes(await readAll(opened.resource), content);
    }
  }));

test("engine: what is deleted on one node cannot be read on another, and its id begins anew", async () => {
  await using logs = await logsInEngine();
  const [a, b] = [await logs.node(), await logs.node()];
  const id = crypto.randomUUID();
  const log = await a.create(id, { lineAccess: true, epoch: 1 });
  await log.append(0, [utf8("old\n")]);
  const reader = await b.openReader(id);
  assertEquals(await b.delete(id), true);
  await assertFails("DELETED", () => reader.read(0, 4));
  await assertFails("NOT_FOUND", () => a.openReader(id));
  const again = await b.create(id, { lineAccess: true, epoch: 1 });
  await again.append(0, [utf8("new\n")]);
  await assertFails("DELETED", () => log.append(4, [utf8("older\n")]));
  await assertFails("DELETED", () => reader.read(0, 4));
  const reopened = await a.openReader(id);
  assertEquals(await reopened.read(0, 4), utf8("new\n"));
  await Promise.all([log.close(), again.close(), reader.close(), reopened.close()]);
});

test("engine: bytes have the time when they were stored, on every node", async () => {
  await using logs = await logsInEngine();
  const [a, b] = [await logs.node(), await logs.node()];
  const id = crypto.randomUUID();
  const log = await a.create(id, { lineAccess: true, epoch: 1 });
  const beforeMs = Date.now();
  await log.append(0, [utf8("one\n")]);
  await delay(5);
  const secondMs = Date.now();
  await delay(5);
  await log.append(4, [utf8("two\n")]);
  const reader = await b.openReader(id);
  const [one, two] = await reader.arrivals!([3, 4]);
  assert(one! >= beforeMs && one! <= secondMs && two! > secondMs, `${one} ${two}`);
  assertEquals(await reader.arrivedSince!(secondMs), 4);
  assertEquals(await reader.arrivedSince!(two! + 1000), null);
  await reader.close();
  await log.close();
});

test("engine: an append that does not count whole is cut off by the next owner, on every node", async () => {
  await using logs = await logsInEngine();
  const [a, b] = [await logs.node(), await logs.node()];
  const id = crypto.randomUUID();
  const log = await a.create(id, { lineAccess: true, epoch: 1 });
  await log.append(0, [utf8("kept\nha")]);
  await log.append(7, [utf8("lf\nof a record")]);
  const reader = await a.openReader(id);
  assertEquals(await reader.read(0, 10), utf8("kept\nhalf\n"));
  const whole = { byteOffset: 5, byteCount: 100 };
  const next = await b.recover(id, { lineAccess: true, epoch: 2, whole });
  assertEquals([next.size, next.lineBreaks, next.lines], [5, 1, 1]);
  await next.append(5, [utf8("new\n")]);
  const fresh = await b.openReader(id);
  for (const each of [fresh, await a.openReader(id)]) {
    assertEquals(await each.read(0, 9), utf8("kept\nnew\n"));
    assertEquals(await each.lineBreak(1), 8);
    await assertFails("STORAGE_FAILED", () => each.read(0, 10));
    await each.close();
  }
  await Promise.all([log.close(), next.close(), reader.close()]);
});

test("engine: a deletion that is carried out late takes nothing of the next life of its id", async () => {
  await using cluster = await logsInEngine();
  const [a, b] = [await cluster.node(), await cluster.node()];
  const id = crypto.randomUUID();
  const old = await a.create(id, { lineAccess: true, epoch: 1, life: "1" });
  await old.append(0, [utf8("old\n")]);
  // Each request is sent a second time, when the id is used again, as if it had been on its way so long.
  const late: (() => Promise<unknown>)[] = [];
  const { streams } = cluster.engineOf(a).jsm;
  const purge = streams.purge.bind(streams);
  streams.purge = async (...given) => {
    late.push(() => purge(...given));
    return await purge(...given);
  };
  assertEquals(await a.delete(id), true);
  const log = await b.create(id, { lineAccess: true, epoch: 1, life: "2" });
  await log.append(0, [utf8("new\n")]);
  for (const again of late) await again();
  const reader = await b.openReader(id, "2");
  assertBytes(await reader.read(0, 4), utf8("new\n"));
  await Promise.all([log.close(), reader.close()]);
});

test("engine: who means one life of an id gets no other one's log, tail or status", async () => {
  await using logs = await logsInEngine();
  const [a, b] = [await logs.node(), await logs.node()];
  const id = crypto.randomUUID();
  const options = { lineAccess: true, epoch: 1 };
  const heard: string[] = [];
  const listener = (life: string) => ({
    life,
    appended: (_: number, [bytes]: readonly Uint8Array[]) =>
      void heard.push(`${life}: ${new TextDecoder().decode(bytes)}`),
    told: (status: ResourceStatus) => void heard.push(`${life}: status of ${status.life}`),
  });
  const old = await a.create(id, { ...options, life: "1" });
  await old.append(0, [utf8("old")], (end) => shown(end, "1"));
  const before = await b.follow(id, listener("1"));
  assertEquals(before.status?.life, "1");
  await a.delete(id);
  const log = await a.create(id, { ...options, life: "2" });
  await log.append(0, [utf8("new")], (end) => shown(end, "2"));
  const late = await b.follow(id, listener("1"));
  const after = await b.follow(id, listener("2"));
  assertEquals([late.status, after.status?.life], [null, "2"]);
  heard.length = 0;
  await log.append(3, [utf8("more")], (end) => shown(end, "2"));
  await eventually("the news", () => heard.length >= 2);
  assertEquals(heard, ["2: more", "2: status of 2"]);
  await assertFails("NOT_FOUND", () => b.openReader(id, "1"));
  await assertFails("NOT_FOUND", () => b.recover(id, { ...options, epoch: 2, life: "1" }));
  await log.append(7, [utf8("!")]);
  for (const tail of [before, late, after]) tail.close();
  await log.close();
});

test("engine: a tail is looked at soon after it falls silent, and not while messages come", async () => {
  await using logs = await logsInEngine();
  const [a, b] = [await logs.node(), await logs.node()];
  const id = crypto.randomUUID();
  const log = await a.create(id, { lineAccess: true, epoch: 1 });
  const { js } = logs.engineOf(b);
  const publish = js.publish.bind(js);
  let looks = 0;
  js.publish = (...words) => {
    looks++;
    return publish(...words);
  };
  let heard = 0;
  const told = () => void heard++;
  const tail = await b.follow(id, { appended: () => {}, told });
  const atFirst = looks;
  const append = async (at: number) => {
    await log.append(at, [utf8("x")], (end) => shown(end, "1"));
    await eventually("the message", () => heard > at);
  };
  for (let at = 0; at < 12; at++) {
    await append(at);
    // Messages, and none, are what time is for here.
    await delay(60);
  }
  // On a busy machine one message or another is late.
  assertLessOrEqual(looks - atFirst, 1);
  const later = looks;
  await eventually("looks at the silent one, each after twice as long", () => looks > later + 6);
  // The last of these is to be over.
  await delay(60);
  for (let at = 12; at < 14; at++) await append(at);
  const [last, spokeAtMs] = [looks, performance.now()];
  await eventually("a look after the next silence", () => looks > last);
  assertLessOrEqual(performance.now() - spokeAtMs, 1500, "not as late as if it had been silent");
  tail.close();
  await log.close();
});

function shown({ size, lineBreaks }: LogEnd, life: string): ResourceStatus {
  const [transferStatus, numberOfLines] = ["IN_PROGRESS" as const, lineBreaks];
  const number = { epoch: 1, sequence: size };
  return {
    transferStatus,
    currentSize: size,
    numberOfLines,
    durableSize: size,
    ...number,
    life,
    failure: null,
  };
}
