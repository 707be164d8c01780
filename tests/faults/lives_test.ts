/** An id that was deleted and is used again: nobody takes the bytes of one life for those of another. */
import { test } from "node:test";
import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  type Catalog,
  follow,
  MemoryCatalog,
  open,
  push,
  type ResourceRecord,
  shareResource,
  SignedLinks,
  statusEvents,
} from "../../mod.ts";
import { own, Workspace } from "../helpers/cli.ts";
import { assertFails } from "../helpers/errors.ts";
import { within } from "../helpers/frames/connection.ts";
import { Place } from "../helpers/place.ts";
import { startServer } from "../helpers/server.ts";
import { override } from "../helpers/storage.ts";

const ID = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";
const A_LOG = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const FIRST = "the first life of it\n";
const SECOND = "and the second one, which is longer\n";

async function upload(url: string, body: BodyInit, headers: HeadersInit = {}): Promise<void> {
  const response = await fetch(`${url}/resources/${ID}?name=a.log`, {
    method: "PUT",
    body,
    headers,
  });
  assertEquals(response.status, 201, await response.text());
}

async function remove(url: string, headers: HeadersInit = {}): Promise<void> {
  const response = await fetch(`${url}/resources/${ID}`, { method: "DELETE", headers });
  await response.body?.cancel();
  assertEquals(response.status, 204);
}

for (const transport of ["ws", "http"] as const) {
  test(`${transport}: a follower whose connection broke hears that its resource was deleted, not the next one`, async () => {
    await using place = await Place.open("memory");
    const { url } = place.server;
    const source = new TransformStream<Uint8Array, Uint8Array>();
    const writer = source.writable.getWriter();
    const sending = fetch(`${url}/resources/${ID}?name=a.log`, {
      method: "PUT",
      body: source.readable as BodyInit,
      duplex: "half",
    } as RequestInit);
    void writer.write(new TextEncoder().encode(FIRST));
    const download = await within(
      "a resource",
      connected(`${place.url}/resources/${ID}`, transport),
    );
    const reader = download.read().getReader();
    assertEquals((await within("bytes", reader.read())).value?.length, FIRST.length);
    place.proxy.hold();
    place.proxy.cut();
    await writer.close();
    await (await sending).body?.cancel();
    await remove(url);
    await upload(url, SECOND);
    place.proxy.release();
    await assertFails("DELETED", () => within("the end", reader.read()));
  });
}

test("who listens to events and connects again hears that its resource was deleted, and nothing of the next one", async () => {
  await using place = await Place.open("memory");
  const pushed = await push(place.server.url, A_LOG, { id: ID });
  const writer = pushed.writable.getWriter();
  await writer.write(new TextEncoder().encode(FIRST));
  const texts: string[] = [];
  const events = statusEvents(`${place.url}/resources/${ID}`, {
    onText: ({ text }) => void texts.push(text),
  });
  let size = 0;
  while (size < FIRST.length) size = (await within("a status", events.next())).value!.currentSize;
  place.proxy.hold();
  place.proxy.cut();
  await writer.close();
  await remove(place.server.url);
  await upload(place.server.url, SECOND);
  place.proxy.release();
  await assertFails("DELETED", () => within("the end", events.next()));
  assertEquals(texts.join(""), FIRST);
});

/** Opens a download as soon as its resource is there. */
async function connected(reference: string, transport: "ws" | "http") {
  for (;;) {
    try {
      return await open(reference, { transport });
    } catch (error) {
      assertEquals((error as { code: string }).code, "NOT_FOUND");
    }
  }
}

test("who was told a status of a former life hears that it was deleted, and no EventSource waits for ever", async () => {
  await using server = await startServer();
  await upload(server.url, FIRST);
  const events = await (await fetch(`${server.url}/resources/${ID}/events`)).text();
  const seen = /id: (\S+)/.exec(events)![1];
  await remove(server.url);
  await upload(server.url, SECOND);
  const response = await fetch(`${server.url}/resources/${ID}/events`, {
    headers: { "last-event-id": seen },
  });
  assertEquals([response.status, (await response.json()).code], [410, "DELETED"]);
});

test("a signed link opens the life it was made for, and no later one", async () => {
  const grant = { name: "all", contextId: null, resourceId: null, expiresAtMs: null };
  const scopes = ["upload", "read", "admin"] as const;
  const tokens = { authenticate: () => Promise.resolve({ ...grant, scopes }) };
  await using server = await startServer({ access: { tokens, links: new SignedLinks() } });
  const headers = { authorization: "Bearer any" };
  await upload(server.url, FIRST, headers);
  const link = await shareResource(`${server.url}/resources/${ID}`, { token: "any" });
  assertEquals(await (await fetch(link.url)).text(), FIRST);
  await remove(server.url, headers);
  await upload(server.url, SECOND, headers);
  const response = await fetch(link.url);
  assertEquals([response.status, (await response.json()).code], [410, "DELETED"]);
  await assertFails("DELETED", () => new Response(follow(link.reference)).bytes());
});

