/** How the viewer reads: lines near the view, a search through everything, an outline. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { CUT_CHARS, LineCache, type LoadedLines } from "../../src/viewer/model/line_cache.ts";
import { foldedLines, Outline, OUTLINE_PATTERN } from "../../src/viewer/model/outline.ts";
import { Log } from "../../src/viewer/model/log.ts";
import type { ResourceInfo } from "../../src/client.ts";
import { SettingsStore } from "../../src/viewer/model/settings.ts";
import type { LogSource } from "../../src/viewer/model/source.ts";
import { type Find, hitsIn, matcherOf, Searcher } from "../../src/viewer/model/searcher.ts";
import { finderFor } from "../../src/resources/reading/pattern.ts";
import { within } from "../helpers/frames/connection.ts";

/** Lines as a server hands them out; each request is noted. */
function served(count: number, asked: string[], long?: { line: number; bytes: number }) {
  return (start: number, lines: number, signal: AbortSignal): Promise<LoadedLines> => {
    signal.throwIfAborted();
    asked.push(`${start}+${lines}`);
    const end = Math.min(count, start + lines);
    const answer: string[] = [];
    for (let line = start; line < end; line++) {
      if (line !== long?.line) answer.push(`line ${line}\n`);
      else {
        answer.push("x".repeat(2 * CUT_CHARS));
        const next = { lineIndex: line, byteOffset: 2 * CUT_CHARS };
        return Promise.resolve({
          lines: answer,
          next,
          linesCount: lines,
          startOffset: 0,
          endOffset: long.bytes,
        });
      }
    }
    return Promise.resolve({
      lines: answer,
      next: null,
      linesCount: answer.length,
      startOffset: 0,
      endOffset: 0,
    });
  };
}

function arrival(): { changed: () => void; once: () => Promise<void> } {
  let waiting = Promise.withResolvers<void>();
  return {
    changed: () => {
      waiting.resolve();
      waiting = Promise.withResolvers();
    },
    once: () => within("lines", waiting.promise),
  };
}

test("lines are read as they are wanted, once, and those in view first", async () => {
  const asked: string[] = [];
  const { changed, once } = arrival();
  const cache = new LineCache(served(1000, asked), changed, () => {});
  cache.want([[500, 510], [510, 520]]);
  while (!cache.has([500, 520])) await once();
  assertEquals([cache.get(505)?.text, cache.get(505)?.longBytes], ["line 505", null]);
  assertEquals(asked, ["500+10", "510+10"]);
  cache.want([[505, 515]]);
  await Promise.resolve();
  assertEquals(asked.length, 2);
});

test("a jump gives up what is not wanted any more", async () => {
  const asked: string[] = [];
  let aborted = 0;
  const { changed, once } = arrival();
  const cache = new LineCache(
    (start, count, signal) => {
      if (start !== 0) return served(1000, asked)(start, count, signal);
      return new Promise((_, reject) =>
        signal.addEventListener("abort", () => {
          aborted++;
          reject(signal.reason);
        })
      );
    },
    changed,
    () => {},
  );
  cache.want([[0, 10]]);
  cache.want([[900, 910]]);
  await once();
  assertEquals([aborted, cache.get(900)?.text], [1, "line 900"]);
});

test("a window is kept, never the text", async () => {
  const { changed, once } = arrival();
  const cache = new LineCache(served(1_000_000, []), changed, () => {});
  for (let start = 0; start < 40_000; start += 400) {
    cache.want([[start, start + 400]]);
    await once();
  }
  assert(cache.size <= 6000, `${cache.size}`);
  assert(cache.has([39_600, 40_000]));
});

test("a very long line is cut, its length is told, and the lines behind it come", async () => {
  const { changed, once } = arrival();
  const cache = new LineCache(
    served(10, [], { line: 3, bytes: 50_000_000 }),
    changed,
    () => {},
  );
  cache.want([[0, 10]]);
  while (!cache.has([0, 10])) await once();
  assertEquals(cache.get(3)?.longBytes, 50_000_000);
  assertEquals(cache.get(3)?.text.length, CUT_CHARS);
  assertEquals(cache.get(4)?.text, "line 4");
});

/** A server's searches: each answers up to `limit` hits. */
function finds(hits: readonly number[], lines: () => number): Find {
  return async function* (_query, from, limit) {
    const found = hits.filter((line) => line >= from && line < lines()).slice(0, limit);
    for (const line of found) {
      await Promise.resolve();
      yield { line, text: "" };
    }
    const truncated = found.length === limit;
    return { nextLine: truncated ? found.at(-1)! + 1 : lines(), truncated };
  };
}

