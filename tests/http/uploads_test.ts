/** Uploads by HTTP, whole and resumable, on the runtime's own server and on the one over `node:http`. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { test } from "node:test";
import { xxhash128 } from "hash-wasm";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { framesRuntime, loadRuntime, MemoryCatalog, MemoryStorage } from "../../mod.ts";
import {
  type ResourceInfo,
  type ResourceStatus,
  StreamError,
  SUBPROTOCOL,
  UPLOAD_PATH,
} from "../../src/protocol.ts";
import { HttpUploads } from "../../src/session/http_upload.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eventually, within } from "../helpers/frames/connection.ts";
import { HttpRequest } from "../helpers/peers/http_request.ts";
import { makeRouter } from "../helpers/routes.ts";
import {
  GatedStorage,
  isFailed,
  memoryResources,
  type Problem,
  RawClient,
  startServer,
  statusOf,
  type TestServer,
} from "../helpers/server.ts";
import { readAll } from "../helpers/resources.ts";
import type { Resources, ResourcesOptions } from "../../src/resources.ts";

type Options = Partial<ResourcesOptions>;

/** One behaviour of every listener. */
function both(behaviour: string, check: (server: TestServer) => Promise<void>, options?: Options) {
  test(behaviour, async () => {
    await using server = await startServer(options);
    await check(server);
  });
  test(`over node:http: ${behaviour}`, async () => {
    await using server = await startServer({ ...options, runtime: framesRuntime() });
    await check(server);
  });
}

const partial = { "content-type": "Application/partial-upload" };
const base64 = (algorithm: string, text: string) =>
  createHash(algorithm).update(text).digest("base64");
const hex = (algorithm: string, text: string) => createHash(algorithm).update(text).digest("hex");

async function bytesOf({ server }: TestServer, id: string): Promise<string> {
  const resources = server.resources as Resources;
  await using opened = await resources.open(id);
  const { resource } = opened;
  try {
    return Buffer.from(await readAll(resource)).toString();
  } finally {
    await opened.release();
  }
}

/** Waits until so many bytes of an upload can be read; its request may not even have been heard of yet. */
async function arrived(
  { resources }: TestServer,
  id: string,
  size: number,
): Promise<ResourceStatus> {
  const { promise, resolve } = Promise.withResolvers<ResourceStatus>();
  const look = (status: ResourceStatus) => status.currentSize === size && resolve(status);
  const stop = resources.listen((event) => {
    if (event.type === "status" && event.id === id) look(event.status);
  });
  try {
    await resources.get(id).then(({ status }) => look(status), () => {});
    return await within(`${size} bytes of ${id}`, promise);
  } finally {
    stop();
  }
}

/** Begins a resumable upload; what is in it is the address of the upload. */
async function begin(
  { url }: TestServer,
  headers: Record<string, string> = {},
  body = "",
): Promise<{ at: string; id: string; secret: string; response: Response }> {
  const response = await fetch(`${url}/resources?name=a.log`, {
    method: "POST",
    headers: { "upload-complete": "?0", ...headers },
    body,
  });
  assertEquals(response.status, 201, await response.clone().text());
  const at = response.headers.get("location")!;
  const [, id, secret] = /\/uploads\/([0-9a-f-]{36})\/([0-9a-f]{64})$/.exec(at)!;
  return { at, id, secret, response };
}

function append(
  at: string,
  offset: number,
  body: string,
  { complete = false, headers = {} }: { complete?: boolean; headers?: Record<string, string> } = {},
): Promise<Response> {
  const upload = { "upload-offset": `${offset}`, "upload-complete": complete ? "?1" : "?0" };
  return fetch(at, { method: "PATCH", headers: { ...partial, ...upload, ...headers }, body });
}

/** The state of an upload, as HEAD shows it. */
async function head(
  at: string,
): Promise<{ status: number; offset: string | null; complete: string | null }> {
  const { status, headers } = await fetch(at, { method: "HEAD" });
  return { status, offset: headers.get("upload-offset"), complete: headers.get("upload-complete") };
}

async function assertProblem(response: Response, status: number, code: string): Promise<Problem> {
  const problem: Problem = await response.json();
  assertEquals([response.status, problem.code], [status, code], problem.detail);
  assertEquals(response.headers.get("content-type"), "application/problem+json");
  return problem;
}

both("a file that is put becomes a resource of its name", async (server) => {
  const response = await fetch(`${server.url}/resources/run%2017%2Fa.log`, {
    method: "PUT",
    body: "one\ntwo",
  });
  const info: ResourceInfo = await response.json();
  assertEquals(response.status, 201);
  assertEquals(response.headers.get("location"), `${server.url}/resources/${info.id}`);
  assertEquals(info.filename, "run 17/a.log");
  assertEquals([info.mimeType, info.supportsLineAccess], ["text/plain", true]);
  assertEquals([info.transferStatus, info.currentSize, info.numberOfLines], ["COMPLETED", 7, 2]);
  assertEquals(info.digest, { algorithm: "xxh128", value: await xxhash128("one\ntwo") });
  assertEquals(info.reference, `${server.ws}/ws/streaming/download/${info.id}`);
  assertEquals(await bytesOf(server, info.id), "one\ntwo");
});

