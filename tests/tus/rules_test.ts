/** tus: what its requests are answered, held against the reference server. */
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FileStore } from "@tus/file-store";
import { Server as ReferenceServer } from "@tus/server";
import { framesRuntime, MemoryCatalog, MemoryRecords, MemoryStorage } from "../../mod.ts";
import { MemoryLogs } from "../../src/storage/memory.ts";
import { SignedLinks } from "../../src/access/links.ts";
import { HttpRequest } from "../helpers/peers/http_request.ts";
import { getJson, isFailed, startServer, statusOf, type TestServer } from "../helpers/server.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

type Fields = Record<string, string>;
type Answer = (
  method: string,
  url: string,
  fields: Fields,
  body?: BodyInit,
) => Promise<Response>;

const VERSION = { "tus-resumable": "1.0.0" };
const CONTENT = { ...VERSION, "content-type": "application/offset+octet-stream" };
const base64 = (text: string) => Buffer.from(text).toString("base64");

async function begin(
  { url }: Pick<TestServer, "url">,
  fields: Fields = { "upload-length": "10" },
): Promise<string> {
  const response = await fetch(`${url}/tus`, {
    method: "POST",
    headers: { ...VERSION, ...fields },
  });
  assertEquals(response.status, 201, await response.text());
  return response.headers.get("location")!;
}

function append(
  upload: string,
  offset: number,
  body: string,
  more: Fields = {},
): Promise<Response> {
  const headers = { ...CONTENT, "upload-offset": String(offset), ...more };
  return fetch(upload, { method: "PATCH", headers, body });
}

function idOf(upload: string): string {
  return new URL(upload).pathname.split("/").at(-2)!;
}

/** One behaviour of every listener. */
function both(behaviour: string, check: (server: TestServer) => Promise<void>) {
  test(behaviour, async () => {
    await using server = await startServer();
    await check(server);
  });
  test(`over node:http: ${behaviour}`, async () => {
    await using server = await startServer({ runtime: framesRuntime() });
    await check(server);
  });
}

both("an upload in parts is followed live, and tells how far it is", async (server) => {
  const metadata = `filename ${base64("größe.log")},filetype ${base64("text/plain;charset=utf-8")}`;
  const created = await fetch(`${server.url}/tus`, {
    method: "POST",
    headers: { ...VERSION, "upload-length": "10", "upload-metadata": `${metadata},empty` },
  });
  const upload = created.headers.get("location")!;
  const id = idOf(upload);
  assertEquals(created.headers.get("upload-offset"), "0");
  assertEquals(created.headers.get("stream-reference"), `${server.ws}/ws/streaming/download/${id}`);
  assertEquals(created.headers.get("stream-view"), `${server.url}/view/${id}`);
  assert(Date.parse(created.headers.get("upload-expires")!) > Date.now());
  // Bun answers with the first bytes.
  const following = fetch(`${server.url}/resources/${id}/content`);
  assertEquals((await append(upload, 0, "12345")).headers.get("upload-offset"), "5");
  const content = await following;
  const reader = content.body!.pipeThrough(new TextDecoderStream()).getReader();
  assertEquals(await reader.read(), { done: false, value: "12345" });
  const { status, headers } = await fetch(upload, { method: "HEAD", headers: VERSION });
  assertEquals([status, headers.get("upload-offset"), headers.get("upload-length")], [
    200,
    "5",
    "10",
  ]);
  assertEquals(headers.get("upload-metadata"), `${metadata},empty`);
  assertEquals(headers.get("cache-control"), "no-store");
  const last = await append(upload, 5, "67890");
  assertEquals([last.status, last.headers.get("upload-offset")], [204, "10"]);
  assertEquals(last.headers.get("upload-expires"), null);
  assertEquals(await reader.read(), { done: false, value: "67890" });
  assertEquals((await reader.read()).done, true);
  const { transferStatus, filename, mimeType, supportsLineAccess } = await getJson(
    `${server.url}/resources/${id}`,
  );
  assertEquals([transferStatus, filename, mimeType, supportsLineAccess], [
    "COMPLETED",
    "größe.log",
    "text/plain",
    true,
  ]);
});

