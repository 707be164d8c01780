import { Buffer } from "node:buffer";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { framesRuntime, getResource, loadRuntime } from "../../mod.ts";
import type { LinePosition } from "../../src/protocol.ts";
import type { Appender } from "../../src/resources/writing/appender.ts";
import { concat, utf8 } from "../helpers/bytes.ts";
import { within } from "../helpers/frames/connection.ts";
import { checksumOf, register, statusWhere, type World } from "../helpers/resources.ts";
import { type Problem, startServer, type TestServer } from "../helpers/server.ts";

const MEBIBYTE = 1024 * 1024;
const asJson = { headers: { accept: "application/json" } };

/** A page of lines as JSON. */
interface Page {
  startingLineIndex: number;
  linesCount: number;
  startOffset: number;
  endOffset: number;
  lines: string[];
  next: LinePosition | null;
}

/** Begins an upload beside the server's own. */
function begin(server: TestServer, supportsLineAccess = true): Promise<Appender> {
  const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess };
  return register({ resources: server.resources } as unknown as World, { metadata });
}

/** Uploads a content; the address of its lines. */
async function linesOf(server: TestServer, content: string | Uint8Array): Promise<string> {
  const bytes = typeof content === "string" ? utf8(content) : content;
  const upload = await begin(server);
  upload.append(bytes);
  await upload.complete(await checksumOf(bytes));
  return `${server.url}/resources/${upload.resource.id}/lines`;
}

const bytesOf = async (response: Response): Promise<Uint8Array> =>
  new Uint8Array(await response.arrayBuffer());

/** What a link to a next page points to; null without one. */
function nextOf(response: Response): string | null {
  const [, path] = /^<(.*)>; rel="next"$/.exec(response.headers.get("link") ?? "") ?? [];
  return path === undefined ? null : new URL(path, response.url).href;
}

/** Everything behind an address, by the links from page to page. */
async function chain(first: string, init?: RequestInit): Promise<Response[]> {
  const responses: Response[] = [];
  for (let url: string | null = first; url !== null;) {
    const response: Response = await fetch(url, init);
    assertEquals(response.status, 200);
    responses.push(response);
    url = nextOf(response);
    if (url !== null) assert(!responses.some((earlier) => earlier.url === url));
  }
  return responses;
}

async function refusal(url: string): Promise<[status: number, code: string]> {
  const response = await fetch(url);
  return [response.status, (await response.json() as Problem).code];
}

for (const [name, load] of Object.entries({ own: loadRuntime, frames: framesRuntime })) {
  test(`a window of lines comes as its exact bytes, with a link to the next: ${name} runtime`, async () => {
    await using server = await startServer({ runtime: await load() });
    const url = await linesOf(server, Uint8Array.from([0xff, 13, 10, 0, 10, 0xc3, 10, 97]));
    const response = await fetch(`${url}?start=0&count=3`);
    assertEquals(response.headers.get("content-type"), "text/plain; charset=utf-8");
    assertEquals(response.headers.get("stream-number-of-lines"), "4");
    assertEquals(response.headers.get("stream-transfer-status"), "COMPLETED");
    assertEquals(nextOf(response), `${url}?start=3&count=3`);
    assertEquals([...await bytesOf(response)], [0xff, 13, 10, 0, 10, 0xc3, 10]);
    const head = await fetch(`${url}?start=0&count=3`, { method: "HEAD" });
    assertEquals([head.headers.get("content-length"), await head.text()], ["7", ""]);
    assertEquals(await (await fetch(`${url}?start=0&count=0`)).text(), "");
    const last = await fetch(`${url}?start=3&count=3`);
    assertEquals([nextOf(last), await last.text()], [null, "a"]);
  });
}

test("100 lines come unless told, the links lead through all of them", async () => {
  await using server = await startServer();
  const content = Array.from({ length: 250 }, (_, index) => `line ${index}\n`).join("");
  const responses = await chain(await linesOf(server, content));
  assertEquals(responses.length, 3);
  assertEquals((await Promise.all(responses.map((page) => page.text()))).join(""), content);
});