test("a search goes through the whole log, and on as that grows", async () => {
  let lines = 100;
  const { changed, once } = arrival();
  const searcher = new Searcher(finds([5, 50, 150], () => lines), changed);
  searcher.start({ pattern: "x", regex: false, ignoreCase: true }, lines);
  while (searcher.running) await once();
  assertEquals([...searcher.hits], [5, 50]);
  assertEquals([searcher.after(5), searcher.before(50), searcher.after(50)], [50, 5, null]);
  assertEquals([searcher.numberOf(50), searcher.numberOf(51)], [2, 0]);
  lines = 200;
  searcher.grow(lines);
  while (searcher.running) await once();
  assertEquals([...searcher.hits], [5, 50, 150]);
});

test("a search that is cancelled keeps what it found, and says how far it came", async () => {
  const { changed, once } = arrival();
  const searcher = new Searcher(finds([5, 50], () => 100), changed);
  searcher.start({ pattern: "x", regex: false, ignoreCase: true }, 100);
  await once();
  searcher.cancel();
  assertEquals([searcher.running, [...searcher.hits], searcher.searched], [false, [5], 6]);
});

test("hits are marked in what is shown", () => {
  const query = { pattern: "a.b", regex: false, ignoreCase: true };
  assertEquals(hitsIn("xA.Bx a_b", matcherOf(query)), [{ start: 1, end: 4 }]);
  assertEquals(hitsIn("aab", matcherOf({ ...query, pattern: "a*", regex: true })), [
    { start: 0, end: 2 },
  ]);
  assertEquals(matcherOf({ ...query, pattern: "(", regex: true }), null);
});

test("an expression that a browser may look for without an end is left to the server", () => {
  const matcher = (pattern: string) => matcherOf({ pattern, regex: true, ignoreCase: false });
  for (const pattern of ["(\\w+\\s*)+:", "(a|a)*b", "(?:x+){2,}y"]) {
    assertEquals(matcher(pattern), null, pattern);
  }
  for (const pattern of ["(error|fatal): .*", "x\\)+", "[)]*y", "(a)?b"]) {
    assert(matcher(pattern) !== null, pattern);
  }
});

function outlineOf(text: string): Outline {
  const outline = new Outline();
  for (const [line, content] of text.split("\n").entries()) outline.add(line, content);
  return outline;
}

const facts = (outline: Outline) =>
  outline.groups.map(({ head, end, title, depth }) => [head, end, title, depth]);

test("groups of each CI system, nested, and one that nothing ends", () => {
  assertEquals(facts(outlineOf("::group::A\n::group::B\nx\n::endgroup::\n::endgroup::\ny")), [
    [0, 5, "A", 0],
    [1, 4, "B", 1],
  ]);
  assertEquals(facts(outlineOf("2026-11-28T12:00:00.0000000Z ##[group]Run\nx\n##[endgroup]")), [
    [0, 3, "Run", 0],
  ]);
  const gitlab = "section_start:1:build[collapsed=true]\r\x1b[0KBuild it\nx\n" +
    "section_start:2:test\r\x1b[0KTest\nsection_end:3:build\r\x1b[0K\ny";
  assertEquals(facts(outlineOf(gitlab)), [[0, 4, "Build it", 0], [2, 4, "Test", 1]]);
  // A runner ends a section and begins the next one in one line.
  const joined = "section_start:1:a\r\x1b[0KA\nx\nsection_end:2:a\r\x1b[0Ksection_start:2:b\r" +
    "\x1b[0K\x1b[0K\x1b[36;1mB\x1b[0;m\ny\nsection_end:3:b\r\x1b[0K";
  const both = outlineOf(joined);
  assertEquals(facts(both), [[0, 2, "A", 0], [2, 5, "B", 0]]);
  assertEquals([...both.ends], [4]);
  assertEquals(facts(outlineOf("--- One\nx\n+++ Two\ny\n~~~ Three")), [
    [0, 2, "One", 0],
    [2, 4, "Two", 0],
    [4, Infinity, "Three", 0],
  ]);
  assertEquals(facts(outlineOf("::endgroup::\nx")), []);
});

test("results of tests, heads of diffs and titles between dashes are no groups", () => {
  const outline = outlineOf(
    "=== RUN   TestA\n    a_test.go:7: got 1, want 2\n--- FAIL: TestA (0.00s)\n" +
      "    --- FAIL: TestA/sub (0.00s)\n--- PASS: TestB (0.00s)\n" +
      "\x1b[1m--- a/x.ts\x1b[m\n\x1b[1m+++ b/x.ts\x1b[m\n--- x.c\t2026-11-28\n+++ /dev/null\n" +
      "--- example.org ping statistics ---\n3 packets\n--- Build\nx",
  );
  assertEquals(facts(outline), [[11, Infinity, "Build", 0]]);
  assertEquals([...outline.errors], [2, 3]);
});

