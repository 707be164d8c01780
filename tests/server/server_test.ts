import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertLess,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Hono } from "hono";
import { createServer, loadRuntime, MemoryCatalog, MemoryStorage } from "../../mod.ts";
import {
  type ErrorCode,
  ERRORS,
  type ResourceInfo,
  StreamError,
  SUBPROTOCOL,
} from "../../src/protocol.ts";
import type { ServerOptions } from "../../src/server.ts";
import type { ListenOptions } from "../../src/runtime.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes, eventually, type Said, within } from "../helpers/frames/connection.ts";
import {
  GatedStorage,
  getJson,
  isFailed,
  mountServer,
  type Problem,
  RawClient,
  rawUpgrade,
  startServer,
  statusOf,
  type TestServer,
} from "../helpers/server.ts";

const uploadPath = "/ws/streaming/upload";
const downloadPath = "/ws/streaming/download";
const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const start: Said = { "@": "StartUpload", metadata };
const md5 = (text: string) => createHash("md5").update(text).digest("hex");
const finish = (text: string): Said => ({ "@": "FinishUpload", checksum: md5(text) });

/** Makes a resource over the wire, as a Step client does; its id. */
async function uploaded(
  { ws, resources }: TestServer,
  { content = "one\ntwo\n", contextId = "", lineAccess = true } = {},
): Promise<string> {
  if (contextId !== "") await resources.createContext(contextId);
  const query = contextId && `?streamingUploadContextId=${encodeURIComponent(contextId)}`;
  using client = await RawClient.open(ws + uploadPath + query);
  client.say({ "@": "StartUpload", metadata: { ...metadata, supportsLineAccess: lineAccess } });
  const { reference } = await client.inbox.next("ReadyForUpload");
  client.give(utf8(content));
  client.say(finish(content));
  await client.inbox.next("UploadAcknowledged");
  return reference.uri.slice(-36);
}

/** Begins an upload that goes on while its client is open. */
async function uploading(server: TestServer, subprotocol = "") {
  const client =
    await (subprotocol === ""
      ? RawClient.open(server.ws + uploadPath)
      : RawClient.open(server.ws + uploadPath, subprotocol));
  client.say(start);
  const { reference, secret } = await client.inbox.next("ReadyForUpload");
  return { client, id: reference.uri.slice(-36), secret };
}

async function assertProblem(response: Response, code: ErrorCode): Promise<void> {
  assertEquals(response.status, ERRORS[code].http);
  assertEquals(response.headers.get("content-type"), "application/problem+json");
  assertProblemBody(await response.json(), code);
}

function assertProblemBody(problem: Problem, code: ErrorCode): void {
  const { title, status, detail, instance } = problem;
  assertMatch(instance, /^urn:request:[\w.~-]+$/);
  assertEquals(problem, { title, status, detail, code, instance });
  assertEquals(status, ERRORS[code].http);
  assert(title !== "" && detail !== "");
}

test("a resource is one object with everything that is known of it", async () => {
  await using server = await startServer();
  const id = await uploaded(server, { content: "one\ntwo", contextId: "run-17" });
  const response = await fetch(`${server.url}/resources/${id}`);
  assertEquals(response.status, 200);
  assertStringIncludes(response.headers.get("content-type")!, "application/json");
  const info: ResourceInfo = await response.json();
  const { createdAt, updatedAt, sequence, life } = info;
  assertMatch(life, /^[0-9a-z]+$/);
  assertEquals(info, {
    id,
    filename: "a.log",
    mimeType: "text/plain",
    supportsLineAccess: true,
    transferStatus: "COMPLETED",
    currentSize: 7,
    numberOfLines: 2,
    durableSize: 7,
    epoch: 1,
    sequence,
    life,
    failure: null,
    contextId: "run-17",
    digest: { algorithm: "md5", value: md5("one\ntwo") },
    reference: `${server.ws}${downloadPath}/${id}`,
    view: `${server.url}/view/${id}`,
    createdAt,
    updatedAt,
  });
  const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
  assertMatch(createdAt, rfc3339);
  assertMatch(updatedAt, rfc3339);
  assert(createdAt <= updatedAt);
});

test("a running upload is shown with its newest status", async () => {
  await using server = await startServer();
  const { client, id } = await uploading(server, SUBPROTOCOL);
  using _client = client;
  client.give(utf8("one\ntw"));
  await statusOf(server.resources, id, ({ currentSize }) => currentSize === 6);
  const info = await getJson(`${server.url}/resources/${id}`);
  assertEquals([info.transferStatus, info.currentSize, info.numberOfLines], ["IN_PROGRESS", 6, 1]);
  assertEquals([info.digest, info.failure, info.contextId], [null, null, null]);
});

