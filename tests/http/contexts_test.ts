/** Upload contexts over HTTP: made, listed, shown, closed. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { SUBPROTOCOL, UPLOAD_PATH } from "../../src/protocol.ts";
import {
  getJson,
  type Problem,
  RawClient,
  startServer,
  type TestServer,
} from "../helpers/server.ts";

interface Shown {
  id: string;
  createdAt: string;
  closedAt: string | null;
}

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

async function ask(
  url: string,
  method: string,
): Promise<{ status: number; body: Shown & Problem }> {
  const response = await fetch(url, { method });
  return { status: response.status, body: await response.json() };
}

/** Close code and reason of an upload over WebSocket into a context. */
async function uploadInto(
  { ws }: TestServer,
  contextId: string,
  ...subprotocols: string[]
): Promise<string> {
  const query = `?streamingUploadContextId=${encodeURIComponent(contextId)}`;
  using client = await RawClient.open(`${ws}${UPLOAD_PATH}${query}`, ...subprotocols);
  client.say({ "@": "StartUpload", metadata });
  const { code, reason } = await client.inbox.close();
  return `${code} ${reason}`;
}

test("a context is made once, and shown", async () => {
  await using server = await startServer();
  for (const id of ["run-17", "run/17 ü", "a_b%2F"]) {
    const url = `${server.url}/contexts/${encodeURIComponent(id)}`;
    assertEquals((await ask(url, "GET")).body.code, "CONTEXT_UNKNOWN");
    const { status, body } = await ask(url, "PUT");
    assertEquals([status, body.id, body.closedAt], [201, id, null]);
    assertMatch(body.createdAt, RFC_3339);
    assertEquals(await ask(url, "PUT"), { status: 200, body });
    assertEquals(await ask(url, "GET"), { status: 200, body });
  }
});

test("a context whose id is not allowed is not made", async () => {
  await using server = await startServer();
  for (const id of ["a%00b", "x".repeat(257)]) {
    const { status, body } = await ask(`${server.url}/contexts/${id}`, "PUT");
    assertEquals([status, body.code], [400, "BAD_METADATA"]);
  }
  assertEquals(await getJson<Shown[]>(`${server.url}/contexts`), []);
});

test("contexts are listed newest first, page by page", async () => {
  await using server = await startServer();
  const ids = Array.from({ length: 5 }, (_, at) => `run/${at} ü`);
  for (const id of ids) await server.resources.createContext(id);
  const found: Shown[] = [];
  let next: string | undefined = "/contexts?limit=2";
  while (next !== undefined) {
    const response: Response = await fetch(server.url + next);
    found.push(...await response.json());
    next = /^<(.+)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1];
  }
  assertEquals(found.map(({ id }) => id).sort(), ids);
  const times = found.map(({ createdAt }) => createdAt);
  assertEquals(times, times.toSorted().reverse());
  assertEquals(await getJson<Shown[]>(`${server.url}/contexts`), found);
  for (const query of ["limit=0", "limit=1001", "after=x", "after=1_"]) {
    const { status, body } = await ask(`${server.url}/contexts?${query}`, "GET");
    assertEquals([status, body.code], [400, "BAD_REQUEST"], query);
  }
});

test("a closed context takes no more uploads, and keeps those it has", async () => {
  await using server = await startServer();
  const upload = () =>
    fetch(`${server.url}/resources/a.log?context=run`, { method: "PUT", body: "x" });
  const url = `${server.url}/contexts/run`;
  assertEquals((await ask(url, "DELETE")).body.code, "CONTEXT_UNKNOWN");
  assertEquals((await upload()).status, 201);
  const { status, body } = await ask(url, "DELETE");
  assertEquals(status, 200);
  assertMatch(body.closedAt!, RFC_3339);
  assertEquals(await ask(url, "DELETE"), { status, body });
  assertEquals(await ask(url, "PUT"), { status: 200, body });

  const refused = await upload();
  const problem: Problem = await refused.json();
  assertEquals([refused.status, problem.code], [409, "CONTEXT_CLOSED"]);
  assertMatch(await uploadInto(server, "run", SUBPROTOCOL), /^1008 CONTEXT_CLOSED: /);
  assertMatch(await uploadInto(server, "run"), /^1008 CONTEXT_CLOSED: /);
  assertEquals((await server.resources.list({ contextId: "run", limit: 9 })).length, 1);
});
