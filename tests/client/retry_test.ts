/** What a client tries again, for how long, and with which token. */
import { createServer as createHttpServer } from "node:http";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLessOrEqual,
  assertMatch,
} from "@std/assert";
import {
  createServer,
  type ErrorCode,
  follow,
  getResource,
  type Grant,
  loadRuntime,
  MemoryCatalog,
  MemoryStorage,
  open,
  push,
  SignedLinks,
  StreamError,
} from "../../mod.ts";
import { RefusedError } from "../../src/client/connection/http.ts";
import { Retries } from "../../src/client/connection/retry.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { within } from "../helpers/frames/connection.ts";
import { MoodyProxy, type ProxyAnswer } from "../helpers/frames/moody_proxy.ts";
import { startServer } from "../helpers/server.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

const passing: ProxyAnswer[] = [
  { status: 408 },
  { status: 425 },
  { status: 429, headers: { "retry-after": "0" } },
  { status: 500, body: "<html>oops</html>" },
  { status: 503, body: '{"code":"overloaded","detail":"no healthy upstream"}' },
  { status: 504 },
];

for (const answer of passing) {
  const what = `${answer.status}${answer.body === undefined ? "" : ` with ${answer.body}`}`;
  test(`a proxy that answers ${what} is asked again, by push and follow`, async () => {
    await using server = await startServer();
    await using proxy = await MoodyProxy.open(server.url);
    const options = { transport: "http", retryForMs: 60_000 } as const;
    proxy.answers.push(answer, answer);
    const upload = await push(proxy.url, metadata, options);
    const writer = upload.writable.getWriter();
    proxy.answers.push(answer);
    await writer.write(utf8("one\n"));
    proxy.answers.push(answer);
    const text = new Response(follow(upload.reference, options)).text();
    await writer.write(utf8("two\n"));
    await writer.close();
    assertEquals((await upload.done).size, 8);
    assertEquals(await within("the follower", text), "one\ntwo\n");
    assertEquals(proxy.given, 4);
  });
}

/** What else a proxy may answer while its server is away; at a first attempt it shows a wrong address. */
const foreign: ProxyAnswer[] = [
  { status: 400 },
  { status: 401, headers: { "www-authenticate": "Basic" } },
  { status: 403, body: "<html>" },
  { status: 404, body: "default backend - 404" },
  { status: 405 },
];

test("a refusal in foreign words is not asked for again by a first attempt", async () => {
  await using server = await startServer();
  await using proxy = await MoodyProxy.open(server.url);
  for (const answer of foreign) {
    proxy.answers.push(answer);
    const error = await assertFails(
      "UNREACHABLE",
      () => push(proxy.url, metadata, { transport: "http" }),
    );
    assertMatch(error.message, / with \d+: is it a stream server\?$/);
  }
  assertEquals(proxy.given, foreign.length);
});

for (const answer of foreign) {
  test(`a running push and follow outlast a proxy that answers ${answer.status} for a while`, async () => {
    await using server = await startServer();
    await using proxy = await MoodyProxy.open(server.url);
    const options = { transport: "http" } as const;
    const upload = await push(proxy.url, metadata, options);
    const writer = upload.writable.getWriter();
    const download = await open(upload.reference, options);
    const text = new Response(download.read()).text();
    await writer.write(utf8("one\n"));
    for (const path of [/uploads/, /uploads/, /resources/, /resources/]) {
      proxy.answers.push({ ...answer, path });
    }
    await writer.write(utf8("two\n"));
    await writer.close();
    assertEquals((await within("the push", upload.done)).size, 8);
    assertEquals(await within("the follower", text), "one\ntwo\n");
    download.close();
    assertGreaterOrEqual(proxy.given, 2);
  });
}

/** How long a series of attempts waits after an error, in ms. */
async function delayAfter(
  error: StreamError,
  retryForMs?: number,
  isFirst = false,
): Promise<number> {
  const stop = new AbortController();
  let waitedMs = -1;
  const onRetry = (_error: StreamError, delayMs: number) => {
    waitedMs = delayMs;
    queueMicrotask(() => stop.abort());
  };
  assert(!await new Retries({ retryForMs, onRetry }, isFirst).wait(error, stop.signal));
  return waitedMs;
}