test("resources are listed newest first, page by page, with a link while there are more", async () => {
  await using server = await startServer();
  const ids: string[] = [];
  for (let count = 0; count < 5; count++) ids.unshift(await uploaded(server));
  const byTime = (infos: ResourceInfo[]) =>
    infos.toSorted((a, b) => a.createdAt > b.createdAt ? -1 : a.createdAt < b.createdAt ? 1 : 0);
  for (const limit of [1, 2, 3, 5, 6, 1000]) {
    const pages: ResourceInfo[][] = [];
    let url: string | undefined = `${server.url}/resources?limit=${limit}`;
    while (url !== undefined) {
      const response: Response = await fetch(url);
      pages.push(await response.json());
      const link: string | undefined = response.headers.get("link") ?? undefined;
      const next: string | undefined = /^<([^>]+)>; rel="next"$/.exec(link ?? "")?.[1];
      assertEquals(next === undefined, link === undefined);
      url = next && new URL(next, url).href;
    }
    const infos = pages.flat();
    assertEquals(infos.map(({ id }) => id).toSorted(), ids.toSorted());
    assertEquals(infos, byTime(infos));
    assertEquals(pages.length, Math.ceil(5 / limit), `pages of ${limit}`);
  }
});

test("an empty list is an empty array", async () => {
  await using server = await startServer();
  assertEquals(await getJson(`${server.url}/resources`), [] as unknown as ResourceInfo);
});

test("lists are filtered by context and by statuses", async () => {
  await using server = await startServer();
  const first = await uploaded(server, { contextId: "run 1&x=y" });
  const second = await uploaded(server, { contextId: "run-2" });
  const { client, id: failed } = await uploading(server);
  client.socket.close();
  await statusOf(server.resources, failed, isFailed);
  const { client: running, id: unfinished } = await uploading(server);
  using _running = running;
  const listed = async (query: string) => {
    const infos = await getJson<ResourceInfo[]>(`${server.url}/resources?${query}`);
    return infos.map(({ id }) => id).toSorted();
  };
  assertEquals(await listed(""), [first, second, failed, unfinished].toSorted());
  assertEquals(await listed(`context=${encodeURIComponent("run 1&x=y")}`), [first]);
  assertEquals(await listed("context=run-2"), [second]);
  assertEquals(await listed("context=nobody"), []);
  assertEquals(await listed("context=run-2&status=COMPLETED"), [second]);
  assertEquals(await listed("context=run-2&status=FAILED"), []);
  assertEquals(await listed("status=COMPLETED"), [first, second].toSorted());
  assertEquals(await listed("status=COMPLETED&status=FAILED"), [first, second, failed].toSorted());
  assertEquals(await listed("status=INITIATED&status=IN_PROGRESS"), [unfinished]);
});

test("a link to the next page keeps the filters", async () => {
  await using server = await startServer();
  for (let count = 0; count < 3; count++) await uploaded(server, { contextId: "run 1" });
  await uploaded(server);
  const response = await fetch(`${server.url}/resources?limit=2&context=run%201&status=COMPLETED`);
  assertEquals((await response.json()).length, 2);
  const [, next] = /^<([^>]+)>/.exec(response.headers.get("link")!)!;
  assertEquals((await getJson<ResourceInfo[]>(server.url + next)).length, 1);
});

test("a listing goes on although what it showed last was deleted", async () => {
  await using server = await startServer();
  for (let count = 0; count < 4; count++) await uploaded(server);
  const response = await fetch(`${server.url}/resources?limit=2`);
  const shown: ResourceInfo[] = await response.json();
  const [, next] = /^<([^>]+)>/.exec(response.headers.get("link")!)!;
  for (const { id } of shown) await server.resources.delete(id);
  assertEquals((await getJson<ResourceInfo[]>(server.url + next)).length, 2);
});

test("a parameter that makes no sense is BAD_REQUEST", async () => {
  await using server = await startServer();
  const queries = [
    ...["limit=0", "limit=1001", "limit=-1", "limit=1.5", "limit=x", "limit=", "limit=NaN"],
    ...["status=DONE", "status=completed", "status=", "status=COMPLETED&status=x"],
    "status=__proto__",
  ];
  for (const query of queries) {
    await assertProblem(await fetch(`${server.url}/resources?${query}`), "BAD_REQUEST");
  }
});

test("a finished resource is deleted once", async () => {
  await using server = await startServer();
  const id = await uploaded(server);
  const remove = () => fetch(`${server.url}/resources/${id}`, { method: "DELETE" });
  const response = await remove();
  assertEquals([response.status, await response.text()], [204, ""]);
  await assertProblem(await remove(), "NOT_FOUND");
  await assertProblem(await fetch(`${server.url}/resources/${id}`), "NOT_FOUND");
});

test("a running upload cannot be deleted, neither can one that may be resumed", async () => {
  await using server = await startServer();
  for (const subprotocol of ["", SUBPROTOCOL]) {
    const { client, id } = await uploading(server, subprotocol);
    using _client = client;
    const remove = () => fetch(`${server.url}/resources/${id}`, { method: "DELETE" });
    await assertProblem(await remove(), "WRONG_STATE");
    if (subprotocol === "") continue;
    client.socket.close();
    await eventually("the end of the connection", () => server.resources.uploads === 0);
    await assertProblem(await remove(), "WRONG_STATE");
  }
});