both("metadata come from query and header, or are guessed from the name", async ({ url }) => {
  const cases: [string, Record<string, string>, Partial<ResourceInfo>][] = [
    ["/x", {}, { mimeType: "application/octet-stream", supportsLineAccess: false }],
    ["/x.json", { "content-type": "text/csv; charset=utf-8" }, { mimeType: "text/csv" }],
    ["/x.json", { "content-type": "application/x-www-form-urlencoded" }, {
      mimeType: "application/json",
      supportsLineAccess: true,
    }],
    ["/x?type=image/png&lines=true", { "content-type": "text/plain" }, {
      mimeType: "image/png",
      supportsLineAccess: true,
    }],
    ["/x.log?lines=false&context=run/17", {}, {
      supportsLineAccess: false,
      contextId: "run/17",
      numberOfLines: null,
    }],
    ["/x.log?name=gr%C3%BC%C3%9Fe.txt", {}, { filename: "grüße.txt" }],
    ["?name=a", {}, { filename: "a" }],
    ["/?name=a", {}, { filename: "a" }],
  ];
  for (const [path, headers, expected] of cases) {
    const body = new Blob(["x"]);
    const response = await fetch(`${url}/resources${path}`, { method: "PUT", headers, body });
    const info = await response.json();
    const found = Object.fromEntries(Object.keys(expected).map((name) => [name, info[name]]));
    assertEquals(found, expected, path);
  }
});

both("what makes no sense is refused and leaves nothing", async ({ url, resources }) => {
  const cases: [string, Record<string, string>, string, RegExp][] = [
    ["", {}, "BAD_METADATA", /no name/],
    ["/a?type=text", {}, "BAD_METADATA", /MIME type "text"/],
    ["/a?lines=yes", {}, "BAD_REQUEST", /lines=yes/],
    ["/a?context=%00", {}, "BAD_METADATA", /context/],
    ["/a", { "content-encoding": "gzip" }, "BAD_REQUEST", /gzip/],
    ["/a", { "repr-digest": "sha-512=:AAAA:" }, "BAD_REQUEST", /sha-256=:BASE64: or md5/],
    ["/a", { "repr-digest": "sha-256=:AAAA:" }, "BAD_REQUEST", /no digest in base64/],
    ["/a", { "content-digest": "nothing" }, "BAD_REQUEST", /nothing/],
  ];
  for (const [path, headers, code, detail] of cases) {
    const response = await fetch(`${url}/resources${path}`, { method: "PUT", headers, body: "x" });
    assertMatch((await assertProblem(response, 400, code)).detail, detail);
  }
  assertEquals(await resources.list({ limit: 1 }), []);
});

both("what is sent can be read before the request has ended", async (server) => {
  const id = crypto.randomUUID();
  using request = new HttpRequest(`${server.url}/resources/${id}?name=a.log`, "PUT");
  request.send("one\n");
  const status = await arrived(server, id, 4);
  assertEquals([status.transferStatus, status.numberOfLines], ["IN_PROGRESS", 1]);
  assertEquals(await bytesOf(server, id), "one\n");
  request.send("two");
  await arrived(server, id, 7);
  request.end();
  const { status: code, body } = await request.answer();
  assertEquals([code, JSON.parse(body).id, JSON.parse(body).numberOfLines], [201, id, 2]);
});

both("a request that breaks off leaves what arrived, as FAILED", async (server) => {
  for (const headers of [undefined, { "Content-Length": "100" }]) {
    const id = crypto.randomUUID();
    using request = new HttpRequest(`${server.url}/resources/${id}?name=a.log`, "PUT", headers);
    request.send("one\ntwo");
    await arrived(server, id, 7);
    request.cut();
    const status = await statusOf(server.resources, id, isFailed);
    assertEquals([status.currentSize, status.numberOfLines], [7, 2]);
    assertMatch(status.failure!, /^INTERRUPTED: /);
  }
});

