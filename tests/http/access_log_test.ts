/** The access log and request ids, in the library and by the real program. */
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { follow, framesRuntime, push } from "../../mod.ts";
import { SUBPROTOCOL } from "../../src/protocol.ts";
import { countBytes } from "../../src/server/answer/counted.ts";
import { pathsForLogs } from "../../src/server/observer.ts";
import type { AccessEntry } from "../../src/server.ts";
import { inTurn, kinds, Workspace } from "../helpers/cli.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eventually, within } from "../helpers/frames/connection.ts";
import { allRoutes } from "../helpers/routes.ts";
import { type Problem, RawClient, startServer } from "../helpers/server.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function log(): { entries: AccessEntry[]; accessLog: (entry: AccessEntry) => void } {
  const entries: AccessEntry[] = [];
  return { entries, accessLog: (entry) => void entries.push(entry) };
}

for (const name of ["the runtime's own server", "the server at frame level"]) {
  const options = () => name.endsWith("own server") ? {} : { runtime: framesRuntime() };

  test(`a request is one entry when it has ended, in ${name}`, async () => {
    const { entries, accessLog } = log();
    await using server = await startServer({ ...options(), accessLog });
    const response = await fetch(`${server.url}/resources?limit=3&access=secret`, {
      headers: { "user-agent": "test/1", "x-request-id": "abc-1_2.3~" },
    });
    assertEquals(response.headers.get("x-request-id"), "abc-1_2.3~");
    const body = await response.text();
    const [{ ms, ...entry }] = entries;
    assertEquals([...entries.slice(1), entry], [{
      method: "GET",
      path: "/resources",
      status: 200,
      bytes: body.length,
      remote: "127.0.0.1",
      requestId: "abc-1_2.3~",
      userAgent: "test/1",
    }]);
    assert(Number.isInteger(ms) && ms >= 0);
  });

  test(`a WebSocket connection is one entry at its end, in ${name}`, async () => {
    const { entries, accessLog } = log();
    await using server = await startServer({ ...options(), accessLog });
    const { writable, reference, done } = await push(server.url, metadata);
    await new Blob(["one\n"]).stream().pipeTo(writable);
    await done;
    await new Response(follow(reference)).text();
    await eventually("both entries", () => entries.length === 2);
    const upload = entries.find(({ path }) => path === "/ws/streaming/upload")!;
    const download = entries.find(({ path }) => path === new URL(reference).pathname)!;
    for (const { method, requestId, remote, bytes, receivedBytes, ...rest } of [upload, download]) {
      assertEquals([method, remote, rest.error], ["WEBSOCKET", "127.0.0.1", undefined]);
      assertMatch(requestId, UUID);
      assert(bytes > 4 && receivedBytes! > 4);
    }
    assertEquals(upload.status, 1000);
  });
}

test("a HEAD request is an entry without bytes", async () => {
  const { entries, accessLog } = log();
  await using server = await startServer({ accessLog });
  await fetch(`${server.url}/healthz`, { method: "HEAD" });
  assertEquals(entries.map(({ method, bytes }) => [method, bytes]), [["HEAD", 0]]);
});

test("the error that ended a connection is in its entry", async () => {
  const { entries, accessLog } = log();
  await using server = await startServer({ accessLog });
  const path = `/ws/streaming/download/${crypto.randomUUID()}`;
  using _client = await RawClient.open(server.ws + path, SUBPROTOCOL);
  await eventually("the entry", () => entries.length === 1);
  const [{ path: logged, status, error }] = entries;
  assertEquals([logged, status, error], [path, 1008, "NOT_FOUND"]);
});

test("an error has the id of its request, in the header, the problem and the log", async () => {
  const { entries, accessLog } = log();
  const errors: Record<string, unknown>[] = [];
  await using server = await startServer({
    accessLog,
    log: { info() {}, error: (_event, fields) => void errors.push(fields) },
    referenceTo() {
      throw new Error("broken");
    },
  });
  const { writable, done } = await push(server.url, metadata).catch(() => ({
    writable: null,
    done: null,
  }));
  assertEquals([writable, done], [null, null]);
  const [{ id }] = await server.resources.list({ limit: 1 });
  const response = await fetch(`${server.url}/resources/${id}`);
  assertEquals(response.status, 500);
  const requestId = response.headers.get("x-request-id")!;
  assertMatch(requestId, UUID);
  const { instance }: Problem = await response.json();
  assertEquals(instance, `urn:request:${requestId}`);
  assertEquals(errors, [{ path: `/resources/${id}`, message: "broken", requestId }]);
  assertEquals(entries.at(-1)!.requestId, requestId);
});

test("an id that is not well-formed is replaced", async () => {
  await using server = await startServer();
  for (const wrong of ["", "a b", "x".repeat(129), 'a"b', "ä"]) {
    const headers = new Headers();
    try {
      headers.set("x-request-id", wrong);
    } catch {
      continue; // not even a client can send it
    }
    const response = await fetch(`${server.url}/healthz`, { headers });
    await response.body?.cancel();
    assertMatch(response.headers.get("x-request-id")!, UUID);
  }
  const longest = "x".repeat(128);
  const response = await fetch(`${server.url}/healthz`, { headers: { "x-request-id": longest } });
  await response.body?.cancel();
  assertEquals(response.headers.get("x-request-id"), longest);
});

