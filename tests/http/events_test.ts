import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { framesRuntime, loadRuntime } from "../../mod.ts";
import { contextEvents, statusEvents } from "../../src/server/http/events.ts";
import type { NewsLimits } from "../../src/server/http/events/news.ts";
import { References } from "../../src/server/references.ts";
import { utf8 } from "../helpers/bytes.ts";
import { within } from "../helpers/frames/connection.ts";
import {
  checksumOf,
  register as registerIn,
  statusWhere,
  type World,
  world,
} from "../helpers/resources.ts";
import { type Problem, startServer, type TestServer } from "../helpers/server.ts";

const BASE = "http://127.0.0.1";
const CONTEXT = { contextId: "run 1", makeContext: true };

/** One event; a comment has the type `comment`. */
interface ServerEvent {
  type: string;
  id?: string;
  // deno-lint-ignore no-explicit-any -- what a test looks at
  data?: any;
}

function parseEvent(block: string): ServerEvent {
  if (block.startsWith(":")) return { type: "comment" };
  const fields = Object.fromEntries(
    block.split("\n").map((line) => line.split(/: (.*)/, 2) as [string, string]),
  );
  return { type: fields.event, id: fields.id, data: JSON.parse(fields.data) };
}

/** The events of a stream of bytes, one after the other. */
async function* eventsIn(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop()!;
    for (const block of blocks) yield parseEvent(block);
  }
  assertEquals(text, "");
}

/** The next event of a type. */
async function next(events: AsyncGenerator<ServerEvent>, type: string): Promise<ServerEvent> {
  for (;;) {
    const { done, value } = await within(`an event ${type}`, events.next());
    if (done) throw new Error(`the events ended before ${type}`);
    if (value.type === type) return value;
    if (value.type !== "comment") throw new Error(`${value.type} came, not ${type}`);
  }
}

async function connect(url: string, lastEventId?: string) {
  const headers: Record<string, string> = lastEventId === undefined
    ? {}
    : { "last-event-id": lastEventId };
  const stop = new AbortController();
  const response = await fetch(url, { headers, signal: stop.signal });
  const events = eventsIn((response.body ?? []) as AsyncIterable<Uint8Array>);
  return { response, events, [Symbol.dispose]: () => stop.abort() };
}

const register = (server: TestServer, given = {}) =>
  registerIn({ resources: server.resources } as unknown as World, given);

for (const [name, load] of Object.entries({ own: loadRuntime, frames: framesRuntime })) {
  test(`the status comes at once and at every checkpoint until the last: ${name} runtime`, async () => {
    await using server = await startServer({ runtime: await load() });
    const upload = await register(server);
    const url = `${server.url}/resources/${upload.resource.id}/events`;
    const { response, events } = await connect(url);
    assertEquals(response.headers.get("content-type"), "text/event-stream");
    assertEquals(response.headers.get("cache-control"), "no-store, no-transform");
    const first = await next(events, "status");
    assertEquals([first.id, first.data], [
      `${upload.resource.status.life}.1.0`,
      upload.resource.status,
    ]);
    upload.append(utf8("a\n"));
    assertEquals((await next(events, "status")).data.currentSize, 2);
    upload.append(utf8("b\n"));
    assertEquals((await next(events, "status")).data.numberOfLines, 2);
    await upload.complete(await checksumOf(utf8("a\nb\n")));
    const last = await next(events, "status");
    assertEquals(last.data, upload.resource.status);
    assertEquals((await events.next()).done, true);
    assertEquals((await connect(url, last.id)).response.status, 204);
    assertEquals((await next((await connect(url)).events, "status")).data, last.data);
  });
}

test("who connects again is not told what was seen", async () => {
  await using server = await startServer();
  const upload = await register(server);
  upload.append(utf8("a"));
  const { epoch, sequence } = await statusWhere(
    upload.resource,
    (status) => status.currentSize > 0,
  );
  const url = `${server.url}/resources/${upload.resource.id}/events`;
  using again = await connect(url, `${epoch}.${sequence}`);
  assertEquals((await again.events.next()).value.type, "comment");
  upload.append(utf8("b"));
  assertEquals((await next(again.events, "status")).data.currentSize, 2);
  using older = await connect(url, `${epoch}.${sequence}`);
  assertEquals((await next(older.events, "status")).data.currentSize, 2);
  using ofFormerEpoch = await connect(url, `${epoch - 1}.${sequence + 99}`);
  assertEquals((await next(ofFormerEpoch.events, "status")).data.currentSize, 2);
  const wrong = await connect(url, "yesterday");
  assertEquals(wrong.response.status, 400);
});

test("an id comes behind its data: who takes it before the event is whole skips nothing", async () => {
  await using server = await startServer();
  const upload = await register(server);
  await upload.complete(await checksumOf(utf8("")));
  const url = `${server.url}/resources/${upload.resource.id}/events`;
  const text = await (await fetch(url)).text();
  assertMatch(text, /^event: status\ndata: .+\nid: \S+\n\n$/);
});

