/** One contract for every storage, and what files on a disk have to stand besides. */
import { Buffer } from "node:buffer";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { appendFile, mkdir, open, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { setImmediate } from "node:timers";
import { setImmediate as turn } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { ResourceStatus } from "../../src/protocol.ts";
import type { LogEnd, LogReader, LogWriter, Storage, TailListener } from "../../src/storage.ts";
import { FileStorage, freeBytesOf } from "../../src/storage/file.ts";
import { Disk, FileReader } from "../../src/storage/file/reader.ts";
import { MemoryLogs, MemoryStorage } from "../../src/storage/memory.ts";
import { logsInEngine } from "../cluster/logs.ts";
import { arbitraryBytes, concat, lineBreaksOf, linesOf, utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import type { FullDisk } from "../helpers/faults/full_disk.ts";
import { Lent } from "../helpers/lent.ts";
import { inTurn } from "../helpers/storage.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const withLines = { lineAccess: true, epoch: 1 };
const withoutLines = { lineAccess: false, epoch: 1 };
/** More than a writer keeps back before it writes to the index. */
const manyLines = 2 * 8192 + 5;

/** What a storage is held to: with so many runs of what is tried at random. */
type Check = (storage: Storage, numRuns: number) => Promise<void>;

/** The same behaviour of all storages, and of two instances that share their logs, each doing every other step. */
function contract(behaviour: string, check: Check): void {
  embeddedContract(behaviour, check);
  test(`NatsStorage: ${behaviour}`, async () => {
    await using logs = await logsInEngine();
    await check(await logs.node(), 10);
  });
  test(`NatsStorage of two nodes: ${behaviour}`, async () => {
    await using logs = await logsInEngine();
    await check(inTurn(await logs.node(), await logs.node()), 20);
  });
}

/** The same behaviour of those that are part of the process. */
function embeddedContract(behaviour: string, check: Check): void {
  test(`MemoryStorage: ${behaviour}`, () => check(new MemoryStorage(), 100));
  test(`MemoryStorage of two nodes: ${behaviour}`, () => {
    const logs = new MemoryLogs();
    return check(inTurn(new MemoryStorage(logs), new MemoryStorage(logs)), 100);
  });
  test(`FileStorage: ${behaviour}`, async () => {
    await using directory = await temporaryDirectory();
    await check(new FileStorage(directory.path), 100);
  });
}

function onDisk(
  behaviour: string,
  check: (storage: FileStorage, directory: string) => Promise<void>,
): void {
  test(`FileStorage: ${behaviour}`, async () => {
    await using directory = await temporaryDirectory();
    await check(new FileStorage(directory.path), directory.path);
  });
}

/** A log that holds these bytes, with nobody writing. */
async function stored(storage: Storage, bytes: Uint8Array): Promise<string> {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withLines);
  await log.append(0, [bytes]);
  await log.close();
  return id;
}

async function reading<T>(
  storage: Storage,
  id: string,
  use: (reader: LogReader) => Promise<T>,
): Promise<T> {
  const reader = await storage.openReader(id);
  try {
    return await use(reader);
  } finally {
    await reader.close();
  }
}

/** A status of epoch 1 that shows everything up to an end. */
function shown({ size, lineBreaks }: LogEnd, sequence = 1): ResourceStatus {
  return {
    transferStatus: "IN_PROGRESS",
    currentSize: size,
    numberOfLines: lineBreaks,
    durableSize: 0,
    epoch: 1,
    sequence,
    life: "1",
    failure: null,
  };
}

/** Makes all that was appended readable. */
const checkpoint = (log: LogWriter) => log.append(log.size, [], shown);

/** Appends parts whose memory is used for something else the moment that is over. */
async function appendLent(
  log: LogWriter,
  parts: readonly Uint8Array[],
  statusOf?: (end: LogEnd) => ResourceStatus,
): Promise<void> {
  const lent = parts.map((part) => new Lent(part));
  await log.append(log.size, lent.map(({ bytes }) => bytes), statusOf);
  for (const part of lent) part.takeBack();
}

function assertCounts(log: LogWriter, bytes: Uint8Array): void {
  const { size, lineBreaks, lines } = log;
  assertEquals({ size, lineBreaks, lines }, {
    size: bytes.length,
    lineBreaks: lineBreaksOf(bytes).length,
    lines: linesOf(bytes),
  });
}

/** Fails unless readers find these bytes, these line breaks and nothing behind them. */
async function assertHolds(storage: Storage, id: string, bytes: Uint8Array): Promise<void> {
  const breaks = lineBreaksOf(bytes);
  await reading(storage, id, async (reader) => {
    assertEquals(await reader.read(0, bytes.length), bytes);
    const found = await Promise.all(breaks.map((_, index) => reader.lineBreak(index)));
    assertEquals(found, breaks);
    const buffer = new Uint8Array(bytes.length + 9);
    for (const other of [7, 8]) {
      buffer.fill(other);
      assertEquals(await reader.read(0, bytes.length, buffer), bytes);
    }
    await assertFails("STORAGE_FAILED", () => reader.read(bytes.length, 1));
    await assertFails("STORAGE_FAILED", () => reader.lineBreak(breaks.length));
  });
}

contract("a new log is empty", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withLines);
  assertCounts(log, utf8(""));
  await assertHolds(storage, id, utf8(""));
  await log.close();
});