test("a resource can be deleted as soon as its final status was seen", async () => {
  await using server = await startServer();
  for (const end of ["COMPLETED", "FAILED"]) {
    const deleted = Promise.withResolvers<void>();
    const stop = server.resources.listen((event) => {
      if (event.type === "status" && event.status.transferStatus === end) {
        server.resources.delete(event.id).then(deleted.resolve, deleted.reject);
      }
    });
    const { client } = await uploading(server);
    client.say(finish(end === "COMPLETED" ? "" : "other"));
    await within("the deletion", deleted.promise);
    stop();
  }
});

test("an id in upper case is the same id, wherever it stands", async () => {
  await using server = await startServer();
  const id = crypto.randomUUID();
  const written = id.toUpperCase();
  const path = `${server.url}/resources/${written}`;
  const put = await fetch(`${path}?name=A.log&type=text/plain`, { method: "PUT", body: "one\n" });
  const made = await put.json();
  assertEquals([put.status, made.id, made.filename], [201, id, "A.log"]);
  assertEquals(await (await fetch(`${path}/content`)).text(), "one\n");
  using client = await RawClient.open(`${server.ws}${downloadPath}/${written}`, SUBPROTOCOL);
  const { resourceStatus } = await client.inbox.next("StatusChanged");
  assertEquals(resourceStatus.currentSize, 4);
  const named = await fetch(`${server.url}/resources/${written}.LOG`, { method: "PUT", body: "" });
  assertEquals((await named.json()).filename, `${written}.LOG`);
  assertEquals((await fetch(path, { method: "DELETE" })).status, 204);
});

test("whatever looks like an id and is none is NOT_FOUND", async () => {
  await using server = await startServer();
  const id = await uploaded(server);
  const ids = [
    ...["42", "..%2f..%2fetc%2fpasswd", "..%5c", "%00", `${id}%00`, "%zz", "%ff", "__proto__"],
    ...[
      `${id.toUpperCase()}x`,
      `${id}%20`,
      `%20${id}`,
      `{${id}}`,
      "é",
      "x".repeat(2000),
      `..%2f${id}`,
    ],
    ...["constructor", "null", "undefined", `${id}.bin`, "%2e%2e%5c", `${id}%2f`],
  ];
  for (const wrong of ids) {
    await assertProblem(await fetch(`${server.url}/resources/${wrong}`), "NOT_FOUND");
    const options = { method: "DELETE" };
    await assertProblem(await fetch(`${server.url}/resources/${wrong}`, options), "NOT_FOUND");
    using client = await RawClient.open(`${server.ws}${downloadPath}/${wrong}`, SUBPROTOCOL);
    const closing = await client.inbox.close();
    assertEquals(closing.code, 1008, wrong);
    assertMatch(closing.reason, /^NOT_FOUND: /);
  }
});

/** A request with a path that no client would send like this. */
async function rawGet({ host }: TestServer, path: string, headers: Record<string, string> = {}) {
  using answer = await rawUpgrade(host, path, {
    "Connection": "close",
    "Upgrade": null,
    "Sec-WebSocket-Version": null,
    "Sec-WebSocket-Key": null,
    ...headers,
  });
  const { status, body } = answer;
  return { status, json: JSON.parse(body) };
}

test("no path leads out of the interface", async () => {
  await using server = await startServer();
  const paths = [
    ...["/resources/../../etc/passwd", "//resources/42", "/resources/%2e%2e/x"],
    ...["/resources/a/b", "/resource", "/RESOURCES", "/ws/streaming", "/favicon.ico"],
  ];
  for (const path of paths) {
    const { status, json } = await rawGet(server, path);
    assertEquals(status, 404, path);
    assertProblemBody(json, "NOT_FOUND");
  }
  // Bun resolves the dots before anybody sees them: that is the path /, which names the server.
  const { status, json } = await rawGet(server, "/resources/..");
  if (status === 200) assertEquals(json.name, "stream");
  else assertProblemBody(json, "NOT_FOUND");
});

test("a method nobody expects is a problem, too", async () => {
  await using server = await startServer();
  const id = await uploaded(server);
  for (const method of ["POST", "PUT", "PATCH"]) {
    const response = await fetch(`${server.url}/resources/${id}`, { method, body: "x" });
    assertEquals(response.headers.get("content-type"), "application/problem+json");
    await response.body?.cancel();
  }
});

test("a fault of the server is INTERNAL, and logged", async () => {
  const catalog = new MemoryCatalog();
  catalog.get = () => Promise.reject(new TypeError("boom"));
  const logged: string[] = [];
  const log = { info() {}, error: (event: string) => logged.push(event) };
  await using server = await startServer({ catalog, log });
  const response = await fetch(`${server.url}/resources/${crypto.randomUUID()}`);
  await assertProblem(response, "INTERNAL");
  assertEquals(logged.length, 1);
});