test("a slow reader gets the newest status only", async () => {
  await using here = world();
  const { resource } = await registerIn(here);
  const events = eventsIn(statusEvents(resource, null, new AbortController().signal));
  await next(events, "status");
  for (let sequence = 1; sequence <= 1000; sequence++) {
    resource.publish({ ...resource.status, sequence });
  }
  assertEquals((await next(events, "status")).id, `${resource.status.life}.1.1000`);
  const waiting = next(events, "status");
  resource.publish({ ...resource.status, sequence: 1001 });
  assertEquals((await waiting).id, `${resource.status.life}.1.1001`);
  await events.return(undefined);
  assertEquals(resource.watchers, 0);
});

test("what was appended comes before its status, for whom wants it", async () => {
  await using server = await startServer();
  const upload = await register(server);
  upload.append(utf8("one\ntwo"));
  await statusWhere(upload.resource, (status) => status.currentSize === 7);
  const url = `${server.url}/resources/${upload.resource.id}/events`;
  using all = await connect(`${url}?text=100`);
  assertEquals((await next(all.events, "text")).data, {
    startOffset: 0,
    endOffset: 7,
    text: "one\ntwo",
  });
  assertEquals((await next(all.events, "status")).data.currentSize, 7);
  upload.append(utf8("!\n"));
  assertEquals((await next(all.events, "text")).data, {
    startOffset: 7,
    endOffset: 9,
    text: "!\n",
  });
  await next(all.events, "status");
  // Of more than was asked for it is the end.
  using few = await connect(`${url}?text=4`);
  assertEquals((await next(few.events, "text")).data, {
    startOffset: 5,
    endOffset: 9,
    text: "wo!\n",
  });
  using none = await connect(url);
  assertEquals((await next(none.events, "status")).data.currentSize, 9);
  assertEquals((await connect(`${url}?text=65537`)).response.status, 400);
});

test("a character that is cut by a checkpoint comes as a whole", async () => {
  await using here = world();
  const upload = await registerIn(here);
  const { resource } = upload;
  const bytes = utf8("aä€");
  const signal = new AbortController().signal;
  const events = eventsIn(statusEvents(resource, null, signal, { textBytes: 100 }));
  const texts: string[] = [];
  await next(events, "status");
  for (const [at, byte] of bytes.entries()) {
    upload.append(Uint8Array.of(byte));
    await statusWhere(resource, (status) => status.currentSize === at + 1);
    for (let event; (event = (await events.next()).value).type !== "status";) {
      texts.push(event.data.text);
    }
  }
  assertEquals(texts, ["a", "ä", "€"]);
  await events.return(undefined);
});

test("silence is broken by comments", async () => {
  await using here = world();
  const { resource } = await registerIn(here);
  const events = eventsIn(
    statusEvents(resource, null, new AbortController().signal, { heartbeatMs: 5 }),
  );
  await next(events, "status");
  assertEquals((await events.next()).value.type, "comment");
  assertEquals((await events.next()).value.type, "comment");
  resource.publish({ ...resource.status, sequence: 7 });
  assertEquals((await next(events, "status")).id, `${resource.status.life}.1.7`);
});

test("the end of a resource ends its events", async () => {
  await using here = world();
  const { resource } = await registerIn(here);
  const events = eventsIn(statusEvents(resource, null, new AbortController().signal));
  await next(events, "status");
  const waiting = next(events, "deleted");
  resource.markDeleted();
  assertEquals((await waiting).data, { id: resource.id });
  assertEquals((await events.next()).done, true);
});