contract("creating a log twice is a conflict that leaves the first alone", async (storage) => {
  const id = await stored(storage, utf8("one\ntwo"));
  await assertFails("CONFLICT", () => storage.create(id, withLines));
  await assertFails("CONFLICT", () => storage.create(id, withoutLines));
  await assertHolds(storage, id, utf8("one\ntwo"));
});

contract("all parts of an append can be read, from any place", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withoutLines);
  await log.append(0, [utf8("ab"), utf8("cde")]);
  await log.append(5, [utf8("f")]);
  await checkpoint(log);
  await reading(storage, id, async (reader) => {
    for (let start = 0; start <= 6; start++) {
      for (let end = start; end <= 6; end++) {
        assertEquals(await reader.read(start, end - start), utf8("abcdef".slice(start, end)));
      }
    }
  });
  await log.close();
});

contract("reads at the same time do not disturb one another", async (storage) => {
  const bytes = Uint8Array.from({ length: 100_000 }, (_, at) => at % 251);
  const id = await stored(storage, bytes);
  const places = Array.from({ length: 50 }, (_, index) => index * 1999);
  await reading(storage, id, async (reader) => {
    const pieces = await Promise.all(places.map((at) => reader.read(at, 2000)));
    assertEquals(pieces, places.map((at) => bytes.subarray(at, at + 2000)));
  });
});

contract("an append anywhere but at the end is a conflict and changes nothing", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withLines);
  await log.append(0, [utf8("a\nb")]);
  for (const byteOffset of [0, 2, 4, 2 ** 40]) {
    await assertFails("CONFLICT", () => log.append(byteOffset, [utf8("\n\n")]));
  }
  assertCounts(log, utf8("a\nb"));
  await log.append(3, [utf8("c\n")]);
  await log.close();
  await assertHolds(storage, id, utf8("a\nbc\n"));
});

contract(
  "parts of odd lengths that fill several blocks are one log, lines and all",
  async (storage) => {
    const block = 512 * 1024;
    // A line ends every now and then, where blocks begin, too: each end is asked for by itself.
    const byteOf = (at: number, index: number) => {
      const byte = (at * 7 + index) % 251;
      return byte === 10 && at % 8192 > 251 ? 11 : byte;
    };
    for (
      const lengths of [[1, block, 2], [block - 1, 1, block], [3 * block + 5, 7], [65_500, 0, 1]]
    ) {
      const parts = lengths.map((length, index) =>
        new Uint8Array(length).map((_, at) => byteOf(at, index))
      );
      const id = crypto.randomUUID();
      const log = await storage.create(id, withLines);
      await appendLent(log, [utf8("first\n")]);
      await appendLent(log, parts);
      await log.close();
      await assertHolds(storage, id, concat([utf8("first\n"), ...parts]));
    }
  },
);

contract("empty parts, and no parts, change nothing", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withLines);
  const nothing = new Uint8Array(0);
  await log.append(0, []);
  await log.append(0, [nothing, nothing]);
  assertCounts(log, nothing);
  await log.append(0, [nothing, utf8("a\n"), nothing, utf8("b"), nothing]);
  await log.append(3, [nothing]);
  await log.close();
  await assertHolds(storage, id, utf8("a\nb"));
});

contract("an id without a log is NOT_FOUND, and deleting it is false", async (storage) => {
  const id = crypto.randomUUID();
  await assertFails("NOT_FOUND", () => storage.openReader(id));
  await assertFails("NOT_FOUND", () => storage.recover(id, withLines));
  await assertFails("NOT_FOUND", () => storage.openReader(id));
  assertEquals(await storage.delete(id), false);
});

contract("a read past the end is an error, never fewer bytes", async (storage) => {
  const id = await stored(storage, utf8("0123456789"));
  await reading(storage, id, async (reader) => {
    for (const [at, count] of [[10, 1], [9, 2], [0, 11], [11, 1], [2 ** 40, 1]]) {
      await assertFails("STORAGE_FAILED", () => reader.read(at, count));
    }
    assertEquals(await reader.read(9, 1), utf8("9"));
  });
});