test("a request without an upgrade on a WebSocket path is BAD_REQUEST", async () => {
  await using server = await startServer();
  for (const path of [uploadPath, `${downloadPath}/${crypto.randomUUID()}`]) {
    await assertProblem(await fetch(server.url + path), "BAD_REQUEST");
  }
});

test("an upgrade request that is none is BAD_REQUEST", async () => {
  await using server = await startServer();
  using answer = await rawUpgrade(server.host, uploadPath, { "Sec-WebSocket-Key": null });
  assertEquals(answer.status, 400);
  assertProblemBody(JSON.parse(answer.body), "BAD_REQUEST");
});

/** Status of an upgrade request from a page. */
async function upgradeFrom({ host }: TestServer, origin: string): Promise<number> {
  using answer = await rawUpgrade(host, uploadPath, { Origin: origin });
  if (answer.status !== 101) assertProblemBody(JSON.parse(answer.body), "ORIGIN_REFUSED");
  return answer.status;
}

test("pages of other origins are refused, those of the server's own host are not", async () => {
  await using server = await startServer();
  const refused = [
    ...["https://evil.example", "null", `http://${server.host}.evil.example`, "http://127.0.0.1"],
    ...["http://127.0.0.1:1", "x", `http://evil.example/${server.host}`, "file://"],
    `http://${server.host}@evil.example`,
  ];
  for (const origin of refused) assertEquals(await upgradeFrom(server, origin), 403, origin);
  assertEquals(await upgradeFrom(server, server.url), 101);
});

test("a page that came without TLS is of another origin where TLS is asked, and a proxy may end it", async () => {
  await using server = await startServer({ trustProxy: true });
  const { host } = server;
  const asked = async (origin: string, forwarded: string) => {
    const headers = { Origin: `${origin}://${host}`, "X-Forwarded-Proto": forwarded };
    using answer = await rawUpgrade(host, uploadPath, headers);
    return answer.status;
  };
  assertEquals(await asked("http", "https"), 403);
  assertEquals(await asked("https", "https"), 101);
  assertEquals(await asked("https", "http"), 101);
});

test("pages of allowed origins may connect, and of all with an asterisk", async () => {
  await using some = await startServer({ allowOrigins: ["https://a.example", "http://b:8080"] });
  for (const origin of ["https://a.example", "http://b:8080", some.url]) {
    assertEquals(await upgradeFrom(some, origin), 101, origin);
  }
  for (const origin of ["http://a.example", "https://a.example:444", "https://a.example.evil"]) {
    assertEquals(await upgradeFrom(some, origin), 403, origin);
  }
  await using all = await startServer({ allowOrigins: ["*"] });
  for (const origin of ["https://evil.example", "null"]) {
    assertEquals(await upgradeFrom(all, origin), 101, origin);
  }
});

test("a page of another origin changes nothing over HTTP, either", async () => {
  await using server = await startServer();
  const id = await uploaded(server);
  const headers = { Origin: "https://evil.example" };
  const options = { method: "DELETE", headers };
  await assertProblem(await fetch(`${server.url}/resources/${id}`, options), "ORIGIN_REFUSED");
  await assertProblem(await fetch(`${server.url}/resources`, { headers }), "ORIGIN_REFUSED");
  assertEquals((await fetch(`${server.url}/resources/${id}`)).status, 200);
});

test("references are built from the Host of the request that asked", async () => {
  await using server = await startServer({ allowHosts: ["logs.example.org"] });
  const id = await uploaded(server);
  for (const host of ["logs.example.org", "logs.example.org:8090", "[::1]:8090", "localhost"]) {
    const { json } = await rawGet(server, `/resources/${id}`, { Host: host });
    assertEquals(json.reference, `ws://${host}${downloadPath}/${id}`);
    const { json: list } = await rawGet(server, "/resources", { Host: host });
    assertEquals(list[0].reference, `ws://${host}${downloadPath}/${id}`);
  }
});

test("references are built from the base URL where one is configured", async () => {
  const bases: Record<string, string> = {
    "https://logs.example.org": "wss://logs.example.org",
    "http://logs.example.org:8090/": "ws://logs.example.org:8090",
    "wss://example.org/logs/": "wss://example.org/logs",
  };
  for (const [baseUrl, base] of Object.entries(bases)) {
    await using server = await startServer({ baseUrl });
    using client = await RawClient.open(server.ws + uploadPath, SUBPROTOCOL);
    client.say(start);
    const { reference, id } = await client.inbox.next("ReadyForUpload");
    assertEquals(reference.uri, `${base}${downloadPath}/${id}`);
    const info = await getJson(`${server.url}/resources/${id}`);
    assertEquals(info.reference, reference.uri);
  }
});

test("a base URL that is none is refused at once", async () => {
  const parts = {
    runtime: await loadRuntime(),
    storage: new MemoryStorage(),
    catalog: new MemoryCatalog(),
  };
  for (const baseUrl of ["logs.example.org", "ftp://x", ""]) {
    const error = assertThrows(() => createServer({ ...parts, baseUrl }), StreamError);
    assertEquals(error.code, "BAD_REQUEST");
  }
});

