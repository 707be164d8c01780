import { Buffer } from "node:buffer";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { type SearchEnd, type SearchMatch, StreamError } from "../../src/protocol.ts";
import { finderFor, type SearchQuery } from "../../src/resources/reading/pattern.ts";
import type { Resource } from "../../src/resources/reading/resource.ts";
import { search, type SearchBounds } from "../../src/resources/reading/search.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { finished, readAll, register, running, type World, world } from "../helpers/resources.ts";
import { type Problem, startServer, type TestServer } from "../helpers/server.ts";
import { onLookedAtClock, turnsDuring } from "../helpers/turns.ts";

const ALL: SearchBounds = { from: 0, limit: 10_000, budgetMs: 10_000 };
const LONG_LINE_BYTES = 1_000_000;

interface Found {
  matches: SearchMatch[];
  progress?: number[];
  end: SearchEnd;
}

async function searchAll(
  resource: Resource,
  query: Partial<SearchQuery>,
  bounds: Partial<SearchBounds> = {},
): Promise<Found> {
  const finder = finderFor({ pattern: "", regex: false, ignoreCase: false, ...query });
  const all = { ...ALL, ...bounds };
  const found = search(resource, finder, all, new AbortController().signal);
  const matches: SearchMatch[] = [];
  const progress: number[] = [];
  for (;;) {
    const { done, value } = await found.next();
    if (done) {
      return progress.length > 0 ? { matches, progress, end: value } : { matches, end: value };
    }
    for (const object of value) {
      if ("searchedLines" in object) progress.push(object.searchedLines);
      else matches.push(object);
    }
  }
}

const linesOf = ({ matches }: Found): number[] => matches.map(({ line }) => line);

/** Lines as the protocol counts them, without their line breaks, and where they begin. */
function linesIn(bytes: Uint8Array): { text: Buffer; offset: number }[] {
  const lines: { text: Buffer; offset: number }[] = [];
  for (let start = 0; start < bytes.length;) {
    const at = bytes.indexOf(10, start);
    const end = at === -1 ? bytes.length : at;
    const text = Buffer.from(bytes.subarray(start, end));
    const isCrLf = at !== -1 && text.at(-1) === 13;
    lines.push({ text: isCrLf ? text.subarray(0, -1) : text, offset: start });
    start = end + 1;
  }
  return lines;
}

const fewLetters = (maxLength: number) =>
  fc.array(fc.constantFrom("a", "b", "B", "é", "\n", "\n", "."), { maxLength, size: "max" })
    .map((letters) => letters.join(""));
const needle = fc.array(fc.constantFrom("a", "b", "B", "é", "."), { minLength: 1, maxLength: 3 })
  .map((letters) => letters.join(""));

test("plain text is found where a naive search finds it", async () => {
  const property = fc.asyncProperty(fewLetters(300), needle, async (content, pattern) => {
    await using here = world();
    const resource = await finished(here, content);
    const wanted = linesIn(utf8(content)).flatMap(({ text, offset }, line) => {
      const at = text.indexOf(pattern);
      return at === -1 ? [] : [{ line, offset: offset + at, text: text.toString() }];
    });
    const { matches, end } = await searchAll(resource, { pattern });
    assertEquals(matches.map(({ line, offset, text }) => ({ line, offset, text })), wanted);
    assertEquals(end.truncated, false);
  });
  await fc.assert(property, { numRuns: 200 });
});

test("plain text in any case is found where its lower case is", async () => {
  const property = fc.asyncProperty(fewLetters(200), needle, async (content, pattern) => {
    await using here = world();
    const { matches } = await searchAll(await finished(here, content), {
      pattern: pattern.toUpperCase(),
      ignoreCase: true,
    });
    const wanted = content.split("\n").flatMap((line, index) =>
      line.toLowerCase().includes(pattern.toLowerCase()) ? [index] : []
    );
    assertEquals(matches.map(({ line }) => line), wanted);
  });
  await fc.assert(property, { numRuns: 200 });
});

const foldingLetters = fc.constantFrom(..."kK\u212asS\u017fßaAäÄiIıİµμΣςσ.[\n\n");

