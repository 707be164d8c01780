/** The spool between a pipe and a connection: order, limit, memory and file, ends. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CHUNK_BYTES } from "../../src/source/source.ts";
import { spool } from "../../src/source/spool.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertBytes, eventually, within } from "../helpers/frames/connection.ts";
import { Chance, withChance } from "../helpers/random.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const MIB = 1024 * 1024;
/** What the spool keeps in memory before it uses a file. */
const MEMORY_BYTES = 8 * MIB;

/** A producer that tells how much was taken from it. */
class Producer {
  taken = 0;
  cancelled = false;
  readonly stream: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #asked = Promise.withResolvers<void>();

  constructor() {
    this.stream = new ReadableStream({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#asked.resolve(),
      cancel: () => void (this.cancelled = true),
    }, { highWaterMark: 0 });
  }

  /** Whether somebody waits for the next chunk. */
  async asked(): Promise<void> {
    await this.#asked.promise;
  }

  give(chunk: Uint8Array): void {
    this.taken += chunk.length;
    this.#asked = Promise.withResolvers();
    this.#controller.enqueue(chunk);
  }

  end(): void {
    this.#controller.close();
  }

  fail(error: Error): void {
    this.#controller.error(error);
  }
}

const PATTERN = new Chance(1).text(99_991);

/** The bytes that a producer gives from an offset on. */
function bytesAt(byteOffset: number, byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  for (let filled = 0; filled < byteCount;) {
    const from = (byteOffset + filled) % PATTERN.length;
    const piece = PATTERN.subarray(from, from + byteCount - filled);
    bytes.set(piece, filled);
    filled += piece.length;
  }
  return bytes;
}

/** Gives so many bytes as fast as they are taken. */
async function give(producer: Producer, byteCount: number, longest = CHUNK_BYTES): Promise<void> {
  for (const end = producer.taken + byteCount; producer.taken < end;) {
    await producer.asked();
    producer.give(bytesAt(producer.taken, Math.min(longest, end - producer.taken)));
  }
}

/** Reads so many bytes, and checks that they are the next ones. */
class Consumer {
  read = 0;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  async take(byteCount: number): Promise<void> {
    for (const end = this.read + byteCount; this.read < end;) await this.next();
  }