test("a sender is slowed down to what is written", async () => {
  const storage = new GatedStorage();
  for (const runtime of [await loadRuntime(), framesRuntime()]) {
    await using server = await startServer({ runtime, storage });
    storage.appending.shut();
    const id = crypto.randomUUID();
    using request = new HttpRequest(`${server.url}/resources/${id}`, "PUT");
    const piece = new Uint8Array(256 * 1024);
    const sentBytes = 64 * 1024 * 1024;
    for (let sent = 0; sent < sentBytes; sent += piece.length) request.send(piece);
    request.end();
    await eventually("an append", () => storage.appending.waiting > 0);
    let before = Infinity, stillFor = 0;
    await eventually("the sender to stand still", () => {
      stillFor = before === request.waitingBytes ? stillFor + 1 : 0;
      before = request.waitingBytes;
      return stillFor === 100;
    });
    assert(request.waitingBytes > sentBytes / 2, `only ${request.waitingBytes} bytes wait`);
    storage.appending.open();
    const { status, body } = await request.answer();
    assertEquals([status, JSON.parse(body).currentSize], [201, sentBytes]);
  }
});

both("a refusal is answered while the content is still being sent", async (server) => {
  using request = new HttpRequest(`${server.url}/resources/a`, "PUT");
  request.send(new Uint8Array(100_001));
  const { status, body } = await request.answer();
  assertEquals([status, JSON.parse(body).code], [413, "QUOTA_EXCEEDED"]);
  const [{ status: { transferStatus, failure } }] = await server.resources.list({ limit: 1 });
  assertEquals(transferStatus, "FAILED");
  assertMatch(failure!, /^QUOTA_EXCEEDED: /);
}, { maxResourceBytes: 100_000 });

both("a length that is too large is refused before anything is stored", async (server) => {
  const headers = { "Content-Length": "100001" };
  using request = new HttpRequest(`${server.url}/resources/a`, "PUT", headers);
  assertEquals((await request.answer()).status, 413);
  assertEquals(await server.resources.list({ limit: 1 }), []);
}, { maxResourceBytes: 100_000 });

both("uploads beyond the limit are refused", async (server) => {
  using first = new HttpRequest(`${server.url}/resources/a`, "PUT");
  await eventually("the first upload", () => server.resources.uploads === 1);
  const refused = await fetch(`${server.url}/resources/b`, { method: "PUT", body: "x" });
  await assertProblem(refused, 503, "LIMIT_REACHED");
  first.end();
  assertEquals((await first.answer()).status, 201);
}, { maxUploads: 1 });

both("a disk that fails ends the upload with its reason", async (server) => {
  const response = await fetch(`${server.url}/resources/a`, { method: "PUT", body: "x" });
  await assertProblem(response, 507, "STORAGE_FAILED");
}, {
  storage: Object.assign(new GatedStorage(), { failure: new StreamError("STORAGE_FAILED", "EIO") }),
});

both("an id that the client chose is used once", async (server) => {
  const id = crypto.randomUUID();
  const put = (body: string) => fetch(`${server.url}/resources/${id}`, { method: "PUT", body });
  const answers = await Promise.all([put("one"), put("one"), put("one")]);
  assertEquals(answers.map(({ status }) => status).sort(), [201, 409, 409]);
  await assertProblem(await put("two"), 409, "CONFLICT");
  assertEquals(await bytesOf(server, id), "one");
  assertEquals((await server.resources.get(id)).metadata.filename, id);
});

test("an id that only storage has is not used either", async () => {
  const storage = new MemoryStorage();
  await using server = await startServer({ storage });
  const id = crypto.randomUUID();
  const log = await storage.create(id, { lineAccess: false, epoch: 1 });
  await log.append(0, [utf8("kept")]);
  const response = await fetch(`${server.url}/resources/${id}`, { method: "PUT", body: "x" });
  await assertProblem(response, 409, "CONFLICT");
  assertEquals((await (await storage.openReader(id)).read(0, 4)).length, 4);
  await assertProblem(await fetch(`${server.url}/resources/${id}`), 404, "NOT_FOUND");
});

both("the digest of the whole is verified and kept", async ({ url, resources }) => {
  const put = (headers: Record<string, string>) =>
    fetch(`${url}/resources/a`, { method: "PUT", headers, body: "hello" });
  for (const [name, algorithm] of [["sha-256", "sha256"], ["md5", "md5"]]) {
    for (const field of ["repr-digest", "content-digest"]) {
      const right = `sha-512=:AAAA:, ${name}=:${base64(algorithm, "hello")}:`;
      const { digest } = await (await put({ [field]: right })).json();
      assertEquals(digest, { algorithm, value: hex(algorithm, "hello") });

      const wrong = await put({ [field]: `${name}=:${base64(algorithm, "hullo")}:` });
      const { detail } = await assertProblem(wrong, 422, "CHECKSUM_MISMATCH");
      assertMatch(detail, new RegExp(hex(algorithm, "hullo")));
      const [{ status }] = await resources.list({ limit: 1 });
      assertEquals([status.transferStatus, status.currentSize], ["FAILED", 5]);
    }
  }
});