test("a link that was admitted for its life opens no later one that came meanwhile", async () => {
  const grant = { name: "all", contextId: null, resourceId: null, expiresAtMs: null };
  const scopes = ["upload", "read", "admin"] as const;
  const tokens = { authenticate: () => Promise.resolve({ ...grant, scopes }) };
  const catalog = new MemoryCatalog();
  let former: ResourceRecord | null = null;
  // The first look at it is one before the deletion, and believed for a second.
  const behind = override<Catalog>(catalog, {
    async get(id) {
      const record = former ?? await catalog.get(id);
      former = null;
      return record;
    },
  });
  await using server = await startServer({
    access: { tokens, links: new SignedLinks() },
    catalog: behind,
  });
  const headers = { authorization: "Bearer any" };
  await upload(server.url, FIRST, headers);
  const link = await shareResource(`${server.url}/resources/${ID}`, { token: "any" });
  const record = await catalog.get(ID);
  await remove(server.url, headers);
  const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
  const second = await server.resources.startUpload(metadata, { id: ID });
  await second.append(new TextEncoder().encode(SECOND));
  await second.complete();
  former = record;
  for (const rest of ["lines?", "events?", "search?q=e&"]) {
    const response = await fetch(link.url.replace("content?", rest));
    const { status } = response;
    await response.body?.cancel();
    assertEquals(status, 410, rest);
  }
  await assertFails("DELETED", () => new Response(follow(link.reference)).bytes());
});

test("a body that was kept is asked for before it is shown again", async () => {
  await using server = await startServer();
  await upload(server.url, FIRST);
  const kept = await fetch(`${server.url}/resources/${ID}/content`);
  await kept.body?.cancel();
  assertEquals(kept.headers.get("cache-control"), "private, no-cache");
  const condition = { headers: { "if-none-match": kept.headers.get("etag")! } };
  const same = await fetch(`${server.url}/resources/${ID}/content`, condition);
  assertEquals(same.status, 304);
  await remove(server.url);
  await upload(server.url, SECOND);
  const other = await fetch(`${server.url}/resources/${ID}/content`, condition);
  assertEquals([other.status, await other.text()], [200, SECOND]);
});

for (const second of [SECOND, FIRST]) {
  const what = second === FIRST ? "that has the same content" : "that has another content";
  test(`what was meant for a former life is not done to the next one, ${what}`, async () => {
    await using server = await startServer();
    const resource = `${server.url}/resources/${ID}`;
    const etagNow = async () => {
      const { headers } = await fetch(`${resource}/content`, { method: "HEAD" });
      return { "if-match": headers.get("etag")! };
    };
    await upload(server.url, FIRST);
    const former = await etagNow();
    const same = await fetch(`${resource}/content`, { headers: former });
    assertEquals([same.status, await same.text()], [200, FIRST]);
    await remove(server.url, former);
    await upload(server.url, second);
    const asked = [
      await fetch(`${resource}/content`, { headers: { ...former, range: "bytes=5-" } }),
      await fetch(resource, { method: "DELETE", headers: former }),
    ];
    for (const response of asked) {
      assertEquals([response.status, (await response.json()).code], [412, "WRONG_VERSION"]);
    }
    await remove(server.url, await etagNow());
  });
}

test("a deletion that waited for the catalog does not delete the next life of the id", async () => {
  const catalog = new MemoryCatalog();
  const late = Promise.withResolvers<void>();
  let deletions = 0;
  const waiting = override<Catalog>(catalog, {
    async delete(id, createdAtMs) {
      if (++deletions === 1) await late.promise;
      return await catalog.delete(id, createdAtMs);
    },
  });
  await using server = await startServer({ catalog: waiting });
  await upload(server.url, FIRST);
  const first = server.resources.delete(ID);
  await remove(server.url);
  await upload(server.url, SECOND);
  late.resolve();
  await assertFails("NOT_FOUND", () => first);
  const content = await fetch(`${server.url}/resources/${ID}/content`);
  assertEquals([content.status, await content.text()], [200, SECOND]);
});

test("follow --continue does not go on with another life of the id", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await upload(workspace.server, FIRST);
  const followed = await workspace.run(own, ["follow", ID, "-o", "copy"]);
  assertEquals(followed.code, 0, followed.stderr);
  await remove(workspace.server);
  await upload(workspace.server, SECOND);
  const { code, stderr } = await workspace.run(own, ["follow", ID, "-o", "copy", "--continue"]);
  assertEquals(code === 0, false);
  assertStringIncludes(stderr, "OFFSET_LOST");
});