both("bytes may come with the creation, and the length with the last of them", async (server) => {
  const created = await fetch(`${server.url}/tus/`, {
    method: "POST",
    headers: {
      ...CONTENT,
      "content-type": CONTENT["content-type"].toUpperCase(),
      "upload-defer-length": "1",
    },
    body: "abc",
  });
  assertEquals([created.status, created.headers.get("upload-offset")], [201, "3"]);
  const upload = created.headers.get("location")!;
  const head = await fetch(upload, { method: "HEAD", headers: VERSION });
  assertEquals(head.headers.get("upload-defer-length"), "1");
  assertEquals(head.headers.get("upload-length"), null);
  assertEquals((await append(upload, 3, "", { "upload-length": "2" })).status, 400);
  assertEquals((await append(upload, 3, "de", { "upload-length": "5" })).status, 204);
  const { transferStatus, currentSize, filename } = await getJson(
    `${server.url}/resources/${idOf(upload)}`,
  );
  assertEquals([transferStatus, currentSize, filename], ["COMPLETED", 5, "upload"]);
});

both("an upload that is completed takes no byte, and says so", async (server) => {
  const upload = await begin(server, { "upload-length": "3" });
  assertEquals((await append(upload, 0, "abc")).status, 204);
  assertEquals((await append(upload, 3, "")).status, 204);
  assertEquals((await append(upload, 3, "d")).status, 413);
  using request = new HttpRequest(upload, "PATCH", { ...CONTENT, "upload-offset": "3" });
  request.send("d");
  request.end();
  const { status, body } = await request.answer();
  assertEquals([status, JSON.parse(body).code], [413, "MESSAGE_TOO_LARGE"]);
});

both("an append that breaks off is kept, and goes on where HEAD says", async (server) => {
  const upload = await begin(server);
  using request = new HttpRequest(upload, "PATCH", {
    ...CONTENT,
    "upload-offset": "0",
    "content-length": "10",
  });
  request.send("1234");
  await statusOf(server.resources, idOf(upload), ({ currentSize }) => currentSize === 4);
  request.cut();
  const head = await fetch(upload, { method: "HEAD", headers: VERSION });
  assertEquals(head.headers.get("upload-offset"), "4");
  assertEquals((await append(upload, 4, "567890")).status, 204);
});

test("a conflict tells the offset, from which some clients go on", async () => {
  await using server = await startServer();
  const upload = await begin(server);
  assertEquals((await append(upload, 0, "123")).status, 204);
  const refused = await append(upload, 1, "45");
  assertEquals([refused.status, refused.headers.get("upload-offset")], [409, "3"]);
});

both("an upload that was given up, or that nobody came back to, is gone", async (server) => {
  const upload = await begin(server);
  assertEquals((await append(upload, 0, "123")).status, 204);
  const terminated = await fetch(upload, { method: "DELETE", headers: VERSION });
  assertEquals([terminated.status, terminated.headers.get("tus-resumable")], [204, "1.0.0"]);
  for (const method of ["HEAD", "GET", "DELETE"]) {
    const response = await fetch(upload, { method, headers: VERSION });
    await response.body?.cancel();
    assertEquals(response.status, 410, method);
  }
  assertEquals((await append(upload, 3, "4")).status, 410);
  const { transferStatus, currentSize, failure } = await getJson(
    `${server.url}/resources/${idOf(upload)}`,
  );
  assertEquals([transferStatus, currentSize], ["FAILED", 3]);
  assertStringIncludes(failure!, "ABORTED");
});

test("an upload that nobody came back to in time is FAILED, and gone", async () => {
  await using server = await startServer({ resumeWindowMs: 1 });
  const upload = await begin(server);
  await statusOf(server.resources, idOf(upload), isFailed);
  assertEquals((await append(upload, 0, "1")).status, 410);
});

test("a client without PATCH says which method it means", async () => {
  await using server = await startServer();
  const upload = await begin(server);
  const post = (method: string) =>
    fetch(upload, {
      method: "POST",
      headers: { ...CONTENT, "upload-offset": "0", "x-http-method-override": method },
      body: "123",
    });
  assertEquals((await post("PATCH")).headers.get("upload-offset"), "3");
  for (const method of ["PUT", "constructor", "__proto__"]) {
    assertEquals((await post(method)).status, 405);
  }
  assertEquals((await post("DELETE")).status, 204);
});

test("an upload goes on at another node, and by the other ways of uploading", async () => {
  const [logs, records] = [new MemoryLogs(), new MemoryRecords()];
  const node = (nodeId: string) =>
    startServer({
      storage: new MemoryStorage(logs),
      catalog: new MemoryCatalog(records),
      nodeId,
      leaseMs: 10_000,
    });
  await using one = await node("one");
  await using two = await node("two");
  const upload = await begin(one);
  assertEquals((await append(upload, 0, "123")).status, 204);
  const there = upload.replace(one.url, two.url);
  const head = await fetch(there, { method: "HEAD", headers: VERSION });
  assertEquals(head.headers.get("upload-offset"), "3");
  assertEquals((await append(there, 3, "456")).status, 204);
  const draft = await fetch(there.replace("/tus/", "/uploads/"), {
    method: "PATCH",
    headers: {
      "content-type": "application/partial-upload",
      "upload-offset": "6",
      "upload-complete": "?1",
    },
    body: "7890",
  });
  assertEquals(draft.status, 200);
  const { digest, currentSize } = await draft.json();
  assertEquals([currentSize, typeof digest.value], [10, "string"]);
});