test("paths in logs have no secrets of uploads", async () => {
  const pathForLogs = pathsForLogs(await allRoutes());
  for (const base of ["", "/logs"]) {
    assertEquals(pathForLogs(`${base}/uploads/12345678/geheim`), `${base}/uploads/12345678/…`);
    assertEquals(pathForLogs(`${base}/uploads/a/geheim/mehr`), `${base}/uploads/a/…`);
    assertEquals(pathForLogs(`${base}/uploads/a%2fgeheim`), `${base}/uploads/a%2f…`);
    for (const separator of ["%2F", "%252f", "\\", "%5c"]) {
      const between = (secret: string) => [base, "uploads", "a", secret].join(separator);
      assertEquals(pathForLogs(between("geheim")), between("…"), separator);
    }
    const content = `${base}/resources/12345678/content`;
    assertEquals(pathForLogs(`${content}%3Faccess=geheim`), `${content}%3F…`);
    assertEquals(pathForLogs(`${content}%253faccess=geheim`), `${content}%253f…`);
    assertEquals(pathForLogs(`${base}/tus/a/gehe\nim`), `${base}/tus/a/…`);
    assertEquals(pathForLogs(`${base}/resources/uploads`), `${base}/resources/uploads`);
  }
});

test("the entry of an upload's address shows no secret, even where nothing is there", async () => {
  const { entries, accessLog } = log();
  await using server = await startServer({ accessLog });
  const id = crypto.randomUUID();
  await (await fetch(`${server.url}/uploads/${id}/geheim`)).body?.cancel();
  assertEquals(entries.map(({ path }) => path), [`/uploads/${id}/…`]);
});

/** A body of pieces that are made when they are asked for. */
function pieces(count: number): { body: ReadableStream<Uint8Array>; made: () => number } {
  let made = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (made++ === count) controller.close();
      else controller.enqueue(new Uint8Array(10));
    },
  }, { highWaterMark: 0 });
  return { body, made: () => made };
}

test("a streamed body is counted at its end, and not read ahead", async () => {
  const counts: number[] = [];
  const { body, made } = pieces(3);
  const response = await countBytes(new Response(body), true, (bytes) => counts.push(bytes));
  const reader = response.body!.getReader();
  await reader.read();
  assertEquals([made(), counts], [1, []]);
  while (!(await reader.read()).done);
  assertEquals(counts, [30]);
});

test("a body whose length was announced ends with its last byte: nobody asks for more", async () => {
  const counts: number[] = [];
  const headers = { "content-length": "20" };
  const response = await countBytes(
    new Response(pieces(9).body, { headers }),
    true,
    (bytes) => counts.push(bytes),
  );
  const reader = response.body!.getReader();
  await reader.read();
  assertEquals(counts, []);
  await reader.read();
  assertEquals(counts, [20]);
});

test("a body that is given up, or fails, counts what was sent", async () => {
  const counts: number[] = [];
  const { body } = pieces(3);
  const given = await countBytes(new Response(body), true, (bytes) => counts.push(bytes));
  const reader = given.body!.getReader();
  await reader.read();
  await reader.cancel();
  const failing = new ReadableStream({ pull: () => Promise.reject(new Error("broken")) });
  const failed = await countBytes(new Response(failing), true, (bytes) => counts.push(bytes));
  assertEquals(await failed.text().catch((error) => error.message), "broken");
  assertEquals(counts, [10, 0]);
});

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`--access-log of ${kind} writes one JSON object for each request`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(kind, ["--access-log", "--log-format", "json"]);
    const response = await fetch(`${workspace.server}/resources?limit=1`);
    const requestId = response.headers.get("x-request-id");
    assertEquals(await response.json(), []);
    const text = await server.stderr.until((text) => text.includes(`"access"`));
    const entry = text.trimEnd().split("\n").map((line) => JSON.parse(line)).at(-1);
    assertNotEquals(requestId, null);
    assertEquals(
      [entry.event, entry.method, entry.path, entry.status, entry.bytes, entry.requestId],
      ["access", "GET", "/resources", 200, 3, requestId],
    );
  });
}

test("a body that is given up while it is waited for is counted once", async () => {
  const counts: number[] = [];
  const body = new ReadableStream<Uint8Array>({ start: (at) => at.enqueue(new Uint8Array(3)) });
  const given = await countBytes(new Response(body), true, (bytes) => counts.push(bytes));
  const reader = given.body!.getReader();
  await reader.read();
  const waiting = reader.read();
  await turn();
  await reader.cancel();
  await waiting;
  await turn();
  assertEquals(counts, [3]);
});

test("a log in JSON is not gathered in memory to be counted", async () => {
  await using server = await startServer({ accessLog: () => {} });
  const upload = await push(server.url, {
    filename: "a.json",
    mimeType: "application/json",
    supportsLineAccess: false,
  });
  const writer = upload.writable.getWriter();
  await writer.write(utf8("[1,"));
  const { body } = await fetch(
    `${server.url}/resources/${upload.reference.split("/").pop()}/content`,
  );
  const reader = body!.getReader();
  assertEquals((await within("live bytes", reader.read())).value, utf8("[1,"));
  await reader.cancel();
  await upload.abort();
});