contract("lines are counted with and without a last line break", async (storage) => {
  for (const text of ["", "\n", "a", "a\n", "a\nb", "\n\n", "a\r\nb\r\n", "\r", "\n\na"]) {
    const id = crypto.randomUUID();
    const log = await storage.create(id, withLines);
    await log.append(0, [utf8(text)]);
    assertCounts(log, utf8(text));
    await log.close();
    await assertHolds(storage, id, utf8(text));
  }
});

contract("line breaks are found at the edges of parts and appends", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withLines);
  const appends = [["\n"], ["a", "\n"], ["\nb"], ["c\n", "\n"], ["", "\n", ""], ["d\r", "\ne"]];
  for (const parts of appends) await log.append(log.size, parts.map(utf8));
  const bytes = utf8(appends.flat().join(""));
  assertCounts(log, bytes);
  await log.close();
  await assertHolds(storage, id, bytes);
});

contract("a log without line access counts no lines and has no line breaks", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withoutLines);
  await log.append(0, [utf8("a\nb\n")]);
  await checkpoint(log);
  assertEquals([log.size, log.lineBreaks, log.lines], [4, 0, 0]);
  await reading(storage, id, async (reader) => {
    await assertFails("STORAGE_FAILED", () => reader.lineBreak(0));
    assertEquals(await reader.read(0, 4), utf8("a\nb\n"));
  });
  await log.close();
});

contract("a checkpoint shows everything before it while the writer goes on", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withLines);
  await reading(storage, id, async (reader) => {
    for (let round = 0; round < 3; round++) {
      await log.append(round * 4, [utf8(`${round}a\n\n`)]);
      await checkpoint(log);
      assertEquals(await reader.read(round * 4, 4), utf8(`${round}a\n\n`));
      assertEquals(await reader.lineBreak(round * 2 + 1), round * 4 + 3);
    }
    await log.append(12, [utf8("\n")]);
    await log.close();
    assertEquals(await reader.lineBreak(6), 12);
  });
});

contract("an index of tens of thousands of lines is complete", async (storage) => {
  const bytes = utf8("x\n".repeat(manyLines));
  for (const pieceBytes of [bytes.length, 2 * 8192, 2 * 8192 - 1, 10_007]) {
    const id = crypto.randomUUID();
    const log = await storage.create(id, withLines);
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      await log.append(at, [bytes.subarray(at, at + pieceBytes)]);
    }
    assertCounts(log, bytes);
    await log.flush?.();
    await reading(storage, id, async (reader) => {
      for (const index of [0, 8191, 8192, 8193, manyLines - 1]) {
        assertEquals(await reader.lineBreak(index), 2 * index + 1);
      }
      await assertFails("STORAGE_FAILED", () => reader.lineBreak(manyLines));
    });
    await log.close();
  }
});

contract("bytes and index can be brought to disk at any time", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withLines);
  await Promise.all([log.flush?.(), log.flushData?.()]);
  await log.append(0, [utf8("a\n")]);
  await log.flushData?.();
  await log.append(2, [utf8("b\n")]);
  await log.flush?.();
  await assertHolds(storage, id, utf8("a\nb\n"));
  await log.close();
});

contract("closing a writer again harms nobody who opened a log meanwhile", async (storage) => {
  const [id, other] = [crypto.randomUUID(), crypto.randomUUID()];
  const log = await storage.create(id, withLines);
  await log.append(0, [utf8("one\n")]);
  await Promise.all([log.close(), log.close()]);
  const later = await storage.create(other, withLines);
  await log.close();
  await later.append(0, [utf8("two\nthree\n")]);
  await later.flush?.();
  await later.close();
  await assertHolds(storage, id, utf8("one\n"));
  await assertHolds(storage, other, utf8("two\nthree\n"));
});

contract("there is room for something", async (storage) => {
  assert((await storage.freeBytes?.() ?? Infinity) > 0);
});

test("a disk on which hardly a file can be made is as good as full", () => {
  const space = { bavail: 1000, bsize: 1_000_000, files: 100_000, ffree: 100_000 };
  assertEquals(freeBytesOf(space), 1e9);
  assertEquals(freeBytesOf({ ...space, ffree: 10 }), 10 * 64 * 1024);
  assertEquals(freeBytesOf({ ...space, ffree: 0 }), 0);
  // Some file systems have no such limit, and say 0 of 0.
  assertEquals(freeBytesOf({ ...space, files: 0, ffree: 0 }), 1e9);
});

contract("who takes over stands at the end and goes on counting", async (storage) => {
  const id = await stored(storage, utf8("a\nbc"));
  const log = await storage.recover(id, { lineAccess: true, epoch: 2 });
  assertCounts(log, utf8("a\nbc"));
  await log.append(4, [utf8("d\n\ne")]);
  assertCounts(log, utf8("a\nbcd\n\ne"));
  await log.close();
  await assertHolds(storage, id, utf8("a\nbcd\n\ne"));
});

