/** Files that come one after the other at a path, up to the last moment. */
import { Buffer } from "node:buffer";
import {
  appendFileSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { assertEquals, assertLessOrEqual, assertMatch, assertRejects } from "@std/assert";
import { StreamError } from "../../src/protocol.ts";
import { type NamedFilesOptions, openNamedFiles } from "../../src/source/named_files.ts";
import { eventually } from "../helpers/frames/connection.ts";
import { lookingByHand } from "../helpers/looking.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

/** Reads all that comes at a path. */
class Following {
  /** What each file had until now. */
  readonly contents: string[] = [];
  readonly ended: Promise<void>;
  readonly #stop = new AbortController();

  constructor(path: string, options: NamedFilesOptions = {}) {
    this.ended = this.#read(openNamedFiles(path, { stop: this.#stop.signal, ...options }));
    this.ended.catch(() => {});
  }

  async #read(files: ReturnType<typeof openNamedFiles>): Promise<void> {
    for await (const { stream } of files) {
      const index = this.contents.push("") - 1;
      for await (const chunk of stream) this.contents[index] += Buffer.from(chunk).toString();
    }
  }

  async has(...contents: string[]): Promise<void> {
    const wanted = JSON.stringify(contents);
    await eventually(wanted, () => JSON.stringify(this.contents) === wanted);
  }

  async end(): Promise<string[]> {
    this.#stop.abort();
    await this.ended;
    return this.contents;
  }
}

/** The time of the process, ahead by what a test says. */
class LaterClock implements Disposable {
  byMs = 0;
  readonly #now = performance.now.bind(performance);

  constructor() {
    performance.now = () => this.#now() + this.byMs;
  }

  [Symbol.dispose](): void {
    performance.now = this.#now;
  }
}

test("a file that comes at the last moment is read before it is over", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "app.log");
  writeFileSync(path, "first\n");
  const following = new Following(path);
  await following.has("first\n");
  appendFileSync(path, "more\n");
  renameSync(path, `${path}.1`);
  writeFileSync(path, "second\n");
  assertEquals(await following.end(), ["first\nmore\n", "second\n"]);
});

test("what was written after a truncation is read, wherever its file is by then", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "app.log");
  const writer = openSync(path, "a");
  writeSync(writer, "first, and long\n");
  const following = new Following(path);
  await following.has("first, and long\n");
  ftruncateSync(writer);
  writeSync(writer, "again\n");
  renameSync(path, `${path}.1`);
  writeFileSync(path, "second\n");
  assertEquals(await following.end(), ["first, and long\n", "again\n", "second\n"]);
});

test("a file that was truncated and removed ends in good order", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "app.log");
  for (const untilFile of [undefined, join(directory.path, "done")]) {
    writeFileSync(path, "first\n");
    const following = new Following(path, { untilFile });
    await following.has("first\n");
    writeFileSync(path, "");
    rmSync(path);
    await following.has("first\n", "");
    if (untilFile === undefined) await following.end();
    else writeFileSync(untilFile, "");
    await following.ended;
    assertEquals(following.contents, ["first\n", ""]);
  }
});

test("a producer that is done without a file is not waited for", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "app.log");
  const untilFile = join(directory.path, "done");
  const following = new Following(path, {
    untilFile,
    onMissing: () => writeFileSync(untilFile, ""),
  });
  const error = await assertRejects(() => following.ended, StreamError, "its producer is done");
  assertEquals(error.code, "SOURCE_FAILED");
  assertEquals([existsSync(path), following.contents], [false, []]);
});

test("what is at the path for a moment, and no file, ends nothing", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "app.log");
  using looking = lookingByHand();
  writeFileSync(path, "first\n");
  const following = new Following(path);
  await following.has("first\n");
  renameSync(path, `${path}.1`);
  mkdirSync(path);
  await looking.look();
  rmdirSync(path);
  writeFileSync(path, "second\n");
  assertEquals(await following.end(), ["first\n", "second\n"]);
});

