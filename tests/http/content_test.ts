/** The content of resources over HTTP: ranges, conditions, headers, and what becomes of live responses. */
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { Hono } from "hono";
import { compress } from "hono/compress";
import { type ErrorCode, ERRORS, StreamError } from "../../src/protocol.ts";
import { compressions } from "../../src/server/answer/gzip.ts";
import { parseRange } from "../../src/server/http/range.ts";
import { eventually, within } from "../helpers/frames/connection.ts";
import { completed, listeners, Written } from "../helpers/content.ts";
import { startServer, type TestServer } from "../helpers/server.ts";

const aborted = new StreamError("ABORTED", "given up");
const LIVE = "1099511627775";

/** Asks with headers of its own. */
function ask(url: string, headers: Record<string, string> = {}, method = "GET") {
  return fetch(url, { method, headers: { "accept-encoding": "identity", ...headers } });
}

/** Asks again while all places are taken. */
async function askUntilFree(url: string, headers: Record<string, string>): Promise<Response> {
  for (;;) {
    const response = await ask(url, headers);
    if (response.status !== 503) return response;
    await response.text();
  }
}

async function assertPart(response: Response, contentRange: string, text: string): Promise<void> {
  assertEquals(await response.text(), text);
  assertEquals(response.status, 206);
  assertEquals(response.headers.get("content-range"), contentRange);
}

async function assertRefused(response: Response, code: ErrorCode): Promise<void> {
  assertEquals(response.headers.get("content-type"), "application/problem+json");
  assertEquals((await response.json()).code, code);
  assertEquals(response.status, ERRORS[code].http);
  assertEquals(response.headers.get("etag"), null);
}

/** Reads the body bit by bit. */
function reading(response: Response) {
  const reader = response.body!.getReader();
  let text = "";
  return {
    /** Reads until all of it is there. */
    async until(wanted: string): Promise<void> {
      while (text !== wanted) {
        assert(wanted.startsWith(text), `${JSON.stringify(text)} came`);
        const { done, value } = await within(wanted, reader.read());
        assert(!done, `ended after ${JSON.stringify(text)}`);
        text += Buffer.from(value).toString();
      }
    },
    /** Whether nothing more comes, and the end is a clean one. */
    async ends(): Promise<boolean> {
      return (await within("the end", reader.read())).done;
    },
    breaks: () => assertRejects(() => within("an error", reader.read())),
    leave: () => reader.cancel(),
  };
}