test("the last lines come by tail or by a negative start", async () => {
  await using server = await startServer();
  const url = await linesOf(server, "one\ntwo\nthree");
  assertEquals(await (await fetch(`${url}?tail=2`)).text(), "two\nthree");
  assertEquals(await (await fetch(`${url}?tail=9`)).text(), "one\ntwo\nthree");
  const none = await fetch(`${url}?tail=0`);
  assertEquals([await none.text(), nextOf(none)], ["", null]);
  const { startingLineIndex, startOffset }: Page = await (await fetch(`${url}?tail=0`, asJson))
    .json();
  assertEquals([startingLineIndex, startOffset], [3, 13]);
  assertEquals(nextOf(await fetch(`${url}?start=1&count=0`)), `${url}?start=1`);
  const response = await fetch(`${url}?start=-2&count=1`);
  assertEquals(nextOf(response), `${url}?start=2&count=1`);
  assertEquals(await response.text(), "two\n");
});

test("JSON says where the lines are", async () => {
  await using server = await startServer();
  const url = await linesOf(server, "one\ntwo\nthree");
  const page = async (query: string) => await (await fetch(`${url}?${query}`, asJson)).json();
  const window = { startingLineIndex: 1, linesCount: 2, startOffset: 4, endOffset: 13 };
  assertEquals(await page("start=1"), { ...window, lines: ["two\n", "three"], next: null });
  assertEquals(await page("start=-1&count=0"), {
    ...{ startingLineIndex: 2, linesCount: 0, startOffset: 8, endOffset: 8 },
    ...{ lines: [], next: null },
  });
  assertEquals(await page("start=3"), {
    ...{ startingLineIndex: 3, linesCount: 0, startOffset: 13, endOffset: 13 },
    ...{ lines: [], next: null },
  });
});

test("JSON is sent to those who prefer it", async () => {
  await using server = await startServer();
  const url = await linesOf(server, "one\n");
  const typeFor = async (accept: string) => {
    const response = await fetch(url, { headers: { accept } });
    await response.body!.cancel();
    return response.headers.get("content-type")!.split(";")[0];
  };
  assertEquals(await typeFor("*/*"), "text/plain");
  assertEquals(await typeFor("text/html, */*;q=0.1"), "text/plain");
  assertEquals(await typeFor("application/json, text/plain, */*"), "application/json");
  assertEquals(await typeFor("text/plain, application/json;q=0.5"), "text/plain");
});

test("a long line comes as JSON in pieces, by the position in each and by the links", async () => {
  await using server = await startServer();
  const content = `short\n${"€".repeat(200_000)}\nend\n`;
  const url = await linesOf(server, content);
  const pieces: string[] = [];
  for (let at: LinePosition | null = { lineIndex: 0, byteOffset: 0 }; at !== null;) {
    const response: Response = await fetch(
      `${url}?start=${at.lineIndex}&offset=${at.byteOffset}&count=10`,
      asJson,
    );
    const page: Page = await response.json();
    pieces.push(...page.lines);
    at = page.next;
  }
  assert(pieces.length > 3);
  assertEquals(pieces.join(""), content);
  const rest = await fetch(`${url}?start=1&offset=599999&count=1`);
  assertEquals([nextOf(rest), await rest.text()], [`${url}?start=2&count=1`, "\ufffd\n"]);
  const linked = await chain(url, asJson);
  const texts = await Promise.all(linked.map(async (page) => (await page.json()).lines.join("")));
  assertEquals(texts.join(""), content);
});

test("text of more than 16 MiB comes in parts that fit together within a line", async () => {
  await using server = await startServer();
  const line = Buffer.alloc(9 * MEBIBYTE, "é");
  const content = concat([utf8("a\n"), line, utf8("\n"), line, utf8("\nb")]);
  const responses = await chain(await linesOf(server, content));
  assertEquals(responses.length, 2);
  const [first, second] = await Promise.all(responses.map(bytesOf));
  assertEquals(first.length, 16 * MEBIBYTE);
  assert(Buffer.from(content).equals(concat([first, second])));
});

test("of a live resource the lines that are there come", async () => {
  await using server = await startServer();
  const upload = await begin(server);
  upload.append(utf8("one\ntw"));
  await statusWhere(upload.resource, ({ currentSize }) => currentSize === 6);
  const url = `${server.url}/resources/${upload.resource.id}/lines`;
  const response = await fetch(url);
  assertEquals(response.headers.get("stream-transfer-status"), "IN_PROGRESS");
  assertEquals([nextOf(response), await response.text()], [null, "one\n"]);
  assertEquals(await (await fetch(`${url}?start=1`)).text(), "");
  assertEquals(await refusal(`${url}?start=2`), [416, "LINES_NOT_AVAILABLE"]);
});

