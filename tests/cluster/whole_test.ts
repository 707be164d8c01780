/** Nodes whose records and logs are both in the engine, as `stream serve --cluster` puts them together. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { StreamError } from "../../src/protocol.ts";
import { Resources, type ResourcesOptions } from "../../src/resources.ts";
import { emptyPlace } from "../catalog/in_cluster.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes, eventually, within } from "../helpers/frames/connection.ts";
import { withChance } from "../helpers/random.ts";
import { RESUMABLE, resumeOn, wander, write } from "../helpers/node_uploads.ts";
import { checksumOf, readAll, registration } from "../helpers/resources.ts";
import { logsInEngine } from "./logs.ts";

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

test("wherever an upload goes, no acknowledged byte is lost, none is doubled, and nothing is FAILED", () =>
  withChance(async (chance) => {
    await using cluster = await emptyCluster();
    const nodes = [await cluster.node("a"), await cluster.node("b"), await cluster.node("c")];
    await wander(nodes, chance, 2500);
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
  const known = new Promise<void>((resolve) =>
    void b.listen(({ type }) => type === "created" && resolve())
  );
  const upload = await vanished.register(RESUMABLE);
  await write(upload.appender, "kept\n");
  const told = new Promise<StreamError>((resolve) =>
    upload.appender.listen({ acknowledged: () => {}, failed: resolve })
  );
  await within("its record there", known);
  assertEquals(await b.recover(), 0);
  nowMs += 20_001;
  assertEquals(await b.recover(), 1);
  assertEquals((await within("the fence", told)).code, "NOT_READY");
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