test("files that came before something that cannot be read are read first", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "app.log");
  using looking = lookingByHand();
  writeFileSync(path, "first\n");
  const following = new Following(path);
  await following.has("first\n");
  renameSync(path, `${path}.1`);
  writeFileSync(path, "second\n");
  await looking.look();
  renameSync(path, `${path}.2`);
  mkdirSync(path);
  await looking.look();
  await assertRejects(() => following.end(), StreamError, "app.log is a directory");
  assertEquals(following.contents, ["first\n", "second\n"]);
});

test("what cannot be read for a second is told once, until it can be", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "app.log");
  using looking = lookingByHand();
  using later = new LaterClock();
  const told: string[] = [];
  const onUnreadable = ({ message }: StreamError) => told.push(message);
  writeFileSync(path, "first\n");
  const following = new Following(path, { onUnreadable });
  await following.has("first\n");
  for (const seconds of ["second\n", "third\n"]) {
    renameSync(path, `${path}.old-${told.length}`);
    mkdirSync(path);
    await looking.look();
    const before = told.length;
    later.byMs += 1001;
    for (let looks = 0; looks < 3; looks++) await looking.look();
    assertEquals(told.slice(before), [`${path} is a directory`]);
    rmdirSync(path);
    writeFileSync(path, seconds);
    await looking.look();
  }
  assertEquals(await following.end(), ["first\n", "second\n", "third\n"]);
});

test("a path is looked at often while something happens there", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "app.log");
  using looking = lookingByHand();
  writeFileSync(path, "one");
  const following = new Following(path);
  await following.has("one");
  appendFileSync(path, "more");
  await following.has("onemore");
  assertLessOrEqual(looking.dueMs, 20);
  while (looking.dueMs < 100) await looking.look();
  appendFileSync(path, "andmore");
  await following.has("onemoreandmore");
  assertLessOrEqual(looking.dueMs, 20);
  await following.end();
});

test("files that come faster than one a second are read as fast", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "app.log");
  using looking = lookingByHand();
  writeFileSync(path, "0");
  const following = new Following(path);
  await following.has("0");
  for (let index = 1; index <= 90; index++) {
    renameSync(path, `${path}.${index}`);
    writeFileSync(path, `${index}`);
    await looking.look();
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  assertEquals(await following.end(), numbers(0, 90));
});

/** Files "0" to "67" come at a path while the first is read and 64 can wait; then it is over. */
async function manyFiles(directory: string, options: NamedFilesOptions = {}) {
  const path = join(directory, "app.log");
  const stop = new AbortController();
  using looking = lookingByHand();
  writeFileSync(path, "0");
  const files = openNamedFiles(path, { stop: stop.signal, ...options });
  const { value: first } = await files.next();
  for (let index = 1; index <= 67; index++) {
    renameSync(path, `${path}.${index}`);
    writeFileSync(path, `${index}`);
    await looking.look();
  }
  stop.abort();
  return { first: first!, files };
}

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `${from + index}`);
const MISSED =
  /^files at .*app\.log were missed, 3 in all, that came from .*Z to .*Z: 64 others waited/;

test("files that come while 64 wait are missed, all but the newest, which is told before it", async () => {
  await using directory = await temporaryDirectory();
  const heard: string[] = [];
  const onMissed = ({ code, message }: StreamError) => {
    assertMatch(message, MISSED);
    heard.push(code);
  };
  const { first, files } = await manyFiles(directory.path, { onMissed });
  heard.push(await text(first.stream));
  for await (const { stream } of files) heard.push(await text(stream));
  assertEquals(heard, [...numbers(0, 63), "SOURCE_FAILED", "67"]);
});

test("files that were missed end all where nobody is to hear of it", async () => {
  await using directory = await temporaryDirectory();
  const { first, files } = await manyFiles(directory.path);
  const heard = [await text(first.stream)];
  const rest = async () => {
    for await (const { stream } of files) heard.push(await text(stream));
  };
  const error = await assertRejects(rest, StreamError);
  assertMatch(error.message, MISSED);
  assertEquals([error.code, heard], ["SOURCE_FAILED", numbers(0, 63)]);
});
