import { Buffer } from "node:buffer";
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { StreamError } from "../../src/protocol.ts";
import { type GrowingFileOptions, openFile, openGrowingFile } from "../../src/source/file.ts";
import { openNamedFiles } from "../../src/source/named_files.ts";
import { WatchedProcess } from "../../src/source/process.ts";
import type { Source } from "../../src/source/source.ts";
import { eventually } from "../helpers/frames/connection.ts";

const directory = mkdtempSync(join(tmpdir(), "stream-source-"));
after(() => rmSync(directory, { recursive: true }));

const onLinux = process.platform === "linux";

let files = 0;
/** A new file with this content. */
function fileWith(content: string | Uint8Array): string {
  const path = join(directory, `${++files}.log`);
  writeFileSync(path, content);
  return path;
}

const chunksOf = (source: Source) => within(Array.fromAsync(source.stream));
const textOf = async (source: Source) => Buffer.concat(await chunksOf(source)).toString();

/** Fails rather than wait for ever. */
async function within<T>(promise: Promise<T>, timeoutMs = 10_000): Promise<T> {
  let timer!: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing happened in ${timeoutMs} ms`)), timeoutMs);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Reads a growing file by hand. */
class Follower {
  readonly path: string;
  readonly #stop: AbortController;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  private constructor(path: string, source: Source, stop: AbortController) {
    this.path = path;
    this.#reader = source.stream.getReader();
    this.#stop = stop;
  }

  static async of(path: string, options: GrowingFileOptions = {}): Promise<Follower> {
    const stop = new AbortController();
    const source = await openGrowingFile(path, { stop: stop.signal, ...options });
    return new Follower(path, source, stop);
  }

  /** Reads until this much text came. */
  async expect(text: string): Promise<void> {
    let got = "";
    while (got.length < text.length) {
      const { value, done } = await within(this.#reader.read());
      assert(!done, `ended after ${JSON.stringify(got)}`);
      got += Buffer.from(value).toString();
    }
    assertEquals(got, text);
  }

  /** The rest, to the end. */
  async rest(): Promise<string> {
    let got = "";
    while (true) {
      const { value, done } = await within(this.#reader.read());
      if (done) return got;
      got += Buffer.from(value).toString();
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  /** Expects an error that names the path and these parts. */
  async fails(...parts: string[]): Promise<void> {
    const error = await assertRejects(() => this.rest(), StreamError);
    assertEquals(error.code, "SOURCE_FAILED");
    for (const part of [this.path, ...parts]) assert(error.message.includes(part), error.message);
    await assertClosed(this.path);
  }

  cancel(): Promise<void> {
    return within(this.#reader.cancel());
  }
}

/** Whether this process holds the file open; the system tells only on Linux. */
function isOpen(path: string): boolean {
  const target = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  };
  return onLinux && readdirSync("/proc/self/fd").some((fd) => target(fd).startsWith(path));
}

async function assertClosed(path: string): Promise<void> {
  await eventually(`the end of ${path}`, () => !isOpen(path));
}

test("a file is read in full chunks of 64 KiB, each in a buffer of its own", async () => {
  const content = randomBytes(5 * 65536 + 17);
  const path = fileWith(content);
  const source = await openFile(path);
  assertEquals([source.size, source.name], [content.length, path.split("/").at(-1)]);
  const chunks = await chunksOf(source);
  assertEquals(chunks.map(({ length }) => length), [65536, 65536, 65536, 65536, 65536, 17]);
  assertEquals(new Set(chunks.map(({ buffer }) => buffer)).size, 6);
  assertEquals(chunks[5].buffer.byteLength, 17);
  assert(Buffer.concat(chunks).equals(content));
  await assertClosed(path);
});

test("a file can be read through one buffer, whose chunks last until the next one", async () => {
  const content = randomBytes(3 * 100_000 + 17);
  const { stream } = await openFile(fileWith(content), { bufferBytes: 100_000, reuseBuffer: true });
  const buffers = new Set<ArrayBufferLike>(), copies: Uint8Array[] = [];
  for await (const chunk of stream) {
    buffers.add(chunk.buffer);
    copies.push(chunk.slice());
  }
  assertEquals(buffers.size, 1);
  assert(Buffer.concat(copies).equals(content));
});

test("an empty file ends at once", async () => {
  const source = await openFile(fileWith(""));
  assertEquals(source.size, 0);
  assertEquals(await chunksOf(source), []);
});

test("reading starts at the given byte, which may be the end", async () => {
  const path = fileWith("0123456789");
  assertEquals(await textOf(await openFile(path, { from: 4 })), "456789");
  assertEquals(await textOf(await openFile(path, { from: 10 })), "");
});

test("what is added while a file is read belongs to it", async () => {
  const path = fileWith("a".repeat(65536));
  const source = await openFile(path);
  const reader = source.stream.getReader();
  assertEquals((await reader.read()).value!.length, 65536);
  appendFileSync(path, "more");
  assertEquals(Buffer.from((await reader.read()).value!).toString(), "more");
  assertEquals((await reader.read()).done, true);
});

test("nothing is read before it is asked for", async () => {
  const path = fileWith("old");
  const source = await openFile(path);
  writeFileSync(path, "new");
  assertEquals(await textOf(source), "new");
});

test("a file that shrinks while it is read is an error", async () => {
  const path = fileWith("a".repeat(100_000));
  const reader = (await openFile(path)).stream.getReader();
  await reader.read();
  truncateSync(path, 70_000);
  await reader.read();
  const error = await assertRejects(
    () => reader.read(),
    StreamError,
    "shrank from 100000 to 70000",
  );
  assertEquals(error.code, "SOURCE_FAILED");
  await assertClosed(path);
});

test("a file that is rewritten while it is read is an error, whatever its size is then", async () => {
  for (const size of [100_000, 130_000, 200_000]) {
    const path = fileWith("a".repeat(100_000));
    const reader = (await openFile(path)).stream.getReader();
    await reader.read();
    writeFileSync(path, "b".repeat(size));
    const reading = (async () => {
      while (!(await reader.read()).done);
    })();
    const error = await assertRejects(() => within(reading), StreamError, "was rewritten");
    assertEquals(error.code, "SOURCE_FAILED");
    await assertClosed(path);
  }
});

test("a file that is written anew while it is read is an error, also where it begins as before", async () => {
  const beginning = "same ".repeat(1000);
  for (const open of [openFile, openGrowingFile]) {
    const path = fileWith(beginning + "a".repeat(200_000));
    const reader = (await open(path, { untilIdleMs: 50 })).stream.getReader();
    await reader.read();
    writeFileSync(path, beginning + "b".repeat(300_000));
    await assertRejects(() => within(reader.read()), StreamError, "was rewritten");
    await assertClosed(path);
  }
});

test("a file whose bytes are changed in place while it is read is an error", async () => {
  const path = fileWith("a".repeat(200_000));
  const reader = (await openFile(path)).stream.getReader();
  await reader.read();
  await aTick(path);
  const file = openSync(path, "r+");
  writeSync(file, "b", 100_000);
  closeSync(file);
  const reading = (async () => {
    while (!(await reader.read()).done);
  })();
  await assertRejects(() => within(reading), StreamError, "was rewritten");
});

/** Waits until the time of a change now is another than that of the file: systems count it in ticks. */
async function aTick(path: string): Promise<void> {
  const { mtimeNs } = statSync(path, { bigint: true });
  const probe = fileWith("");
  while (statSync(probe, { bigint: true }).mtimeNs === mtimeNs) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    writeFileSync(probe, "x");
  }
}

test("a file whose size the system does not know is read to its end, as a whole and growing", async () => {
  if (!onLinux) return;
  // Sizes of 4096 and of 0 bytes are told, which neither file has.
  for (const path of ["/sys/kernel/mm/transparent_hugepage/enabled", "/proc/version"]) {
    const content = execFileSync("cat", [path]).toString();
    assertEquals(await textOf(await openFile(path)), content);
    const growing = await openGrowingFile(path, { stop: AbortSignal.abort() });
    assertEquals(await textOf(growing), content);
  }
});

test("what cannot be read is an error that names the path", async () => {
  const short = fileWith("short");
  const cases: [path: string, from: number, reason: string][] = [
    [join(directory, "missing.log"), 0, "there is no such file"],
    [directory, 0, "is a directory"],
    [short, 6, "has 5 bytes"],
  ];
  for (const open of [openFile, openGrowingFile]) {
    for (const [path, from, reason] of cases) {
      const error = await assertRejects(() => open(path, { from }), StreamError, reason);
      assertEquals(error.code, "SOURCE_FAILED");
      assert(error.message.includes(path), error.message);
    }
  }
  await assertClosed(short);
});

test("cancelling closes the file, also before anything was read", async () => {
  for (const open of [openFile, openGrowingFile]) {
    const path = fileWith("content");
    const { stream } = await open(path);
    assertEquals(isOpen(path), onLinux);
    await within(stream.cancel());
    await assertClosed(path);
  }
});

test("a named pipe is read until its writer closes it, and cannot be followed", async () => {
  const path = join(directory, "pipe");
  execFileSync("mkfifo", [path]);
  const writer = spawn("sh", ["-c", `(echo first; echo second) > ${path}`]);
  const source = await within(openFile(path));
  assertEquals(source.size, null);
  assertEquals(await textOf(source), "first\nsecond\n");
  // Nobody writes to it, and nobody is waited for.
  await assertRejects(() => within(openGrowingFile(path)), StreamError, "no regular file");
  const files = openNamedFiles(path);
  await assertRejects(() => within(files.next()), StreamError, "no regular file");
  writer.kill();
});

test("cancelling does not wait for a silent pipe", async () => {
  const path = join(directory, "silent");
  execFileSync("mkfifo", [path]);
  const writer = spawn("sh", ["-c", `exec sleep 60 > ${path}`]);
  const reader = (await within(openFile(path))).stream.getReader();
  const pending = reader.read();
  await within(reader.cancel());
  assertEquals((await pending).done, true);
  writer.kill();
  await assertClosed(path);
});

test("what is added to a growing file is read before more is added", async () => {
  const follower = await Follower.of(fileWith("start\n"));
  await follower.expect("start\n");
  for (let line = 0; line < 50; line++) {
    appendFileSync(follower.path, `line ${line}\n`);
    await follower.expect(`line ${line}\n`);
  }
  await follower.cancel();
});

test("growth is seen after a long silence, too", async () => {
  const follower = await Follower.of(fileWith(""));
  for (const text of ["one", "two", "three"]) {
    const expected = follower.expect(text);
    await new Promise((resolve) => setTimeout(resolve, 300)); // The silence.
    appendFileSync(follower.path, text);
    await expected;
  }
  await follower.cancel();
});

test("a buffer has the length that was chosen, and a look comes when it was asked for", async () => {
  const path = fileWith("123456789");
  const whole = await chunksOf(await openFile(path, { bufferBytes: 4 }));
  assertEquals(whole.map((chunk) => Buffer.from(chunk).toString()), ["1234", "5678", "9"]);
  const follower = await Follower.of(path, { bufferBytes: 4, pollIntervalMs: 10 });
  await follower.expect("123456789");
  appendFileSync(path, "abcdefgh");
  await follower.expect("abcdefgh");
  appendFileSync(path, "i");
  follower.stop();
  assertEquals(await follower.rest(), "i");
});

test("a buffer or a time that cannot be is refused by its name", async () => {
  const path = fileWith("1");
  for (const bufferBytes of [0, -1, 1.5, NaN, 2 ** 21]) {
    for (const opening of [openFile, openGrowingFile]) {
      const error = await assertRejects(() => opening(path, { bufferBytes }), StreamError);
      assertEquals([error.code, error.message.includes("bufferBytes")], ["BAD_REQUEST", true]);
    }
  }
  for (const pollIntervalMs of [0, -1, NaN, Infinity]) {
    const error = await assertRejects(() => openGrowingFile(path, { pollIntervalMs }), StreamError);
    assertEquals([error.code, error.message.includes("pollIntervalMs")], ["BAD_REQUEST", true]);
  }
  assert(!isOpen(path));
});

test("following starts at the given byte", async () => {
  const follower = await Follower.of(fileWith("0123456789"), { from: 7 });
  await follower.expect("789");
  appendFileSync(follower.path, "more");
  await follower.expect("more");
  await follower.cancel();
});

test("a stop ends the stream after what is there", async () => {
  const follower = await Follower.of(fileWith("a"));
  await follower.expect("a");
  const rest = follower.rest();
  appendFileSync(follower.path, "b".repeat(200_000));
  follower.stop();
  assertEquals(await rest, "b".repeat(200_000));
  await assertClosed(follower.path);
});

test("a stop that came first still lets everything be read", async () => {
  const content = "c".repeat(200_000);
  const source = await openGrowingFile(fileWith(content), { stop: AbortSignal.abort() });
  assertEquals(await textOf(source), content);
});

test("a producer that goes on does not hold up a stopped stream", async () => {
  const follower = await Follower.of(fileWith("a".repeat(65536)));
  follower.stop();
  await follower.expect("a".repeat(65536));
  appendFileSync(follower.path, "too late");
  assertEquals(await follower.rest(), "");
});

test("a silence of the given length ends the stream, growth puts it off", async () => {
  const follower = await Follower.of(fileWith(""), { untilIdleMs: 400 });
  const startedAt = performance.now();
  const rest = follower.rest();
  for (let line = 0; line < 5; line++) {
    await new Promise((resolve) => setTimeout(resolve, 150)); // A silence that is not long enough.
    appendFileSync(follower.path, `${line}`);
  }
  assertEquals(await rest, "01234");
  assert(performance.now() - startedAt >= 5 * 150 + 400 - 10);
});

test("a slow reader is no silence of the producer", async () => {
  const follower = await Follower.of(fileWith("a"), { untilIdleMs: 50 });
  await follower.expect("a");
  appendFileSync(follower.path, "b");
  // When one that came later has ended, the silence was long enough for this one, too.
  const later = await Follower.of(follower.path, { untilIdleMs: 50 });
  assertEquals(await later.rest(), "ab");
  assertEquals(await follower.rest(), "b");
});

test("the end of a process ends the stream after what it wrote", async () => {
  const path = fileWith("");
  const script = `for i in 1 2 3; do echo $i >> ${path}; sleep 0.1; done; printf last >> ${path}`;
  const producer = spawn("sh", ["-c", script]);
  await once(producer, "spawn");
  const source = await openGrowingFile(path, { untilPid: producer.pid });
  assertEquals(await textOf(source), "1\n2\n3\nlast");
});

test("a process that is gone already lets everything be read", async () => {
  const producer = spawn("true");
  await once(producer, "exit");
  const source = await openGrowingFile(fileWith("all"), { untilPid: producer.pid });
  assertEquals(await textOf(source), "all");
});

test("a process that ended and that nobody waits for is gone", async () => {
  if (!onLinux) return;
  // A program that does not know of its child becomes the parent of a zombie.
  const parent = spawn("sh", ["-c", "sleep 0.1 & echo $!; exec sleep 60"]);
  const [line] = await once(parent.stdout, "data");
  const zombie = Number(String(line));
  const isZombie = () => /\) Z/.test(readFileSync(`/proc/${zombie}/stat`, "latin1"));
  await eventually("the zombie", isZombie);
  const source = await openGrowingFile(fileWith("all"), { untilPid: zombie });
  assertEquals(await textOf(source), "all");
  parent.kill();
});

test("what is no id of a process is refused, and the largest is one that is gone", async () => {
  for (const pid of [0, -1, 1.5, 2 ** 31, 99_999_999_999, NaN]) {
    const error = await assertRejects(
      () => openGrowingFile(fileWith("all"), { untilPid: pid }),
      StreamError,
      `there is no process ${pid}`,
    );
    assertEquals(error.code, "BAD_REQUEST");
  }
  const source = await openGrowingFile(fileWith("all"), { untilPid: 2 ** 31 - 1 });
  assertEquals(await textOf(source), "all");
});

test("a process whose id belongs to another one by now is gone", () => {
  const stat = (state: string, start: number) =>
    `77 (a) Z (b) ${state} 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 ${start} 0 0`;
  let now: string | null = stat("S", 1000);
  const watched = new WatchedProcess(process.pid, () => now);
  assertEquals(watched.isGone(), false);
  now = stat("R", 1000);
  assertEquals(watched.isGone(), false);
  now = stat("S", 2000);
  assertEquals(watched.isGone(), true);
  now = stat("Z", 1000);
  assertEquals(watched.isGone(), true);
  // Where nothing is told, signals tell.
  now = null;
  assertEquals(watched.isGone(), false);
});

test("the appearance of a file ends the stream after what is there", async () => {
  const path = fileWith("one"), flag = `${path}.done`;
  const follower = await Follower.of(path, { untilFile: flag });
  await follower.expect("one");
  const rest = follower.rest();
  appendFileSync(path, "two");
  writeFileSync(flag, "");
  assertEquals(await rest, "two");
});

test("a growing file that shrinks is an error that says from where to where", async () => {
  for (const size of [0, 4]) {
    const follower = await Follower.of(fileWith("0123456789"));
    await follower.expect("0123456789");
    truncateSync(follower.path, size);
    await follower.fails("shrank", `from 10 to ${size} bytes`, "10 were read");
  }
});

test("a growing file that was truncated and has regrown between two looks is an error", async () => {
  for (const text of ["abcdefghij", "abcdefghijklm", "x"]) {
    const follower = await Follower.of(fileWith("0123456789"));
    await follower.expect("0123456789");
    await aTick(follower.path);
    writeFileSync(follower.path, text.repeat(10).slice(0, Math.max(10, text.length)));
    await follower.fails("was rewritten", "10 bytes were read");
  }
});

test("nothing of what a rewritten file holds is passed on, and the end of the producer does not complete it", async () => {
  const follower = await Follower.of(fileWith("0123456789"));
  await follower.expect("0123456789");
  writeFileSync(follower.path, "another text that is longer");
  follower.stop();
  await follower.fails("was rewritten");
});

test("a log that loses its first bytes to copytruncate while its producer goes on is an error", async () => {
  const path = fileWith("");
  const producer = openSync(path, "w");
  writeSync(producer, "before the rotation\n");
  const follower = await Follower.of(path);
  await follower.expect("before the rotation\n");
  truncateSync(path, 0);
  // Without O_APPEND it goes on at its offset, and the file begins with zeros.
  writeSync(producer, "after it\n");
  closeSync(producer);
  await follower.fails("was rewritten");
});

test("a growing file that is only touched goes on", async () => {
  const follower = await Follower.of(fileWith("one"));
  await follower.expect("one");
  await aTick(follower.path);
  utimesSync(follower.path, new Date(), new Date());
  appendFileSync(follower.path, "two");
  await follower.expect("two");
  follower.stop();
  assertEquals(await follower.rest(), "");
});

test("a growing file that is replaced is an error, after what was in it", async () => {
  const follower = await Follower.of(fileWith("old"));
  await follower.expect("old");
  appendFileSync(follower.path, "est");
  renameSync(fileWith("new"), follower.path);
  await follower.expect("est");
  await follower.fails("was replaced", "6 bytes were read");
});

test("a removed file is read on until another takes its path", async () => {
  const path = fileWith("one");
  const producer = openSync(path, "a");
  const follower = await Follower.of(path);
  await follower.expect("one");
  rmSync(path);
  writeSync(producer, "two");
  await follower.expect("two");
  writeFileSync(path, "other");
  closeSync(producer);
  await follower.fails("was replaced", "6 bytes were read");
});

test("a removed file ends well when its producer is done", async () => {
  const follower = await Follower.of(fileWith("one"));
  await follower.expect("one");
  rmSync(follower.path);
  follower.stop();
  assertEquals(await follower.rest(), "");
});

test("cancelling ends the wait for growth at once and closes the file", async () => {
  const follower = await Follower.of(fileWith("one"));
  await follower.expect("one");
  const rest = follower.rest();
  await follower.cancel();
  assertEquals(await rest, "");
  await assertClosed(follower.path);
});

test("any writes of any sizes are read exactly", async () => {
  const sizes = fc.array(fc.oneof(fc.nat({ max: 50 }), fc.nat({ max: 200_000 })), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat({ max: 20 }), async (sizes, pauseMs) => {
      const pieces = sizes.map((size) => randomBytes(size));
      const path = fileWith(""), stop = new AbortController();
      const reading = chunksOf(await openGrowingFile(path, { stop: stop.signal }));
      for (const piece of pieces) {
        appendFileSync(path, piece);
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
      stop.abort();
      const chunks = await reading;
      assert(chunks.every(({ length }) => length > 0 && length <= 65536));
      assert(Buffer.concat(chunks).equals(Buffer.concat(pieces)));
    }),
    { numRuns: 25 },
  );
});