contract("a log without line access is taken over at its end", async (storage) => {
  const id = crypto.randomUUID();
  const first = await storage.create(id, withoutLines);
  await first.append(0, [utf8("a\nb")]);
  await first.close();
  const log = await storage.recover(id, { lineAccess: false, epoch: 2 });
  assertEquals([log.size, log.lineBreaks, log.lines], [3, 0, 0]);
  await log.append(3, [utf8("c")]);
  await log.close();
  await reading(storage, id, async (reader) => {
    assertEquals(await reader.read(0, 4), utf8("a\nbc"));
  });
});

contract("a writer is fenced as soon as another has a greater epoch", async (storage) => {
  const id = crypto.randomUUID();
  const older = await storage.create(id, { lineAccess: true, epoch: 3 });
  await older.append(0, [utf8("older\n")]);
  const newer = await storage.recover(id, { lineAccess: true, epoch: 7 });
  await assertFails("FENCED", () => older.append(6, [utf8("lost\n")]));
  await newer.append(6, [utf8("newer\n")]);
  await assertFails("FENCED", () => older.append(12, [utf8("lost\n")]));
  await older.close();
  assertCounts(newer, utf8("older\nnewer\n"));
  await newer.close();
  await assertHolds(storage, id, utf8("older\nnewer\n"));
});

contract(
  "a takeover needs a greater epoch, and one that is refused shuts nobody out",
  async (storage) => {
    const id = crypto.randomUUID();
    const log = await storage.create(id, { lineAccess: true, epoch: 3 });
    for (const epoch of [1, 2, 3]) {
      await assertFails("FENCED", () => storage.recover(id, { lineAccess: true, epoch }));
    }
    await log.append(0, [utf8("still here\n")]);
    await log.close();
    await assertHolds(storage, id, utf8("still here\n"));
  },
);

contract("a deleted log is gone, and its id can be used again", async (storage) => {
  const id = await stored(storage, utf8("a\n"));
  assertEquals(await storage.delete(id), true);
  assertEquals(await storage.delete(id), false);
  await assertFails("NOT_FOUND", () => storage.openReader(id));
  await assertFails("NOT_FOUND", () => storage.recover(id, { lineAccess: true, epoch: 2 }));
  const log = await storage.create(id, withLines);
  assertCounts(log, utf8(""));
  await log.close();
});

embeddedContract("a reader that is open reads on after the log was deleted", async (storage) => {
  const id = await stored(storage, utf8("a\nb\n"));
  await reading(storage, id, async (reader) => {
    await storage.delete(id);
    assertEquals(await reader.read(0, 4), utf8("a\nb\n"));
    assertEquals(await reader.lineBreak(1), 3);
  });
});

contract("a writer of a deleted log is told so, and does not bring it back", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withLines);
  await log.append(0, [utf8("a\n")]);
  await storage.delete(id);
  await assertFails("DELETED", () => log.append(2, [utf8("b\n")]));
  await log.close();
  await assertFails("NOT_FOUND", () => storage.openReader(id));
});

/** What somebody hears who follows a log. */
class Heard implements TailListener {
  readonly news: (string | number)[] = [];

  /** Bytes are heard as text, a status as its size. */
  appended(byteOffset: number, blocks: readonly Uint8Array[]): void {
    this.news.push(`${byteOffset} ${new TextDecoder().decode(concat(blocks))}`);
  }

  told(status: ResourceStatus): void {
    this.news.push(status.currentSize);
  }

  async assert(expected: (string | number)[]): Promise<void> {
    const untilMs = performance.now() + 5000;
    while (this.news.length < expected.length && performance.now() < untilMs) await turn();
    assertEquals(this.news, expected);
  }
}

contract("a follower hears bytes, then the status that shows them, in order", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withLines);
  const heard = new Heard();
  const tail = await storage.follow(id, heard);
  assertEquals(tail.status, null);
  await appendLent(log, [utf8("a\n"), utf8("b")]);
  await appendLent(log, [utf8("c\n")], shown);
  await checkpoint(log);
  await log.announce({ ...shown(log), currentSize: 77 });
  await heard.assert(["0 a\nb", "3 c\n", 5, 5, 77]);
  tail.close();
  await log.append(5, [utf8("d")], shown);
  await turn();
  await heard.assert(["0 a\nb", "3 c\n", 5, 5, 77]);
  await log.close();
});

contract(
  "a follower that comes late is given the newest status, and hears what follows",
  async (storage) => {
    const id = crypto.randomUUID();
    const log = await storage.create(id, withLines);
    await log.append(0, [utf8("a\n")], shown);
    const heard = new Heard();
    const tail = await storage.follow(id, heard);
    assertEquals(tail.status, shown(log));
    await log.append(2, [utf8("b")], shown);
    await heard.assert(["2 b", 3]);
    tail.close();
    await log.close();
  },
);