both("two digests of one request are both verified", async ({ url }) => {
  const put = (sent: string) => {
    const headers = {
      "repr-digest": `sha-256=:${base64("sha256", "hello")}:`,
      "content-digest": `md5=:${base64("md5", sent)}:`,
    };
    return fetch(`${url}/resources/a`, { method: "PUT", headers, body: "hello" });
  };
  assertEquals((await put("hello")).status, 201);
  await assertProblem(await put("hullo"), 422, "CHECKSUM_MISMATCH");
});

both("a whole upload brings the digest and the outcome as a last append does", async ({ url }) => {
  const put = (headers: Record<string, string>) =>
    fetch(`${url}/resources/a`, { method: "PUT", headers, body: "hello" });
  const digests = { "stream-digests": "sha256" };
  const right = { ...digests, "stream-digest": hex("sha256", "hello") };
  const { digest, outcome } = await (await put({ ...right, "stream-outcome": "exit=3" })).json();
  assertEquals(digest.value, hex("sha256", "hello"));
  assertEquals(outcome, { exitCode: 3, signal: null });
  const other = { ...right, "content-digest": `md5=:${base64("md5", "hello")}:` };
  assertEquals((await put(other)).status, 201);
  const wrong = { ...digests, "stream-digest": hex("sha256", "hullo") };
  await assertProblem(await put(wrong), 422, "CHECKSUM_MISMATCH");
});

both("content that is not all of what is stored is refused, and nothing is", async (server) => {
  const refused = async (fields: Record<string, string>) => {
    const headers = { "content-type": "text/plain", ...fields };
    const response = await fetch(`${server.url}/resources/a`, {
      method: "PUT",
      headers,
      body: "hello",
    });
    await assertProblem(response, 400, "BAD_REQUEST");
  };
  const sha256 = `sha-256=:${base64("sha256", "hello")}:`;
  await refused({ "content-range": "bytes 5-9/10" });
  await refused({ "upload-complete": "false" });
  await refused({ "upload-complete": "?0, ?0" });
  await refused({ "upload-length": "5, 6" });
  await refused({ "upload-length": "many" });
  await refused({ "repr-digest": sha256, "stream-digest": hex("sha256", "hullo") });
  assertEquals(await server.resources.list({ limit: 1 }), []);
});

