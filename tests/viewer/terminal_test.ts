/** What a terminal would show, without a browser. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { contrast, paintOf, parse, SURFACES } from "../../src/viewer/model/colour.ts";
import { afterSgr, PLAIN, type Style } from "../../src/viewer/model/style.ts";
import type { Find } from "../../src/viewer/model/searcher.ts";
import {
  LOOK_BACK_LINES,
  LOOK_BACK_STYLED,
  styleBefore,
} from "../../src/viewer/model/style_before.ts";
import { rowOf, rowsOf, styleAfter } from "../../src/viewer/model/terminal.ts";

const ESC = "\x1b";
const red: Style = { ...PLAIN, foreground: 1 };
const textOf = (line: string) => rowOf(line, PLAIN).text;

test("colours of 16, of 256 and of 24 bits, and every attribute", () => {
  assertEquals(afterSgr(PLAIN, "31").foreground, 1);
  assertEquals(afterSgr(PLAIN, "97;104"), { ...PLAIN, foreground: 15, background: 12 });
  assertEquals(afterSgr(PLAIN, "38;5;200;48;5;17"), { ...PLAIN, foreground: 200, background: 17 });
  assertEquals(afterSgr(PLAIN, "38;2;1;2;3").foreground, 0x1010203);
  assertEquals(afterSgr(PLAIN, "38:2::1:2:3").foreground, 0x1010203);
  assertEquals(afterSgr(PLAIN, "48:2:1:2:3").background, 0x1010203);
  const all = afterSgr(PLAIN, "1;2;3;4;7;8;9");
  assertEquals(all, {
    ...PLAIN,
    bold: true,
    dim: true,
    italic: true,
    underline: true,
    inverse: true,
    hidden: true,
    strike: true,
  });
  assertEquals(afterSgr(all, "22;23;24;27;28;29"), PLAIN);
  assertEquals(afterSgr(red, ""), PLAIN);
});

test("a colour that makes no sense changes nothing, and what follows it counts", () => {
  assertEquals(afterSgr(PLAIN, "38;5;300;1"), { ...PLAIN, bold: true });
  assertEquals(afterSgr(PLAIN, "38;2;1;2"), PLAIN);
  assertEquals(afterSgr(PLAIN, "38"), PLAIN);
});

test("a style is carried over lines until something ends it", () => {
  const after = styleAfter(`${ESC}[31mone`, PLAIN);
  assertEquals(after, red);
  assertEquals(rowOf("two", after).spans, [{ start: 0, end: 3, style: red }]);
  assertEquals(styleAfter(`two${ESC}[0m`, after), PLAIN);
});

test("sequences that nobody knows vanish, whole or cut off", () => {
  for (
    const [line, shown] of [
      [`a${ESC}[?25lb${ESC}[6nc`, "abc"],
      [`a${ESC}]0;title\x07b`, "ab"],
      [`a${ESC}]1337;x=y${ESC}\\b`, "ab"],
      [`a${ESC}Pq#0${ESC}\\b`, "ab"],
      [`a${ESC}(Bb${ESC}7c`, "abc"],
      [`a${ESC}]0;never ended`, "a"],
      [`a${ESC}`, "a"],
      [`a${ESC}[`, "a"],
    ]
  ) assertEquals(textOf(line), shown, JSON.stringify(line));
});

test("links of http and https lead somewhere, others are text", () => {
  const link = (target: string) => `${ESC}]8;;${target}${ESC}\\here${ESC}]8;;${ESC}\\ text`;
  assertEquals(rowOf(link("https://a.example/x"), PLAIN).spans, [
    { start: 0, end: 4, style: { ...PLAIN, link: "https://a.example/x" } },
  ]);
  for (const target of ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//x"]) {
    assertEquals(rowOf(link(target), PLAIN), { text: "here text", spans: [] });
  }
});

test("a progress bar of carriage returns is one line that changes", () => {
  const steps = Array.from({ length: 101 }, (_, step) => `${step} %`);
  assertEquals(textOf(steps.join("\r")), "100 %");
  assertEquals(textOf("100 of 100\rdone"), "doneof 100");
  assertEquals(textOf(`100 of 100\r${ESC}[Kdone`), "done");
  assertEquals(textOf("ab\b\bcd"), "cd");
  assertEquals(textOf(`a${ESC}[5Gb`), "a   b");
});

test("lines that go up take the rows of earlier ones", () => {
  const lines = ["start", "a 0 %", "b 0 %", `${ESC}[2A${ESC}[2Ka 50 %`, `${ESC}[2Kb 50 %`, "end"];
  assertEquals(rowsOf(lines, PLAIN).map((row) => row?.text ?? null), [
    ...["start", null, null, "a 50 %", "b 50 %", "end"],
  ]);
});

test("a line that goes up and down again changes earlier rows, and stays where it is", () => {
  const lines = ["a waiting", "b waiting", `${ESC}[2A\r${ESC}[2Ka done${ESC}[2B\rtotal`];
  assertEquals(rowsOf(lines, PLAIN).map((row) => row?.text ?? null), [
    ...["a done", "b waiting", "total"],
  ]);
});

test("a cursor goes no further down than line breaks led: lines cannot make rows", () => {
  const lines = [`a${ESC}[Bb`, `c${ESC}[5Bd`, "e"];
  assertEquals(rowsOf(lines, PLAIN).map((row) => row?.text ?? null), ["ab", "cd", "e"]);
  const long = `${ESC}[Bx`.repeat(1000);
  const rows = rowsOf(Array.from({ length: 200 }, () => long), PLAIN);
  assertEquals(rows.at(-1)?.text, "x".repeat(1000));
});

test("no line makes the terminal fail or hang, whatever it holds", () => {
  const part = fc.constantFrom(
    ESC,
    "[",
    "]",
    "8;;",
    "A",
    "999999999",
    ";",
    "m",
    "\r",
    "\b",
    "x",
    "é",
  );
  fc.assert(fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
    const row = rowsOf([parts.join(""), "next"], PLAIN)[1];
    assert(row === null || typeof row.text === "string");
  }));
});

test("every colour can be read in both themes", () => {
  for (const theme of ["light", "dark"] as const) {
    const { foreground, background } = SURFACES[theme];
    for (let colour = 0; colour < 256; colour++) {
      for (
        const style of [
          { ...PLAIN, foreground: colour },
          { ...PLAIN, background: colour },
          { ...PLAIN, foreground: colour, inverse: true },
          { ...PLAIN, foreground: colour, dim: true },
          { ...PLAIN, foreground: colour, background: (colour * 7) % 256 },
        ]
      ) {
        const paint = paintOf(style, theme);
        const ratio = contrast(
          parse(paint.foreground ?? foreground),
          parse(paint.background ?? background),
        );
        assert(ratio >= 4.49, `${theme} ${JSON.stringify(style)}: ${ratio}`);
      }
    }
  }
});

/** A search through lines, and how many requests it took. */
function searched(lines: readonly string[]): { find: Find; asked: [from: number, to: number][] } {
  const asked: [number, number][] = [];
  const find: Find = async function* ({ pattern, to = lines.length }, from, limit) {
    await Promise.resolve();
    asked.push([from, to]);
    let found = 0;
    for (let line = from; line < to; line++) {
      if (!lines[line].includes(pattern)) continue;
      yield { line, text: lines[line] };
      if (++found === limit) return { nextLine: line + 1, truncated: line + 1 < to };
    }
    return { nextLine: to, truncated: false };
  };
  return { find, asked };
}

