/** Health: whether a server answers, and whether uploads should be sent to it. */
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Agent, get } from "node:http";
import { test } from "node:test";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  createServer,
  loadRuntime,
  MemoryCatalog,
  MemoryStorage,
  SqliteCatalog,
} from "../../mod.ts";
import { StreamError } from "../../src/protocol.ts";
import {
  GatedStorage,
  isFailed,
  type Problem,
  RawClient,
  startServer,
  statusOf,
} from "../helpers/server.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

type Fetch = (path: string) => Response | Promise<Response>;

async function assertReady(ask: Fetch): Promise<void> {
  const response = await ask("/readyz");
  assertEquals([response.status, await response.text()], [200, "ok\n"]);
}

async function assertNotReady(ask: Fetch, reason: RegExp): Promise<void> {
  const response = await ask("/readyz");
  assertEquals(response.status, 503);
  assertEquals(response.headers.get("content-type"), "application/problem+json");
  const problem: Problem = await response.json();
  assertEquals(problem.code, "NOT_READY");
  assertMatch(problem.detail, reason);
}

test("a server that listens answers and is ready", async () => {
  await using server = await startServer();
  const response = await fetch(`${server.url}/healthz`);
  assertEquals([response.status, await response.text()], [200, "ok\n"]);
  assertStringIncludes(response.headers.get("cache-control")!, "no-store");
  await assertReady((path) => fetch(server.url + path));
});

test("a server is not ready before it has recovered, nor when it is closed, but it answers", async () => {
  const server = createServer({
    runtime: await loadRuntime(),
    storage: new MemoryStorage(),
    catalog: new MemoryCatalog(),
  });
  const ask = (path: string) => server.fetch(new Request(`http://localhost${path}`));
  await assertNotReady(ask, /^the server is recovering$/);
  assertEquals((await ask("/healthz")).status, 200);
  await server.recover();
  await assertReady(ask);
  await server.close();
  await assertNotReady(ask, /^the server is shutting down$/);
  assertEquals((await ask("/healthz")).status, 200);
});

test("a server is not ready while less than --min-free is free", async () => {
  let freeBytes = 99;
  class Disk extends MemoryStorage {
    freeBytes(): Promise<number> {
      return Promise.resolve(freeBytes);
    }
  }
  await using server = await startServer({ storage: new Disk(), minFreeBytes: 100 });
  const ask = (path: string) => fetch(server.url + path);
  await assertNotReady(ask, /--min-free/);
  freeBytes = 100;
  await assertReady(ask);
});

test("a server is not ready after the disk refused bytes, until it takes others", async () => {
  const storage = new GatedStorage();
  await using server = await startServer({ storage, resumeWindowMs: 0 });
  const ask = (path: string) => fetch(server.url + path);
  const upload = async () => {
    const client = await RawClient.open(`${server.ws}/ws/streaming/upload`);
    client.say({ "@": "StartUpload", metadata });
    const { reference } = await client.inbox.next("ReadyForUpload");
    client.give(new TextEncoder().encode("one\n"));
    return { client, id: reference.uri.slice(-36) as string };
  };
  storage.failure = new StreamError("STORAGE_FAILED", "cannot write /data/a1/b2/ID.bin: no space");
  const failing = await upload();
  await statusOf(server.resources, failing.id, isFailed);
  await assertNotReady(ask, /^the disk refused bytes: see the log of the server$/);
  storage.failure = null;
  const { client, id } = await upload();
  await statusOf(server.resources, id, ({ currentSize }) => currentSize === 4);
  await assertReady(ask);
  failing.client[Symbol.dispose]();
  client[Symbol.dispose]();
});

test("a server is not ready while its catalog takes no records, and says so at once", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "data", "catalog.sqlite");
  const catalog = new SqliteCatalog(path);
  try {
    await using server = await startServer({ catalog });
    const ask = (path: string) => fetch(server.url + path);
    await rm(dirname(path), { recursive: true });
    await assertNotReady(ask, /^the catalog takes no records: see the data directory$/);
    assertEquals((await ask("/healthz")).status, 200);
  } finally {
    await catalog.close();
  }
});

test("a server that drains answers, and closes connections with that: no request meets the moment of the end", async () => {
  await using here = await startServer();
  const agent = new Agent({ keepAlive: true });
  const ask = () =>
    new Promise<{ status?: number; isReused: boolean; connection?: string }>((resolve, reject) => {
      const asking = get(`${here.url}/healthz`, { agent }, (answer) => {
        const { statusCode: status, headers: { connection } } = answer;
        answer.resume().on(
          "end",
          () => resolve({ status, isReused: asking.reusedSocket, connection }),
        );
      }).on("error", reject);
    });
  assertEquals((await ask()).isReused, false);
  assertEquals((await ask()).isReused, true);
  here.server.drain();
  assertEquals(await ask(), { status: 200, isReused: true, connection: "close" });
  assertEquals(await ask(), { status: 200, isReused: false, connection: "close" });
  agent.destroy();
});
