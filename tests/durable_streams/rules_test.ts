/** Durable Streams: what the published suite does not ask, and what streams are to everybody else. */
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  assert,
  assertEquals,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import {
  framesRuntime,
  MemoryCatalog,
  MemoryStorage,
  type Runtime,
  type ServerOptions,
} from "../../mod.ts";
import { SignedLinks } from "../../src/access/links.ts";
import type { Resources } from "../../src/resources.ts";
import { streamId } from "../../src/server/durable_streams/streams.ts";
import { within } from "../helpers/frames/connection.ts";
import {
  getJson,
  isCompleted,
  RawClient,
  startServer,
  statusOf,
  type TestServer,
} from "../helpers/server.ts";
import { onLookedAtClock, turnsDuring } from "../helpers/turns.ts";

type Fields = Record<string, string>;

/** More than one event tells of anything else. */
const LONG_BYTES = 3_000_000;

const TEXT = { "content-type": "text/plain" };
const JSON_TYPE = { "content-type": "application/json" };
const OCTETS = { "content-type": "application/octet-stream" };
/** An offset that names no life. */
const offset = (byteOffset: number) => `${"0".repeat(16)}_${String(byteOffset).padStart(16, "0")}`;
/** The position in an offset that a server told. */
const positionIn = (told: string | null) => Number(/^[1-9a-z][0-9a-z]*_(\d{16})$/.exec(told!)![1]);

/** A stream of a server. */
class Peer {
  readonly url: string;

  constructor(
    server: Pick<TestServer, "url">,
    readonly path: string,
    readonly fields: Fields = {},
  ) {
    this.url = `${server.url}/streams/${path}`;
  }

  async put(fields: Fields = TEXT, body?: BodyInit): Promise<Response> {
    return await this.#send("PUT", "", fields, body);
  }

  /** Creates it, and fails unless it is new. */
  async made(fields: Fields = TEXT, body?: BodyInit): Promise<this> {
    const answer = await this.put(fields, body);
    assertEquals(answer.status, 201, await answer.text());
    return this;
  }

  post(body: BodyInit | undefined, fields: Fields = TEXT): Promise<Response> {
    return this.#send("POST", "", fields, body);
  }

  get(query = "", fields: Fields = {}): Promise<Response> {
    return this.#send("GET", query, fields);
  }

  head(): Promise<Response> {
    return this.#send("HEAD", "", {});
  }

  delete(): Promise<Response> {
    return this.#send("DELETE", "", {});
  }

  #send(method: string, query: string, fields: Fields, body?: BodyInit): Promise<Response> {
    return fetch(`${this.url}${query}`, { method, headers: { ...this.fields, ...fields }, body });
  }
}

/** Waits until a look says so. */
function until(what: string, look: () => Promise<boolean>): Promise<void> {
  const looking = async () => {
    while (!await look()) await sleep(5);
  };
  return within(what, looking());
}

/** Waits until so many readers wait for what comes. */
async function followedBy(server: TestServer, path: string, readers: number): Promise<void> {
  const id = await streamId(path);
  const resources = server.resources as Resources;
  await until("readers", async () => {
    await using opened = await resources.open(id);
    return opened.resource.watchers >= readers;
  });
}

both("an append whose digest is wrong appends nothing", async (server) => {
  const digest = async (text: string) => {
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    return `sha-256=:${Buffer.from(hash).toString("base64")}:`;
  };
  const stream = new Peer(server, "digests");
  const wrong = { ...TEXT, "content-digest": await digest("other") };
  assertEquals(await codeOf(await stream.put(wrong, "one")), [422, "CHECKSUM_MISMATCH"]);
  assertEquals((await stream.get()).status, 404);
  await stream.made({ ...TEXT, "content-digest": await digest("one") }, "one");
  assertEquals(await codeOf(await stream.post("two", wrong)), [422, "CHECKSUM_MISMATCH"]);
  const right = { ...TEXT, "repr-digest": await digest("two") };
  assertEquals((await stream.post("two", right)).status, 204);
  assertEquals(await (await stream.get()).text(), "onetwo");
});