test("a text in any case is found where the regular expression that is this text is", async () => {
  const content = fc.string({ unit: foldingLetters, maxLength: 200, size: "max" });
  const wanted = fc.string({
    unit: foldingLetters.filter((letter) => letter !== "\n"),
    minLength: 1,
    maxLength: 3,
  });
  const property = fc.asyncProperty(content, wanted, async (content, pattern) => {
    await using here = world();
    const resource = await finished(here, content);
    const plain = await searchAll(resource, { pattern, ignoreCase: true });
    const expression = pattern.replace(/[.[]/g, "\\$&");
    const regex = await searchAll(resource, { pattern: expression, ignoreCase: true, regex: true });
    assertEquals(plain.matches, regex.matches);
  });
  await fc.assert(property, { numRuns: 300 });
});

test("letters of ASCII are the same as the others of their kind in any case", async () => {
  await using here = world();
  const resource = await finished(here, "273 \u212a\nMi\u017f\u017fi\u017f\u017fippi\n");
  const matches = async (pattern: string) =>
    (await searchAll(resource, { pattern, ignoreCase: true })).matches.map((match) =>
      [match.line, match.offset, match.length] as const
    );
  assertEquals(await matches("3 k"), [[0, 2, 5]]);
  assertEquals(await matches("ISSIP"), [[1, 14, 7]]);
});

/** Expressions that mean the same to RE2 and to JavaScript, with and without literals that must occur. */
const expression: fc.Arbitrary<string> = fc.letrec<{ any: string }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom("a", "b", "B", "é", ".", "\\.", "[ab]", "[^a]", "\\w", "\\d", "^", "$"),
    fc.tuple(tie("any"), tie("any")).map((parts) => parts.join("")),
    fc.tuple(tie("any"), tie("any")).map(([one, other]) => `(?:${one}|${other})`),
    fc.tuple(tie("any"), fc.constantFrom("*", "+", "?", "{1,2}", "+?"))
      .map(([part, times]) => `(?:${part})${times}`),
  ),
})).any;

test("a regular expression matches what JavaScript's matches", async () => {
  const property = fc.asyncProperty(fewLetters(120), expression, async (content, pattern) => {
    await using here = world();
    const resource = await finished(here, content);
    const wanted = linesIn(utf8(content)).flatMap(({ text, offset }, line) => {
      const found = new RegExp(pattern, "u").exec(text.toString());
      if (found === null) return [];
      const before = Buffer.byteLength(text.toString().slice(0, found.index));
      return [{ line, offset: offset + before }];
    });
    const { matches } = await searchAll(resource, { pattern, regex: true });
    assertEquals(matches.map(({ line, offset }) => ({ line, offset })), wanted, pattern);
  });
  await fc.assert(property, { numRuns: 500 });
});

test("a match says where it is, how long, and what stands around it", async () => {
  await using here = world();
  const resource = await finished(here, "one\r\ntwo é three\r\nfour");
  assertEquals(await searchAll(resource, { pattern: "é t[a-z]+$", regex: true }), {
    matches: [{ line: 1, offset: 9, length: 8, text: "two é three", textOffset: 5, cut: false }],
    end: { nextLine: 3, truncated: false, partialLines: 0 },
  });
});

test("bytes that are no UTF-8 do not move what follows them", async () => {
  await using here = world();
  const resource = await finished(here, Uint8Array.from([0xff, 0xc3, 10, 0xff, 97, 98, 10]));
  const plain = await searchAll(resource, { pattern: "b" });
  assertEquals(plain.matches.map(({ line, offset }) => [line, offset]), [[1, 5]]);
  const regex = await searchAll(resource, { pattern: "a?b", regex: true });
  assertEquals(regex.matches.map(({ line, offset }) => [line, offset]), [[1, 4]]);
});

