/** What counts as JSON in an append, and the lines that it becomes. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { linesIn } from "../../src/server/durable_streams/json.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";

const decoder = new TextDecoder();

/** The messages that a content brings; null for what is no JSON. */
async function messagesIn(content: string | Uint8Array): Promise<string[] | null> {
  const bytes = typeof content === "string" ? utf8(content) : content;
  const lines = await linesIn(bytes).catch(({ code }) => {
    assertEquals(code, "BAD_REQUEST");
    return null;
  });
  return lines && decoder.decode(lines).split("\n").slice(0, -1);
}

/** The same by the parser of the runtime. */
function parsed(content: string): unknown[] | null {
  try {
    const value = JSON.parse(content);
    return Array.isArray(value) ? value : [value];
  } catch {
    return null;
  }
}

test("what is JSON, and its messages, are what a parser says of any text", async () => {
  const piece = fc.constantFrom(
    ...["[", "]", "{", "}", ",", ":", '"', "\\", "-", "+", ".", "0", "1", "e", "E", " ", "\t"],
    ...[
      "\n",
      "\r",
      "true",
      "fals",
      "null",
      '"a"',
      '"\\u00e9"',
      '"\\u00g9"',
      "\v",
      "\u00a0",
      "ü",
      "\x01",
    ],
  );
  const space = fc.constantFrom("", " ", "\r\n");
  const text = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join("")),
    fc.json(),
    fc.tuple(fc.json(), fc.nat(), piece).map(([json, at, other]) => {
      const place = at % (json.length + 1);
      return json.slice(0, place) + other + json.slice(place + 1);
    }),
    fc.tuple(fc.jsonValue(), space).map(([value, indent]) => JSON.stringify(value, null, indent)),
  );
  await fc.assert(
    fc.asyncProperty(text, async (content) => {
      const messages = await messagesIn(content);
      assertEquals(messages?.map((message) => JSON.parse(message)) ?? null, parsed(content));
    }),
    { numRuns: 2000 },
  );
});

test("numbers and strings stay as they were written, wherever a step ends", async () => {
  const message = '{"n":12345678901234567890.10e+2,"s":"ü, [\\u00e9] \\\\"}';
  const messages = Array.from({ length: 4000 }, () => message);
  assertEquals(await messagesIn(` [ ${messages.join(" ,\n")} ] `), messages);
});

test("what is no UTF-8, or deeper than 1000 levels, is refused", async () => {
  assertEquals(await messagesIn(new Uint8Array([0x22, 0xc3, 0x22])), null);
  assertEquals(await messagesIn(new Uint8Array([0x22, 0x61, 0xc3])), null);
  const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  assertEquals(await messagesIn(deep(1000)), [deep(999)]);
  await assertFails("BAD_REQUEST", () => linesIn(utf8(deep(1001))));
});