test("an offset of a former life of a stream is no place in the next one, but in its forks", async () => {
  await using server = await startServer();
  const stream = await new Peer(server, "lives").made(TEXT, "first");
  const told = (await stream.head()).headers.get("stream-next-offset")!;
  const fork = await new Peer(server, "fork").made({
    ...TEXT,
    "stream-forked-from": "/streams/lives",
  });
  await fork.post(" and more");
  const beyond = (await stream.post(" lost")).headers.get("stream-next-offset")!;
  assertEquals(await (await fork.get(`?offset=${told}`)).text(), " and more");
  assertEquals(await codeOf(await fork.get(`?offset=${beyond}`)), [410, "DELETED"]);
  await fork.delete();
  await stream.delete();
  await stream.made(TEXT, "second, and longer");
  for (const live of ["", "&live=long-poll", "&live=sse"]) {
    assertEquals(await codeOf(await stream.get(`?offset=${told}${live}`)), [410, "DELETED"]);
  }
  const again = { ...TEXT, "stream-forked-from": "/streams/lives", "stream-fork-offset": told };
  assertEquals(await codeOf(await fork.put(again)), [410, "DELETED"]);
});

test("a deletion that was meant for a former life of a stream leaves the next one", async () => {
  await using server = await startServer();
  const stream = await new Peer(server, "etags").made(TEXT, "first");
  const former = { "if-match": (await stream.head()).headers.get("etag")! };
  await stream.delete();
  await stream.made(TEXT, "other");
  const peer = new Peer(server, "etags", former);
  assertEquals(await codeOf(await peer.delete()), [412, "WRONG_VERSION"]);
  assertEquals(await codeOf(await peer.get("?offset=-1")), [412, "WRONG_VERSION"]);
  const present = { "if-match": (await stream.head()).headers.get("etag")! };
  assertEquals((await new Peer(server, "etags", present).delete()).status, 204);
});

test("a stream is no upload that somebody owns, whatever secret is named", async () => {
  await using server = await startServer();
  const stream = await new Peer(server, "anybodys").made(JSON_TYPE, '{"a":1}');
  const id = await streamId("anybodys");
  const upload = `${server.url}/uploads/${id}/secret`;
  const part = { "content-type": "application/partial-upload", "upload-complete": "?0" };
  const append = { ...part, "upload-offset": "8" };
  const tus = { "tus-resumable": "1.0.0" };
  for (
    const request of [
      new Request(upload, { method: "PATCH", headers: append, body: "no JSON" }),
      new Request(upload, { method: "DELETE" }),
      new Request(`${server.url}/tus/${id}/secret`, { headers: tus }),
    ]
  ) assertEquals(await codeOf(await fetch(request)), [403, "NOT_OWNER"]);
  using client = await RawClient.open(`${server.ws}/ws/streaming/upload`, "stream.v1");
  client.say({ "@": "ResumeUpload", id, secret: "secret" });
  await client.inbox.until("the end", () => client.inbox.closing !== null);
  assertStringIncludes(client.inbox.closing!.reason, "NOT_OWNER");
  assertEquals((await stream.post('{"b":2}', JSON_TYPE)).status, 204);
  assertEquals(await (await stream.get()).json(), [{ a: 1 }, { b: 2 }]);
});

async function codeOf(answer: Response): Promise<[number, string]> {
  return [answer.status, (await answer.json()).code];
}

/** One behaviour of every listener. */
function both(
  behaviour: string,
  check: (server: TestServer) => Promise<void>,
  options: Partial<ServerOptions> = {},
) {
  test(behaviour, async () => {
    await using server = await startServer(options);
    await check(server);
  });
  test(`over node:http: ${behaviour}`, async () => {
    await using server = await startServer({ runtime: framesRuntime(), ...options });
    await check(server);
  });
}

/** Asks until so many connections by HTTP are counted. */
async function untilConnections({ url }: TestServer, count: number): Promise<void> {
  const wanted = `stream_connections{kind="http"} ${count}\n`;
  while (!(await (await fetch(`${url}/metrics`)).text()).includes(wanted));
}

/** Reads events until a text is there. */
async function eventsUntil(peer: Peer, query: string, wanted: string): Promise<string> {
  const stop = new AbortController();
  const answer = await fetch(`${peer.url}${query}`, { signal: stop.signal });
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes(wanted)) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
  }
  stop.abort();
  await reader.cancel().catch(() => {});
  return text;
}