test("lines that make no sense are refused with the code that says why", async () => {
  await using server = await startServer();
  const url = await linesOf(server, "one\ntwo\n");
  for (const query of ["start=x", "count=10001", "count=-1", "tail=1.5", "tail=1&start=0"]) {
    assertEquals(await refusal(`${url}?${query}`), [400, "BAD_REQUEST"], query);
  }
  assertEquals(await refusal(`${url}?start=3`), [416, "LINES_NOT_AVAILABLE"]);
  assertEquals(await refusal(`${url}?start=0&offset=4`), [416, "LINES_NOT_AVAILABLE"]);
  assertEquals(await refusal(`${url}?start=2&offset=1`), [416, "LINES_NOT_AVAILABLE"]);
  assertEquals(await refusal(`${server.url}/resources/${crypto.randomUUID()}/lines`), [
    404,
    "NOT_FOUND",
  ]);
  const { resource } = await begin(server, false);
  assertEquals(await refusal(`${server.url}/resources/${resource.id}/lines`), [
    409,
    "NO_LINE_ACCESS",
  ]);
});

test("a resource shows some of its lines in the same answer, for whom wants them", async () => {
  await using server = await startServer();
  const url = (await linesOf(server, "one\ntwo\nthree\n")).replace(/\/lines$/, "");
  const shown = async (address: string) => await (await fetch(address)).json();
  const { window } = await shown(`${url}?start=1&count=5`);
  assertEquals(window, {
    startingLineIndex: 1,
    linesCount: 2,
    startOffset: 4,
    endOffset: 14,
    lines: ["two\n", "three\n"],
    next: null,
  });
  assertEquals((await shown(`${url}?start=-1&count=1`)).window.lines, ["three\n"]);
  assertEquals((await shown(`${url}?start=99&count=1`)).window.lines, []);
  assertEquals("window" in await shown(url), false);
  assertEquals((await fetch(`${url}?count=0`)).status, 400);
  const { resource } = await begin(server, false);
  assertEquals((await shown(`${server.url}/resources/${resource.id}?count=1`)).window, null);
  const again = await getResource(url, { start: 2, count: 1 });
  assertEquals([again.numberOfLines, again.window?.lines], [3, ["three\n"]]);
});

test("HEAD, refusals and readers who go leave nothing open", async () => {
  await using server = await startServer({ maxFollowers: 1, maxConnections: 1 });
  const url = await linesOf(server, `${"x".repeat(MEBIBYTE)}\n`.repeat(15));
  for (let round = 0; round < 3; round++) {
    const head = await fetch(url, { method: "HEAD" });
    assertEquals(head.headers.get("stream-number-of-lines"), "15");
    assertEquals((await fetch(url, asJson)).status, 200);
    assertEquals(await refusal(`${url}?start=99`), [416, "LINES_NOT_AVAILABLE"]);
    const reader = (await fetch(url)).body!.getReader();
    await reader.read();
    assertEquals(await refusal(url), [503, "LIMIT_REACHED"]);
    await reader.cancel();
    await within("room again", roomAt(`${url}?count=1`));
  }
});

async function roomAt(url: string): Promise<void> {
  for (;;) {
    const response = await fetch(url);
    await response.text();
    if (response.status === 200) return;
  }
}

test("lines tell when they arrived, and are found by time", async () => {
  await using server = await startServer();
  const beforeMs = Date.now();
  const url = await linesOf(server, "one\ntwo\nthree");
  const page = async (query: string) => await (await fetch(`${url}?${query}`, asJson)).json();
  const { times } = await page("times=true&start=1");
  assertEquals(times.length, 2);
  for (const timeMs of times) assert(timeMs >= beforeMs && timeMs <= Date.now());
  assertEquals((await page(`time=${beforeMs}&count=1`)).lines, ["one\n"]);
  assertEquals((await page(`time=${Date.now() + 1000}`)).lines, []);
  assertEquals((await page("count=1")).times, undefined);
  const both = await fetch(`${url}?time=1&start=1`);
  assertEquals([both.status, (await both.json()).code], [400, "BAD_REQUEST"]);
});