test("references are what the owner of the server makes of them", async () => {
  const referenceTo = (id: string, baseUrl: string) => `see ${baseUrl} for ${id}`;
  await using server = await startServer({ referenceTo });
  using client = await RawClient.open(server.ws + uploadPath, SUBPROTOCOL);
  client.say(start);
  const { reference, id } = await client.inbox.next("ReadyForUpload");
  assertEquals(reference.uri, `see ${server.url} for ${id}`);
});

test("a server that is mounted in an app works below its path, and only there", async () => {
  await using server = await mountServer({ basePath: "/logs" }, (mounted) => {
    const app = new Hono<{ Bindings: object }>();
    app.get("/hello", (c) => c.text("hello"));
    app.all("/logs/*", (c) => mounted.fetch(c.req.raw, c.env));
    return (request, env) => app.fetch(request, env as object);
  });
  assertEquals(await (await fetch(`${server.url}/hello`)).text(), "hello");
  assertEquals((await fetch(`${server.url}/resources`)).status, 404);
  const mounted = { ...server, ws: `${server.ws}/logs` };
  const id = await uploaded(mounted);
  const info = await getJson(`${server.url}/logs/resources/${id}`);
  assertEquals(info.reference, `${server.ws}/logs${downloadPath}/${id}`);
  using client = await RawClient.open(info.reference, SUBPROTOCOL);
  client.say({ "@": "Follow", from: 0, window: 65536 });
  await client.inbox.next("FollowEnd");
  assertBytes(client.inbox.bytes, utf8("one\ntwo\n"));
  await assertProblem(await fetch(`${server.url}/logs/nothing`), "NOT_FOUND");
});

test("a server is its own app, too, where only its fetch is called", async () => {
  await using server = await mountServer(
    {},
    (mounted) => (request, env) => mounted.fetch(request, env),
  );
  const id = await uploaded(server);
  assertEquals((await getJson(`${server.url}/resources/${id}`)).currentSize, 8);
});

test("a link in a mounted server leads to the next page", async () => {
  await using server = await mountServer(
    { basePath: "/a/b" },
    (mounted) => (request, env) => mounted.fetch(request, env),
  );
  const mounted = { ...server, ws: `${server.ws}/a/b` };
  await uploaded(mounted);
  await uploaded(mounted);
  const response = await fetch(`${server.url}/a/b/resources?limit=1`);
  await response.body?.cancel();
  const [, next] = /^<([^>]+)>/.exec(response.headers.get("link")!)!;
  assertEquals((await getJson<ResourceInfo[]>(server.url + next)).length, 1);
});

test("the native subprotocol is chosen when it is offered, and nothing otherwise", async () => {
  await using server = await startServer();
  const offers: [string | null, string | null][] = [
    [null, null],
    ["stream.v1", "stream.v1"],
    ["other, stream.v1", "stream.v1"],
    ["stream.v1,other", "stream.v1"],
    ["other", null],
    ["stream.v2", null],
    ["STREAM.V1", null],
  ];
  for (const [offered, chosen] of offers) {
    using answer = await rawUpgrade(server.host, uploadPath, { "Sec-WebSocket-Protocol": offered });
    assertEquals(answer.status, 101);
    assertEquals(answer.headers.get("sec-websocket-protocol"), chosen, offered ?? "none");
  }
});

test("a connection without a subprotocol gets the messages of the Java server on the wire", async () => {
  await using server = await startServer();
  const content = "first\nsecond\r\nlast";
  using upload = await RawClient.open(server.ws + uploadPath);
  upload.say(start);
  const { reference } = await upload.inbox.next("ReadyForUpload");
  using download = await RawClient.open(reference.uri);
  await download.inbox.next("StatusChanged");
  upload.give(utf8(content));
  const isThere = () =>
    download.inbox.all("StatusChanged").at(-1)?.resourceStatus.currentSize === 18;
  await download.inbox.until("the bytes", isThere);
  download.say({ "@": "RequestChunk", startOffset: 6, endOffset: 12 });
  assertBytes(await download.inbox.nextData(), utf8("second"));
  download.say({ "@": "RequestLines", startingLineIndex: 0, linesCount: 2 });
  assertEquals((await download.inbox.next("Lines")).lines, ["first\n", "second\r\n"]);
  upload.say(finish(content));
  assertEquals(await upload.inbox.next("UploadAcknowledged"), {
    "@": "UploadAcknowledged",
    size: 18,
    numberOflines: 3,
    checksum: md5(content),
  });
  const isOver = () =>
    download.inbox.all("StatusChanged").at(-1)?.resourceStatus.transferStatus === "COMPLETED";
  await download.inbox.until("the end", isOver);
  // The Inbox has checked every one of these messages against the shapes that Java knows.
  assertEquals(upload.inbox.order, ["ReadyForUpload", "UploadAcknowledged"]);
});

