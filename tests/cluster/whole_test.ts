/** Nodes whose records and logs are both in the engine, as `stream serve --cluster` puts them together. */
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { isFinal, type ResourceStatus, StreamError } from "../../src/protocol.ts";
import type { Appender, OwnedUpload, ResourceEvent } from "../../src/resources.ts";
import { Resources, type ResourcesOptions } from "../../src/resources.ts";
import { emptyPlace } from "../catalog/in_cluster.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes, eventually, within } from "../helpers/frames/connection.ts";
import { withChance } from "../helpers/random.ts";
import { checksumOf, readAll, registration, statusWhere } from "../helpers/resources.ts";
import { logsInEngine } from "./logs.ts";

const RESUMABLE = registration({ ownedBy: "SECRET" });
const gone = () => new StreamError("INTERRUPTED", "the connection broke");
const ofSize = (size: number) => ({ currentSize }: ResourceStatus) => currentSize === size;
const isOver = ({ transferStatus }: ResourceStatus) => isFinal(transferStatus);

/** Nodes over buckets without records. */
async function emptyCluster() {
  const logs = await logsInEngine();
  const records = await emptyPlace();
  const nodes: Resources[] = [];
  return {
    async node(nodeId: string, given: Partial<ResourcesOptions> = {}): Promise<Resources> {
      const [storage, catalog] = [await logs.node(), await records.catalog()];
      const node = new Resources({
        storage,
        catalog,
        nodeId,
        leaseMs: 20_000,
        durability: "disk",
        ...given,
      });
      nodes.push(node);
      return node;
    },
    async [Symbol.asyncDispose]() {
      for (const node of nodes) await node.close();
      await records[Symbol.asyncDispose]();
      await logs[Symbol.asyncDispose]();
    },
  };
}

async function write(appender: Appender, text: string): Promise<void> {
  appender.append(utf8(text));
  await statusWhere(appender.resource, ofSize(appender.received));
}

async function resumeOn(node: Resources, { appender, secret }: OwnedUpload): Promise<Appender> {
  const resumed = await node.resume(appender.resource.id, secret!);
  assert("appender" in resumed);
  return resumed.appender;
}

test("wherever an upload goes, no acknowledged byte is lost, none is doubled, and nothing is FAILED", () =>
  withChance(async (chance) => {
    await using cluster = await emptyCluster();
    const nodes = [await cluster.node("a"), await cluster.node("b"), await cluster.node("c")];
    const events: ResourceEvent[] = [];
    for (const node of nodes) node.listen((event) => events.push(event));
    let owner = await chance.pick(nodes).register(RESUMABLE);
    const { id } = owner.appender.resource;
    const statuses: ResourceStatus[] = [];
    await using opened = await nodes[0].open(id);
    opened.resource.watch((status) => statuses.push(status));
    const content = chance.text(2500);
    for (let at = 0; at < content.length;) {
      const { appender } = owner;
      const end = Math.min(content.length, at + chance.whole(1, 300));
      appender.append(content.slice(at, end));
      at = end;
      if (chance.happens(0.5)) await delay(chance.whole(0, 3));
      if (chance.happens(0.6)) continue;
      const { acknowledged } = appender;
      const node = chance.pick(nodes);
      if (chance.happens(0.3)) void nodes.map((each) => each.interrupt(appender, gone()));
      owner = { appender: await resumeOn(node, owner), secret: owner.secret };
      assertLessOrEqual(acknowledged, owner.appender.received);
      at = owner.appender.received;
    }
    const { size } = await owner.appender.complete(await checksumOf(content), content.length);
    assertEquals(size, content.length);
    await statusWhere(opened.resource, isOver);
    assertBytes(await readAll(opened.resource), content);
    for (let index = 1; index < statuses.length; index++) {
      assertLessOrEqual(statuses[index - 1].epoch, statuses[index].epoch);
      assertLessOrEqual(statuses[index - 1].currentSize, statuses[index].currentSize);
    }
    const ends = events.flatMap((event) => event.type === "status" ? [event.status] : []);
    assertEquals(ends.filter(({ transferStatus }) => transferStatus === "FAILED"), []);
  }));

test("what is deleted at one node is DELETED for those who follow at another, and its id begins anew", async () => {
  await using cluster = await emptyCluster();
  const [a, b] = [await cluster.node("a"), await cluster.node("b")];
  const { appender } = await a.register(RESUMABLE);
  const { id } = appender.resource;
  await write(appender, "one\n");
  await using opened = await b.open(id);
  await assertFails("WRONG_STATE", () => b.delete(id));
  await b.delete(id, { force: true });
  await eventually("the deletion", () => opened.resource.deleted);
  await assertFails("NOT_FOUND", () => a.get(id));
  assertEquals([await a.list({ limit: 9 }), a.uploads], [[], 0]);
  const again = await b.register(registration({ id }));
  await write(again.appender, "new\n");
  await again.appender.complete(await checksumOf(utf8("new\n")));
  await using reopened = await a.open(id);
  assertBytes(await readAll(reopened.resource), utf8("new\n"));
});

test("uploads of a node that vanished wait at another when its lease is over, and go on there", async () => {
  await using cluster = await emptyCluster();
  let nowMs = Date.now();
  const clock = () => nowMs;
  const [vanished, b] = [await cluster.node("a", { clock }), await cluster.node("b", { clock })];
  const upload = await vanished.register(RESUMABLE);
  await write(upload.appender, "kept\n");
  const told = new Promise<StreamError>((resolve) =>
    upload.appender.listen({ acknowledged: () => {}, failed: resolve })
  );
  assertEquals(await b.recover(), 0);
  nowMs += 20_001;
  assertEquals(await b.recover(), 1);
  assertEquals((await within("the fence", told)).code, "FENCED");
  const resumed = await resumeOn(b, upload);
  assertEquals(resumed.received, 5);
  await resumed.complete(await checksumOf(utf8("kept\n")), 5);
});

test("usage and quotas count what other nodes store", async () => {
  await using cluster = await emptyCluster();
  const limits = { maxContextBytes: 60 };
  const [a, b] = [await cluster.node("a", limits), await cluster.node("b", limits)];
  await Promise.all([a.recover(), b.recover()]);
  const given = registration({ contextId: "run", makeContext: true });
  const { appender } = await a.register(given);
  await write(appender, "x".repeat(50));
  await appender.complete(await checksumOf(utf8("x".repeat(50))));
  await eventually("the count there", () => b.totalBytes === 50);
  const there = await b.register(given);
  there.appender.append(new Uint8Array(11));
  await assertFails("QUOTA_EXCEEDED", () => there.appender.complete(""));
  await a.delete(appender.resource.id);
  await eventually("the deletion there", () => b.totalBytes === 0 && a.totalBytes === 0);
});
