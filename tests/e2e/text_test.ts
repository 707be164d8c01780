/** Text of every make, by the real program: bytes, line counts and windows, live and after the end. */
import { Buffer } from "node:buffer";
import { writeFile } from "node:fs/promises";
import { assertEquals, assertMatch } from "@std/assert";
import { eitherRuntime, type Kind, own, quickest, Workspace } from "../helpers/cli.ts";
import { CHARSETS } from "../../src/source/charsets/charsets.ts";
import { known, listed } from "../helpers/seen.ts";
import { followLongLine } from "../helpers/text.ts";

const test = eitherRuntime();

const TEXT = "Grüße\n𝄞 straße\r\nletzte Zeile";
const SUITE_LINE_BYTES = 8_000_000;

/** TEXT without what Latin-1 does not have. */
const LATIN1 = TEXT.replace("𝄞", "§");

function utf16(text: string, { bigEndian, mark }: { bigEndian: boolean; mark: boolean }): Buffer {
  const bytes = Buffer.from((mark ? "\ufeff" : "") + text, "utf16le");
  return bigEndian ? bytes.swap16() : bytes;
}

/** Pushes through a pipe in pieces that cut characters, and follows while that goes on. */
async function pushInPieces(
  workspace: Workspace,
  kind: Kind,
  bytes: Uint8Array,
  options: string[],
) {
  const { push, reference } = await workspace.push(kind, ["-", "--name", "a.txt", ...options]);
  const follow = workspace.start(quickest, ["follow", reference]);
  push.write(bytes.subarray(0, 15));
  await follow.stdout.until((text) => text.includes("\n"));
  push.write(bytes.subarray(15, 22));
  push.write(bytes.subarray(22));
  push.end();
  const pushed = await push.exit();
  await follow.exit();
  return { pushed, reference, received: follow.stdout.bytes };
}

const DECLARED = [
  { charset: "ISO-8859-1", text: LATIN1, bytes: Buffer.from(LATIN1, "latin1") },
  { charset: "UTF-16", text: TEXT, bytes: utf16(TEXT, { bigEndian: false, mark: true }) },
  { charset: "UTF-16", text: TEXT, bytes: utf16(TEXT, { bigEndian: true, mark: true }) },
  { charset: "UTF-16", text: TEXT, bytes: utf16(TEXT, { bigEndian: true, mark: false }) },
  { charset: "UTF-16LE", text: TEXT, bytes: utf16(TEXT, { bigEndian: false, mark: false }) },
];

test("text in a declared charset arrives as UTF-8, without its byte order mark", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await Promise.all(DECLARED.map(async ({ charset, text, bytes }) => {
    const { pushed, reference, received } = await pushInPieces(workspace, own, bytes, [
      "--charset",
      charset,
    ]);
    assertEquals([pushed.code, pushed.stderr], [0, ""]);
    assertEquals(new TextDecoder("utf-8", { ignoreBOM: true }).decode(received), text);
    assertEquals((await known(workspace, reference)).numberOfLines, 3);
  }));
});

test("without --charset every byte stays as it is", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await Promise.all(
    DECLARED.slice(0, 2).map(async ({ bytes }) => {
      const { pushed, received } = await pushInPieces(workspace, quickest, bytes, ["--text"]);
      assertEquals(pushed.code, 0);
      assertEquals(Buffer.compare(received, bytes), 0);
    }),
  );
});

test("a byte order mark that contradicts the charset fails the upload", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await writeFile(workspace.path("a.txt"), utf16(TEXT, { bigEndian: false, mark: true }));
  const { push, reference } = await workspace.push(own, ["a.txt", "--charset", "UTF-16BE"]);
  const { code, stderr } = await push.exit();
  assertEquals(code, 1);
  assertMatch(stderr, /^stream: .*UTF-16BE.*byte order mark of UTF-16LE.*\n$/);
  const { transferStatus, currentSize } = await known(workspace, reference);
  assertEquals([transferStatus, currentSize], ["FAILED", 0]);
});

test("the help of push names every charset", async () => {
  await using workspace = await Workspace.open();
  const { code, stdout } = await workspace.run(quickest, ["push", "--help"]);
  assertEquals(code, 0);
  const charsets = stdout.slice(stdout.indexOf("\ncharsets:\n"), stdout.indexOf("\nexamples:\n"));
  assertEquals(charsets.trim().split(/\s+/).slice(1), [...CHARSETS]);
});

test("a charset that nobody knows is refused before anything is registered", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const { code, stdout, stderr } = await workspace.run(own, ["push", "-", "--charset", "latn1"]);
  assertEquals([code, stdout], [2, ""]);
  assertMatch(stderr, /^stream: .*"latn1".*ISO-8859-1.*\n/);
  assertEquals(await listed(workspace), []);
});

test("lines are counted when they are complete, and the last one at the end", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const { push, reference } = await workspace.push(own, ["-"]);
  const lines = (window: string) =>
    workspace.run(quickest, ["follow", reference, "--lines", window]);
  const second = workspace.start(quickest, ["follow", reference, "--lines", "1:2"]);
  push.write("first\r\nsec");
  assertEquals((await lines("0:1")).stdout, "first\r\n");
  assertEquals((await known(workspace, reference)).numberOfLines, 1);
  push.write("ond\n\nlast");
  assertEquals((await second.exit()).stdout, "second\n\n");
  assertEquals((await known(workspace, reference)).numberOfLines, 3);
  push.end();
  assertEquals((await push.exit()).code, 0);
  assertEquals((await known(workspace, reference)).numberOfLines, 4);
  assertEquals((await lines("0:2")).stdout, "first\r\nsecond\n");
  assertEquals((await lines("2:9")).stdout, "\nlast");
});

test("an empty file is a complete resource without lines", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await writeFile(workspace.path("empty.log"), "");
  const { push, reference } = await workspace.push(own, ["empty.log"]);
  assertEquals((await push.exit()).code, 0);
  const { transferStatus, currentSize, numberOfLines } = await known(workspace, reference);
  assertEquals([transferStatus, currentSize, numberOfLines], ["COMPLETED", 0, 0]);
  for (const selection of [[], ["--tail", "3"], ["--lines", "0:1"], ["--no-follow"]]) {
    const exit = await workspace.run(quickest, ["follow", reference, ...selection]);
    assertEquals(exit, { code: 0, stdout: "", stderr: "" }, selection.join(" "));
  }
});

test("lines of a resource without line access are refused", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const { push, reference } = await workspace.push(own, ["-", "--binary"]);
  push.write("a\nb\n");
  for (const selection of [["--tail", "1"], ["--lines", "0:1"]]) {
    const { code, stdout, stderr } = await workspace.run(quickest, [
      "follow",
      reference,
      ...selection,
    ]);
    assertEquals([code, stdout], [1, ""], selection.join(" "));
    assertMatch(stderr, /^stream: .*without line access.*\n$/);
  }
  assertEquals((await known(workspace, reference)).numberOfLines, null);
});

test("a very long line is one line, live and after the end", async () => {
  await followLongLine(own, SUITE_LINE_BYTES);
});