test("a search begins at a line, also one counted from the end", async () => {
  await using here = world();
  const resource = await finished(here, "a\n".repeat(10));
  assertEquals(linesOf(await searchAll(resource, { pattern: "a" }, { from: 8 })), [8, 9]);
  assertEquals(linesOf(await searchAll(resource, { pattern: "a" }, { from: -1 })), [9]);
  assertEquals(linesOf(await searchAll(resource, { pattern: "a" }, { from: -99 })).length, 10);
  assertEquals(linesOf(await searchAll(resource, { pattern: "a" }, { from: 7, to: 9 })), [7, 8]);
  assertEquals(linesOf(await searchAll(resource, { pattern: "a" }, { from: 8, to: 99 })), [8, 9]);
  assertEquals((await searchAll(resource, { pattern: "x" }, { from: 2, to: 5 })).end, {
    nextLine: 5,
    truncated: false,
    partialLines: 0,
  });
  assertEquals(linesOf(await searchAll(resource, { pattern: "a" }, { from: 5, to: 2 })), []);
  assertEquals(linesOf(await searchAll(resource, { pattern: "a" }, { from: 10 })), []);
  await assertFails(
    "LINES_NOT_AVAILABLE",
    () => searchAll(resource, { pattern: "a" }, { from: 11 }),
  );
});

test("a search that reached its limit goes on where it ended", async () => {
  await using here = world();
  const resource = await finished(here, "a\nb\n".repeat(50_000));
  const lines: number[] = [];
  for (let from = 0;;) {
    const found = await searchAll(resource, { pattern: "b" }, { from, limit: 7000 });
    lines.push(...linesOf(found));
    if (!found.end.truncated) break;
    from = found.end.nextLine;
  }
  assertEquals(lines, Array.from({ length: 50_000 }, (_, index) => 2 * index + 1));
});

test("a search whose time is over says where to go on, and always comes further", async () => {
  await using here = world();
  const resource = await finished(here, "a\n".repeat(1000) + "x".repeat(LONG_LINE_BYTES));
  const lines: number[] = [];
  let from = 0;
  while (from < 1001) {
    const found = await searchAll(resource, { pattern: "a" }, { from, budgetMs: 0 });
    lines.push(...linesOf(found));
    assert(found.end.nextLine > from);
    assertEquals(found.end.truncated, found.end.nextLine < 1001);
    from = found.end.nextLine;
  }
  assertEquals(lines, Array.from({ length: 1000 }, (_, index) => index));
});

test("a live resource is searched as far as its complete lines go", async () => {
  await using here = world();
  const resource = await running(here, "a\na\na");
  const { matches, end } = await searchAll(resource, { pattern: "a" });
  assertEquals(matches.map(({ line }) => line), [0, 1]);
  assertEquals(end, { nextLine: 2, truncated: false, partialLines: 0 });
});

test("text is found anywhere in a line longer than every window, and the lines behind it", async () => {
  for (
    const at of [0, 131_067, 131_071, 131_072, 262_140, LONG_LINE_BYTES - 6, 8 * 131_067 + 100]
  ) {
    await using here = world();
    const line = `${"x".repeat(at)}needle`.padEnd(LONG_LINE_BYTES, "x");
    const resource = await finished(here, `first\n${line}\nneedle\n${line}`);
    const { matches, end } = await searchAll(resource, { pattern: "needle" });
    assertEquals(matches.map(({ line, offset }) => [line, offset]), [
      [1, 6 + at],
      [2, line.length + 7],
      [3, line.length + 14 + at],
    ]);
    assertEquals(end, { nextLine: 4, truncated: false, partialLines: 0 });
    for (const { text, textOffset, offset, cut } of matches) {
      assert(text.length <= 4096);
      assertEquals(cut, text.length > 6);
      assertEquals(text.slice(offset - textOffset).slice(0, 6), "needle");
    }
  }
});

test("a regular expression sees the beginning of a long line, and says that it saw no more", async () => {
  await using here = world();
  const lines = [
    `${"x".repeat(60_000)}needle`,
    `${"x".repeat(66_000)}needle`,
    `${"x".repeat(LONG_LINE_BYTES)}needle`,
    `need1e${"x".repeat(LONG_LINE_BYTES)}`,
    "needle",
  ];
  const resource = await finished(here, lines.join("\n"));
  const found = await searchAll(resource, { pattern: "need[l1]e", regex: true });
  assertEquals(linesOf(found), [0, 3, 4]);
  assertEquals(found.end, { nextLine: 5, truncated: false, partialLines: 2 });
});