test("tokens and contexts hold as everywhere, and a secret is not logged", async () => {
  const grant = {
    name: "x",
    scopes: ["upload" as const],
    contextId: "run",
    resourceId: null,
    expiresAtMs: null,
  };
  const paths: string[] = [];
  await using server = await startServer({
    access: {
      tokens: { authenticate: (token) => Promise.resolve(token === "right" ? grant : null) },
      links: new SignedLinks(),
    },
    accessLog: ({ path }) => paths.push(path),
  });
  const post = (query: string, fields: Fields) =>
    fetch(`${server.url}/tus${query}`, {
      method: "POST",
      headers: { ...VERSION, "upload-length": "1", ...fields },
    });
  const authorization = "Bearer right";
  assertEquals((await post("?context=run", {})).status, 401);
  assertEquals((await post("", { authorization })).status, 403);
  const other = { authorization, "upload-metadata": `context ${base64("other")}` };
  assertEquals((await post("?context=run", other)).status, 400);
  const created = await post("?context=run", { authorization });
  assertEquals(created.status, 201);
  const upload = created.headers.get("location")!;
  assertEquals((await append(upload, 0, "1")).status, 401);
  assertEquals((await append(`${upload}0`, 0, "1", { authorization })).status, 403);
  assertEquals((await append(upload, 0, "1", { authorization })).status, 204);
  assertEquals(paths.filter((path) => path.includes(upload.split("/").at(-1)!)), []);
});

test("a server can do without tus, and pages of other origins may use it if they may at all", async () => {
  await using server = await startServer({ tus: false });
  const refused = await fetch(`${server.url}/tus`, { method: "OPTIONS" });
  assertEquals(refused.status, 404);
  await refused.body?.cancel();
  await using open = await startServer({ allowOrigins: ["https://app.example"] });
  const preflight = await fetch(`${open.url}/tus`, {
    method: "OPTIONS",
    headers: {
      origin: "https://app.example",
      "access-control-request-method": "PATCH",
      "access-control-request-headers": "tus-resumable,upload-offset",
    },
  });
  assertEquals(preflight.status, 204);
  assertMatch(preflight.headers.get("access-control-allow-methods")!, /PATCH/);
  assertMatch(preflight.headers.get("access-control-allow-headers")!, /tus-resumable/);
  const created = await fetch(`${open.url}/tus`, {
    method: "POST",
    headers: { ...VERSION, "upload-length": "0", origin: "https://app.example" },
  });
  assertEquals(created.headers.get("access-control-allow-origin"), "https://app.example");
  assertEquals(created.headers.get("access-control-expose-headers"), "*");
});

/** A request to a new upload of 10 bytes that has 3, or to the endpoint, and what both servers answer. */
interface Case {
  what: string;
  to: "endpoint" | "upload";
  method: string;
  fields: Fields;
  body?: string;
  /** Where the reference differs. */
  status: number | { ours: number; reference: number; why: string };
}

const OFFSET = { ...CONTENT, "upload-offset": "3" };
const LENGTH = { ...VERSION, "upload-length": "10" };