const { signal } = new AbortController();

test("the style of a line far from what is loaded is looked up behind it", async () => {
  const lines = [`${ESC}[0m`, `${ESC}[31mred from here`, ...Array(90_000).fill("still red")];
  const { find, asked } = searched(lines);
  assertEquals(await styleBefore(90_000, find, signal), red);
  // Each line is looked at once.
  assertEquals(asked, [[89_500, 90_000], [85_000, 89_500], [0, 85_000]]);
  assertEquals(await styleBefore(0, find, signal), PLAIN);
});

test("the nearest line that resets everything ends the look behind", async () => {
  const lines = [`${ESC}[1mbold`, ...Array(2000).fill("x"), `${ESC}[0;31mred`, "still red"];
  const { find, asked } = searched(lines);
  assertEquals(await styleBefore(2003, find, signal), red);
  assertEquals(asked, [[1503, 2003]]);
});

test("a style is right as far back as is promised, and lines with sequences are bounded", async () => {
  const bound = LOOK_BACK_LINES.at(-1)!;
  const at = (distance: number) =>
    searched([...Array(9).fill("x"), `${ESC}[31mred`, ...Array(distance - 1).fill("x"), "here"]);
  const line = (distance: number) => 9 + distance;
  assertEquals(await styleBefore(line(bound), at(bound).find, signal), red);
  assertEquals(await styleBefore(line(bound + 1), at(bound + 1).find, signal), PLAIN);
  // Lines that switch their colours on and off never decide what stood before them.
  const chatty = [`${ESC}[1mbold`, ...Array(20_000).fill(`${ESC}[31mred${ESC}[39m`)];
  const { find } = searched(chatty);
  assertEquals(await styleBefore(20_001, find, signal), PLAIN);
  assertEquals(await styleBefore(LOOK_BACK_STYLED, find, signal), { ...PLAIN, bold: true });
});