contract(
  "bytes can be read when their status is heard, the line break index included",
  async (storage) => {
    const id = crypto.randomUUID();
    const log = await storage.create(id, withLines);
    const read = Promise.withResolvers<[Uint8Array, number]>();
    await reading(storage, id, async (reader) => {
      const told = () =>
        Promise.all([reader.read(0, 4), reader.lineBreak(1)]).then(read.resolve, read.reject);
      const tail = await storage.follow(id, { appended() {}, told });
      await log.append(0, [utf8("a\nb\n")], shown);
      assertEquals(await read.promise, [utf8("a\nb\n"), 3]);
      tail.close();
    });
    await log.close();
  },
);

contract(
  "a follower hears the next owner, and nothing of one that was shut out",
  async (storage) => {
    const id = crypto.randomUUID();
    const older = await storage.create(id, withLines);
    const heard = new Heard();
    const tail = await storage.follow(id, heard);
    await older.append(0, [utf8("a")], shown);
    const newer = await storage.recover(id, { lineAccess: true, epoch: 2 });
    let asked = 0;
    const status = (end: LogEnd) => {
      asked++;
      return shown(end);
    };
    await assertFails("FENCED", () => older.append(1, [utf8("lost")], status));
    await assertFails("FENCED", () => older.append(1, [], status));
    await assertFails("FENCED", () => older.announce(shown(older)));
    assertEquals(asked, 0);
    await newer.append(1, [utf8("b")], shown);
    await heard.assert(["0 a", 1, "1 b", 2]);
    tail.close();
    await Promise.all([older.close(), newer.close()]);
  },
);

contract(
  "a log of which the end was told is followed as one that nobody writes",
  async (storage) => {
    const id = crypto.randomUUID();
    const log = await storage.create(id, withLines);
    await log.append(0, [utf8("a")], shown);
    await log.announce({ ...shown(log), transferStatus: "COMPLETED" });
    await log.close();
    const tail = await storage.follow(id, new Heard());
    assert(tail.status === null || tail.status.transferStatus === "COMPLETED");
    tail.close();
  },
);

contract("any number follow a log, and each ends by itself", async (storage) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withoutLines);
  const [first, second] = [new Heard(), new Heard()];
  const tails = [await storage.follow(id, first), await storage.follow(id, second)];
  await log.append(0, [utf8("a")], shown);
  await Promise.all([first.assert(["0 a", 1]), second.assert(["0 a", 1])]);
  tails[0].close();
  tails[0].close();
  await log.append(1, [utf8("b")], shown);
  await second.assert(["0 a", 1, "1 b", 2]);
  assertEquals(first.news.length, 2);
  tails[1].close();
  await log.close();
});

const strangeIds = [
  "",
  ".",
  "..",
  "../x",
  "../../../../tmp/x",
  "/etc/passwd",
  "%2f",
  "%2e%2e%2fx",
  "a\0b",
  "\0",
  "x".repeat(10 * 1024),
  "é",
  "C:\\x",
  "6F1E3A52-6B0A-4E4F-9D3C-000000000001",
  "6f1e3a52-6b0a-4e4f-9d3c-000000000001\n",
  "6f1e3a52-6b0a-4e4f-9d3c-000000000001/../x",
];

contract("an id that is no resource id has no log", async (storage) => {
  for (const id of strangeIds) {
    await assertFails("NOT_FOUND", () => storage.openReader(id));
    await assertFails("NOT_FOUND", () => storage.recover(id, withLines));
    assertEquals(await storage.delete(id), false);
  }
});

/** Chunks, each with whether the writer is replaced before it. */
const arbitraryChunks = fc.array(
  fc.record({ bytes: arbitraryBytes(50), takeover: fc.boolean(), shows: fc.boolean() }),
  { maxLength: 30, size: "max" },
);

contract(
  "any chunking of any bytes, under any owners, gives the same log, whatever becomes of their memory",
  async (storage, numRuns) => {
    await fc.assert(
      fc.asyncProperty(arbitraryChunks, async (chunks) => {
        const id = crypto.randomUUID();
        let log = await storage.create(id, withLines);
        let epoch = 1;
        for (const { bytes, takeover, shows } of chunks) {
          if (takeover) {
            await log.close();
            log = await storage.recover(id, { lineAccess: true, epoch: ++epoch });
          }
          const half = bytes.length >> 1;
          await appendLent(log, [bytes.slice(0, half), bytes.slice(half)]);
          if (shows) await checkpoint(log);
        }
        const whole = concat(chunks.map(({ bytes }) => bytes));
        assertCounts(log, whole);
        await log.close();
        await assertHolds(storage, id, whole);
        await storage.delete(id);
      }),
      { numRuns },
    );
  },
);

