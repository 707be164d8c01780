/** A line index that was damaged on disk: no wrong line is ever answered, and the server says why. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { open } from "../../mod.ts";
import { indexPath, logPath } from "../../src/storage/layout.ts";
import { rebuildIndex } from "../../src/storage/verify.ts";
import { assertFails } from "../helpers/errors.ts";
import { Place } from "../helpers/place.ts";
import { withChance } from "../helpers/random.ts";

const ID = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";
const ENTRY_BYTES = 5;
const LINES = Array.from(
  { length: 2000 },
  (_, index) => `line ${index}${"x".repeat(index % 40)}\n`,
);
const MIDDLE = 1000;

/** Every way to damage an index, as a change of its bytes. */
const DAMAGES: Record<string, (index: Uint8Array) => Uint8Array> = {
  "a page of zeros": (index) =>
    index.fill(0, MIDDLE * ENTRY_BYTES - 2000, MIDDLE * ENTRY_BYTES + 2096),
  "a bit that flipped": (index) =>
    change(index, MIDDLE * ENTRY_BYTES - 1, index[MIDDLE * ENTRY_BYTES - 1] ^ 1),
  "the position of another line": (index) => {
    const at = (MIDDLE - 1) * ENTRY_BYTES;
    index.copyWithin(at, at + 10 * ENTRY_BYTES, at + 11 * ENTRY_BYTES);
    return index;
  },
  "an end that is missing": (index) => index.slice(0, 500 * ENTRY_BYTES),
  "an entry that is missing": (index) => {
    const at = 10 * ENTRY_BYTES;
    return new Uint8Array([...index.slice(0, at), ...index.slice(at + ENTRY_BYTES)]);
  },
  "nothing at all": () => new Uint8Array(),
};

function change(index: Uint8Array, at: number, value: number): Uint8Array {
  index[at] = value;
  return index;
}

/** Answers with the lines around the damage. */
const QUESTIONS = {
  text: `/lines?start=${MIDDLE}&count=1`,
  location: `/lines?start=${MIDDLE}&count=1&locate=true`,
  search: `/search?q=line&from=${MIDDLE}&limit=1`,
};

async function ask(place: Place, path: string, accept = "*/*"): Promise<Response> {
  return await fetch(`${place.server.url}/resources/${ID}${path}`, { headers: { accept } });
}

async function uploaded(place: Place): Promise<string> {
  const response = await fetch(`${place.server.url}/resources/${ID}?name=a.log`, {
    method: "PUT",
    body: LINES.join(""),
  });
  assertEquals(response.status, 201, await response.text());
  return logPath(place.directory, ID);
}

for (const [what, damage] of Object.entries(DAMAGES)) {
  test(`an index with ${what} is told as damaged, and what was mended is read at once`, async () => {
    await using place = await Place.open("files");
    const path = await uploaded(place);
    writeFileSync(indexPath(path), damage(new Uint8Array(readFileSync(indexPath(path)))));
    for (const question of Object.values(QUESTIONS)) {
      const response = await ask(place, question);
      assertEquals(
        [response.status, (await response.json()).code],
        [500, "INDEX_DAMAGED"],
        question,
      );
    }
    const json = await ask(place, QUESTIONS.text, "application/json");
    assertEquals([json.status, (await json.json()).code], [500, "INDEX_DAMAGED"]);
    {
      const download = await open(`${place.url}/resources/${ID}`);
      await assertFails("INDEX_DAMAGED", () => download.locateLines(MIDDLE, 1));
      download.close();
    }
    // The bytes themselves are as they were.
    assertEquals(await (await ask(place, "/content")).text(), LINES.join(""));
    // As `stream check --repair` does it beside the server, which has the damaged one open.
    await rebuildIndex(place.directory, ID);
    assertEquals(await (await ask(place, QUESTIONS.text)).text(), LINES[MIDDLE]);
  });
}

test("however an index is damaged, lines are right or refused", () =>
  withChance(async (chance) => {
    await using place = await Place.open("files");
    const path = indexPath(await uploaded(place));
    const right = new Uint8Array(readFileSync(path));
    const answers = { right: 0, refused: 0 };
    for (let round = 0; round < 100; round++) {
      const index = right.slice();
      const from = chance.whole(0, index.length - 1);
      // What was asked for lies beside most of the short ones.
      const longest = chance.pick([ENTRY_BYTES, 4096]);
      const to = chance.whole(from + 1, Math.min(index.length, from + longest));
      const isZeroed = chance.happens(0.5);
      for (let at = from; at < to; at++) index[at] = isZeroed ? 0 : chance.whole(0, 255);
      writeFileSync(path, index);
      const start = Math.max(0, Math.floor(from / ENTRY_BYTES) + chance.whole(-2, 8));
      const count = chance.whole(1, 5);
      const accept = chance.pick(["application/json", "text/plain"]);
      const response = await ask(place, `/lines?start=${start}&count=${count}`, accept);
      const text = await response.text();
      const wanted = LINES.slice(start, start + count);
      if (response.status === 200) {
        assertEquals(
          accept === "text/plain" ? text : JSON.parse(text).lines.join(""),
          wanted.join(""),
        );
        answers.right++;
      } else {
        assertEquals(
          JSON.parse(text).code,
          start < LINES.length ? "INDEX_DAMAGED" : "LINES_NOT_AVAILABLE",
        );
        answers.refused++;
      }
    }
    assert(answers.right > 0 && answers.refused > 0, JSON.stringify(answers));
  }));

test("a log that grows is read by its lines up to the newest, and an index that is gone is told", async () => {
  await using place = await Place.open("files");
  const source = new TransformStream<Uint8Array, Uint8Array>();
  const writer = source.writable.getWriter();
  const sending = fetch(`${place.server.url}/resources/${ID}?name=a.log`, {
    method: "PUT",
    body: source.readable as BodyInit,
    duplex: "half",
  } as RequestInit);
  const encoder = new TextEncoder();
  for (let count = 1; count <= 20; count++) {
    await writer.write(encoder.encode(LINES[count - 1]));
    for (;;) {
      const response = await ask(place, "/lines?tail=1");
      const text = await response.text();
      if (response.status === 200 && text === LINES[count - 1]) break;
      assert([200, 404].includes(response.status), `${response.status} ${text}`);
    }
  }
  await writer.close();
  await (await sending).body?.cancel();
  rmSync(indexPath(logPath(place.directory, ID)));
  await place.restart();
  const response = await ask(place, "/lines?start=5&count=1");
  assertEquals([response.status, (await response.json()).code], [500, "INDEX_DAMAGED"]);
});

test("what peers hear of files that are damaged or gone names no path of the server's disk", async () => {
  await using place = await Place.open("files");
  const path = await uploaded(place);
  const told: string[] = [];
  const look = async (question: string) => told.push(await (await ask(place, question)).text());
  writeFileSync(indexPath(path), "");
  await look(QUESTIONS.text);
  rmSync(path);
  await place.restart();
  await look("/lines?tail=1");
  await look(QUESTIONS.search);
  for (const text of told) {
    assert(!text.includes(place.directory), text);
    assertStringIncludes(text, ID);
  }
});
