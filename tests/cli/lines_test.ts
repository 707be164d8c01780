/** Lines of a resource as they are printed: the same whatever pieces their bytes come in. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { grepFinder } from "../../src/cli/lines/grep_finder.ts";
import { lastState, MAX_PIECE_BYTES, Pieces } from "../../src/cli/lines/pieces.ts";
import { shownLines, type ShownOptions } from "../../src/cli/lines/shown_lines.ts";
import { utf8 } from "../helpers/bytes.ts";
import { withChance } from "../helpers/random.ts";

const PLAIN: ShownOptions = {
  firstLine: 0,
  finder: null,
  times: null,
  label: null,
  json: null,
  isColoured: false,
  isTerminal: false,
};

async function shown(bytes: Uint8Array[], options: Partial<ShownOptions>): Promise<string> {
  let text = "";
  const output = shownLines({
    write(printed) {
      text += new TextDecoder().decode(printed);
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  }, { ...PLAIN, ...options });
  for (const piece of bytes) await output.write(piece);
  await output.close();
  return text;
}

test("the lines that match are those that grep prints, byte for byte", async () => {
  await withChance(async (chance) => {
    const lines = Array.from(
      { length: 200 },
      () => chance.pick(["", "an error", "a\r", "error\r", "x".repeat(chance.whole(0, 300))]),
    );
    const text = lines.join("\n");
    const kept = lines.map((line, index) => line + (index < lines.length - 1 ? "\n" : ""));
    for (const pattern of ["error$", "^$", "^a$", "x{5,}", "(?i)ERROR"]) {
      const expected = kept.filter((line) =>
        line !== "" &&
        new RegExp(pattern.replace("(?i)", ""), pattern.startsWith("(?i)") ? "i" : "")
          .test(line.replace(/\r?\n$/, ""))
      );
      const pieces = [...chance.pieces(utf8(text), chance.pick([1, 7, 100, 10_000]))];
      assertEquals(await shown(pieces, { finder: grepFinder(pattern) }), expected.join(""));
    }
  });
});

test("a line of any length is printed whole when its beginning matches, and not at all when not", async () => {
  const long = `begin ${"x".repeat(300_000)} end\n`;
  await withChance(async (chance) => {
    const pieces = [...chance.pieces(utf8(`one\n${long}two\n`), 50_000)];
    assertEquals(await shown(pieces, { finder: grepFinder("^begin") }), long);
    assertEquals(await shown(pieces, { finder: grepFinder("end$") }), "");
    const labelled = await shown(pieces, { label: () => "name | " });
    assertEquals(
      labelled.split("\n").every((line) => line === "" || line.startsWith("name | ")),
      true,
    );
    assertEquals(
      labelled.replaceAll(/\nname \| (?=x)/g, "").replaceAll("name | ", ""),
      `one\n${long}two\n`,
    );
  });
});

test("a match is coloured where it is, in bytes", async () => {
  const options = { finder: grepFinder("ö+"), isColoured: true };
  assertEquals(await shown([utf8("aäöö\nb\n")], options), "aä\x1b[31möö\x1b[0m\n");
});

test("behind a prefix a terminal shows the last state of a progress bar; others get the bytes", async () => {
  const bytes = [utf8("10%\r20%\rdone\r\nnext\n")];
  const label = () => "a | ";
  assertEquals(await shown(bytes, { label, isTerminal: true }), "a | done\r\na | next\n");
  assertEquals(await shown(bytes, { label }), "a | 10%\r20%\rdone\r\na | next\n");
  assertEquals(
    await shown(bytes, { isTerminal: true, finder: grepFinder(".") }),
    "10%\r20%\rdone\r\nnext\n",
  );
  assertEquals(new TextDecoder().decode(lastState(utf8("a\rb"))), "b");
});

test("lines as JSON have their index, and a long one comes in pieces that are whole characters", async () => {
  const long = `${"é".repeat(MAX_PIECE_BYTES)}x`;
  const text = await shown([utf8(`a\r\n${long.slice(0, 7)}`), utf8(`${long.slice(7)}\nend`)], {
    firstLine: 3,
    json: { id: "i" },
  });
  const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines[0], { id: "i", line: 3, text: "a" });
  assertEquals(lines.at(-1), { id: "i", line: 5, text: "end" });
  const pieces = lines.slice(1, -1);
  assertEquals(pieces.map(({ line, continues = false }) => [line, continues]), [
    [4, true],
    [4, true],
    [4, false],
  ]);
  assertEquals(pieces.map((piece) => piece.text).join(""), long);
});

test("a long line as JSON ends with a piece that says so, whole and without its line break", async () => {
  await withChance(async (chance) => {
    for (const length of [-1, 0, 1, 2].map((more) => MAX_PIECE_BYTES * chance.whole(1, 2) + more)) {
      const line = `${"x".repeat(length - 2)}é`;
      for (const lineBreak of ["\n", "\r\n", ""]) {
        const bytes = utf8(`a\n${line}${lineBreak}`);
        const at = bytes.length - chance.whole(0, 3);
        const text = await shown([bytes.subarray(0, at), bytes.subarray(at)], { json: {} });
        const pieces = text.trimEnd().split("\n").slice(1).map((piece) => JSON.parse(piece));
        assertEquals(pieces.map((piece) => piece.text).join(""), line);
        const ends = pieces.map(({ continues = false }) => !continues);
        assertEquals(ends, [...Array(pieces.length - 1).fill(false), true]);
        assertEquals(pieces.length, Math.ceil(length / MAX_PIECE_BYTES));
      }
    }
  });
});

test("pieces know their line", () => {
  const pieces = new Pieces(7);
  const all = [...pieces.add(utf8("a\nb")), ...pieces.add(utf8("c\n\nd")), ...pieces.end()];
  const told = all.map(({ bytes, line }) => [new TextDecoder().decode(bytes), line]);
  assertEquals(told, [["a\n", 7], ["bc\n", 8], ["\n", 9], ["d", 10]]);
});
