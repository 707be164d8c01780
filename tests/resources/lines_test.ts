import { test } from "node:test";
import { assert, assertEquals, assertLess, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import { type LinePosition, StreamError } from "../../src/protocol.ts";
import type { Resource } from "../../src/resources/reading/resource.ts";
import { type PageLimits, readLinePage } from "../../src/resources/reading/lines.ts";
import type { LogReader } from "../../src/storage.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { arbitraryBytes, linesOf, utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { finished, register, running, world } from "../helpers/resources.ts";
import { changed } from "../helpers/storage.ts";

const START = { lineIndex: 0, byteOffset: 0 };

/** No limit that a test would meet. */
const ALL: PageLimits = { linesCount: 1e9, pageBytes: 1e6, pageLines: 1e6 };

/** Every page from a place on, as a peer asks for them. */
async function pages(
  resource: Resource,
  limits: PageLimits,
  from: LinePosition = START,
): Promise<string[][]> {
  const end = from.lineIndex + limits.linesCount;
  const found: string[][] = [];
  for (let at: LinePosition | null = from; at !== null;) {
    const page = await readLinePage(resource, at, { ...limits, linesCount: end - at.lineIndex });
    found.push(page.lines);
    at = page.next;
  }
  return found;
}

/** One test of a resource that was uploaded with this content. */
function ofText(behaviour: string, text: string, check: (resource: Resource) => Promise<void>) {
  test(behaviour, async () => {
    await using here = world();
    await check(await finished(here, utf8(text)));
  });
}

ofText("a window is read with its line breaks", "one\ntwo\nthree\n", async (resource) => {
  assertEquals(await readLinePage(resource, START, ALL), {
    lines: ["one\n", "two\n", "three\n"],
    next: null,
  });
  assertEquals(
    await readLinePage(resource, { lineIndex: 1, byteOffset: 0 }, { ...ALL, linesCount: 1 }),
    { lines: ["two\n"], next: null },
  );
});

ofText("a window of no lines is empty, wherever it starts", "one\ntwo", async (resource) => {
  for (const lineIndex of [0, 1, 2]) {
    assertEquals(
      await readLinePage(resource, { lineIndex, byteOffset: 0 }, { ...ALL, linesCount: 0 }),
      { lines: [], next: null },
    );
  }
});

ofText(
  "a page ends after so many lines and says where the next begins",
  "1\n2\n3\n4\n5",
  async (resource) => {
    const limits = { ...ALL, pageLines: 2 };
    assertEquals(await readLinePage(resource, START, limits), {
      lines: ["1\n", "2\n"],
      next: { lineIndex: 2, byteOffset: 0 },
    });
    assertEquals(await pages(resource, limits), [["1\n", "2\n"], ["3\n", "4\n"], ["5"]]);
  },
);

ofText("the last page of a window names no next", "1\n2\n3\n4\n5", async (resource) => {
  assertEquals(
    await readLinePage(resource, START, { ...ALL, linesCount: 2, pageLines: 2 }),
    { lines: ["1\n", "2\n"], next: null },
  );
  assertEquals(await pages(resource, { ...ALL, linesCount: 3, pageLines: 2 }), [
    ["1\n", "2\n"],
    ["3\n"],
  ]);
});

ofText("a page holds whole lines up to so many bytes", "1234\n123\n12345\n", async (resource) => {
  assertEquals(await pages(resource, { ...ALL, pageBytes: 9 }), [["1234\n", "123\n"], ["12345\n"]]);
  assertEquals(await pages(resource, { ...ALL, pageBytes: 8 }), [
    ["1234\n"],
    ["123\n"],
    ["12345\n"],
  ]);
});

ofText("a line longer than a page comes in pieces", "a\n0123456789\nb\n", async (resource) => {
  const limits = { ...ALL, pageBytes: 4 };
  assertEquals(await readLinePage(resource, { lineIndex: 1, byteOffset: 0 }, limits), {
    lines: ["0123"],
    next: { lineIndex: 1, byteOffset: 4 },
  });
  assertEquals(await pages(resource, limits), [["a\n"], ["0123"], ["4567"], ["89\n"], ["b\n"]]);
});

ofText(
  "the end of a long line shares a page with the lines after it",
  "0123456\nb\nc\n",
  async (resource) => {
    const limits = { ...ALL, pageBytes: 5 };
    assertEquals(await pages(resource, limits), [["01234"], ["56\n", "b\n"], ["c\n"]]);
  },
);

ofText("pieces are cut between characters", "aé€😀é€😀", async (resource) => {
  for (let pageBytes = 4; pageBytes <= 20; pageBytes++) {
    const found = (await pages(resource, { ...ALL, pageBytes })).flat();
    assertEquals(found.join(""), "aé€😀é€😀");
    for (const piece of found) assertLessOrEqual(utf8(piece).length, pageBytes);
  }
  assertEquals(
    (await pages(resource, { ...ALL, pageBytes: 5 })).flat(),
    ["aé", "€", "😀", "é€", "😀"],
  );
});

ofText("CRLF and lone CR are kept", "one\r\n\r\ntw\ro\n\r", async (resource) => {
  assertEquals(await pages(resource, ALL), [["one\r\n", "\r\n", "tw\ro\n", "\r"]]);
  assertEquals((await pages(resource, { ...ALL, pageBytes: 4 })).flat(), [
    ...["one\r", "\n", "\r\n", "tw\ro", "\n", "\r"],
  ]);
});

ofText(
  "a byte order mark and control characters are kept",
  "\ufeffa\n\ufeff\0b\u{2028}c\n",
  async (resource) => {
    assertEquals(await pages(resource, ALL), [["\ufeffa\n", "\ufeff\0b\u{2028}c\n"]]);
  },
);

test("when thousands of lines arrived is told by their bytes, not by an entry of the index for each", async () => {
  let asked = 0;
  const arrivals: LogReader["arrivals"] = (byteOffsets) => Promise.resolve([...byteOffsets]);
  const storage = changed(new MemoryStorage(), {
    reader: (log) => ({
      arrivals,
      lineBreak: (index) => {
        asked++;
        return log.lineBreak(index);
      },
    }),
  });
  await using here = world({ storage });
  const lines = Array.from({ length: 5000 }, (_, at) => "x".repeat(at % 100) + "\n").concat("end");
  const resource = await finished(here, lines.join(""));
  let end = 0;
  const lasts = lines.map((line) => (end += line.length) - 1);
  assertEquals(await resource.arrivals(0, lines.length), lasts);
  assertEquals(await resource.arrivals(7, 3), lasts.slice(7, 10));
  assertLess(asked, 10);
});

test("malformed UTF-8 becomes U+FFFD and hides no line break", async () => {
  await using here = world();
  const bytes = Uint8Array.of(0xff, 10, 0xe2, 0x82, 10, 0xc3, 0x28, 0xf0, 0x9f, 0x98);
  assertEquals(await pages(await finished(here, bytes), ALL), [[
    "\ufffd\n",
    "\ufffd\n",
    "\ufffd(\ufffd",
  ]]);
});

ofText("an empty resource has no lines", "", async (resource) => {
  assertEquals(await readLinePage(resource, START, ALL), { lines: [], next: null });
});

ofText("lines that are not there end the window", "one\ntwo\n", async (resource) => {
  assertEquals(
    await readLinePage(resource, { lineIndex: 1, byteOffset: 0 }, { ...ALL, linesCount: 10 }),
    { lines: ["two\n"], next: null },
  );
  assertEquals(
    await readLinePage(resource, { lineIndex: 2, byteOffset: 0 }, ALL),
    { lines: [], next: null },
  );
});

ofText("a window that starts beyond the count is an error", "one\ntwo", async (resource) => {
  for (const lineIndex of [3, 1e9]) {
    await assertFails(
      "LINES_NOT_AVAILABLE",
      () => readLinePage(resource, { lineIndex, byteOffset: 0 }, ALL),
    );
  }
});

ofText(
  "a start at or past the end of its line is an error, also with lines after it",
  "one\ntwo\nthree\n",
  async (resource) => {
    for (const byteOffset of [4, 5, 8, 100]) {
      for (const linesCount of [1, 2, 10]) {
        await assertFails(
          "LINES_NOT_AVAILABLE",
          () => readLinePage(resource, { lineIndex: 0, byteOffset }, { ...ALL, linesCount }),
        );
      }
    }
  },
);

test("a resource without line access has no lines to read", async () => {
  await using here = world();
  const metadata = { filename: "a", mimeType: "image/png", supportsLineAccess: false };
  const { resource } = await register(here, { metadata });
  await assertFails("NO_LINE_ACCESS", () => readLinePage(resource, START, ALL));
});

test("while an upload runs its last line is not there before its line break", async () => {
  await using here = world();
  const resource = await running(here, "one\r\ntwo\nthr");
  assertEquals(await pages(resource, ALL), [["one\r\n", "two\n"]]);
  assertEquals(
    await readLinePage(resource, { lineIndex: 2, byteOffset: 0 }, ALL),
    { lines: [], next: null },
  );
  await assertFails(
    "LINES_NOT_AVAILABLE",
    () => readLinePage(resource, { lineIndex: 3, byteOffset: 0 }, ALL),
  );
});

test("after the end, completed or failed, the last line is there without a line break", async () => {
  await using here = world();
  const text = "one\r\ntwo\nthr";
  const upload = await register(here);
  upload.append(utf8(text));
  await upload.fail(new StreamError("INTERRUPTED", "gone"));
  for (const resource of [upload.resource, await finished(here, utf8(text))]) {
    assertEquals(await pages(resource, ALL), [["one\r\n", "two\n", "thr"]]);
    assertEquals(
      await readLinePage(resource, { lineIndex: 2, byteOffset: 1 }, ALL),
      { lines: ["hr"], next: null },
    );
  }
});

/** Bytes that begin, continue and break characters of UTF-8, with line breaks. */
const arbitraryText = fc.oneof(
  arbitraryBytes(60),
  fc.array(fc.constantFrom("a", "é", "€", "😀", "\n", "\r\n"), { maxLength: 40, size: "max" })
    .map((parts) => utf8(parts.join(""))),
  fc.array(fc.constantFrom(10, 0x61, 0x80, 0xbf, 0xc3, 0xe2, 0x82, 0xed, 0xf0, 0x9f, 0xff), {
    maxLength: 40,
    size: "max",
  }).map((bytes) => Uint8Array.from(bytes)),
);

test("the pages of any content, joined, are its text, whatever they may hold", async () => {
  await using here = world();
  await fc.assert(
    fc.asyncProperty(
      arbitraryText,
      fc.integer({ min: 4, max: 30 }),
      fc.integer({ min: 1, max: 5 }),
      async (bytes, pageBytes, pageLines) => {
        const resource = await finished(here, bytes);
        const found = await pages(resource, { ...ALL, pageBytes, pageLines });
        const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
        assertEquals(found.flat().join(""), decoder.decode(bytes));
        assertLessOrEqual(Math.max(...found.map((page) => page.length)), pageLines);
        await here.resources.delete(resource.id);
      },
    ),
    { numRuns: 300 },
  );
});

test("any window of any content, read page by page, has exactly its lines", async () => {
  await using here = world();
  await fc.assert(
    fc.asyncProperty(
      arbitraryText,
      fc.nat(15),
      fc.nat(15),
      fc.integer({ min: 4, max: 30 }),
      async (bytes, start, linesCount, pageBytes) => {
        const resource = await finished(here, bytes);
        const count = linesOf(bytes);
        const lineIndex = Math.min(start, count);
        const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
        const lines = decoder.decode(bytes).match(/[^\n]*\n|[^\n]+$/g) ?? [];
        assert(lines.length === count);
        const limits = { linesCount, pageBytes, pageLines: 1e6 };
        const found = await pages(resource, limits, { lineIndex, byteOffset: 0 });
        assertEquals(
          found.flat().join(""),
          lines.slice(lineIndex, lineIndex + linesCount).join(""),
        );
        await here.resources.delete(resource.id);
      },
    ),
    { numRuns: 300 },
  );
});
