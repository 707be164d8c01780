/** The parts of the viewer that know no page. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { ResourceStatus } from "../../src/client.ts";
import { LiveText, TAIL_CHARS } from "../../src/viewer/model/live_text.ts";
import { fragmentOf, linesIn } from "../../src/viewer/model/permalink.ts";
import { piecesOf } from "../../src/viewer/model/pieces.ts";
import { complement, type LineRange, RowMap, united } from "../../src/viewer/model/row_map.ts";
import { fromScroll, MAX_SCROLL_PX, scrollHeight, toScroll } from "../../src/viewer/model/scale.ts";
import { textOfSelection } from "../../src/viewer/model/selection.ts";
import { SettingsStore } from "../../src/viewer/model/settings.ts";
import { timeIn } from "../../src/viewer/model/times.ts";
import { PIECE_BYTES, piecesOfBytes } from "../../src/viewer/model/source.ts";

const row = (text: string) => ({ text, spans: [] });

test("rows and lines are the same where nothing is hidden", () => {
  const map = new RowMap(5);
  assertEquals([map.rows, map.lineAt(3), map.rowOf(3), map.isHidden(3)], [5, 3, 3, false]);
});

test("every row has a line that is not hidden, and every such line its row", () => {
  const range = fc.tuple(fc.nat(60), fc.nat(10)).map(([from, count]): LineRange => [
    from,
    from + count,
  ]);
  fc.assert(fc.property(fc.nat(60), fc.array(range, { maxLength: 8 }), (lines, hidden) => {
    const map = new RowMap(lines, hidden);
    const shown = Array.from({ length: lines }, (_, line) => line)
      .filter((line) => !hidden.some(([from, to]) => line >= from && line < to));
    assertEquals(Array.from({ length: map.rows }, (_, at) => map.lineAt(at)), shown);
    for (const [at, line] of shown.entries()) assertEquals(map.rowOf(line), at);
    for (let line = 0; line < lines; line++) {
      assertEquals(map.isHidden(line), !shown.includes(line));
      assert(map.rowOf(line) === shown.filter((other) => other < line).length);
    }
  }));
});

test("what is between ranges, and ranges that touch", () => {
  assertEquals(united([[5, 7], [1, 3], [3, 4], [9, 9]]), [[1, 4], [5, 7]]);
  assertEquals(complement([[1, 4], [5, 7]], 9), [[0, 1], [4, 5], [7, 9]]);
});

test("a scroll bar of limited height reaches every row of 100 million, and one notch is one notch", () => {
  const heights = { contentPx: 100_000_000 * 18, viewPx: 800 };
  assertEquals(scrollHeight(heights), MAX_SCROLL_PX);
  const last = heights.contentPx - heights.viewPx;
  const end = MAX_SCROLL_PX - heights.viewPx;
  assertEquals([toScroll(0, heights), toScroll(last, heights)], [0, end]);
  assertEquals([fromScroll(0, heights), fromScroll(end, heights)], [0, last]);
  // Near both ends a pixel is a pixel, so that a wheel has room there.
  assertEquals(fromScroll(toScroll(500, heights) + 100, heights), 600);
  assertEquals(fromScroll(toScroll(last - 500, heights) + 100, heights), last - 400);
  for (let part = 0; part <= 1; part += 0.05) {
    const place = part * last;
    assert(Math.abs(fromScroll(toScroll(place, heights), heights) - place) < 1, `${part}`);
  }
});

test("a short content is scrolled as it is", () => {
  const heights = { contentPx: 5000, viewPx: 800 };
  assertEquals([scrollHeight(heights), toScroll(300, heights), fromScroll(300, heights)], [
    ...[5000, 300, 300],
  ]);
});

test("permalinks name lines from 1, in either order", () => {
  assertEquals(linesIn("#L120"), { first: 119, last: 119 });
  assertEquals(linesIn("#L140-L120"), { first: 119, last: 139 });
  assertEquals(linesIn("#L120-140"), { first: 119, last: 139 });
  for (const wrong of ["", "#L0", "#L", "#120", "#Lx", "#L1-"]) assertEquals(linesIn(wrong), null);
  assertEquals(fragmentOf({ first: 119, last: 139 }), "#L120-L140");
  assertEquals(fragmentOf({ first: 0, last: 0 }), "#L1");
});

test("a time of day is one of the day the log began, or of the next if it went on until then", () => {
  const startMs = Date.parse("2026-11-28T23:50:00Z"), endMs = Date.parse("2026-11-29T00:20:00Z");
  const time = (text: string, endMs?: number) => {
    const timeMs = timeIn(text, startMs, endMs);
    return timeMs === null ? null : new Date(timeMs).toISOString();
  };
  assertEquals(time("23:55Z", endMs), "2026-11-28T23:55:00.000Z");
  assertEquals(time("0:05:30.5Z", endMs), "2026-11-29T00:05:30.500Z");
  assertEquals(time("0:25Z", endMs), "2026-11-28T00:25:00.000Z");
  assertEquals(time("0:05Z"), "2026-11-28T00:05:00.000Z");
  assertEquals(time("2026-11-29 00:01Z", endMs), "2026-11-29T00:01:00.000Z");
  assertEquals(["12", "1:2:3:4", "noon"].map((text) => time(text, endMs)), [null, null, null]);
});

test("addresses become links without the sentence around them", () => {
  const links = (text: string) => piecesOf(row(text)).flatMap(({ link }) => link ?? []);
  assertEquals(links("see https://a.example/x?y=1, or (http://b.example/z)."), [
    ...["https://a.example/x?y=1", "http://b.example/z"],
  ]);
  assertEquals(links("https://a.example/wiki/X_(y) javascript:alert(1) ftp://x"), [
    "https://a.example/wiki/X_(y)",
  ]);
});

test("characters that reorder, hide or stand for broken bytes are named; joiners of scripts are not", () => {
  const marks = (text: string) => piecesOf(row(text)).flatMap(({ mark }) => mark ?? []);
  assertEquals(marks("a\u202eb\u200bc\ufffdd\x00e"), ["U+202E", "U+200B", "\ufffd", "\u2400"]);
  assertEquals(marks("👩\u200d💻 می\u200cخواهم"), []);
  assertEquals(marks("adm\u200din"), ["U+200D"]);
  assertEquals(marks("tab\tand é 漢字 עברית"), []);
});

test("pieces join to the text, whatever overlaps", () => {
  const range = fc.tuple(fc.nat(30), fc.nat(30)).map(([start, length]) => ({
    start,
    end: start + length,
  }));
  fc.assert(fc.property(fc.string({ maxLength: 30 }), fc.array(range), (text, hits) => {
    const inside = hits.filter(({ end }) => end <= text.length);
    assertEquals(piecesOf(row(text), inside).map((piece) => piece.text).join(""), text);
  }));
});

test("a selection copies clean text with its empty lines, in the order of the log", () => {
  const lines = ["first", "", "third", "fourth"];
  const textOf = (line: number) => lines[line];
  const down = { anchor: { line: 0, character: 2 }, focus: { line: 3, character: 3 } };
  assertEquals(textOfSelection(down, textOf), "rst\n\nthird\nfou");
  const up = { anchor: down.focus, focus: down.anchor };
  assertEquals(textOfSelection(up, textOf), "rst\n\nthird\nfou");
});

test("pieces of a long line are cut between characters, and nothing is lost", () => {
  const text = "aé漢😀".repeat(3000);
  const bytes = new TextEncoder().encode(text);
  const pieces = piecesOfBytes(bytes, 0, bytes.length);
  assertEquals(pieces.length, Math.ceil(bytes.length / PIECE_BYTES));
  assertEquals(pieces.join(""), text);
  // Each piece for itself, as it is read with some bytes around it.
  const single = pieces.map((_, at) => {
    const from = at * PIECE_BYTES, to = Math.min(bytes.length, from + PIECE_BYTES);
    const before = Math.min(from, 4), after = Math.min(bytes.length - to, 4);
    return piecesOfBytes(bytes.subarray(from - before, to + after), before, to - from)[0];
  });
  assertEquals(single.join(""), text);
});

test("settings that cannot be kept or read are those of the beginning", () => {
  const broken = {
    getItem: () => "{no json",
    setItem: () => {
      throw new Error("full");
    },
  };
  const store = new SettingsStore(broken);
  assertEquals(store.all.wrap, false);
  store.set({ wrap: true });
  assertEquals(store.all.wrap, true);
});

/** What a server sends with statuses, cut anywhere. */
function* told(content: string, cuts: readonly number[], maxChars: number) {
  const edges = [...new Set([...cuts.map((cut) => cut % (content.length + 1)), content.length])]
    .sort((a, b) => a - b);
  let seen = 0;
  for (const [at, end] of edges.entries()) {
    const isLast = at === edges.length - 1;
    const startOffset = Math.max(seen, end - maxChars);
    const text = content.slice(startOffset, end);
    seen = end;
    const breaks = content.slice(0, end).split("\n").length - 1;
    const hasRest = isLast && end > 0 && content[end - 1] !== "\n";
    const status = {
      transferStatus: isLast ? "COMPLETED" : "IN_PROGRESS",
      currentSize: end,
      numberOfLines: breaks + (hasRest ? 1 : 0),
    } as ResourceStatus;
    if (text !== "") yield { appended: { startOffset, endOffset: end, text }, status };
  }
}