test("the events of an upload context: what is there, then what happens", async () => {
  await using server = await startServer({
    quota: {
      checkRegistration: ({ metadata }) => {
        if (metadata.filename === "no") throw new Error("not this one");
      },
    },
  });
  const before = await register(server, CONTEXT);
  await register(server, { contextId: "another", makeContext: true });
  using context = await connect(`${server.url}/contexts/run%201/events`);
  const { events } = context;
  const { data } = await next(events, "resource");
  assertEquals([data.id, data.contextId], [before.resource.id, "run 1"]);
  assertMatch(data.reference, /^ws:.*\/ws\/streaming\/download\//);

  const upload = await register(server, CONTEXT);
  const { id, metadata } = upload.resource;
  const reference = `${server.ws}/ws/streaming/download/${id}`;
  assertEquals((await next(events, "created")).data, { id, ...metadata, reference });
  upload.append(utf8("a\n"));
  const status = (await next(events, "status")).data;
  assertEquals([status.id, status.currentSize], [id, 2]);
  await upload.complete(await checksumOf(utf8("a\n")));
  assertEquals((await next(events, "status")).data, { id, ...upload.resource.status });

  const refusedMetadata = { ...metadata, filename: "no" };
  await register(server, { ...CONTEXT, metadata: refusedMetadata }).catch(() => {});
  assertEquals((await next(events, "refused")).data, {
    ...refusedMetadata,
    code: "QUOTA_EXCEEDED",
    message: "not this one",
  });
  await server.resources.delete(id);
  assertEquals((await next(events, "deleted")).data, { id });
});

test("an upload context that nobody made has no events", async () => {
  await using server = await startServer();
  const { response } = await connect(`${server.url}/contexts/none/events`);
  const { code } = await new Response(response.body).json().catch(() => ({})) as Problem;
  assertEquals([response.status, code], [404, "CONTEXT_UNKNOWN"]);
});

/** The events of a context, read as slowly as a test likes. */
function contextOf({ resources }: World, limits?: NewsLimits) {
  const { signal } = new AbortController();
  const parts = { resources, references: new References({ runtime: framesRuntime() }) };
  return eventsIn(contextEvents(parts, CONTEXT.contextId, BASE, signal, undefined, limits));
}

test("a slow reader of a context gets the newest of every resource, and nothing of what is outdated", async () => {
  await using here = world({ checkpointIntervalMs: 1 });
  await here.resources.createContext(CONTEXT.contextId);
  const events = contextOf(here);
  assertEquals((await events.next()).value.type, "comment");
  const uploads = await Promise.all([1, 2].map(() => registerIn(here, CONTEXT)));
  for (let size = 1; size <= 20; size++) {
    for (const upload of uploads) {
      upload.append(utf8("a"));
      await statusWhere(upload.resource, ({ currentSize }) => currentSize === size);
    }
  }
  // What the reader asks for only now: the snapshot shows all of it.
  const shown = [await next(events, "resource"), await next(events, "resource")];
  assertEquals(shown.map(({ data }) => data.currentSize), [20, 20]);
  for (let size = 21; size <= 40; size++) {
    uploads[1].append(utf8("a"));
    await statusWhere(uploads[1].resource, ({ currentSize }) => currentSize === size);
  }
  // Those who listen hear of it right after those who watch.
  await turn();
  const { data } = await next(events, "status");
  assertEquals([data.id, data.currentSize], [uploads[1].resource.id, 40]);
  await uploads[0].complete(await checksumOf(utf8("a".repeat(20))));
  await here.resources.delete(uploads[0].resource.id);
  assertEquals((await next(events, "deleted")).data, { id: uploads[0].resource.id });
});

test("a reader of a context who misses too much is told to connect again", async () => {
  await using here = world();
  await here.resources.createContext(CONTEXT.contextId);
  const events = contextOf(here, { most: 10 });
  assertEquals((await events.next()).value.type, "comment");
  const waiting = events.next();
  await registerIn(here, CONTEXT);
  assertEquals((await waiting).value.type, "created");
  for (let count = 0; count < 11; count++) await registerIn(here, CONTEXT);
  assertEquals((await events.next()).value.type, "comment");
  assertEquals((await events.next()).done, true);
});

test("where too many news wait for all readers together, those who take nothing are told to connect again", async () => {
  await using here = world();
  await here.resources.createContext(CONTEXT.contextId);
  const limits = { mostInAll: 30 };
  const slow = [contextOf(here, limits), contextOf(here, limits)];
  const quick = contextOf(here, limits);
  for (const events of [...slow, quick]) assertEquals((await events.next()).value.type, "comment");
  for (let count = 0; count < 40; count++) {
    // All hear of it; each is at the end of its snapshot.
    const heard = count === 0 ? [...slow, quick] : [quick];
    const created = heard.map((events) => events.next());
    await registerIn(here, CONTEXT);
    for (const event of created) assertEquals((await event).value.type, "created");
  }
  for (const events of slow) {
    assertEquals((await events.next()).value.type, "comment");
    assertEquals((await events.next()).done, true);
  }
  await quick.return(undefined);
});

test("a context of more resources than a page is shown whole, each once", async () => {
  await using here = world();
  const ids = new Set<string>();
  for (let count = 0; count < 250; count++) {
    ids.add((await registerIn(here, CONTEXT)).resource.id);
  }
  const events = contextOf(here);
  const shown = new Set<string>();
  for (let count = 0; count < 250; count++) shown.add((await next(events, "resource")).data.id);
  assertEquals(shown, ids);
});

test("readers of events count as connections, and who goes makes room", async () => {
  await using server = await startServer({ maxConnections: 1, maxFollowers: 1 });
  const { resource } = await register(server, CONTEXT);
  for (const path of [`resources/${resource.id}`, "contexts/run%201"]) {
    const url = `${server.url}/${path}/events`;
    const context = await connect(`${server.url}/contexts/run%201/events`);
    await next(context.events, "resource");
    assertEquals((await connect(url)).response.status, 503);
    context[Symbol.dispose]();
    await within("room again", room(`${server.url}/contexts/run%201/events`));
  }
});

async function room(url: string): Promise<void> {
  for (;;) {
    using again = await connect(url);
    if (again.response.status === 200) return;
    await again.response.text();
  }
}

test("a server that is closed ends the events", async () => {
  const server = await startServer();
  const { resource } = await register(server);
  const { events } = await connect(`${server.url}/resources/${resource.id}/events`);
  await next(events, "status");
  const ended = events.next().then(({ done }) => done, () => true);
  await within("the end of the server", server.close());
  // Uploads that cannot be resumed are FAILED then, which may still be told.
  if (!await within("the end of the events", ended)) {
    assert(await events.next().then(({ done }) => done, () => true));
  }
});