both("a stream is a resource that everybody follows, and its end is theirs", async (server) => {
  const stream = await new Peer(server, "chats/größe 1.log").made(TEXT, "one\n");
  const id = await streamId("chats/größe 1.log");
  const head = await stream.head();
  assertEquals(head.headers.get("stream-reference"), `${server.ws}/ws/streaming/download/${id}`);
  assertEquals(head.headers.get("stream-view"), `${server.url}/view/${id}`);
  const following = fetch(`${server.url}/resources/${id}/content`);
  assertEquals(positionIn((await stream.post("two\n")).headers.get("stream-next-offset")), 8);
  await statusOf(server.resources, id, ({ currentSize }) => currentSize === 8);
  assertEquals((await stream.post(undefined, { "stream-closed": "true" })).status, 204);
  assertEquals(await (await following).text(), "one\ntwo\n");
  const info = await getJson(`${server.url}/resources/${id}`);
  assertEquals([info.filename, info.mimeType, info.transferStatus, info.numberOfLines], [
    ...["chats/größe 1.log", "text/plain", "COMPLETED"],
    2,
  ]);
  assertEquals(await codeOf(await stream.post("three\n")), [409, "CONFLICT"]);
});

both("a long-poll whose client is gone holds no place any more", async (server) => {
  const stream = new Peer(server, "notes");
  await stream.put();
  const stop = new AbortController();
  const waiting = fetch(`${stream.url}?offset=now&live=long-poll`, { signal: stop.signal });
  await untilConnections(server, 1);
  stop.abort();
  await assertRejects(() => waiting);
  const leftMs = performance.now();
  await untilConnections(server, 0);
  assertLess(performance.now() - leftMs, 15_000, "as long as a long-poll waits");
});

both("a long-poll tells the end without bytes, at once behind the last ones", async (server) => {
  const stream = await new Peer(server, "polled").made(TEXT, "all");
  assertEquals((await stream.post(undefined, { "stream-closed": "true" })).status, 204);
  const last = await stream.get("?offset=-1&live=long-poll");
  assertEquals([last.status, last.headers.get("stream-closed")], [200, null]);
  assertEquals([await last.text(), last.headers.get("stream-up-to-date")], ["all", "true"]);
  const next = `?offset=${last.headers.get("stream-next-offset")}&live=long-poll`;
  const end = await stream.get(next);
  assertEquals([end.status, end.headers.get("stream-closed")], [204, "true"]);
});

both("messages of JSON stay as they were written, a line each", async (server) => {
  const stream = await new Peer(server, "json").made(
    JSON_TYPE,
    '[ 12345678901234567890, "a,]\\"" ]',
  );
  await stream.post('{\n  "b": 1.0,\r\n  "b": [ {}, [1, 2] ]\n}\n', JSON_TYPE);
  await stream.post('[[1, 2], "\\\\", 1e400]', JSON_TYPE);
  const lines = [
    "12345678901234567890",
    '"a,]\\""',
    '{"b":1.0,"b":[{},[1,2]]}',
    "[1,2]",
    '"\\\\"',
    "1e400",
  ];
  assertEquals(await (await stream.get()).text(), `[${lines.join(",")}]`);
  const id = await streamId("json");
  const content = await fetch(`${server.url}/resources/${id}/content`);
  assertEquals(content.headers.get("content-type"), "application/x-ndjson");
  // It goes on until the stream is closed.
  await stream.post(undefined, { "stream-closed": "true" });
  assertEquals(await content.text(), lines.map((line) => `${line}\n`).join(""));
  const start = lines.slice(0, 2).join("\n").length + 1;
  assertEquals(await (await stream.get(`?offset=${offset(start)}`)).text(), `[${lines.slice(2)}]`);
  assertEquals(await codeOf(await stream.get(`?offset=${offset(start - 2)}`)), [
    400,
    "BAD_REQUEST",
  ]);
});

test("what is no JSON is refused, and appends nothing", async () => {
  await using server = await startServer();
  const stream = await new Peer(server, "json").made(JSON_TYPE);
  const bad = [
    ...["", "[", "[1 2]", "[1,]", "{]", '"', "nul", "[]", "1 2", "\ufeff1"],
    "[".repeat(1001) + "]".repeat(1001),
    new Uint8Array([0x22, 0xff, 0x22]),
  ];
  for (const body of bad) {
    assertEquals(await codeOf(await stream.post(body, JSON_TYPE)), [400, "BAD_REQUEST"]);
  }
  const deep = "[".repeat(1000) + "]".repeat(1000);
  assertEquals((await stream.post(deep, JSON_TYPE)).status, 204);
  assertEquals(await (await stream.get()).json(), [JSON.parse(deep.slice(1, -1))]);
});