test("lines that come with statuses are those of the log, wherever they are cut", () => {
  const content = fc.array(fc.constantFrom("a", "bc", "\n", "\n", "\r\n"), { maxLength: 40 })
    .map((parts) => parts.join(""));
  const cuts = fc.array(fc.nat(80), { maxLength: 12 });
  fc.assert(fc.property(content, cuts, fc.integer({ min: 1, max: 30 }), (text, cuts, maxChars) => {
    const lines = text.split("\n").map((line, at, all) =>
      at < all.length - 1 && line.endsWith("\r") ? line.slice(0, -1) : line
    );
    const live = new LiveText();
    const seen = new Map<number, string>();
    let isGap = false;
    for (const { appended, status } of told(text, cuts, maxChars)) {
      if (appended.endOffset - appended.startOffset === maxChars) isGap = true;
      const { first, lines: came, rest } = live.take(appended, status);
      for (const [at, line] of came.entries()) {
        assertEquals(line, lines[first + at]);
        seen.set(first + at, line);
      }
      const open = text.slice(0, status.currentSize).split("\n").at(-1)!;
      if (status.transferStatus === "IN_PROGRESS") assert(open.endsWith(rest), `${open} ${rest}`);
    }
    if (!isGap) {
      assertEquals(seen.size, text === "" ? 0 : lines.length - (text.endsWith("\n") ? 1 : 0));
    }
  }));
});

test("a line that is never ended is kept in part, and not taken for a whole one", () => {
  const live = new LiveText();
  const at = (startOffset: number, text: string, numberOfLines: number) =>
    live.take(
      { startOffset, endOffset: startOffset + text.length, text },
      { transferStatus: "IN_PROGRESS", numberOfLines } as ResourceStatus,
    );
  const long = "x".repeat(TAIL_CHARS);
  assertEquals(at(0, long, 0), { first: 0, lines: [], rest: long, isRestWhole: true });
  assertEquals(at(TAIL_CHARS, "y", 0).rest, `${long.slice(1)}y`);
  assertEquals(at(TAIL_CHARS + 1, "z\nnext\nrest", 2), {
    first: 1,
    lines: ["next"],
    rest: "rest",
    isRestWhole: true,
  });
});