  /** Takes one chunk; false at the end. */
  async next(): Promise<boolean> {
    const { done, value } = await within("a chunk", this.#reader.read());
    if (done) return false;
    assertBytes(value, bytesAt(this.read, value.length));
    this.read += value.length;
    return true;
  }

  async takeAll(): Promise<void> {
    while (await this.next());
  }

  cancel(): Promise<void> {
    return this.#reader.cancel();
  }
}

/** A directory for temporary files, for as long as a test. */
async function temporaryFiles() {
  const { TMPDIR } = process.env;
  const directory = await temporaryDirectory();
  process.env.TMPDIR = directory.path;
  return {
    names: () => readdir(directory.path),
    async bytes() {
      const [name] = await readdir(directory.path);
      return (await stat(join(directory.path, name, "spool"))).size;
    },
    async [Symbol.asyncDispose]() {
      if (TMPDIR === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = TMPDIR;
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Waits until no temporary file is left. */
async function untilGone(files: { names(): Promise<string[]> }): Promise<void> {
  const look = async () => {
    while ((await files.names()).length > 0);
  };
  await within("the end of the temporary files", look());
}

for (const [where, before] of [["memory", 0], ["a file", MEMORY_BYTES + MIB]] as const) {
  test(`a chunk is passed on the moment it comes, after a burst that went through ${where}`, async () => {
    await using _files = await temporaryFiles();
    const producer = new Producer();
    const consumer = new Consumer(spool(producer.stream, 2 * MEMORY_BYTES));
    await give(producer, before);
    await consumer.take(before);
    for (let delay = 0; delay < 50; delay++) {
      await producer.asked();
      const taken = consumer.next();
      for (let turns = 0; turns < delay; turns++) await Promise.resolve();
      producer.give(bytesAt(producer.taken, 10));
      assert(await taken);
    }
    await consumer.cancel();
  });
}

test("a producer has to wait when the limit is reached, and nothing is dropped", async () => {
  const limit = 20 * CHUNK_BYTES;
  const producer = new Producer();
  const consumer = new Consumer(spool(producer.stream, limit));
  const given = give(producer, 100 * CHUNK_BYTES).then(() => producer.end());
  await eventually("the limit", () => producer.taken >= limit);
  for (let turns = 0; turns < 20; turns++) await turn();
  assertEquals(producer.taken, limit);
  await consumer.take(5 * CHUNK_BYTES);
  await eventually("more", () => producer.taken === limit + consumer.read);
  await consumer.takeAll();
  await given;
  assertEquals(consumer.read, 100 * CHUNK_BYTES);
});

test("small chunks that come in a flood are handed on together, in their order", async () => {
  const producer = new Producer();
  const reader = spool(producer.stream, MIB).getReader();
  const lengths: number[] = [];
  const reading = (async () => {
    let offset = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return offset;
      assertBytes(value, bytesAt(offset, value.length));
      offset += value.length;
      lengths.push(value.length);
    }
  })();
  await give(producer, MIB, 4096);
  producer.end();
  assertEquals(await within("the end", reading), MIB);
  assert(lengths.length <= 64, `${lengths.length} chunks`);
  assert(lengths.every((length) => length <= CHUNK_BYTES));
});

test("what follows within the time to gather is handed on together, and the end waits for nothing", async () => {
  const producer = new Producer();
  const reader = spool(producer.stream, MIB, { gatherMs: 60_000 }).getReader();
  await give(producer, 10);
  const first = await within("the first chunk", reader.read());
  assertBytes(first.value!, bytesAt(0, 10));
  const rest = reader.read();
  await give(producer, 20, 10);
  await producer.asked();
  producer.end();
  assertBytes((await within("the end", rest)).value!, bytesAt(10, 20));
  assert((await within("the end", reader.read())).done);
});

test("even the smallest limit lets everything pass", async () => {
  const producer = new Producer();
  const consumer = new Consumer(spool(producer.stream, 1));
  const given = give(producer, 200_000, 100).then(() => producer.end());
  await Promise.all([consumer.takeAll(), given]);
  assertEquals(consumer.read, 200_000);
});

test("what does not fit into memory is kept in a temporary file, which is gone in the end", async () => {
  await using files = await temporaryFiles();
  const producer = new Producer();
  const consumer = new Consumer(spool(producer.stream, 64 * MIB));
  await give(producer, MEMORY_BYTES);
  await producer.asked();
  assertEquals(await files.names(), []);
  await give(producer, 12 * MIB);
  await producer.asked();
  assertEquals(await files.bytes(), 12 * MIB);
  producer.end();
  await consumer.takeAll();
  assertEquals(consumer.read, MEMORY_BYTES + 12 * MIB);
  await untilGone(files);
});

test("in whatever order bytes are given and taken, they are the same, and the file stays small", () =>
  withChance(async (chance) => {
    await using files = await temporaryFiles();
    const limit = MEMORY_BYTES + chance.whole(CHUNK_BYTES, MIB);
    const producer = new Producer();
    const consumer = new Consumer(spool(producer.stream, limit));
    const total = 40 * MIB;
    await give(producer, limit);
    const giving = async () => {
      while (producer.taken < total) {
        await give(producer, Math.min(total - producer.taken, chance.whole(1, CHUNK_BYTES)));
        if (chance.happens(0.1)) await turn();
      }
      producer.end();
    };
    const taking = async () => {
      while (await consumer.next()) if (chance.happens(0.1)) await turn();
    };
    const given = giving();
    await consumer.take(MIB);
    assert(await files.bytes() <= limit + CHUNK_BYTES, "the file is larger than the limit");
    await Promise.all([given, taking()]);
    assertEquals(consumer.read, total);
    await untilGone(files);
  }));

test("a chunk longer than the room that is left overwrites nothing that was not read", async () => {
  await using files = await temporaryFiles();
  const limit = MEMORY_BYTES + MIB;
  // A pipe brings more at once on Bun than it can hold.
  const longest = 4 * CHUNK_BYTES;
  const producer = new Producer();
  const consumer = new Consumer(spool(producer.stream, limit));
  await give(producer, limit);
  // Memory is empty then, and everything goes behind what is in the file.
  await consumer.take(MEMORY_BYTES);
  await give(producer, MEMORY_BYTES - 1);
  const given = give(producer, 20 * longest, longest).then(() => producer.end());
  await eventually("the last chunk", () => producer.taken > limit + MEMORY_BYTES);
  await consumer.takeAll();
  await given;
  assertEquals(consumer.read, producer.taken);
  await untilGone(files);
});

test("without a directory for temporary files memory is all there is, which is said once", async () => {
  await using files = await temporaryFiles();
  process.env.TMPDIR += "/missing";
  const warnings: string[] = [];
  const producer = new Producer();
  const stream = spool(producer.stream, 64 * MIB, {
    warn: (message) => warnings.push(message),
  });
  const consumer = new Consumer(stream);
  const total = 40 * MIB;
  const given = give(producer, total).then(() => producer.end());
  await eventually("full memory", () => producer.taken >= MEMORY_BYTES);
  for (let turns = 0; turns < 20; turns++) await turn();
  assert(producer.taken <= MEMORY_BYTES + CHUNK_BYTES, `${producer.taken} bytes were taken`);
  await Promise.all([consumer.takeAll(), given]);
  assertEquals(consumer.read, total);
  assertEquals(warnings.length, 1);
  assert(warnings[0].includes("/missing: there is no such file"), warnings[0]);
  assertEquals(await files.names(), []);
});

test("cancelling ends the wait of a producer that found no room at all", async () => {
  await using _files = await temporaryFiles();
  process.env.TMPDIR += "/missing";
  for (let delay = 0; delay < 20; delay++) {
    const producer = new Producer();
    const consumer = new Consumer(spool(producer.stream, 64 * MIB));
    await give(producer, MEMORY_BYTES);
    await producer.asked();
    producer.give(bytesAt(producer.taken, 1000));
    for (let turns = 0; turns < delay; turns++) await turn();
    await within("the end", consumer.cancel());
    assert(producer.cancelled);
  }
});

test("an error of the producer comes after all that came before it", async () => {
  await using files = await temporaryFiles();
  const producer = new Producer();
  const consumer = new Consumer(spool(producer.stream, 64 * MIB));
  await give(producer, MEMORY_BYTES + 3 * MIB);
  await producer.asked();
  producer.fail(new Error("the pipe broke"));
  await assertRejects(() => consumer.takeAll(), Error, "the pipe broke");
  assertEquals(consumer.read, MEMORY_BYTES + 3 * MIB);
  await untilGone(files);
});

test("cancelling tells the producer and leaves no temporary file, whenever it happens", async () => {
  await using files = await temporaryFiles();
  for (let delay = 0; delay < 30; delay++) {
    const producer = new Producer();
    const consumer = new Consumer(spool(producer.stream, 64 * MIB));
    await give(producer, MEMORY_BYTES);
    await producer.asked();
    producer.give(bytesAt(producer.taken, 1000));
    for (let turns = 0; turns < delay; turns++) await (delay < 15 ? Promise.resolve() : turn());
    await consumer.cancel();
    assert(producer.cancelled);
    await untilGone(files);
  }
});

test("a producer that ends without a byte ends the stream", async () => {
  const producer = new Producer();
  const consumer = new Consumer(spool(producer.stream, 1));
  await producer.asked();
  producer.end();
  assertEquals(await consumer.next(), false);
});

test("cancelling ends the wait of a producer that reached the limit", async () => {
  const producer = new Producer();
  const consumer = new Consumer(spool(producer.stream, 10));
  await producer.asked();
  producer.give(utf8("more than ten"));
  await turn();
  await within("the end", consumer.cancel());
  assert(producer.cancelled);
});