test("the text of a match in a long line is cut between characters", async () => {
  await using here = world();
  const resource = await finished(here, `${"€".repeat(3000)}needle${"€".repeat(3000)}\n`);
  const [{ text, textOffset, offset, cut }] =
    (await searchAll(resource, { pattern: "needle" })).matches;
  assert(cut && !text.includes("\ufffd"));
  assert(Math.abs(utf8(text).length - 4096) <= 3);
  assertEquals(utf8(text.slice(0, text.indexOf("needle"))).length, offset - textOffset);
  const bytes = (await readAll(resource)).subarray(textOffset, textOffset + utf8(text).length);
  assertEquals(new TextDecoder().decode(bytes), text);
});

test("letters of other alphabets have two cases, too", async () => {
  await using here = world();
  const resource = await finished(here, "ÄRGER\närger\nArger\nã¤rger\n");
  assertEquals(linesOf(await searchAll(resource, { pattern: "Ärger", ignoreCase: true })), [0, 1]);
});

test("patterns that cannot be searched for are refused by name", () => {
  const refused = (query: Partial<SearchQuery>) => {
    const whole = { pattern: "", regex: false, ignoreCase: false, ...query };
    const error = assertThrows(() => finderFor(whole), StreamError);
    assertEquals(error.code, "BAD_REQUEST");
    return error.message;
  };
  refused({ pattern: "" });
  refused({ pattern: "a\nb" });
  refused({ pattern: "x".repeat(1025) });
  finderFor({ pattern: "x".repeat(1024), regex: false, ignoreCase: true });
  assert(refused({ pattern: "(a", regex: true }).includes("(a"));
  refused({ pattern: "(a)\\1", regex: true });
  refused({ pattern: "a{600}", regex: true });
  finderFor({ pattern: "a{400}", regex: true, ignoreCase: false });
});

test("a pattern that takes others exponential time takes linear time", async () => {
  await using here = world();
  const resource = await finished(here, `${"a".repeat(50_000)}\n`.repeat(20));
  const startedAtMs = performance.now();
  const { matches } = await searchAll(resource, { pattern: "(a+)+$|(a|aa)*b", regex: true });
  assertEquals(matches.length, 20);
  assert(performance.now() - startedAtMs < 4000);
});

test("others get their turn while a search runs", async () => {
  await using here = world();
  const lines = 10_000, lookMs = 0.1;
  const resource = await finished(here, `${"ab".repeat(50)}\n`.repeat(lines));
  const { result: turns, looks } = await onLookedAtClock(
    lookMs,
    () => turnsDuring(() => searchAll(resource, { pattern: "[xy][0-9]|[0-9]+[xy]", regex: true })),
  );
  assert(looks >= lines, `${looks} looks at the clock for ${lines} lines`);
  assert(turns * 4 >= looks * lookMs, `${turns} turns in ${looks * lookMs} ms`);
});

async function textOn(server: TestServer, content: string): Promise<string> {
  const here = { resources: server.resources } as unknown as World;
  return (await finished(here, content)).id;
}