both(
  "every push is read as a stream while it arrives, and written by nobody else",
  async (server) => {
    const sending = new TransformStream<Uint8Array, Uint8Array>();
    const writer = sending.writable.getWriter();
    const pushing = fetch(`${server.url}/resources?name=build.log`, {
      method: "POST",
      body: sending.readable,
      duplex: "half",
      headers: TEXT,
    } as RequestInit);
    await writer.write(new TextEncoder().encode("first\n"));
    await until(
      "the resource",
      async () => (await server.resources.list({ limit: 1 })).length > 0,
    );
    const [{ id }] = await server.resources.list({ limit: 1 });
    await statusOf(server.resources, id, ({ currentSize }) => currentSize === 6);
    const stream = new Peer(server, id);
    const answer = await stream.get("?offset=-1");
    assertEquals(answer.headers.get("content-type"), "text/plain");
    assertEquals(await answer.text(), "first\n");
    assertEquals(await codeOf(await stream.post("mine\n")), [403, "NOT_OWNER"]);
    assertEquals(await codeOf(await stream.put()), [409, "CONFLICT"]);
    assertEquals(await codeOf(await stream.delete()), [409, "WRONG_STATE"]);
    const waiting = stream.get(`?offset=${offset(6)}&live=long-poll`);
    await writer.write(new TextEncoder().encode("second\n"));
    assertEquals(await (await waiting).text(), "second\n");
    await writer.close();
    assertEquals((await pushing).status, 201);
    const end = await stream.get(`?offset=${offset(13)}&live=long-poll`);
    assertEquals([end.status, end.headers.get("stream-closed")], [204, "true"]);
    const closed = await stream.post("mine\n");
    assertEquals([closed.status, closed.headers.get("stream-closed")], [409, "true"]);
  },
);

test("the end of an upload that failed is no end of a stream", async () => {
  await using server = await startServer();
  const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
  const upload = await server.resources.startUpload(metadata);
  const writer = upload.writable.getWriter();
  writer.closed.catch(() => {});
  await writer.write(new TextEncoder().encode("some"));
  await statusOf(server.resources, upload.id, ({ currentSize }) => currentSize === 4);
  const stream = new Peer(server, upload.id);
  const waiting = stream.get(`?offset=${offset(4)}&live=long-poll`);
  const events = eventsUntil(stream, "?offset=-1&live=sse", "streamClosed");
  await writer.abort(new Error("the producer died"));
  assertEquals(await codeOf(await waiting), [410, "GONE"]);
  assert(!(await events).includes("streamClosed"));
  const answer = await stream.get();
  assertEquals([answer.headers.get("stream-closed"), await answer.text()], [null, "some"]);
  assertEquals((await stream.head()).headers.get("stream-transfer-status"), "FAILED");
});

both("an offset beyond the end is refused", async (server) => {
  const stream = await new Peer(server, "short").made(TEXT, "abc");
  await stream.post(undefined, { "stream-closed": "true" });
  assertEquals(await codeOf(await stream.get(`?offset=${offset(4)}`)), [
    416,
    "RANGE_NOT_AVAILABLE",
  ]);
  assertEquals((await stream.get(`?offset=${offset(3)}`)).headers.get("stream-closed"), "true");
});

test("content beyond the limit of one append is refused where it must count once, else taken in pieces", async () => {
  await using server = await startServer();
  const bytes = new Uint8Array(16 * 1024 * 1024 + 5).map((_, at) => at >> 8);
  const stream = await new Peer(server, "large").made(OCTETS);
  const producer = { "producer-id": "p", "producer-epoch": "0", "producer-seq": "0" };
  const streamed = () => new Blob([bytes]).stream();
  for (const fields of [producer, { "stream-seq": "1" }] as Fields[]) {
    for (const body of [bytes, streamed()]) {
      const answer = await stream.post(body, {
        ...OCTETS,
        ...fields,
        ...(body === bytes ? {} : { "transfer-encoding": "chunked" }),
      }).catch(() => null);
      // A server that refuses before it has read everything may break the connection.
      if (answer !== null) assertEquals(await codeOf(answer), [413, "MESSAGE_TOO_LARGE"]);
    }
  }
  assertEquals(positionIn((await stream.head()).headers.get("stream-next-offset")), 0);
  const answer = await stream.post(bytes, OCTETS);
  assertEquals(positionIn(answer.headers.get("stream-next-offset")), bytes.length);
  const id = await streamId("large");
  let at = 0;
  for await (const chunk of server.resources.read(id, { to: bytes.length })) {
    assertEquals(chunk, bytes.subarray(at, at + chunk.length));
    at += chunk.length;
  }
  assertEquals(at, bytes.length);
  const json = await new Peer(server, "large.json").made(JSON_TYPE);
  const long = JSON.stringify("x".repeat(4 * 1024 * 1024));
  const refused = await json.post(long, JSON_TYPE).catch(() => null);
  if (refused !== null) assertEquals(await codeOf(refused), [413, "MESSAGE_TOO_LARGE"]);
});