/** Sends a request by hand; what comes back is read as it comes. */
async function raw(server: TestServer, path: string, method = "GET") {
  const socket = connect(Number(server.host.split(":")[1]), "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(`${method} ${path} HTTP/1.1\r\nHost: ${server.host}\r\n\r\n`);
  return socket;
}

/** A response that is under way to a reader who takes no more of it. */
async function stalled(server: TestServer) {
  const text = "0123456789abcdef".repeat(2 ** 21);
  const { url, id } = await completed(server, text);
  const socket = await raw(server, new URL(url).pathname);
  await within("the first bytes", once(socket, "data"));
  socket.pause();
  /** Takes what is left; fails unless that is not all. */
  const assertBroken = async () => {
    let bytes = 0;
    socket.on("data", (chunk) => bytes += chunk.length);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.resume();
    await within("the end of the connection", closed);
    assertLess(bytes, text.length);
  };
  return { url, id, assertBroken };
}

test("a Range header is a range, or asks for everything", () => {
  assertEquals(parseRange("bytes=0-0"), { first: 0, last: 0 });
  assertEquals(parseRange("Bytes= 5-"), { first: 5, last: Infinity });
  assertEquals(parseRange("bytes=-5"), { suffix: 5 });
  const large = Number.MAX_SAFE_INTEGER;
  assertEquals(parseRange("bytes=1-99999999999999999999"), { first: 1, last: large });
  const ignored = [
    "bytes=-",
    "bytes=2-1",
    "bytes=0-1,3-4",
    "lines=0-1",
    "bytes=a-b",
    "bytes",
    "0-1",
  ];
  for (const header of ignored) assertEquals(parseRange(header), null, header);
});

for (const { name, start } of listeners) {
  test(`${name}: finished content comes whole, with its length and its headers`, async () => {
    await using server = await start();
    const { url, id } = await completed(server, "0123456789");
    const response = await ask(url);
    assertEquals(await response.text(), "0123456789");
    assertEquals(response.status, 200);
    const { digest, status } = await server.resources.get(id);
    const expected = {
      "content-length": "10",
      "content-type": "text/plain;charset=utf-8",
      "content-disposition": 'inline; filename="a.log"',
      "accept-ranges": "bytes",
      "etag": `"${status.life}.xxh128-${digest!.value}"`,
      "cache-control": "private, no-cache",
      "x-content-type-options": "nosniff",
      "content-security-policy": "sandbox; default-src 'none'",
      "stream-transfer-status": "COMPLETED",
      "content-range": null,
      "repr-digest": null,
    };
    for (const [name, value] of Object.entries(expected)) {
      assertEquals(response.headers.get(name), value, name);
    }
  });

  test(`${name}: HEAD has the headers of GET, and opens nothing`, async () => {
    await using server = await start({ maxConnections: 0 });
    const { url } = await completed(server, "0123456789");
    const whole = await ask(url, {}, "HEAD");
    assertEquals([whole.status, whole.headers.get("content-length")], [200, "10"]);
    assertEquals(await whole.text(), "");
    const part = await ask(url, { range: "bytes=2-3" }, "HEAD");
    assertEquals([part.status, part.headers.get("content-range")], [206, "bytes 2-3/10"]);
    assertEquals(part.headers.get("content-length"), "2");
    await assertRefused(await ask(url), "LIMIT_REACHED");
  });

  test(`${name}: HEAD tells no length that nobody knows`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("0123456789");
    const lengths = async (headers: Record<string, string> = {}) => {
      const response = await ask(written.url, headers, "HEAD");
      assertEquals(await response.text(), "");
      return response.headers.get("content-length");
    };
    assertEquals(await lengths(), null);
    assertEquals(await lengths({ range: "bytes=0-" }), "10");
    assertEquals(await lengths({ range: `bytes=0-${LIVE}` }), null);
    await written.fail(aborted);
    assertEquals(await lengths(), null);
    const text = await completed(server, "x".repeat(2000));
    const gzip = await ask(text.url, { "accept-encoding": "gzip" }, "HEAD");
    assertEquals(gzip.headers.get("content-length"), null);
  });

  test(`${name}: finished content and ranges of up to 64 KiB tell their length`, async () => {
    await using server = await start();
    for (const size of [0, 1, 3000, 65_536]) {
      const content = "x".repeat(size);
      const { url } = await completed(server, content);
      const whole = await ask(url);
      assertEquals(whole.headers.get("content-length"), String(size));
      assertEquals(await whole.text(), content);
    }
    const { url } = await completed(server, "0123456789".repeat(10_000));
    const part = await ask(url, { range: "bytes=3-65538" });
    assertEquals(part.headers.get("content-length"), "65536");
    assertEquals((await part.text()).length, 65_536);
  });

  test(`${name}: ranges of finished content`, async () => {
    await using server = await start();
    const { url } = await completed(server, "0123456789");
    const part = (range: string) => ask(url, { range });
    await assertPart(await part("bytes=0-0"), "bytes 0-0/10", "0");
    await assertPart(await part("bytes=7-"), "bytes 7-9/10", "789");
    await assertPart(await part("bytes=7-100"), "bytes 7-9/10", "789");
    await assertPart(await part(`bytes=7-${LIVE}`), "bytes 7-9/10", "789");
    await assertPart(await part("bytes=-3"), "bytes 7-9/10", "789");
    await assertPart(await part("bytes=-30"), "bytes 0-9/10", "0123456789");
    for (const range of ["bytes=10-", "bytes=10-12", "bytes=-0", `bytes=10-${LIVE}`]) {
      const response = await part(range);
      assertEquals(response.headers.get("content-range"), "bytes */10", range);
      await assertRefused(response, "RANGE_NOT_AVAILABLE");
    }
    for (const range of ["bytes=4-2", "bytes=0-1,4-5", "lines=0-1"]) {
      const response = await part(range);
      assertEquals([response.status, await response.text()], [200, "0123456789"], range);
    }
  });

  test(`${name}: an empty resource has no range`, async () => {
    await using server = await start();
    const { url } = await completed(server, "");
    const whole = await ask(url);
    assertEquals([whole.status, await whole.text()], [200, ""]);
    for (const range of ["bytes=0-", "bytes=-1"]) {
      await assertRefused(await ask(url, { range }), "RANGE_NOT_AVAILABLE");
    }
  });

  test(`${name}: conditions are met by the strong tag of what is finished`, async () => {
    await using server = await start();
    const { url } = await completed(server, "0123456789");
    const head = await ask(url, {}, "HEAD");
    const etag = head.headers.get("etag")!;
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const response = await ask(url, { "if-none-match": known });
      assertEquals([response.status, await response.text()], [304, ""], known);
      assertEquals(response.headers.get("etag"), etag);
    }
    assertEquals((await ask(url, { "if-none-match": etag }, "HEAD")).status, 304);
    const other = await ask(url, { "if-none-match": '"other"' });
    assertEquals([other.status, await other.text()], [200, "0123456789"]);
    const range = "bytes=1-2";
    await assertPart(await ask(url, { range, "if-range": etag }), "bytes 1-2/10", "12");
    for (const changed of ['"other"', `W/${etag}`, "Mon, 23 Nov 2026 04:28:21 GMT"]) {
      const response = await ask(url, { range, "if-range": changed });
      assertEquals([response.status, await response.text()], [200, "0123456789"], changed);
    }
  });

  test(`${name}: content that grows is followed to its end, byte by byte`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("one\n");
    const response = await ask(written.url, { "accept-encoding": "gzip, br" });
    assertEquals(response.status, 200);
    assertEquals(response.headers.get("content-encoding"), null);
    assertEquals(response.headers.get("cache-control"), "no-store, no-transform");
    assertEquals(response.headers.get("stream-transfer-status"), "IN_PROGRESS");
    assert(response.headers.get("etag")!.startsWith('W/"'));
    const body = reading(response);
    await body.until("one\n");
    const startedAtMs = performance.now();
    await written.write("two\n");
    await body.until("one\ntwo\n");
    assertLess(performance.now() - startedAtMs, 1000);
    await written.complete();
    assert(await body.ends());
  });

  test(`${name}: compression around the server leaves content that grows alone`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("one\n");
    const app = new Hono().use(compress()).get("*", async () => {
      const { body, headers } = await ask(written.url);
      const own = new Headers(headers);
      own.delete("transfer-encoding"); // as it is in an app that the server is mounted in
      return new Response(body, { headers: own });
    });
    const response = await app.request("/", { headers: { "accept-encoding": "gzip" } });
    assertEquals(response.headers.get("content-encoding"), null);
    const body = reading(response);
    await body.until("one\n");
    await written.complete();
    assert(await body.ends());
  });

  test(`${name}: a resource without bytes tells its headers at once`, async () => {
    await using server = await start();
    const written = await Written.begin(server);
    const socket = await raw(server, new URL(written.url).pathname);
    let answer = "";
    socket.on("data", (chunk) => answer += chunk);
    // Bun sends the end of the headers with the first byte, whatever one does.
    const head = name === "own" && "Bun" in globalThis ? "HTTP/1.1 200 OK\r\n" : "\r\n\r\n";
    await eventually("the headers", () => answer.includes(head));
    await written.write("first");
    await eventually("the first byte", () => answer.includes("first"));
    assert(/\r\nstream-transfer-status: INITIATED\r\n/i.test(answer), answer);
    socket.destroy();
  });

  test(`${name}: ranges of content that grows`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("0123456789");
    const part = (range: string) => ask(written.url, { range });
    await assertPart(await part("bytes=0-"), "bytes 0-9/*", "0123456789");
    await assertPart(await part("bytes=8-"), "bytes 8-9/*", "89");
    await assertPart(await part("bytes=8-20"), "bytes 8-9/*", "89");
    await assertPart(await part("bytes=-2"), "bytes 8-9/*", "89");
    const etag = (await ask(written.url, {}, "HEAD")).headers.get("etag")!;
    const conditional = await ask(written.url, { range: "bytes=0-", "if-range": etag });
    assertEquals(conditional.status, 200);
    await conditional.body!.cancel();
    for (const range of ["bytes=10-", "bytes=12-20"]) {
      const response = await part(range);
      assertEquals(response.headers.get("content-range"), "bytes */10", range);
      await assertRefused(response, "RANGE_NOT_AVAILABLE");
    }
  });

  test(`${name}: a range with a very large end follows, also from what is not there yet`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("0123456789");
    const follow = (range: string) => ask(written.url, { range });
    const first = await follow(`bytes=8-${LIVE}`);
    const waiting = follow(`bytes=12-${2 ** 53 - 1}`);
    assertEquals([first.status, first.headers.get("content-range")], [206, `bytes 8-${LIVE}/*`]);
    const tail = reading(first);
    await tail.until("89");
    await eventually("both watch", () => written.appender.resource.watchers === 2);
    await written.write("abcd");
    const second = await waiting;
    assertEquals(second.headers.get("content-range"), "bytes 12-9007199254740991/*");
    const later = reading(second);
    await tail.until("89abcd");
    await later.until("cd");
    await written.complete();
    assert(await tail.ends());
    assert(await later.ends());
  });

  test(`${name}: a transfer that ends before the range begins breaks the response`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("0123456789");
    const answer = ask(written.url, { range: `bytes=12-${LIVE}` }).then((response) =>
      response.text()
    );
    await eventually("it waits", () => written.appender.resource.watchers === 1);
    await Promise.all([assertRejects(() => answer), written.complete()]);
  });

  test(`${name}: a transfer that fails breaks the responses that follow it`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("0123456789");
    const live = reading(await ask(written.url));
    const range = reading(await ask(written.url, { range: `bytes=8-${LIVE}` }));
    await live.until("0123456789");
    await range.until("89");
    await written.fail(aborted);
    await live.breaks();
    await range.breaks();
  });

  test(`${name}: a transfer that fails is no clean end to HTTP/1.0 either, which proxies speak`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("0123456789");
    const socket = connect(Number(server.host.split(":")[1]), "127.0.0.1");
    const { promise: heard, resolve: hear } = Promise.withResolvers<void>();
    const { promise: closed, resolve: close } = Promise.withResolvers<boolean>();
    let answer = "";
    socket.on("data", (bytes) => {
      answer += bytes;
      if (answer.endsWith("0123456789")) hear();
    });
    socket.on("error", () => {});
    socket.on("close", close);
    socket.write(`GET ${new URL(written.url).pathname} HTTP/1.0\r\nHost: ${server.host}\r\n\r\n`);
    await within("the content", heard);
    await written.fail(aborted);
    assert(await within("the end", closed), "the end is a clean one");
  });

  test(`${name}: a transfer that fails before its first byte is an error`, async () => {
    await using server = await start();
    const written = await Written.begin(server);
    const answer = ask(written.url).then((response) => response.text());
    await eventually("it waits", () => written.appender.resource.watchers === 1);
    await Promise.all([assertRejects(() => answer), written.fail(aborted)]);
    await assertRejects(async () => await (await ask(written.url)).text());
  });

  test(`${name}: failed content is an error where it is asked for to its end`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("0123456789");
    await written.fail(aborted);
    const part = (range: string) => ask(written.url, { range });
    const whole = await ask(written.url);
    assertEquals(whole.headers.get("stream-transfer-status"), "FAILED");
    assertEquals(whole.headers.get("stream-failure"), "ABORTED: given up");
    assertEquals(whole.headers.get("cache-control"), "no-store, no-transform");
    const body = reading(whole);
    await body.until("0123456789");
    await body.breaks();
    for (const end of ["", LIVE]) {
      const open = await part(`bytes=8-${end}`);
      assertEquals(open.headers.get("content-range"), "bytes 8-9/*");
      await assertRejects(() => open.text());
      await assertRefused(await part(`bytes=10-${end}`), "WRONG_STATE");
    }
    await assertPart(await part("bytes=8-9"), "bytes 8-9/10", "89");
    await assertPart(await part("bytes=-2"), "bytes 8-9/10", "89");
    await assertRefused(await part("bytes=10-11"), "RANGE_NOT_AVAILABLE");
  });

  test(`${name}: a deletion breaks a response that is under way`, async () => {
    await using server = await start();
    const { url, id, assertBroken } = await stalled(server);
    await server.resources.delete(id);
    await assertBroken();
    await assertRefused(await ask(url), "NOT_FOUND");
  });

  test(`${name}: a reader that takes nothing is dropped, and its place is free`, async () => {
    const heartbeat = { pingAfterMs: 100, deadAfterMs: 300 };
    await using server = await start({ maxConnections: 1, heartbeat });
    const { url, assertBroken } = await stalled(server);
    await assertRefused(await ask(url), "LIMIT_REACHED");
    const next = await within("a free place", askUntilFree(url, { range: "bytes=0-2" }));
    assertEquals(await next.text(), "012");
    await assertBroken();
  });

  test(`${name}: whoever leaves, stays or waits counts once, and is released`, async () => {
    await using server = await start({ maxConnections: 1 });
    const written = await (await Written.begin(server)).write("one\n");
    for (let round = 0; round < 3; round++) {
      const body = reading(await ask(written.url));
      await body.until("one\n");
      await assertRefused(await ask(written.url), "LIMIT_REACHED");
      await body.leave();
      await eventually("nobody watches", () => written.appender.resource.watchers === 0);
    }
    assertEquals(await (await ask(written.url, { range: "bytes=0-1" })).text(), "on");
  });

  test(`${name}: the end of the server breaks what is under way`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("one\n");
    const body = reading(await ask(written.url));
    await body.until("one\n");
    const startedAtMs = performance.now();
    await Promise.all([server.close(), body.breaks()]);
    assertLess(performance.now() - startedAtMs, 1500);
  });

  test(`${name}: finished text is compressed for those who take it`, async () => {
    await using server = await start();
    const text = "all work and no play\n".repeat(50_000);
    const { url } = await completed(server, text);
    const plain = await ask(url, {}, "HEAD");
    assertEquals(plain.headers.get("vary"), "Accept-Encoding");
    const response = await ask(url, { "accept-encoding": "br;q=0.5, gzip" });
    assertEquals(response.headers.get("content-encoding"), "gzip");
    assertEquals(response.headers.get("content-length"), null);
    assert(response.headers.get("etag")!.endsWith('-gzip"'));
    // `fetch` has unpacked it.
    assertEquals(await response.text(), text);
    for (const taken of ["gzip;q=0", "br", "identity"]) {
      const response = await ask(url, { "accept-encoding": taken });
      assertEquals(response.headers.get("content-encoding"), null, taken);
      assertEquals(await response.text(), text);
    }
    const part = await ask(url, { "accept-encoding": "gzip", range: "bytes=0-2" });
    assertEquals(part.headers.get("content-encoding"), null);
    await assertPart(part, `bytes 0-2/${text.length}`, "all");
  });

  test(`${name}: a compressed response is released when its reader leaves, and breaks as others do`, async () => {
    await using server = await start({ maxConnections: 1 });
    const text = Array.from({ length: 2 ** 21 }, (_, line) => `${line * 7919 % 100_003}\n`).join(
      "",
    );
    const { url, id } = await completed(server, text);
    const gzip = { "accept-encoding": "gzip" };
    for (let round = 0; round < 3; round++) {
      const response = await within("a free place", askUntilFree(url, gzip));
      assertEquals(response.headers.get("content-encoding"), "gzip");
      await response.body!.cancel();
    }
    const response = await within("a free place", askUntilFree(url, gzip));
    const reader = response.body!.getReader();
    await reader.read();
    await server.resources.delete(id);
    await assertRejects(async () => {
      while (!(await within("the end", reader.read())).done);
    });
  });

  test(`${name}: while too many bodies are compressed others are sent as they are, whatever ETag they are asked by`, async () => {
    await using server = await start();
    const { url } = await completed(server, randomBytes(6 * 2 ** 20).toString("hex"));
    const gzip = { "accept-encoding": "gzip" };
    const holds: (() => void)[] = [];
    const body = await ask(url, gzip);
    try {
      while (compressions.hasRoom) holds.push(compressions.hold());
      assertEquals(holds.length, 63);
      const head = await ask(url, gzip, "HEAD");
      assertEquals(head.headers.get("content-encoding"), null);
      assertEquals(head.headers.get("etag"), (await ask(url, {}, "HEAD")).headers.get("etag"));
      const etag = body.headers.get("etag")!;
      assertEquals((await ask(url, { ...gzip, "if-none-match": etag }, "HEAD")).status, 304);
      assertEquals((await ask(url, { ...gzip, "if-match": etag }, "HEAD")).status, 200);
      await body.body!.cancel();
      await eventually("room again", () => compressions.hasRoom);
      const again = await ask(url, gzip, "HEAD");
      assertEquals(again.headers.get("content-encoding"), "gzip");
    } finally {
      for (const giveBack of holds) giveBack();
    }
  });

  test(`${name}: what is short or no text is never compressed`, async () => {
    await using server = await start();
    const metadata = (mimeType: string) => ({
      metadata: { filename: "a", mimeType, supportsLineAccess: false },
    });
    const short = await completed(server, "x".repeat(1024), metadata("text/plain"));
    const image = await completed(server, "x".repeat(2000), metadata("image/png"));
    for (const { url } of [short, image]) {
      const response = await ask(url, { "accept-encoding": "gzip" });
      await response.text();
      assertEquals(response.headers.get("content-encoding"), null);
    }
    const long = await completed(server, "x".repeat(1025), metadata("text/plain"));
    const head = await ask(long.url, { "accept-encoding": "gzip" }, "HEAD");
    assertEquals(head.headers.get("content-encoding"), "gzip");
  });
}