both("an upload is created, continued and completed", async (server) => {
  const { at, id, response } = await begin(server, {}, "one\n");
  assertEquals(response.headers.get("upload-offset"), "4");
  assertEquals(response.headers.get("upload-complete"), "?0");
  assertEquals(response.headers.get("upload-limit"), "max-size=1099511627776, max-age=60");
  assertEquals((await response.json()).id, id);
  assertEquals(await head(at), { status: 204, offset: "4", complete: "?0" });

  const second = await append(at, 4, "two\n");
  assertEquals([second.status, second.headers.get("upload-offset")], [204, "8"]);
  const last = await append(at, 8, "three", { complete: true });
  assertEquals([last.status, last.headers.get("upload-complete")], [200, "?1"]);
  assertEquals(last.headers.get("location"), `${server.url}/resources/${id}`);
  const info = await last.json();
  assertEquals([info.transferStatus, info.currentSize, info.epoch], ["COMPLETED", 13, 1]);
  assertEquals(await bytesOf(server, id), "one\ntwo\nthree");

  // Who lost the last answer learns it.
  assertEquals(await head(at), { status: 204, offset: "13", complete: "?1" });
  const late: Problem & { type: string } = await (await append(at, 13, "", { complete: true }))
    .json();
  assertMatch(late.type, /#completed-upload$/);
});

both("a whole upload may say that it is complete", async ({ url }) => {
  const headers = { "upload-complete": "?1" };
  const response = await fetch(`${url}/resources/a`, { method: "PUT", headers, body: "x" });
  assertEquals([response.status, response.headers.get("upload-complete")], [201, "?1"]);
  assertEquals((await response.json()).transferStatus, "COMPLETED");
});

both("an append at another offset changes nothing and is told the right one", async (server) => {
  const { at } = await begin(server, {}, "one");
  for (const offset of [0, 2, 4]) {
    const response = await append(at, offset, "xx");
    assertEquals(response.headers.get("upload-offset"), "3");
    const problem = await assertProblem(response, 409, "CONFLICT") as unknown as Record<
      string,
      unknown
    >;
    assertEquals(problem["expected-offset"], 3);
    assertEquals(problem["provided-offset"], offset);
    assertEquals(
      problem.type,
      "https://iana.org/assignments/http-problem-types#mismatching-upload-offset",
    );
  }
  assertEquals((await head(at)).offset, "3");
});

both("an append without its fields is refused", async (server) => {
  const { at } = await begin(server);
  const whole = { ...partial, "upload-offset": "0", "upload-complete": "?0" };
  const wrong = [{ "content-type": "text/plain" }, { "upload-offset": "x" }, {
    "upload-complete": "1",
  }];
  for (const fields of wrong) {
    const headers = { ...whole, ...fields };
    const response = await fetch(at, { method: "PATCH", headers, body: "x" });
    await assertProblem(response, 400, "BAD_REQUEST");
  }
  assertEquals((await head(at)).offset, "0");
});

both("nobody continues an upload without its secret", async (server) => {
  const { at, id, secret } = await begin(server);
  const wrong = `${server.url}/uploads/${id}/${secret.replace(/./, (c) => c === "0" ? "1" : "0")}`;
  await assertProblem(await append(wrong, 0, "x"), 403, "NOT_OWNER");
  await assertProblem(await fetch(wrong, { method: "DELETE" }), 403, "NOT_OWNER");
  assertEquals((await head(wrong)).status, 403);
  const nowhere = `${server.url}/uploads/${crypto.randomUUID()}/${secret}`;
  await assertProblem(await append(nowhere, 0, "x"), 404, "NOT_FOUND");
  assertEquals((await append(at, 0, "x")).status, 204);

  const whole = await (await fetch(`${server.url}/resources/a`, { method: "PUT", body: "x" }))
    .json();
  await assertProblem(
    await append(`${server.url}/uploads/${whole.id}/${secret}`, 0, "x"),
    403,
    "NOT_OWNER",
  );
});

both("an append that breaks off keeps what arrived, and is continued", async (server) => {
  const { at, id } = await begin(server);
  const fields = { ...partial, "upload-offset": "0", "upload-complete": "?1" };
  using request = new HttpRequest(at, "PATCH", { ...fields, "Content-Length": "11" });
  request.send("one\n");
  await arrived(server, id, 4);
  request.cut();
  assertEquals(await head(at), { status: 204, offset: "4", complete: "?0" });
  assertEquals((await server.resources.get(id)).status.transferStatus, "IN_PROGRESS");
  const last = await append(at, 4, "two\nend", { complete: true });
  assertEquals([last.status, (await last.json()).currentSize], [200, 11]);
  assertEquals(await bytesOf(server, id), "one\ntwo\nend");
});

both("an upload that nobody continues is FAILED after the resume window", async (server) => {
  const { at, id } = await begin(server, {}, "one");
  const status = await statusOf(server.resources, id, isFailed);
  assertEquals(status.currentSize, 3);
  assertMatch(status.failure!, /^INTERRUPTED: /);
  await assertProblem(await append(at, 3, "x"), 409, "WRONG_STATE");
  assertEquals((await head(at)).status, 409);
}, { resumeWindowMs: 20 });

both("the newest request owns the upload, and an older one appends no more", async (server) => {
  const { at, id } = await begin(server);
  const fields = { ...partial, "upload-offset": "0", "upload-complete": "?1" };
  using older = new HttpRequest(at, "PATCH", fields);
  older.send("one");
  await arrived(server, id, 3);
  assertEquals(await head(at), { status: 204, offset: "3", complete: "?0" });
  older.send("never");
  const { status, body } = await older.answer();
  assertEquals([status, JSON.parse(body).code], [409, "FENCED"]);
  const last = await append(at, 3, "two", { complete: true });
  assertEquals((await last.json()).currentSize, 6);
  assertEquals(await bytesOf(server, id), "onetwo");
});

both(
  "a creation with a secret of its own can be repeated, and goes on where it is",
  async (server) => {
    const { url, resources } = server;
    const id = crypto.randomUUID();
    const secret = "a-secret_of-the-uploader-1234567";
    const create = (fields: Record<string, string> = {}, body = "", path = `${id}?name=a.log`) =>
      fetch(`${url}/resources/${path}`, {
        method: "PUT",
        headers: { "upload-complete": "?0", "stream-secret": secret, ...fields },
        body,
      });
    const first = await create();
    const at = `${url}/uploads/${id}/${secret}`;
    assertEquals([first.status, first.headers.get("location")], [201, at]);
    assertEquals((await append(at, 0, "one")).status, 204);
    const again = await create();
    assertEquals([again.status, again.headers.get("location")], [201, at]);
    assertEquals(again.headers.get("upload-offset"), "3");
    assertEquals((await append(at, 3, "two", { complete: true })).status, 200);
    assertEquals(await bytesOf(server, id), "onetwo");

    const refused: [Response, number, string][] = [
      [await create(), 409, "CONFLICT"],
      [await create({ "stream-secret": "1".repeat(32) }), 409, "CONFLICT"],
      [await create({ "stream-secret": "short" }), 400, "BAD_REQUEST"],
      [await create({}, "content"), 400, "BAD_REQUEST"],
      [await create({ "upload-complete": "?1" }), 400, "BAD_REQUEST"],
      [await create({}, "", "a.log"), 400, "BAD_REQUEST"],
    ];
    for (const [response, status, code] of refused) {
      assertEquals([response.status, (await response.json() as Problem).code], [status, code]);
    }
    assertEquals((await resources.list({ limit: 9 })).length, 1);
  },
);

both("an upload goes from HTTP to WebSocket and back", async (server) => {
  const { at, id, secret } = await begin(server, { "stream-digests": "xxh128" }, "one");
  const fields = { ...partial, "upload-offset": "3", "upload-complete": "?0" };
  using request = new HttpRequest(at, "PATCH", fields);
  request.send("two");
  await arrived(server, id, 6);

  using client = await RawClient.open(`${server.ws}${UPLOAD_PATH}`, SUBPROTOCOL);
  client.say({ "@": "ResumeUpload", id, secret });
  const { offset, epoch, digest } = await client.inbox.next("ReadyForUpload");
  assertEquals([offset, epoch, digest], [6, 2, "xxh128"]);
  const { status, body } = await request.answer();
  assertEquals([status, JSON.parse(body).code], [409, "FENCED"]);
  client.give(utf8("three"));
  await arrived(server, id, 11);

  assertEquals((await head(at)).offset, "11");
  assertEquals((await client.inbox.next("Error")).code, "FENCED");
  assertEquals((await append(at, 11, "", { complete: true })).status, 200);
  assertEquals(await bytesOf(server, id), "onetwothree");
});

both(
  "lengths that do not agree are refused, and more bytes than announced end it",
  async (server) => {
    const { at } = await begin(server, { "upload-length": "6" }, "one");
    assertEquals((await fetch(at, { method: "HEAD" })).headers.get("upload-length"), "6");
    for (const [body, headers] of [["four", {}], ["two", { "upload-length": "7" }]] as const) {
      const response = await append(at, 3, body, { complete: true, headers });
      const problem = await assertProblem(response, 400, "BAD_REQUEST") as Problem & {
        type: string;
      };
      assertMatch(problem.type, /#inconsistent-upload-length$/);
    }
    const fields = { ...partial, "upload-offset": "3", "upload-complete": "?0" };
    using request = new HttpRequest(at, "PATCH", fields);
    request.send("four");
    const { status, body } = await request.answer();
    assertEquals([status, JSON.parse(body).code], [422, "CHECKSUM_MISMATCH"]);
    assertEquals((await head(at)).status, 409);
  },
);

test("what was announced between two parts is in the record, for whoever goes on with it", async () => {
  const catalog = new MemoryCatalog();
  await using server = await startServer({ catalog, storage: new MemoryStorage() });
  const { at, id } = await begin(server);
  const checksum = hex("sha256", "whole");
  const digest = { "repr-digest": `sha-256=:${base64("sha256", "whole")}:` };
  const other = await assertProblem(
    await append(at, 0, "", { headers: digest }),
    400,
    "BAD_REQUEST",
  );
  assertMatch(other.detail, /Stream-Digests: sha256/);
  const headers = { "upload-length": "9" };
  assertEquals((await append(at, 0, "", { headers })).status, 204);
  assertEquals((await catalog.get(id))!.announced, { size: 9, checksum: null });
  const agreed = await begin(server, { "stream-digests": "sha256" });
  assertEquals((await append(agreed.at, 0, "", { headers: digest })).status, 204);
  assertEquals((await catalog.get(agreed.id))!.announced, { size: null, checksum });
});

both("fewer bytes than announced are not complete", async (server) => {
  const { at } = await begin(server, { "upload-length": "6" }, "one");
  const fields = { ...partial, "upload-offset": "3", "upload-complete": "?1" };
  using request = new HttpRequest(at, "PATCH", fields);
  request.send("tw");
  request.end();
  const { status, headers } = await request.answer();
  assertEquals([status, headers.get("upload-complete")], [422, "?1"]);
});

both("what arrives is held against the digest of the creation", async (server) => {
  const digest = { "repr-digest": `sha-256=:${base64("sha256", "onetwo")}:` };
  const right = await begin(server, digest, "one");
  assertEquals(right.response.headers.get("stream-digest-algorithm"), "sha256");
  assertEquals((await append(right.at, 3, "two", { complete: true })).status, 200);
  const wrong = await begin(server, digest, "one");
  const response = await append(wrong.at, 3, "too", { complete: true });
  await assertProblem(response, 422, "CHECKSUM_MISMATCH");
});

both(
  "the last append may bring the digest, of the algorithm that was agreed on",
  async (server) => {
    const finish = async (headers: Record<string, string>, digests = "xxh128, sha256") => {
      const { at, response } = await begin(server, { "stream-digests": digests }, "hello");
      const agreed = response.headers.get("stream-digest-algorithm");
      return { agreed, response: await append(at, 5, "", { complete: true, headers }) };
    };
    const xxh128 = "b5e9c1ad071b3e7fc779cfaa5e523818";
    const { agreed, response } = await finish({ "stream-digest": xxh128.toUpperCase() });
    assertEquals([agreed, response.status], ["xxh128", 200]);
    assertEquals((await response.json()).digest, { algorithm: "xxh128", value: xxh128 });

    const wrong = await finish({ "stream-digest": xxh128.replace("b", "c") });
    await assertProblem(wrong.response, 422, "CHECKSUM_MISMATCH");
    await assertProblem((await finish({ "stream-digest": "?" })).response, 400, "BAD_REQUEST");

    const sha256 = { "repr-digest": `sha-256=:${base64("sha256", "hello")}:` };
    const other = await assertProblem((await finish(sha256)).response, 400, "BAD_REQUEST");
    assertMatch(other.detail, /Stream-Digests: sha256/);
    assertEquals((await finish(sha256, "sha256")).response.status, 200);
  },
);

both("a part whose digest is wrong ends the upload: it could be read already", async (server) => {
  const { at, id } = await begin(server);
  const digest = (text: string) => ({ "content-digest": `sha-256=:${base64("sha256", text)}:` });
  assertEquals((await append(at, 0, "one", { headers: digest("one") })).status, 204);
  const response = await append(at, 3, "two", { headers: digest("too") });
  await assertProblem(response, 422, "CHECKSUM_MISMATCH");
  const { transferStatus, currentSize } = (await server.resources.get(id)).status;
  assertEquals([transferStatus, currentSize], ["FAILED", 6]);
});

both(
  "the digest of the whole is one, and its length no less than what is there",
  async (server) => {
    const sha256 = (text: string) => ({ "repr-digest": `sha-256=:${base64("sha256", text)}:` });
    const { at, id } = await begin(server, sha256("onetwo"), "one");
    const said: Record<string, string>[] = [
      sha256("onetoo"),
      { "stream-digest": hex("sha256", "onetoo") },
      { ...sha256("onetwo"), "stream-digest": hex("sha256", "onetoo") },
      { "upload-length": "2" },
      { "content-range": "bytes 4-6/7" },
    ];
    for (const headers of said) {
      await assertProblem(await append(at, 3, "too", { headers }), 400, "BAD_REQUEST");
    }
    assertEquals(await bytesOf(server, id), "one");
    const last = await append(at, 3, "two", { complete: true, headers: sha256("onetwo") });
    assertEquals(last.status, 200);
  },
);

both("its owner gives an upload up", async (server) => {
  const { at, id } = await begin(server, {}, "one");
  assertEquals((await fetch(at, { method: "DELETE" })).status, 204);
  const { status } = await server.resources.get(id);
  assertEquals([status.transferStatus, status.currentSize], ["FAILED", 3]);
  assertMatch(status.failure!, /^ABORTED: /);
  await assertProblem(await append(at, 3, "x"), 409, "WRONG_STATE");
});

both("many small appends are one epoch, and each is acknowledged at once", async (server) => {
  const { at, id } = await begin(server);
  const startedAtMs = performance.now();
  for (let line = 0; line < 50; line++) {
    assertEquals((await append(at, line * 2, "x\n")).status, 204);
  }
  const tookMs = performance.now() - startedAtMs;
  // Each would wait for a checkpoint otherwise.
  assert(tookMs < 50 * 100, `50 appends took ${tookMs} ms`);
  const { status } = await server.resources.get(id);
  assertEquals([status.epoch, status.transferStatus], [1, "IN_PROGRESS"]);
  assertEquals((await append(at, 100, "", { complete: true })).status, 200);
  assertEquals((await server.resources.get(id)).status.numberOfLines, 50);
}, { checkpointIntervalMs: 200 });

both("a server says what it can do", async ({ url }) => {
  for (const path of ["/resources", "/resources/a"]) {
    const { status, headers } = await fetch(url + path, { method: "OPTIONS" });
    assertEquals([status, headers.get("accept-patch")], [204, "application/partial-upload"]);
    assertMatch(headers.get("upload-limit")!, /^max-size=\d+, max-age=60$/);
  }
});

test("an upload that nobody can resume has a moment to end when the server is shut down", async () => {
  for (const runtime of [await loadRuntime(), framesRuntime()]) {
    const server = await startServer({ runtime });
    const id = crypto.randomUUID();
    const length = { "content-length": "6" };
    using request = new HttpRequest(`${server.url}/resources/${id}`, "PUT", length);
    request.send("one");
    await arrived(server, id, 3);
    const closing = server.server.close();
    request.send("two");
    const { status, body } = await request.answer();
    const { transferStatus, currentSize } = JSON.parse(body);
    assertEquals([status, transferStatus, currentSize], [201, "COMPLETED", 6]);
    await closing;
  }
});

test("a shutdown ends requests with its reason, and the next server goes on", async () => {
  await Promise.all([await loadRuntime(), framesRuntime()].map(async (runtime) => {
    const parts = { storage: new MemoryStorage(), catalog: new MemoryCatalog() };
    const wholeId = crypto.randomUUID();
    const server = await startServer({ ...parts, runtime });
    using whole = new HttpRequest(`${server.url}/resources/${wholeId}`, "PUT");
    whole.send("one");
    const digest = { "repr-digest": `sha-256=:${base64("sha256", "onetwo")}:` };
    const { at, id } = await begin(server, digest);
    const length = { "upload-length": "6" };
    const fields = { ...partial, ...length, "upload-offset": "0", "upload-complete": "?1" };
    using part = new HttpRequest(at, "PATCH", fields);
    part.send("one");
    for (const each of [id, wholeId]) await arrived(server, each, 3);
    const goesOnAt = ["https://b.example"];
    await server.server.close(goesOnAt);
    for (const request of [whole, part]) {
      const { status, headers, body } = await request.answer();
      const { code, servers } = JSON.parse(body);
      assertEquals([status, code, servers], [503, "SHUTDOWN", goesOnAt]);
      assertEquals(headers.get("retry-after"), "1");
    }

    await using next = await startServer({ ...parts, runtime });
    const { status } = await next.resources.get(wholeId);
    assertEquals([status.transferStatus, status.currentSize], ["FAILED", 3]);
    assertMatch(status.failure!, /^SHUTDOWN: /);
    const again = at.replace(server.url, next.url);
    const { headers } = await fetch(again, { method: "HEAD" });
    assertEquals([headers.get("upload-offset"), headers.get("upload-length")], ["3", "6"]);
    const wrong = await append(again, 3, "too", { complete: true });
    await assertProblem(wrong, 422, "CHECKSUM_MISMATCH");
  }));
});

test("a request without a byte for very long is given up", async () => {
  const resources = memoryResources();
  const router = await makeRouter({ resources, httpUploads: new HttpUploads(resources, 20) });
  let given = false;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (!given) controller.enqueue(utf8("one"));
      given = true;
    },
  });
  const init = { method: "PUT", body, duplex: "half" } as RequestInit;
  const response = await router.fetch(new Request("http://host/resources/a", init), null);
  await assertProblem(response, 408, "PEER_SILENT");
  const [{ status }] = await resources.list({ limit: 1 });
  assertEquals([status.transferStatus, status.currentSize], ["FAILED", 3]);
  await resources.close();
});