/** Where the Java server has the data of a resource, and so must we. */
function dataPath(directory: string, id: string): string {
  const hash = createHash("md5").update(id).digest("hex");
  return join(directory, hash.slice(0, 2), hash.slice(2, 4), `${id}.bin`);
}

/** An index of these line breaks, byte for byte. */
function entries(positions: readonly number[]): Uint8Array {
  const index = Buffer.alloc(positions.length * 5);
  positions.forEach((position, at) => index.writeUIntBE(position, at * 5, 5));
  return new Uint8Array(index);
}

const indexOf = (bytes: Uint8Array) => entries(lineBreaksOf(bytes));

const bytesAt = (path: string) => new Uint8Array(readFileSync(path));

/** Every file below a directory. */
function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

onDisk("data and index stand where the Java server has them", async (storage, directory) => {
  const id = "6f1e3a52-6b0a-4e4f-9d3c-5a3f0c1d2e4b";
  const log = await storage.create(id, withLines);
  await log.append(0, [utf8("one\ntwo\r\n\nfour")]);
  await log.close();
  const path = dataPath(directory, id);
  assertEquals(filesBelow(directory), [path, `${path}.idx`]);
  assertEquals(bytesAt(path), utf8("one\ntwo\r\n\nfour"));
  assertEquals(
    bytesAt(`${path}.idx`),
    Uint8Array.from(Buffer.from("000000000300000000080000000009", "hex")),
  );
});

onDisk("a log without line access has no index", async (storage, directory) => {
  const id = crypto.randomUUID();
  const log = await storage.create(id, withoutLines);
  await log.append(0, [utf8("a\nb\n")]);
  await log.flush?.();
  await log.close();
  assertEquals(filesBelow(directory), [dataPath(directory, id)]);
});

onDisk("nothing is written before the first log", async (_storage, directory) => {
  const storage = new FileStorage(join(directory, "deep", "below"));
  await assertFails("NOT_FOUND", () => storage.openReader(crypto.randomUUID()));
  assertEquals(readdirSync(directory), []);
  const id = await stored(storage, utf8("a\n"));
  assertEquals(existsSync(dataPath(join(directory, "deep", "below"), id)), true);
});

onDisk("another storage on the same directory finds the logs", async (storage, directory) => {
  const id = await stored(storage, utf8("a\nb\n"));
  await storage.close();
  await assertHolds(new FileStorage(directory), id, utf8("a\nb\n"));
});

onDisk("strange ids touch nothing on the file system", async (storage, directory) => {
  const below = new FileStorage(join(directory, "below"));
  await stored(storage, utf8("a\n"));
  const before = filesBelow(directory);
  for (const id of strangeIds) {
    await assertFails("NOT_FOUND", () => below.create(id, withLines));
    await below.delete(id).catch(() => {});
  }
  assertEquals(filesBelow(directory), before);
  assertEquals(existsSync(join(directory, "below")), false);
});

onDisk("line breaks and reads beyond 4 GiB are exact", async (storage, directory) => {
  const id = await stored(storage, utf8("\n"));
  const path = dataPath(directory, id);
  const gap = 2 ** 32 + 7;
  truncateSync(path, gap);
  const file = await open(path, "a");
  await file.write(utf8("\n"));
  await file.close();
  await appendFile(`${path}.idx`, entries([gap]));

  const log = await storage.recover(id, { lineAccess: true, epoch: 2 });
  assertEquals([log.size, log.lineBreaks, log.lines], [gap + 1, 2, 2]);
  await log.append(gap + 1, [utf8("ab\ncd")]);
  await log.close();
  assertEquals(readFileSync(`${path}.idx`, "hex"), "0000000000" + "0100000007" + "010000000a");
  await reading(storage, id, async (reader) => {
    assertEquals(await reader.lineBreak(1), gap);
    assertEquals(await reader.lineBreak(2), gap + 3);
    assertEquals(await reader.read(gap - 1, 7), utf8("\0\nab\ncd"));
  });
});

const text = utf8("\nfirst\nsecond\n\nfourth\nrest");
const whole = indexOf(text);

/** What a crash, or a disk that lost what was not flushed, can leave of the index of {@link text}. */
const damages: Record<string, Uint8Array | null> = {
  "is missing": null,
  "is empty": utf8(""),
  "is complete": whole,
  "ends too early": whole.slice(0, 15),
  "ends within its first entry": whole.slice(0, 3),
  "ends within an entry": whole.slice(0, 14),
  "has one byte too many": concat([whole, utf8("\0")]),
  "runs past the data": concat([whole, entries([text.length, text.length + 9, 2 ** 39])]),
  "names bytes that are no line breaks at its end": concat([whole.slice(0, 15), entries([15, 16])]),
  "has zeros at its end": concat([whole.slice(0, 15), new Uint8Array(23)]),
  "is all zeros": new Uint8Array(4096),
  "repeats its last entry": concat([whole, whole.slice(-5), whole.slice(-5)]),
  "goes back at its end": concat([whole.slice(0, 20), entries([6, 0])]),
  "is random": Uint8Array.from({ length: 4096 }, (_, at) => (at * 7919) >> 3),
};