test("a range of any length is exact, whether it comes in one piece or in many", async () => {
  await using server = await startServer();
  const text = Array.from({ length: 400_000 }, (_, index) => `${index}\n`).join("");
  const { url } = await completed(server, text);
  const kib = 1024;
  for (const length of [1, 64 * kib - 1, 64 * kib, 64 * kib + 1, 256 * kib, 2 * 1024 * kib + 1]) {
    for (const first of [0, 12_345]) {
      const range = `bytes=${first}-${first + length - 1}`;
      const response = await ask(url, { range });
      assert(await response.text() === text.slice(first, first + length), range);
    }
  }
});

test("a digest that RFC 9530 knows is told", async () => {
  await using server = await startServer();
  const written = await (await Written.begin(server, { digests: ["sha256"] })).write("one\n");
  const sha256 = createHash("sha256").update("one\n");
  await written.appender.complete(sha256.copy().digest("hex"), 4);
  const response = await ask(written.url);
  await response.text();
  assertEquals(response.headers.get("repr-digest"), `sha-256=:${sha256.digest("base64")}:`);
});

test("names in headers are safe, and known to old and new clients", async () => {
  await using server = await startServer();
  const names: [filename: string, disposition: string][] = [
    ["logs/run 1.txt", 'inline; filename="run 1.txt"'],
    ['a"b\\c%.txt', `inline; filename="c_.txt"; filename*=UTF-8''c%25.txt`],
    [
      "x\r\nset-cookie: a=b",
      `inline; filename="x__set-cookie: a=b"; filename*=UTF-8''x%0D%0Aset-cookie%3A%20a%3Db`,
    ],
    [
      "Prüfung (1).txt",
      `inline; filename="Pr_fung (1).txt"; filename*=UTF-8''Pr%C3%BCfung%20%281%29.txt`,
    ],
    ["folder/", 'inline; filename="content"'],
  ];
  for (const [filename, disposition] of names) {
    const metadata = { filename, mimeType: "text/html", supportsLineAccess: false };
    const { url } = await completed(server, "x", { metadata });
    const { headers } = await ask(url, {}, "HEAD");
    assertEquals(headers.get("content-disposition"), disposition);
    const download = await ask(`${url}?download`, {}, "HEAD");
    assertEquals(
      download.headers.get("content-disposition"),
      disposition.replace("inline", "attachment"),
    );
  }
});

test("an unknown resource has no content", async () => {
  await using server = await startServer();
  for (const id of [crypto.randomUUID(), "..%2f..", "x"]) {
    await assertRefused(await ask(`${server.url}/resources/${id}/content`), "NOT_FOUND");
  }
});