test("a Step upload that is empty may have no binary message, or an empty one", async () => {
  await using server = await startServer();
  for (const messages of [[], [utf8("")]]) {
    using client = await RawClient.open(server.ws + uploadPath);
    client.say(start);
    await client.inbox.next("ReadyForUpload");
    for (const message of messages) client.give(message);
    client.say(finish(""));
    const { size, numberOflines } = await client.inbox.next("UploadAcknowledged");
    assertEquals([size, numberOflines], [0, 0]);
  }
});

test("an upload context comes with the address", async () => {
  await using server = await startServer({ requireContext: true });
  const contextId = "run 17/é&x";
  const query = `?streamingUploadContextId=${encodeURIComponent(contextId)}`;
  using client = await RawClient.open(server.ws + uploadPath + query, SUBPROTOCOL);
  client.say(start);
  const { id = "" } = await client.inbox.next("ReadyForUpload");
  assertEquals((await getJson(`${server.url}/resources/${id}`)).contextId, contextId);
});

test("a shutdown closes every session, fails Step uploads and keeps native ones to be resumed", async () => {
  const parts = { storage: new MemoryStorage(), catalog: new MemoryCatalog() };
  await using server = await startServer(parts);
  const { client: step, id: stepId } = await uploading(server);
  const { client: native, id: nativeId, secret } = await uploading(server, SUBPROTOCOL);
  using _step = step;
  using _native = native;
  using follower = await RawClient.open(`${server.ws}${downloadPath}/${nativeId}`, SUBPROTOCOL);
  using reader = await RawClient.open(`${server.ws}${downloadPath}/${stepId}`);
  native.give(utf8("kept"));
  await statusOf(server.resources, nativeId, ({ currentSize }) => currentSize === 4);
  await server.close();
  for (const client of [step, native, follower, reader]) {
    assertEquals(await client.inbox.close(), { code: 1001, reason: "Server shutdown" });
  }
  assertEquals(native.inbox.all("Error").map(({ code }) => code), ["SHUTDOWN"]);
  const failed = await server.resources.get(stepId);
  assertEquals(failed.status.transferStatus, "FAILED");
  assertMatch(failed.status.failure!, /^SHUTDOWN: /);
  assertEquals((await server.resources.get(nativeId)).status.transferStatus, "IN_PROGRESS");

  await using next = await startServer(parts);
  using again = await RawClient.open(next.ws + uploadPath, SUBPROTOCOL);
  again.say({ "@": "ResumeUpload", id: nativeId, secret: secret! });
  assertEquals((await again.inbox.next("ReadyForUpload")).offset, 4);
});

test("a server that was closed, or is while it begins to listen, listens nowhere", async () => {
  const parts = { runtime: await loadRuntime(), storage: new MemoryStorage() };
  const closed = createServer({ ...parts, catalog: new MemoryCatalog() });
  await closed.listen({ port: 0 });
  await closed.close();
  await assertFails("WRONG_STATE", () => closed.listen({ port: 0 }));
  const begun = Promise.withResolvers<number>();
  const slow = createServer({
    ...parts,
    catalog: new MemoryCatalog(),
    runtime: Object.assign(Object.create(parts.runtime), {
      async listen(options: ListenOptions) {
        const listener = await parts.runtime.listen(options);
        begun.resolve(listener.port);
        await closing.promise;
        return listener;
      },
    }),
  });
  const closing = Promise.withResolvers<void>();
  const listening = slow.listen({ port: 0 });
  listening.catch(() => {});
  const port = await begun.promise;
  await slow.close();
  closing.resolve();
  await assertFails("WRONG_STATE", () => listening);
  await assertRejects(() => fetch(`http://127.0.0.1:${port}/healthz`));
});

test("a server whose service goes on closes native sessions with 1012 and names where, Step ones with 1001", async () => {
  await using server = await startServer();
  const { client: step } = await uploading(server);
  const { client: native, id } = await uploading(server, SUBPROTOCOL);
  using _step = step;
  using _native = native;
  using follower = await RawClient.open(`${server.ws}${downloadPath}/${id}`, SUBPROTOCOL);
  const servers = ["https://b.example", "http://c.example:8090"];
  await server.server.close(servers);
  const reason = "Server shutdown";
  assertEquals(await step.inbox.close(), { code: 1001, reason });
  for (const client of [native, follower]) {
    assertEquals(await client.inbox.close(), { code: 1012, reason });
    const [{ code, servers: named }] = client.inbox.all("Error");
    assertEquals([code, named], ["SHUTDOWN", servers]);
  }
});

test("a shutdown does not wait long for a peer that does not answer, and nothing comes after it", async () => {
  await using server = await startServer();
  using silent = await rawUpgrade(server.host, uploadPath);
  assertEquals(silent.status, 101);
  const startedAtMs = performance.now();
  await within("the shutdown", server.close());
  assertLess(performance.now() - startedAtMs, 3500);
  const refused = await fetch(`${server.url}/resources`).then(() => false, () => true);
  assert(refused);
});