for (const [damage, index] of Object.entries(damages)) {
  onDisk(`recovery makes good an index that ${damage}`, async (storage, directory) => {
    const id = await stored(storage, text);
    const path = dataPath(directory, id);
    if (index === null) await rm(`${path}.idx`);
    else writeFileSync(`${path}.idx`, index);

    const log = await storage.recover(id, { lineAccess: true, epoch: 2 });
    assertCounts(log, text);
    await log.close();
    assertEquals(bytesAt(`${path}.idx`), whole);
    assertEquals(bytesAt(path), text);

    const again = await storage.recover(id, { lineAccess: true, epoch: 3 });
    assertCounts(again, text);
    await again.close();
    assertEquals(bytesAt(`${path}.idx`), whole);
    assertEquals(bytesAt(path), text);
  });
}

onDisk("recovery indexes more data than one step of its scan", async (storage, directory) => {
  const bytes = utf8("0123456789abcde\n".repeat(40_000));
  const id = await stored(storage, bytes);
  const path = dataPath(directory, id);
  for (const keptEntries of [0, 1, 16_383, 39_999]) {
    truncateSync(`${path}.idx`, keptEntries * 5);
    const log = await storage.recover(id, { lineAccess: true, epoch: keptEntries + 2 });
    assertCounts(log, bytes);
    await log.close();
    assert(Buffer.from(indexOf(bytes)).equals(readFileSync(`${path}.idx`)));
  }
});

/** What a crash of the machine leaves of an index: its begin, with a stretch that was never written. */
const arbitraryLoss = fc.record({
  kept: fc.nat(),
  zerosFrom: fc.nat(),
  zeros: fc.integer({ min: 10, max: 60 }),
});

onDisk(
  "whatever stretch of an index was lost, recovery finds it again",
  async (storage, directory) => {
    await fc.assert(
      fc.asyncProperty(arbitraryBytes(60), arbitraryLoss, async (bytes, loss) => {
        const id = await stored(storage, bytes);
        const path = dataPath(directory, id);
        const sound = indexOf(bytes);
        const index = new Uint8Array(sound.length + 20);
        index.set(sound.slice(0, loss.kept % (sound.length + 1)));
        const zerosFrom = loss.zerosFrom % index.length;
        writeFileSync(`${path}.idx`, index.fill(0, zerosFrom, zerosFrom + loss.zeros));

        const log = await storage.recover(id, { lineAccess: true, epoch: 2 });
        assertCounts(log, bytes);
        await log.close();
        assertEquals(bytesAt(`${path}.idx`), sound);
        await storage.delete(id);
      }),
      { numRuns: 200 },
    );
  },
);

/** Ids whose data shares its directories, as far as asked, with that of the first one. */
function neighbours(hexDigits: number, count: number): string[] {
  const prefixOf = (id: string) => createHash("md5").update(id).digest("hex").slice(0, hexDigits);
  const ids: string[] = [];
  for (let number = 0; ids.length < count; number++) {
    const id = `00000000-0000-4000-8000-${number.toString(16).padStart(12, "0")}`;
    if (ids.length === 0 || prefixOf(id) === prefixOf(ids[0])) ids.push(id);
  }
  return ids;
}

onDisk(
  "a deletion removes the directories that are empty then, and no others",
  async (storage, directory) => {
    const [id, twin] = neighbours(4, 2);
    const [, cousin] = neighbours(2, 2);
    for (const each of [id, twin, cousin]) await (await storage.create(each, withLines)).close();

    await storage.delete(id);
    assertEquals(existsSync(dataPath(directory, twin)), true);
    await storage.delete(twin);
    assertEquals(existsSync(dirname(dataPath(directory, twin))), false);
    assertEquals(existsSync(dataPath(directory, cousin)), true);
    await storage.delete(cousin);
    assertEquals(readdirSync(directory), []);
  },
);

onDisk("a log is created while a neighbour's directory goes away", async (storage, directory) => {
  const [first, second] = neighbours(4, 2);
  await (await storage.create(first, withLines)).close();
  for (let round = 0; round < 50; round++) {
    const [gone, made] = round % 2 === 0 ? [first, second] : [second, first];
    const [, log] = await Promise.all([storage.delete(gone), storage.create(made, withLines)]);
    await log.append(0, [utf8("a\n")]);
    await log.close();
    assertEquals(existsSync(dataPath(directory, made)), true);
  }
});

onDisk("who reads much lets others have a turn", async (storage) => {
  const id = await stored(storage, new Uint8Array(256 * 1024));
  const log = await storage.openReader(id);
  let turns = 0;
  setImmediate(() => turns++);
  await log.read(0, 256 * 1024);
  await log.close();
  assertEquals(turns, 1);
});