test("much is read in answers of 8 MiB, which end behind a message", async () => {
  await using server = await startServer();
  const message = JSON.stringify("x".repeat(1_000_000));
  const stream = await new Peer(server, "json").made(JSON_TYPE);
  for (let count = 0; count < 20; count++) await stream.post(message, JSON_TYPE);
  let next = "-1", count = 0, answers = 0;
  for (let isThere = true; isThere; answers++) {
    const answer = await stream.get(`?offset=${next}`);
    const messages = await answer.json() as string[];
    for (const text of messages) assertEquals(text.length, 1_000_000);
    count += messages.length;
    next = answer.headers.get("stream-next-offset")!;
    isThere = answer.headers.get("stream-up-to-date") !== "true";
    assertStringIncludes(answer.headers.get("cache-control")!, isThere ? "max-age" : "no-cache");
  }
  assertEquals([count, answers], [20, 3]);
});

both(
  "events of text end where characters do, and keep spaces at the beginning of lines",
  async (server) => {
    const stream = await new Peer(server, "text").made({
      "content-type": "text/plain;charset=utf-8",
    });
    await stream.post("  two spaces\n \n€");
    const euro = new TextEncoder().encode("€");
    await stream.post(euro.subarray(0, 2), { "content-type": "text/plain" });
    const events = eventsUntil(stream, "?offset=-1&live=sse", "streamClosed");
    await stream.post(euro.subarray(2), TEXT);
    await stream.post(undefined, { "stream-closed": "true" });
    const data = (await events).split("\n\n").filter((event) => event.startsWith("event: data"))
      .map((event) =>
        event.split("\n").slice(1).map((line) => line.slice(5).replace(/^ /, "")).join("\n")
      );
    assertEquals(data.join(""), "  two spaces\n \n€€");
  },
);