test("a shutdown of an idle server ends at once, also the second time", async () => {
  const server = await startServer();
  const startedAtMs = performance.now();
  await server.close();
  await server.close();
  assertLess(performance.now() - startedAtMs, 1000);
});

test("connections above the most at the same time are refused until one is free again", async () => {
  await using server = await startServer({ maxConnections: 2 });
  const id = crypto.randomUUID();
  const { client: first } = await uploading(server);
  using _first = first;
  const { client: second } = await uploading(server, SUBPROTOCOL);
  for (const path of [uploadPath, `${downloadPath}/${id}`]) {
    using answer = await rawUpgrade(server.host, path);
    assertEquals(answer.status, 503);
    assertProblemBody(JSON.parse(answer.body), "LIMIT_REACHED");
  }
  assertEquals((await fetch(`${server.url}/resources`)).status, 200);
  second.socket.close();
  await eventually("a free place", () => second.inbox.closing !== null);
  const { client: third } = await uploading(server);
  third.socket.close();
});

test("a peer that answers no ping loses its connection", async () => {
  const heartbeat = { pingAfterMs: 100, deadAfterMs: 500 };
  await using server = await startServer({ heartbeat, resumeWindowMs: 0 });
  const { client, id } = await uploading(server, SUBPROTOCOL);
  using _client = client;
  await client.inbox.next("Ping");
  await client.inbox.close();
  const { failure } = await statusOf(server.resources, id, isFailed);
  assertMatch(failure!, /^PEER_SILENT: /);
});

/** How an error is provoked, and what the server needs for that. */
interface Provocation {
  options?: Partial<ServerOptions>;
  /** Ends when the client only has to wait for the close. */
  provoke(server: TestServer): Promise<RawClient>;
}

const native = (server: TestServer, path: string) => RawClient.open(server.ws + path, SUBPROTOCOL);

/** Sends messages on a new upload connection. */
const onUpload = (...messages: Said[]) => async (server: TestServer) => {
  const client = await native(server, uploadPath);
  client.say(...messages);
  return client;
};

/** Sends messages on a new download of a finished resource. */
const onDownload = (messages: Said[], lineAccess = true) => async (server: TestServer) => {
  const id = await uploaded(server, { lineAccess });
  const client = await native(server, `${downloadPath}/${id}`);
  client.say(...messages);
  return client;
};

/** Does something with an upload that runs. */
const onRunning = (act: (client: RawClient, server: TestServer) => unknown) =>
async (
  server: TestServer,
) => {
  const { client } = await uploading(server, SUBPROTOCOL);
  await act(client, server);
  return client;
};

const slowStorage = new GatedStorage();

function brokenStorage(): GatedStorage {
  const storage = new GatedStorage();
  storage.failure = new StreamError("STORAGE_FAILED", "no space left");
  return storage;
}