onDisk("an index without data is deleted, too", async (storage, directory) => {
  const id = await stored(storage, utf8("a\n"));
  await rm(dataPath(directory, id));
  assertEquals(await storage.delete(id), false);
  assertEquals(readdirSync(directory), []);
});

onDisk("a log that cannot have its index is not made at all", async (storage, directory) => {
  const id = crypto.randomUUID();
  const path = dataPath(directory, id);
  await mkdir(`${path}.idx`, { recursive: true });
  await assertFails("CONFLICT", () => storage.create(id, withLines));
  assertEquals(existsSync(path), false);
});

/** One append after another on the runtime of this test, until no file may grow any more. */
async function fillDisk(directory: string, id: string, block: string): Promise<FullDisk> {
  const program = fileURLToPath(new URL("../helpers/faults/full_disk.ts", import.meta.url));
  const runtime = [process.execPath, ..."Deno" in globalThis ? ["run", "-A"] : []];
  // POSIX counts in blocks of 512 bytes, some shells in KiB: 8 or 16 MiB.
  const script = `trap '' XFSZ; ulimit -f 16384; exec "$@"`;
  const { stdout } = await promisify(execFile)(
    "sh",
    ["-c", script, "sh", ...runtime, program, directory, id, block],
  );
  return JSON.parse(stdout);
}

/** Text of one append: whose line breaks fill the data file first, or the index. */
const fullDisks: Record<string, string> = {
  data: "\n0123456789abcdef\n",
  index: "\n\n",
};

for (const [file, block] of Object.entries(fullDisks)) {
  onDisk(
    `an append that a full disk refuses the ${file} of leaves no trace`,
    async (storage, directory) => {
      const id = crypto.randomUUID();
      const { code, before, after, last } = await fillDisk(directory, id, block);
      assertEquals(code, "STORAGE_FAILED");
      assertEquals(after, before);
      assertEquals(last.size, before.size + 1);

      const data = readFileSync(dataPath(directory, id));
      const append = block.slice(0, 1) + block.slice(1).repeat(100_000);
      assert(before.size >= append.length);
      assert(data.equals(Buffer.from(append.repeat(before.size / append.length) + ".")));

      const index = `${dataPath(directory, id)}.idx`;
      assert(readFileSync(index).equals(indexOf(data)));

      const log = await storage.recover(id, { lineAccess: true, epoch: 2 });
      const { size, lineBreaks, lines } = log;
      assertEquals({ size, lineBreaks, lines }, last);
      await log.close();
      assert(readFileSync(index).equals(indexOf(data)));
    },
  );
}

test("a disk that had to be waited for is read by a thread for a hundred times as long", () => {
  let blocks = 8;
  const disk = new Disk(() => blocks++);
  disk.waited(0.9, 1000);
  assertEquals(disk.isWaiting(1000), false);
  disk.waited(20, 1000);
  assertEquals([disk.isWaiting(2999), disk.isWaiting(3000)], [true, false]);
  // A cached read in between does not end that.
  disk.waited(50, 4000);
  disk.waited(0.1, 4001);
  assertEquals([disk.isWaiting(8999), disk.isWaiting(9000)], [true, false]);
});

test("a slow read that touched no disk has waited for a processor, and changes nothing", () => {
  let blocks = 8;
  const disk = new Disk(() => blocks);
  disk.waited(20, 1000);
  assertEquals(disk.isWaiting(1000), false);
  blocks = 16;
  disk.waited(20, 1000);
  assertEquals(disk.isWaiting(1000), true);
  disk.waited(20, 4000);
  assertEquals(disk.isWaiting(4000), false);
  // Not every file system has its blocks counted.
  disk.waited(21, 4000);
  assertEquals(disk.isWaiting(4000), true);
});

test("the runtime counts what it reads from disks", () => {
  const { fsRead } = process.resourceUsage();
  assert(Number.isInteger(fsRead) && fsRead >= 0);
});

test("both ways to read give the same bytes, and tell the disk only of waits for it", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "log");
  const bytes = utf8("0123456789".repeat(20_000));
  writeFileSync(path, bytes);
  for (const isWaiting of [false, true]) {
    const told: number[] = [];
    const disk = { isWaiting: () => isWaiting, waited: (ms: number) => void told.push(ms) };
    const data = await open(path, "r");
    const reader = new FileReader(path, data, null, disk as unknown as Disk, () => {});
    assertEquals(await reader.read(5, 100_000), bytes.slice(5, 100_005));
    await assertFails("STORAGE_FAILED", () => reader.read(bytes.length, 1));
    assertEquals(told.length, isWaiting ? 0 : 1);
    await reader.close();
  }
});