test("lines that only end a group are known; others that end one are not hidden with it", () => {
  const outline = outlineOf(
    "::group::A\n::endgroup::\nx\n::endgroup::\nsection_start:1:s\r\nx\n" +
      "section_end:2:s\r\x1b[0KDone in 3 s\n",
  );
  assertEquals([...outline.ends], [1]);
  assertEquals(facts(outline), [[0, 2, "A", 0], [4, 6, "s", 0]]);
});

test("the innermost group around a line is found", () => {
  const outline = outlineOf("::group::A\n::group::B\nx\n::endgroup::\ny\n::endgroup::\nz");
  const around = Array.from({ length: 7 }, (_, line) => outline.around(line)?.title ?? null);
  assertEquals(around, ["A", "B", "B", "B", "A", "A", null]);
});

test("a group with an error says so, and folded groups hide their lines", () => {
  const outline = outlineOf(
    "::group::A\nerror: x\n::endgroup::\n::group::B\nfine, 0 errors\n::endgroup::",
  );
  assertEquals(outline.groups.map(({ failed }) => failed), [true, false]);
  assertEquals([...outline.errors], [1]);
  assertEquals(foldedLines(outline.groups, ({ failed }) => failed, 6), [[4, 6]]);
});

test("the server understands what the outline asks for, and finds the same lines", () => {
  const finder = finderFor({ pattern: OUTLINE_PATTERN, regex: true, ignoreCase: false });
  const lines = [
    ...["::group::A", "2026-11-28T12:00:00.0000000Z ##[endgroup]", "section_end:3:b\r\x1b[0K"],
    ...["\x1b[90m--- Head", "an Error: x", "Traceback (most recent call last):"],
    ...["--- FAIL: TestA (0.00s)", "    --- FAIL: TestA/sub (0.00s)"],
  ];
  for (const line of lines) {
    assert(finder.candidate(line, 0) >= 0, line);
  }
});

test("a line that is not ended is read again when it grew while it was being read", async () => {
  const statuses = Promise.withResolvers<void>();
  const reads: { to: number; answer: PromiseWithResolvers<Uint8Array> }[] = [];
  const asked = arrival();
  const text = "10 %\r50 %";
  const sized = (currentSize: number) => ({
    transferStatus: "IN_PROGRESS",
    numberOfLines: 0,
    currentSize,
    epoch: 1,
  } as ResourceInfo);
  const source: LogSource = {
    unit: "line",
    texts: () => Promise.resolve([]),
    info: () => Promise.resolve(sized(4)),
    async *statuses() {
      await statuses.promise;
      yield sized(text.length);
      await new Promise(() => {});
    },
    lines: () => Promise.reject(new Error("there are none")),
    lineSince: null,
    read: (_from, to) => {
      const answer = Promise.withResolvers<Uint8Array>();
      reads.push({ to, answer });
      asked.changed();
      return answer.promise;
    },
    find: async function* () {
      yield* [];
      return await new Promise<never>(() => {});
    },
  };
  const log = new Log(source, new SettingsStore({ getItem: () => null, setItem: () => {} }));
  const opened = asked.once();
  void log.open();
  await opened;
  const grown = arrival();
  log.listen(() => log.status?.currentSize === text.length && grown.changed());
  const taken = grown.once();
  statuses.resolve();
  await taken;
  const again = asked.once();
  reads[0].answer.resolve(new TextEncoder().encode(text.slice(0, 4)));
  await again;
  const shown = grown.once();
  reads[1].answer.resolve(new TextEncoder().encode(text));
  await shown;
  log.close();
  assertEquals(reads.map(({ to }) => to), [4, text.length]);
  assertEquals(log.rows.at(0)?.row.text, "50 %");
});

test("text that came with a status is not taken for that of another one", async () => {
  const later = Promise.withResolvers<void>();
  const status = (currentSize: number, numberOfLines: number) => ({
    transferStatus: "IN_PROGRESS",
    numberOfLines,
    currentSize,
    epoch: 1,
  } as ResourceInfo);
  const heard = arrival();
  const source: LogSource = {
    unit: "line",
    texts: () => Promise.resolve([]),
    info: () => Promise.resolve(status(0, 0)),
    async *statuses(_signal, _onRetry, onText) {
      onText({ startOffset: 0, endOffset: 4, text: "a\nb\n" });
      yield status(4, 2);
      // The connection broke before the status of this text.
      onText({ startOffset: 4, endOffset: 6, text: "c\n" });
      yield status(10, 5);
      await later.promise;
    },
    lines: () => new Promise(() => {}),
    lineSince: null,
    read: () => new Promise(() => {}),
    find: null,
  };
  const log = new Log(source, new SettingsStore({ getItem: () => null, setItem: () => {} }));
  log.listen(heard.changed);
  const opened = log.open();
  while (log.lines !== 5) await heard.once();
  const there = [0, 1, 2, 3, 4].map((line) => log.cache.get(line)?.text ?? null);
  assertEquals(there, ["a", "b", null, null, null]);
  log.close();
  later.resolve();
  await opened;
});