const provocations: Partial<Record<ErrorCode, Provocation[]>> = {
  BAD_MESSAGE: [
    { provoke: onRunning((client) => client.socket.send("{")) },
    { provoke: onUpload({ "@": "StartUpload" }) },
    { provoke: onDownload([{ "@": "RequestChunk", startOffset: "0", endOffset: 1 }]) },
  ],
  UNKNOWN_MESSAGE: [{
    async provoke(server) {
      const client = await RawClient.open(server.ws + uploadPath);
      client.say({ "@": "Shout" });
      return client;
    },
  }],
  WRONG_STATE: [
    { provoke: onUpload(finish("")) },
    { provoke: onUpload(start, start) },
    { provoke: onDownload([start]) },
  ],
  BAD_METADATA: [
    { provoke: onUpload({ "@": "StartUpload", metadata: { ...metadata, filename: "" } }) },
  ],
  BAD_REQUEST: [
    { provoke: onDownload([{ "@": "Follow", from: 0, window: 1 }]) },
  ],
  MESSAGE_TOO_LARGE: [
    { provoke: onRunning((client) => client.give(new Uint8Array(65_537))) },
    { provoke: onRunning((client) => client.socket.send(" ".repeat(65_537))) },
  ],
  CREDIT_EXCEEDED: [{
    options: { storage: slowStorage },
    provoke: onRunning(async (client) => {
      using _shut = slowStorage.appending.shut();
      for (let count = 0; count < 5; count++) client.give(new Uint8Array(65_536));
      await client.inbox.close();
    }),
  }],
  NOT_FOUND: [{
    provoke: (server) => native(server, `${downloadPath}/${crypto.randomUUID()}`),
  }],
  RANGE_NOT_AVAILABLE: [
    { provoke: onDownload([{ "@": "RequestChunk", startOffset: 0, endOffset: 9 }]) },
    { provoke: onDownload([{ "@": "Follow", from: 9, window: 65536 }]) },
  ],
  LINES_NOT_AVAILABLE: [
    { provoke: onDownload([{ "@": "RequestLines", startingLineIndex: 3, linesCount: 1 }]) },
  ],
  NO_LINE_ACCESS: [
    { provoke: onDownload([{ "@": "RequestLines", startingLineIndex: 0, linesCount: 1 }], false) },
    { provoke: onDownload([{ "@": "LocateLines", startingLineIndex: 0, linesCount: 1 }], false) },
  ],
  OFFSET_LOST: [
    { provoke: onDownload([{ "@": "Follow", from: 9, epoch: 1, window: 65536 }]) },
  ],
  CHECKSUM_MISMATCH: [
    { provoke: onRunning((client) => client.say(finish("other"))) },
    { provoke: onRunning((client) => client.say({ ...finish(""), size: 1 })) },
  ],
  CONTEXT_REQUIRED: [{ options: { requireContext: true }, provoke: onUpload(start) }],
  CONTEXT_UNKNOWN: [{
    options: { requireContext: true },
    async provoke(server) {
      const query = "?streamingUploadContextId=nobody-made-it";
      const client = await RawClient.open(server.ws + uploadPath + query);
      client.say(start);
      return client;
    },
  }],
  QUOTA_EXCEEDED: [{
    options: { maxResourceBytes: 3 },
    provoke: onRunning((client) => client.give(utf8("four"))),
  }],
  LIMIT_REACHED: [
    { options: { maxUploads: 0 }, provoke: onUpload(start) },
    {
      options: { maxFollowers: 0 },
      async provoke(server) {
        return await native(server, `${downloadPath}/${await uploaded(server)}`);
      },
    },
  ],
  NOT_OWNER: [{
    async provoke(server) {
      const id = await uploaded(server);
      return await onUpload({ "@": "ResumeUpload", id, secret: "x" })(server);
    },
  }],
  FENCED: [{
    async provoke(server) {
      const { client, id, secret = "" } = await uploading(server, SUBPROTOCOL);
      await onUpload({ "@": "ResumeUpload", id, secret })(server);
      return client;
    },
  }],
  DELETED: [{
    async provoke(server) {
      const id = await uploaded(server);
      const client = await native(server, `${downloadPath}/${id}`);
      await client.inbox.next("StatusChanged");
      await fetch(`${server.url}/resources/${id}`, { method: "DELETE" });
      return client;
    },
  }],
  ABORTED: [{
    provoke: onRunning((client) => client.say({ "@": "AbortUpload", reason: "enough" })),
  }],
  SHUTDOWN: [{ provoke: onRunning((_client, server) => server.close()) }],
  STORAGE_FAILED: [{
    options: { storage: brokenStorage() },
    provoke: onRunning((client) => client.give(utf8("a"))),
  }],
};

const reasons: Partial<Record<ErrorCode, string>> = {
  CONTEXT_REQUIRED: "Missing parameter streamingUploadContextId",
  QUOTA_EXCEEDED: "QuotaExceededException: ",
  SHUTDOWN: "Server shutdown",
};

for (const [code, ways] of Object.entries(provocations) as [ErrorCode, Provocation[]][]) {
  test(`a client sees ${ERRORS[code].close} and the reason when its connection ends with ${code}`, async () => {
    for (const { options, provoke } of ways) {
      await using server = await startServer(options);
      using client = await provoke(server);
      const closing = await client.inbox.close();
      assertEquals(closing.code, ERRORS[code].close);
      assertStringIncludes(closing.reason, reasons[code] ?? `${code}: `);
      const isNative = client.inbox.subprotocol === SUBPROTOCOL;
      const told = client.inbox.all("Error").map((error) => error.code);
      assertEquals(told, isNative ? [code] : []);
    }
  });
}

test("every code is provoked by some test", () => {
  const elsewhere: Record<string, string> = {
    ORIGIN_REFUSED: "a response, above",
    HOST_REFUSED: "a response; hosts_test.ts",
    GONE: "a response; tus/rules_test.ts",
    WRONG_TYPE: "a response; tus/rules_test.ts",
    WRONG_VERSION: "a response; tus/rules_test.ts",
    UNAUTHORIZED: "a response; access_test.ts",
    FORBIDDEN: "a response; access_test.ts",
    RATE_LIMITED: "a response; access_test.ts",
    METHOD_NOT_ALLOWED: "a response; methods_test.ts",
    CONTEXT_CLOSED: "contexts_test.ts",
    NOT_READY: "a response; health_test.ts",
    LOCKED: "a response; tus/clients_test.ts",
    INTERNAL: "a response, above",
    PEER_SILENT: "no answer is expected, above",
    INTERRUPTED: "no connection is left; upload_session_test.ts",
    CONFLICT: "storage_test.ts, catalog_test.ts",
    INDEX_DAMAGED: "a response; damaged_index_test.ts",
    SOURCE_FAILED: "the client's; source_*_test.ts",
    UNREACHABLE: "the client's; client_test.ts",
  };
  const provoked = [...Object.keys(provocations), ...Object.keys(elsewhere)];
  assertEquals(provoked.toSorted(), Object.keys(ERRORS).toSorted());
});