/** A creation with 8 bytes of content over a bare socket, and what is said to it first. */
async function firstWord(
  server: TestServer,
  fields: string[],
  content: string,
): Promise<string> {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  const heard = Promise.withResolvers<string>();
  socket.on("error", () => {});
  socket.on("data", (chunk: Uint8Array) => heard.resolve(Buffer.from(chunk).toString("latin1")));
  const head = ["PUT /resources/a.log HTTP/1.1", `Host: ${server.host}`, "Content-Length: 8"];
  socket.write([...head, ...fields, "", content].join("\r\n"));
  try {
    return await within("an answer", heard.promise);
  } finally {
    socket.destroy();
  }
}

const INTEROP = "Upload-Draft-Interop-Version: 8";

test("over node:http: a creation with content is told 104, and goes on after it broke off", async () => {
  await using server = await startServer({ runtime: framesRuntime() });
  const interim = await firstWord(server, [INTEROP, "Upload-Complete: ?1"], "half");
  assertMatch(interim, /^HTTP\/1\.1 104 /);
  assertMatch(interim, /upload-draft-interop-version: 8\r\n/i);
  const location = /^location: (\S+)/im.exec(interim)![1];
  const id = location.split("/").at(-2)!;
  const { currentSize } = await arrived(server, id, 4);
  const headers = {
    ...partial,
    "upload-offset": String(currentSize),
    "upload-complete": "?1",
  };
  const answer = await fetch(location, { method: "PATCH", headers, body: "rest" });
  assertEquals((await answer.json()).transferStatus, "COMPLETED");
  assertEquals(await bytesOf(server, id), "halfrest");
});

test("over node:http: who speaks another version, or no draft at all, is told no 104", async () => {
  await using server = await startServer({ runtime: framesRuntime() });
  const other = "Upload-Draft-Interop-Version: 7";
  for (const fields of [[], [INTEROP], ["Upload-Complete: ?1"], [other, "Upload-Complete: ?1"]]) {
    const answer = await firstWord(server, fields, "halfrest");
    assertMatch(answer, /^HTTP\/1\.1 201 /, fields.join());
  }
});

test("over node:http: nobody is told 104 through a proxy, which may take it for the answer", async () => {
  await using server = await startServer({ runtime: framesRuntime() });
  for (
    const proxy of ["Via: 1.1 proxy", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1"]
  ) {
    const answer = await firstWord(server, [INTEROP, "Upload-Complete: ?1", proxy], "halfrest");
    assertMatch(answer, /^HTTP\/1\.1 201 /, proxy);
  }
});