test("no pause is longer than what is left of the time for retries", async () => {
  const lost = new StreamError("UNREACHABLE", "nothing listens there");
  assertLessOrEqual(await delayAfter(lost, 20), 20);
});

test("Retry-After is waited for, in seconds or until a date, but no longer than it is tried at all", async () => {
  const saying = (after: string, fields: Record<string, string> = {}) =>
    new RefusedError("RATE_LIMITED", "busy", 429, new Headers({ "retry-after": after, ...fields }));
  assertEquals(await delayAfter(saying("7"), 600_000), 7000);
  // Whose clock is wrong is not to be found out: the date is one of the server's.
  for (const hours of [-5, 0, 5]) {
    const nowMs = Date.now() + hours * 3_600_000;
    const [after, date] = [nowMs + 9000, nowMs].map((ms) => new Date(ms).toUTCString());
    assertEquals(await delayAfter(saying(after, { date }), 600_000), 9000);
  }
  const dateMs = await delayAfter(saying(new Date(Date.now() + 9000).toUTCString()), 600_000);
  assertGreaterOrEqual(dateMs, 7000);
  assertLessOrEqual(dateMs, 9000);
  for (const after of ["86400", "999999999", "Fri, 31 Dec 9999 23:59:59 GMT"]) {
    assertLessOrEqual(await delayAfter(saying(after), 20_000), 20_000);
  }
  for (const after of ["soon", "-1", "", "Thu, 01 Jan 1970 00:00:00 GMT"]) {
    assertLessOrEqual(await delayAfter(saying(after), 600_000), 100);
  }
});

test("a first connection is tried for long where a server asks for time, and not where none answers", async () => {
  const saying = (code: ErrorCode) =>
    new RefusedError(code, "come back", 503, new Headers({ "retry-after": "60" }));
  assertEquals(await delayAfter(saying("NOT_READY"), undefined, true), 60_000);
  assertLessOrEqual(await delayAfter(saying("UNREACHABLE"), undefined, true), 5000);
  assertEquals(await delayAfter(saying("UNREACHABLE")), 60_000);
});

for (const transport of ["auto", "http"] as const) {
  test(`a server that starts later is waited for by push and follow: ${transport}`, async () => {
    const parts = async () => ({
      runtime: await loadRuntime(),
      storage: new MemoryStorage(),
      catalog: new MemoryCatalog(),
    });
    const first = createServer(await parts());
    const { port } = await first.listen({ port: 0 });
    await first.close();
    const second = createServer(await parts());
    let started: Promise<unknown> | null = null;
    const onRetry = () => void (started ??= second.listen({ port }));
    const options = { transport, onRetry };
    try {
      const upload = await push(`http://127.0.0.1:${port}`, metadata, options);
      const text = new Response(follow(upload.reference, options)).text();
      await new Blob(["one\n"]).stream().pipeTo(upload.writable);
      assertEquals(await text, "one\n");
      assert(started !== null);
    } finally {
      await second.close();
    }
  });
}