async function objectsFrom(url: string): Promise<Record<string, unknown>[]> {
  const text = await (await fetch(url)).text();
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

test("over HTTP matches are lines of JSON, and the last says how it ended", async () => {
  await using server = await startServer();
  const id = await textOn(server, "one\ntwo\nthree\n");
  const url = `${server.url}/resources/${id}/search`;
  const response = await fetch(`${url}?q=T&ignoreCase=true&limit=1`);
  assertEquals(response.headers.get("content-type"), "application/x-ndjson; charset=utf-8");
  assertEquals((await response.text()).split("\n"), [
    '{"line":1,"offset":4,"length":1,"text":"two","textOffset":4,"cut":false}',
    '{"end":true,"nextLine":2,"truncated":true,"partialLines":0}',
    "",
  ]);
  assertEquals((await objectsFrom(`${url}?q=t&from=2`)).map(({ line }) => line), [2, undefined]);
  assertEquals((await objectsFrom(`${url}?q=%5Et.o%24&regex=true`)).length, 2);
  assertEquals((await fetch(url, { method: "HEAD" })).status, 400);
  const head = await fetch(`${url}?q=t`, { method: "HEAD" });
  assertEquals([head.status, head.headers.get("content-length")], [200, null]);
});

test("over HTTP a search that makes no sense is refused with the code that says why", async () => {
  await using server = await startServer();
  const id = await textOn(server, "one\n");
  const refusal = async (query: string, of = id) => {
    const response = await fetch(`${server.url}/resources/${of}/search?${query}`);
    const { status, code } = await response.json() as Problem;
    assertEquals(response.status, status);
    return code;
  };
  assertEquals(await refusal(""), "BAD_REQUEST");
  assertEquals(await refusal("q=(&regex=true"), "BAD_REQUEST");
  assertEquals(await refusal("q=a&regex=yes"), "BAD_REQUEST");
  assertEquals(await refusal("q=a&limit=10001"), "BAD_REQUEST");
  assertEquals(await refusal("q=a&limit=0"), "BAD_REQUEST");
  assertEquals(await refusal("q=a&from=1e3"), "BAD_REQUEST");
  assertEquals(await refusal("q=a&from=2"), "LINES_NOT_AVAILABLE");
  assertEquals(await refusal("q=a", crypto.randomUUID()), "NOT_FOUND");
  const here = { resources: server.resources } as unknown as World;
  const metadata = { filename: "a.bin", mimeType: "a/b", supportsLineAccess: false };
  const { resource } = await register(here, { metadata });
  assertEquals(await refusal("q=a", resource.id), "NO_LINE_ACCESS");
});

test("over HTTP only so many search at once, and who goes makes room", async () => {
  await using server = await startServer();
  // Every line matches, with much text: an answer that nobody reads has to wait.
  const id = await textOn(server, `${"é".repeat(2000)}\n`.repeat(10_000));
  const url = `${server.url}/resources/${id}/search?q=%C3%A9&limit=10000`;
  const searches = await Promise.all([1, 2, 3, 4].map(async () => {
    const reader = (await fetch(url)).body!.getReader();
    await reader.read();
    return reader;
  }));
  const refused = await fetch(url);
  assertEquals([refused.status, (await refused.json()).code], [503, "LIMIT_REACHED"]);
  await searches[0].cancel();
  for (;;) {
    const response = await fetch(`${url}&from=9999`);
    const text = await response.text();
    if (response.status === 503) continue;
    assert(text.endsWith('"truncated":false,"partialLines":0}\n'));
    break;
  }
  await Promise.all(searches.map((reader) => reader.cancel()));
});

test("searches that nobody reads give their places to others, and go on when they are read", async () => {
  await using server = await startServer();
  const id = await textOn(server, `${"é".repeat(2000)}\n`.repeat(4000));
  const url = `${server.url}/resources/${id}/search?q=%C3%A9&limit=10000`;
  const stalled = await Promise.all([1, 2, 3, 4].map(async () => (await fetch(url)).body!));
  let other = await fetch(url);
  while (other.status !== 200) {
    await other.body!.cancel();
    await sleep(20);
    other = await fetch(url);
  }
  const ends = await Promise.all([...stalled, other.body!].map(async (body) => {
    const text = await new Response(body).text();
    return [text.split("\n").length, text.slice(-50)];
  }));
  for (const end of ends) assertEquals(end, [4002, ends[0][1]]);
  assertStringIncludes(String(ends[0][1]), '"truncated":false,"partialLines":0}\n');
});

test("searches of one address that nobody reads leave half of all places to others", async () => {
  await using server = await startServer({ trustProxy: true });
  const id = await textOn(server, `${"é".repeat(2000)}\n`.repeat(10_000));
  const searchFrom = (address: string) =>
    fetch(`${server.url}/resources/${id}/search?q=%C3%A9&limit=10000`, {
      headers: { "X-Forwarded-For": address },
    });
  const held = [await searchFrom("192.0.2.1"), await searchFrom("192.0.2.1")];
  const refused = await searchFrom("192.0.2.1");
  assertEquals([refused.status, (await refused.json()).code], [503, "LIMIT_REACHED"]);
  const other = await searchFrom("192.0.2.2");
  assertEquals(other.status, 200);
  await Promise.all([...held, other].map(({ body }) => body!.cancel()));
});
