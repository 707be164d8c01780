/** What becomes of the uploads of a node that ends: whichever comes first has them, also what it was just taking back. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { push } from "../../src/client.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { Gate } from "../helpers/frames/connection.ts";
import { Cluster } from "../helpers/nodes.ts";
import { RESUMABLE } from "../helpers/node_uploads.ts";
import { startServer } from "../helpers/server.ts";
import { changed } from "../helpers/storage.ts";

const LOG = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

/** Whose the unfinished uploads are. */
async function ownersIn(cluster: Cluster): Promise<(string | undefined)[]> {
  const catalog = new MemoryCatalog(cluster.records);
  const records = await catalog.list({
    limit: 100,
    transferStatuses: ["INITIATED", "IN_PROGRESS"],
  });
  return records.map(({ owner }) => owner?.node);
}

test("a server that ends leaves the uploads of its connections to whichever node comes first", async () => {
  await using cluster = new Cluster();
  const server = await startServer(cluster.options("a"));
  const upload = await push(server.url, LOG, { retryForMs: 0 });
  upload.done.catch(() => {});
  assertEquals(await ownersIn(cluster), ["a"]);
  await server.close();
  assertEquals(await ownersIn(cluster), [undefined]);
});

test("a node that ends while it recovers leaves what it takes back at that moment, and what is still to come", async () => {
  await using cluster = new Cluster();
  const before = cluster.node("a");
  const count = 20;
  for (let made = 0; made < count; made++) await before.register(RESUMABLE);
  const gate = new Gate();
  using _shut = gate.shut();
  const storage = new MemoryStorage(cluster.logs);
  const first = Promise.withResolvers<void>();
  let taken = 0;
  const again = cluster.node("a", {
    storage: changed(storage, {
      storage: {
        async recover(id, options) {
          if (++taken === 1) first.resolve();
          await gate.passed();
          return await storage.recover(id, options);
        },
      },
    }),
  });
  const recovered = again.recover();
  await first.promise;
  const closed = again.close();
  gate.open();
  await Promise.all([recovered, closed]);
  assertEquals(await ownersIn(cluster), Array.from({ length: count }, () => undefined));
  assertEquals(taken < count, true, "some it had not come to");
});