test("an address where something else answers is wrong, and not tried again", async () => {
  const other = createHttpServer((_request, response) => void response.end("<html>"));
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(other.address() as { port: number }).port}`;
  const retries: string[] = [];
  const onRetry = ({ message }: StreamError) => void retries.push(message);
  try {
    await assertFails("UNREACHABLE", () => push(url, metadata, { onRetry }));
    const reference = `${url}/resources/${crypto.randomUUID()}`;
    await assertFails("UNREACHABLE", () => open(reference, { onRetry }));
    assertEquals(retries, []);
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});

/** Makes timers of at least 10 s a thousand times as fast. */
function hurried(): Disposable {
  const original = globalThis.setTimeout;
  const hurry = (action: () => void, delayMs = 0, ...rest: unknown[]) =>
    original(action, delayMs >= 10_000 ? delayMs / 1000 : delayMs, ...rest as []);
  globalThis.setTimeout = hurry as typeof setTimeout;
  return { [Symbol.dispose]: () => void (globalThis.setTimeout = original) };
}

test("a server that accepts and does not answer is PEER_SILENT, and tried again", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  await new Blob(["one\n"]).stream().pipeTo(upload.writable);
  const id = upload.resumeToken.split(":")[0];
  let isSilent = true;
  const silent = createHttpServer(async (request, response) => {
    if (isSilent) return;
    const answer = await fetch(server.url + request.url, { headers: { accept: "*/*" } });
    response.writeHead(answer.status).end(await answer.text());
  });
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(silent.address() as { port: number }).port}`;
  const told: string[] = [];
  using hurry = hurried();
  const onRetry = ({ code }: StreamError) => {
    told.push(code);
    isSilent = false;
    hurry[Symbol.dispose](); // An answer may take its time on a busy machine.
  };
  try {
    const options = { transport: "http", retryForMs: 60_000, onRetry } as const;
    const download = await open(`${url}/resources/${id}`, options);
    assertEquals(download.status.currentSize, 4);
    download.close();
    assertEquals(told, ["PEER_SILENT"]);
  } finally {
    silent.closeAllConnections();
    await new Promise((resolve) => silent.close(resolve));
  }
});

const grant: Grant = {
  name: "ci",
  scopes: ["upload", "read", "admin"],
  contextId: null,
  resourceId: null,
  expiresAtMs: null,
};

/** A server that takes one token, which changes. */
async function startRotating(valid: { token: string }) {
  const tokens = {
    authenticate: (token: string) => Promise.resolve(token === valid.token ? grant : null),
  };
  return await startServer({ access: { tokens, links: new SignedLinks() } });
}

for (const transport of ["ws", "http"] as const) {
  test(`a token that changed is asked for again when the server refuses the old one: ${transport}`, async () => {
    const valid = { token: "first" };
    await using server = await startRotating(valid);
    let asked = 0;
    const token = () => {
      asked++;
      return valid.token;
    };
    const options = { transport, token } as const;
    const upload = await push(server.url, metadata, options);
    const writer = upload.writable.getWriter();
    await writer.write(utf8("one\n"));
    valid.token = "second";
    const text = new Response(follow(upload.reference, options)).text();
    await writer.write(utf8("two\n"));
    await writer.close();
    assertEquals((await upload.done).size, 8);
    assertEquals(await within("the follower", text), "one\ntwo\n");
    assertEquals((await getResource(upload.reference, { token })).currentSize, 8);
    assertLessOrEqual(asked, 4);
  });
}

test("a token that did not change is not presented again", async () => {
  const valid = { token: "other" };
  await using server = await startRotating(valid);
  let asked = 0;
  const token = () => Promise.resolve(`same${Math.min(++asked, 1)}`);
  await assertFails("UNAUTHORIZED", () => push(server.url, metadata, { token }));
  assertEquals(asked, 3);
  const reference = `${server.url}/resources/${crypto.randomUUID()}`;
  await assertFails("UNAUTHORIZED", () => getResource(reference, { token }));
  assertEquals(asked, 5);
});

for (const transport of ["auto", "ws", "http"] as const) {
  test(`tokens that change for ever and are all refused end with UNAUTHORIZED: ${transport}`, async () => {
    await using server = await startRotating({ token: "other" });
    let asked = 0;
    const token = () => `token${++asked}`;
    await assertFails("UNAUTHORIZED", () => push(server.url, metadata, { token, transport }));
    const reference = `${server.url}/resources/${crypto.randomUUID()}`;
    await assertFails("UNAUTHORIZED", () => open(reference, { token, transport }));
    assertEquals(asked, 4);
  });
}

test("a provider that fails is asked again the next time", async () => {
  await using server = await startRotating({ token: "good" });
  let isBroken = true;
  const token = () => {
    if (isBroken) throw new Error("the file is being written");
    return "good";
  };
  await assertFails("INTERNAL", () => push(server.url, metadata, { token }));
  isBroken = false;
  const upload = await push(server.url, metadata, { token });
  await upload.writable.close();
  assertEquals((await upload.done).size, 0);
});