const CASES: Case[] = [
  { what: "a creation", to: "endpoint", method: "POST", fields: LENGTH, status: 201 },
  {
    what: "a creation whose length comes later",
    to: "endpoint",
    method: "POST",
    fields: { ...VERSION, "upload-defer-length": "1" },
    status: 201,
  },
  {
    what: "a creation with content",
    to: "endpoint",
    method: "POST",
    fields: { ...CONTENT, "upload-length": "3" },
    body: "123",
    status: 201,
  },
  {
    what: "no version",
    to: "endpoint",
    method: "POST",
    fields: { "upload-length": "1" },
    status: 412,
  },
  {
    what: "another version",
    to: "endpoint",
    method: "POST",
    fields: { ...LENGTH, "tus-resumable": "0.2.2" },
    status: { ours: 412, reference: 400, why: "tus 1.0: MUST be 412 with Tus-Version" },
  },
  { what: "no length", to: "endpoint", method: "POST", fields: VERSION, status: 400 },
  {
    what: "both lengths",
    to: "endpoint",
    method: "POST",
    fields: { ...LENGTH, "upload-defer-length": "1" },
    status: 400,
  },
  ...["-1", "1.5", "x", "0x1"].map((length): Case => ({
    what: `a length of ${length}`,
    to: "endpoint",
    method: "POST",
    fields: { ...VERSION, "upload-length": length },
    status: 400,
  })),
  {
    what: "a deferred length of 2",
    to: "endpoint",
    method: "POST",
    fields: { ...VERSION, "upload-defer-length": "2" },
    status: 400,
  },
  ...["filename !!!", "a YQ==,a YQ==", "a YQ", "ä YQ==", "a YQ== YQ=="].map((metadata): Case => ({
    what: `metadata ${metadata}`,
    to: "endpoint",
    method: "POST",
    fields: { ...LENGTH, "upload-metadata": Buffer.from(metadata).toString("latin1") },
    status: 400,
  })),
  {
    what: "a part of a parallel upload",
    to: "endpoint",
    method: "POST",
    fields: { ...LENGTH, "upload-concat": "partial" },
    status: { ours: 400, reference: 501, why: "clients try again after a 501" },
  },
  {
    what: "more content than the length",
    to: "endpoint",
    method: "POST",
    fields: { ...CONTENT, "upload-length": "2" },
    body: "123",
    status: 413,
  },
  { what: "HEAD", to: "upload", method: "HEAD", fields: VERSION, status: 200 },
  { what: "an append", to: "upload", method: "PATCH", fields: OFFSET, body: "45", status: 204 },
  { what: "an empty append", to: "upload", method: "PATCH", fields: OFFSET, body: "", status: 204 },
  {
    what: "an append at another offset",
    to: "upload",
    method: "PATCH",
    fields: { ...CONTENT, "upload-offset": "2" },
    body: "45",
    status: 409,
  },
  {
    what: "an append without an offset",
    to: "upload",
    method: "PATCH",
    fields: CONTENT,
    body: "45",
    status: { ours: 400, reference: 403, why: "nothing is forbidden: something is missing" },
  },
  {
    what: "an append of another type",
    to: "upload",
    method: "PATCH",
    fields: { ...OFFSET, "content-type": "text/plain" },
    body: "45",
    status: { ours: 415, reference: 400, why: "tus 1.0: SHOULD be 415" },
  },
  {
    what: "an append with another length",
    to: "upload",
    method: "PATCH",
    fields: { ...OFFSET, "upload-length": "11" },
    body: "45",
    status: 400,
  },
  {
    what: "an append beyond the length",
    to: "upload",
    method: "PATCH",
    fields: OFFSET,
    body: "4567890123",
    status: 413,
  },
  { what: "DELETE", to: "upload", method: "DELETE", fields: VERSION, status: 204 },
];

/** The statuses of all cases. */
async function statuses(answer: Answer, endpoint: string): Promise<[string, number][]> {
  const found: [string, number][] = [];
  for (const { what, to, method, fields, body } of CASES) {
    const url = to === "endpoint" ? endpoint : await uploadWith3(answer, endpoint);
    const response = await answer(method, url, fields, body);
    await response.body?.cancel();
    found.push([what, response.status]);
  }
  return found;
}

async function uploadWith3(answer: Answer, endpoint: string): Promise<string> {
  const created = await answer("POST", endpoint, LENGTH);
  const location = new URL(created.headers.get("location")!, endpoint).href;
  const appended = await answer("PATCH", location, { ...CONTENT, "upload-offset": "0" }, "123");
  assertEquals(appended.status, 204);
  return location;
}

test("the reference server answers the same, but where we decided otherwise", async () => {
  await using directory = await temporaryDirectory();
  const datastore = new FileStore({ directory: directory.path });
  const reference = new ReferenceServer({
    path: "/tus",
    datastore,
    respectForwardedHeaders: false,
  });
  const theirs = await statuses(
    (method, url, headers, body) => {
      const length: Fields = body === undefined
        ? {}
        : { "content-length": String(body.toString().length) };
      return reference.handleWeb(
        new Request(url, { method, headers: { ...headers, ...length }, body }),
      );
    },
    "http://127.0.0.1/tus",
  );
  await using server = await startServer();
  const ours = await statuses(
    (method, url, headers, body) => fetch(url, { method, headers, body }),
    `${server.url}/tus`,
  );
  const expected = (whose: "ours" | "reference") =>
    CASES.map(({ what, status }) => [what, typeof status === "number" ? status : status[whose]]);
  assertEquals(theirs as unknown[], expected("reference"));
  assertEquals(ours as unknown[], expected("ours"));
});
