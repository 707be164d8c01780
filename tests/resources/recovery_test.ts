/** Nodes that serve while they still recover what they left unfinished. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { createServer, loadRuntime } from "../../mod.ts";
import type { OwnedUpload } from "../../src/resources.ts";
import { Recovery, type RecoveryParts } from "../../src/resources/writing/recovery.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { record } from "../catalog/records.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertBytes, eventually, Gate, within } from "../helpers/frames/connection.ts";
import { RESUMABLE, resumeOn, write } from "../helpers/node_uploads.ts";
import { Cluster } from "../helpers/nodes.ts";
import { checksumOf, readAll } from "../helpers/resources.ts";
import { changed } from "../helpers/storage.ts";

/** More than are recovered at the same time. */
const UPLOADS = 20;
const AT_ONCE = 16;

/** Uploads of a node that ended without a word, and its storage when it starts again: all takeovers but one wait. */
async function left(cluster: Cluster) {
  const before = cluster.node("a");
  const uploads: OwnedUpload[] = [];
  while (uploads.length < UPLOADS) {
    const upload = await before.register(RESUMABLE);
    await write(upload.appender, "one\n");
    uploads.push(upload);
  }
  // Lists begin with the newest.
  const last = uploads[0];
  const gate = new Gate();
  gate.shut();
  const memory = new MemoryStorage(cluster.logs);
  const storage = changed(memory, {
    storage: {
      recover: async (id, options) => {
        if (id !== last.appender.resource.id) await gate.passed();
        return await memory.recover(id, options);
      },
    },
  });
  return { first: uploads.at(-1)!, last, gate, storage };
}

test("one of several nodes serves before it has recovered, and whoever comes for an upload has it at once", async () => {
  await using cluster = new Cluster();
  const { first, last, gate, storage } = await left(cluster);
  const again = cluster.node("a", { storage });
  const recovering = again.recover();
  await again.start();
  await eventually("takeovers that wait", () => gate.waiting === AT_ONCE);
  assertEquals(await again.unready(), []);
  await using followed = await again.open(first.appender.resource.id);
  const { transferStatus, currentSize } = followed.resource.status;
  assertEquals([transferStatus, currentSize], ["IN_PROGRESS", 4]);
  const resumed = await within("the upload", resumeOn(again, last));
  await write(resumed, "two\n");
  gate.open();
  assertEquals(await recovering, UPLOADS - 1);
  await write(resumed, "three\n");
  const content = utf8("one\ntwo\nthree\n");
  await resumed.complete(await checksumOf(content), content.length);
  await using opened = await again.open(last.appender.resource.id);
  assertEquals(opened.resource.status.transferStatus, "COMPLETED");
  assertBytes(await readAll(opened.resource), content);
  await write(await resumeOn(again, first), "later\n");
  assertBytes(await readAll(followed.resource), utf8("one\nlater\n"));
});

test("one of several nodes listens before it has recovered, and one that is alone does not", async () => {
  await using cluster = new Cluster();
  const { gate, storage } = await left(cluster);
  const runtime = await loadRuntime();
  const options = { ...cluster.options("a"), storage, runtime };
  const shared = createServer(options);
  const { port } = await within("the port", shared.listen({ port: 0 }));
  assertEquals((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 200);
  await eventually("takeovers that wait", () => gate.waiting === AT_ONCE);
  const closing = shared.close();
  gate.open();
  await closing;
  gate.shut();
  const alone = createServer({ ...options, leaseMs: Infinity });
  const listening = alone.listen({ port: 0 });
  await eventually("takeovers that wait", () => gate.waiting > 0);
  const answer = await alone.fetch(new Request("http://localhost/readyz"));
  assertEquals(answer.status, 503);
  gate.open();
  await listening;
  await alone.close();
});

test("a node that ends while it recovers begins no more takeovers", async () => {
  await using cluster = new Cluster();
  const { gate, storage } = await left(cluster);
  let begun = 0;
  const counting = changed(storage, {
    storage: {
      recover: (id, options) => {
        begun++;
        return storage.recover(id, options);
      },
    },
  });
  const again = cluster.node("a", { storage: counting });
  const recovering = again.recover();
  await eventually("takeovers that wait", () => gate.waiting === AT_ONCE);
  const closing = again.close();
  gate.open();
  await closing;
  await recovering;
  assertEquals(begun, AT_ONCE);
});

test("recovery leaves alone what somebody resumed while it waited for its turn", async () => {
  const catalog = new MemoryCatalog();
  await catalog.create(record({ ownedBy: "SECRET" }));
  let [isHeld, adopted] = [false, 0];
  const handover = {
    isOurs: () => false,
    isHeld: () => isHeld,
    take: (_: string, step: () => Promise<unknown>) => {
      // What came before in its turn was a resume.
      isHeld = true;
      return step();
    },
    adopt: () => Promise.resolve(adopted++),
  };
  const lease = { beginRound: () => {}, mayTake: () => true, node: "a", ms: 1000 };
  const cache = { find: () => undefined };
  const parts = { catalog, handover, lease, cache } as unknown as RecoveryParts;
  assertEquals([await new Recovery(parts).recover(), adopted], [0, 0]);
});
