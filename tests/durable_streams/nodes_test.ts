/** A stream that several nodes append to at once, and one whose node is shut down meanwhile. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../helpers/nodes.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { override } from "../helpers/storage.ts";

const TEXT = { "content-type": "text/plain" };

/** Appends for a producer, and again while it is told to come again. */
async function appendOnce({ url }: TestServer, id: string, seq: number): Promise<number> {
  const headers = {
    ...TEXT,
    "producer-id": id,
    "producer-epoch": "0",
    "producer-seq": String(seq),
  };
  for (;;) {
    const given = { method: "POST", headers, body: `${id} ${seq}\n` };
    const answer = await fetch(`${url}/streams/many`, given);
    const text = await answer.text();
    if (answer.status !== 503) return assert(answer.ok, text), answer.status;
  }
}

test("who appends at several nodes at once is taken once, or told to come again", async () => {
  await using cluster = new Cluster();
  await using a = await startServer(cluster.options("a"));
  await using b = await startServer(cluster.options("b"));
  await using c = await startServer(cluster.options("c"));
  await fetch(`${a.url}/streams/many`, { method: "PUT", headers: TEXT });
  const producers = [a, b, c, a, b, c].map((server, at) => ({ server, id: `p${at}` }));
  await Promise.all(producers.map(async ({ server, id }) => {
    for (let seq = 0; seq < 20; seq++) await appendOnce(server, id, seq);
  }));
  const lines = (await (await fetch(`${b.url}/streams/many?offset=-1`)).text()).split("\n");
  for (const { id } of producers) {
    const own = lines.filter((line) => line.startsWith(`${id} `));
    assertEquals(own, Array.from({ length: 20 }, (_, seq) => `${id} ${seq}`));
  }
});

test("who appends while a node is shut down is told that, and not that the stream is closed", async () => {
  await using cluster = new Cluster();
  const options = cluster.options("a");
  const { promise: isFree, resolve: free } = Promise.withResolvers<void>();
  const { promise: isTaking, resolve: take } = Promise.withResolvers<void>();
  const catalog = override(options.catalog, {
    async update(...given) {
      take();
      await isFree;
      return await options.catalog.update(...given);
    },
  });
  const a = await startServer({ ...options, catalog });
  await using b = await startServer(cluster.options("b"));
  const path = "/streams/many";
  await fetch(b.url + path, { method: "PUT", headers: TEXT });
  const append = (url: string) => fetch(url + path, { method: "POST", headers: TEXT, body: "x" });
  const appending = append(a.url);
  await isTaking;
  const closing = a.close();
  free();
  const answer = await appending;
  const { code } = await answer.json();
  assertEquals([answer.status, code, answer.headers.get("stream-closed")], [503, "SHUTDOWN", null]);
  await closing;
  assertEquals((await append(b.url)).status, 204);
  assertEquals(await (await fetch(`${b.url}${path}?offset=-1`)).text(), "x");
});

test("an append that closed a stream, and was finished by another node, is not told to be refused", async () => {
  await using cluster = new Cluster();
  const options = cluster.options("a");
  const { promise: isFree, resolve: free } = Promise.withResolvers<void>();
  const { promise: isEnding, resolve: end } = Promise.withResolvers<void>();
  const catalog = override(options.catalog, {
    async update(id, revision, change) {
      if (change.transferStatus === "COMPLETED") {
        end();
        await isFree;
      }
      return await options.catalog.update(id, revision, change);
    },
  });
  await using a = await startServer({ ...options, catalog });
  await using b = await startServer(cluster.options("b"));
  const path = "/streams/many";
  await fetch(b.url + path, { method: "PUT", headers: TEXT });
  const append = (url: string, body: string, more: Record<string, string> = {}) =>
    fetch(url + path, { method: "POST", headers: { ...TEXT, ...more }, body });
  const closing = append(a.url, "the last", { "stream-closed": "true" });
  await isEnding;
  assertEquals((await append(b.url, "too late")).status, 409);
  free();
  const answer = await closing;
  const { code } = await answer.json();
  assertEquals([answer.status, code], [503, "NOT_READY"]);
  assertEquals(await (await fetch(`${b.url}${path}?offset=-1`)).text(), "the last");
});