both(
  "events of bytes are base64, and of messages arrays, each followed by where it ends",
  async (server) => {
    const bytes = await new Peer(server, "bytes").made(OCTETS, new Uint8Array([0, 255, 10]));
    const ofBytes = await eventsUntil(bytes, "?offset=-1&live=sse", "upToDate");
    assertMatch(ofBytes, /^event: data\ndata:AP8K\n\nevent: control\ndata:\{"streamNextOffset"/);
    const json = await new Peer(server, "json").made(JSON_TYPE, '[{"a":1},2]');
    const ofJson = await eventsUntil(json, "?offset=-1&live=sse", "upToDate");
    assertMatch(ofJson, /^event: data\ndata:\[\{"a":1\},2\]\n\nevent: control\n/);
  },
);

test("a stream that is over is deleted when somebody asks for it", async () => {
  await using server = await startServer();
  await new Peer(server, "short-lived").made({ ...TEXT, "stream-ttl": "1" }, "gone soon");
  const id = await streamId("short-lived");
  await sleep(1100);
  assertEquals((await new Peer(server, "short-lived").get()).status, 404);
  assertEquals((await fetch(`${server.url}/resources/${id}`)).status, 404);
});

both(
  "a source that is deleted loses its bytes, and keeps its path for its forks",
  async (server) => {
    const source = await new Peer(server, "source").made(TEXT, "inherited ");
    const fork = await new Peer(server, "fork").made(
      { "stream-forked-from": "/streams/source" },
      "",
    );
    await fork.post("own");
    assertEquals(await (await fork.get()).text(), "inherited own");
    assertEquals((await source.delete()).status, 204);
    assertEquals(await codeOf(await source.get()), [410, "GONE"]);
    const id = await streamId("source");
    const { currentSize, failure } = await getJson(`${server.url}/resources/${id}`);
    assertEquals(currentSize, 0);
    assertStringIncludes(failure!, "DELETED");
    assertEquals(await codeOf(await source.put()), [409, "CONFLICT"]);
    assertEquals(await (await fork.get()).text(), "inherited own");
    assertEquals((await fork.delete()).status, 204);
    assertEquals((await source.put()).status, 201);
  },
);

test("a source keeps its path for its forks where nothing new is taken, too", async () => {
  let isFull = false;
  const checkRegistration = () => {
    if (isFull) throw new Error("no more");
  };
  await using server = await startServer({ quota: { checkRegistration } });
  const source = await new Peer(server, "source?context=run").made(TEXT, "inherited ");
  await new Peer(server, "fork").made({ "stream-forked-from": "/streams/source" }, "");
  await server.resources.closeContext("run");
  isFull = true;
  assertEquals((await source.delete()).status, 204);
  assertEquals(await codeOf(await source.get()), [410, "GONE"]);
});

test("a push that goes on is forked where it is", async () => {
  await using server = await startServer();
  const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
  const upload = await server.resources.startUpload(metadata);
  const writer = upload.writable.getWriter();
  await writer.write(new TextEncoder().encode("until now"));
  await statusOf(server.resources, upload.id, ({ currentSize }) => currentSize === 9);
  const fork = await new Peer(server, "fork").made({ "stream-forked-from": `/${upload.id}` });
  await writer.close();
  await fork.post(", and on");
  assertEquals(await (await fork.get()).text(), "until now, and on");
});

test("many writers append to one stream, each in one piece and in its order", async () => {
  await using server = await startServer();
  const stream = await new Peer(server, "crowd").made(TEXT);
  await Promise.all(Array.from({ length: 20 }, async (_, writer) => {
    for (let turn = 0; turn < 10; turn++) {
      assertEquals((await stream.post(`${writer}:${turn}\n`)).status, 204);
    }
  }));
  const lines = (await (await stream.get()).text()).trimEnd().split("\n");
  assertEquals(lines.length, 200);
  for (let writer = 0; writer < 20; writer++) {
    const own = lines.filter((line) => line.startsWith(`${writer}:`));
    assertEquals(own, Array.from({ length: 10 }, (_, turn) => `${writer}:${turn}`));
  }
});

test("two nodes append to one stream in turn, and producers count once on both", async () => {
  const { MemoryLogs } = await import("../../src/storage/memory.ts");
  const { MemoryRecords } = await import("../../src/catalog/memory.ts");
  const [logs, records] = [new MemoryLogs(), new MemoryRecords()];
  const node = (nodeId: string) =>
    startServer({
      storage: new MemoryStorage(logs),
      catalog: new MemoryCatalog(records),
      nodeId,
      leaseMs: 60_000,
    });
  await using a = await node("a");
  await using b = await node("b");
  const peers = [await new Peer(a, "shared").made(TEXT), new Peer(b, "shared")];
  for (let seq = 0; seq < 6; seq++) {
    const fields = { ...TEXT, "producer-id": "p", "producer-epoch": "0", "producer-seq": `${seq}` };
    assertEquals((await peers[seq % 2].post(`${seq}\n`, fields)).status, 200);
    assertEquals((await peers[(seq + 1) % 2].post(`${seq}\n`, fields)).status, 204);
  }
  const [{ status }] = await b.resources.list({ limit: 1 });
  assertEquals(status.currentSize, 12);
  const at = (await peers[1].head()).headers.get("stream-next-offset");
  assertEquals(positionIn(at), 12);
  assertEquals(await (await peers[0].get(`?offset=${offset(0)}`)).text(), "0\n1\n2\n3\n4\n5\n");
});

test("of a producer's numbers those are refused that are none, or too long", async () => {
  await using server = await startServer();
  const stream = await new Peer(server, "p").made(TEXT);
  const good = { "producer-id": "p", "producer-epoch": "0", "producer-seq": "0" };
  const bad: Fields[] = [
    { "producer-epoch": "-1" },
    { "producer-epoch": "1e3" },
    { "producer-seq": "1.5" },
    { "producer-seq": "9007199254740992" },
    { "producer-id": "x".repeat(257) },
    { "stream-seq": "x".repeat(257) },
  ];
  for (const fields of bad) {
    assertEquals(await codeOf(await stream.post("a", { ...TEXT, ...good, ...fields })), [
      ...[400, "BAD_REQUEST"] as const,
    ]);
  }
  const odd = { ...TEXT, ...good, "producer-id": "__proto__" };
  assertEquals((await stream.post("a", odd)).status, 200);
  assertEquals((await stream.post("a", odd)).status, 204);
});

test("paths of the protocol's own are refused", async () => {
  await using server = await startServer();
  const reserved = new Peer(server, "__ds/subscriptions/a");
  assertEquals(await codeOf(await reserved.put(JSON_TYPE, "{}")), [400, "BAD_REQUEST"]);
  assertEquals((await reserved.get()).status, 404);
});

test("a server without Durable Streams has nothing at /streams", async () => {
  await using server = await startServer({ durableStreams: false });
  assertEquals((await new Peer(server, "a").put()).status, 404);
  const { paths } = await getJson<{ paths: object }>(`${server.url}/openapi.json`);
  assertEquals(Object.keys(paths).filter((path) => path.startsWith("/streams")), []);
});

both("a path stays as it is written, whatever its parts look like", async (server) => {
  for (
    const path of ["download/CAFECAFE", "a/tus/ABCABCABC/resources/DEFDEFDEF", "uploads/CAFECAFE"]
  ) {
    const stream = await new Peer(server, path).made(TEXT, path);
    assertEquals(await (await stream.get("?offset=-1")).text(), path);
  }
});

both(
  "events tell a message that is longer than a piece, whole and in its place",
  async (server) => {
    const long = JSON.stringify("0123456789abcdef".repeat(60_000));
    const stream = await new Peer(server, "json").made(JSON_TYPE, `[1,${long},2]`);
    const text = await eventsUntil(stream, "?offset=-1&live=sse", "upToDate");
    const events = text.split("\n\n").filter((event) => event.startsWith("event: data"));
    const data = events.map((event) => JSON.parse(event.slice("event: data\ndata:".length)));
    assertEquals(data.flat(), [1, JSON.parse(long), 2]);
    assertStringIncludes(text, offset(long.length + 5).slice(16));
  },
);

test("events are made in pieces, as their reader takes them, and in short ones at first", async () => {
  let ask!: Parameters<Runtime["listen"]>[0]["fetch"];
  const runtime: Runtime = {
    listen({ fetch }) {
      ask = fetch;
      return Promise.resolve({ port: 1, refuse() {}, close: () => Promise.resolve() });
    },
    upgrade: () => new Response(),
    remoteAddress: () => null,
  };
  await using server = await startServer({ runtime });
  for (const headers of [JSON_TYPE, TEXT]) {
    const url = `${server.url}/streams/${headers["content-type"]}`;
    const body = JSON.stringify("x".repeat(LONG_BYTES));
    await ask(new Request(url, { method: "PUT", headers, body }), {});
    const answer = await ask(new Request(`${url}?offset=-1&live=sse`), {});
    let bytes = 0, longest = 0;
    for await (const chunk of answer.body!) {
      bytes += chunk.length;
      longest = Math.max(longest, chunk.length);
      if (bytes > body.length) break;
    }
    assertLessOrEqual(longest, 65 * 1024, url);
  }
});

test("forks that count the messages of their source leave everybody turns, after 2 ms of pieces", async () => {
  await using server = await startServer();
  const source = await new Peer(server, "source").made(JSON_TYPE);
  for (let count = 0; count < 2; count++) {
    await source.post(JSON.stringify(Array(500_000).fill(0)), JSON_TYPE);
  }
  const beyond = {
    "stream-forked-from": "/streams/source",
    "stream-fork-offset": offset(0),
    "stream-fork-sub-offset": "9000000",
  };
  let forks: Response[] = [];
  // Each piece looks at the clock, so that two fill a turn.
  const { result: turns } = await onLookedAtClock(1, () =>
    turnsDuring(async () => {
      forks = await Promise.all(
        Array.from({ length: 16 }, (_, number) => new Peer(server, `fork${number}`).put(beyond)),
      );
    }));
  for (const fork of forks) assertEquals(await codeOf(fork), [400, "BAD_REQUEST"]);
  const pieces = 16 * 2_000_000 / (64 * 1024);
  assert(turns >= pieces / 2, `${turns} turns for ${pieces} pieces`);
});

test("a stream of another context is no stream that is found again", async () => {
  await using server = await startServer();
  await new Peer(server, "a?context=run-1").made(TEXT, "secret");
  assertEquals((await new Peer(server, "a?context=run-1").put()).status, 200);
  assertEquals((await new Peer(server, "a").put()).status, 200);
  const other = await new Peer(server, "a?context=run-2").put();
  assertEquals([other.status, other.headers.get("stream-next-offset")], [409, null]);
});

test("a fork wants the scope to read its source, and a link reads one stream", async () => {
  const links = new SignedLinks();
  const grantOf = (token: string) => {
    const [scopes, contextId = null] = token.split(":");
    return {
      name: token,
      scopes: scopes.split("+") as ("upload" | "read" | "admin")[],
      contextId,
      resourceId: null,
      expiresAtMs: null,
    };
  };
  const tokens = { authenticate: (token: string) => Promise.resolve(grantOf(token)) };
  await using server = await startServer({ access: { tokens, links } });
  const by = (path: string, token: string) =>
    new Peer(server, path, { authorization: `Bearer ${token}` });
  await by("source?context=run-1", "upload").made(TEXT, "secret");
  const forked = { "stream-forked-from": "source" };
  assertEquals((await by("fork", "upload").put(forked)).status, 403);
  assertEquals((await by("fork?context=run-2", "upload+read:run-2").put(forked)).status, 404);
  assertEquals((await by("fork?context=run-1", "upload+read:run-1").put(forked)).status, 201);
  assertEquals((await by("source", "read:run-2").get()).status, 404);
  assertEquals((await by("source", "upload:run-2").post("x")).status, 404);
  assertEquals((await by("source", "upload").delete()).status, 403);
  const id = await streamId("source");
  const link = await links.create(id, Date.now() + 60_000);
  const query = `?access=${encodeURIComponent(link)}&offset=-1`;
  assertEquals(await (await new Peer(server, "source").get(query)).text(), "secret");
  assertEquals((await new Peer(server, "fork").get(query)).status, 403);
});

test("a stream has the limits of its upload context, and a refused append leaves it open", async () => {
  await using server = await startServer({ maxResourceBytes: 8 });
  const stream = await new Peer(server, "small").made(TEXT, "1234");
  assertEquals(await codeOf(await stream.post("56789")), [413, "QUOTA_EXCEEDED"]);
  assertEquals((await stream.post("5678")).status, 204);
  assertEquals(await codeOf(await new Peer(server, "big").put(TEXT, "123456789")), [
    ...[413, "QUOTA_EXCEEDED"] as const,
  ]);
  assertEquals((await new Peer(server, "big").head()).status, 404);
});

test("a long-poll ends with the server, and costs a connection until then", async () => {
  await using server = await startServer({ maxConnections: 1 });
  const stream = await new Peer(server, "quiet").made(TEXT);
  const waiting = stream.get("?offset=now&live=long-poll");
  await followedBy(server, "quiet", 1);
  assertEquals(await codeOf(await stream.get("?offset=now&live=long-poll")), [
    ...[503, "LIMIT_REACHED"] as const,
  ]);
  await server.close();
  const answer = await waiting.catch(() => null);
  if (answer !== null) assertEquals(await codeOf(answer), [503, "SHUTDOWN"]);
});

test("a stream that is deleted ends its readers", async () => {
  await using server = await startServer();
  const stream = await new Peer(server, "doomed").made(TEXT, "x");
  const waiting = stream.get("?offset=now&live=long-poll");
  const events = eventsUntil(stream, "?offset=now&live=sse", "nothing like it");
  await followedBy(server, "doomed", 2);
  assertEquals((await stream.delete()).status, 204);
  assert([404, 410].includes((await waiting).status));
  assertEquals((await stream.get()).status, 404);
  await events;
  await (await stream.made(TEXT, "anew")).get();
});

test("a resource that is completed is never written to", async () => {
  await using server = await startServer();
  const stream = await new Peer(server, "closed").made({ ...TEXT, "stream-closed": "true" }, "all");
  await statusOf(server.resources, await streamId("closed"), isCompleted);
  assertEquals((await stream.put({ ...TEXT, "stream-closed": "true" })).status, 200);
  assertEquals((await stream.put(TEXT)).status, 409);
  assertEquals(await (await stream.get()).text(), "all");
});
