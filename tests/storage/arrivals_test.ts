/** When bytes arrived: noted at checkpoints, looked up by position and by time. */
import { existsSync } from "node:fs";
import { appendFile, rm, stat, truncate } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { ResourceStatus } from "../../src/protocol.ts";
import type { LogEnd, Storage } from "../../src/storage.ts";
import {
  ARRIVAL_BYTES,
  arrivalsOf,
  arrivedSince,
  decodeArrival,
  encodeArrival,
} from "../../src/storage/arrivals.ts";
import { FileStorage } from "../../src/storage/file.ts";
import { arrivalsPath, logPath } from "../../src/storage/layout.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { utf8 } from "../helpers/bytes.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const shown = ({ size, lines }: LogEnd): ResourceStatus => ({
  transferStatus: "IN_PROGRESS",
  ...{ currentSize: size, numberOfLines: lines, durableSize: 0, epoch: 1, sequence: 1, life: "1" },
  failure: null,
});

/** The next millisecond. */
async function later(): Promise<number> {
  const nowMs = Date.now();
  while (Date.now() === nowMs) await new Promise((resolve) => setTimeout(resolve, 1));
  return Date.now();
}

function entriesOf(list: readonly [timeMs: number, isKnown: boolean, byteOffset: number][]) {
  const bytes = list.map((entry) => encodeArrival(...entry));
  const read = (from: number, count: number) => {
    const joined = new Uint8Array(count * ARRIVAL_BYTES);
    bytes.slice(from, from + count).forEach((entry, at) => joined.set(entry, at * ARRIVAL_BYTES));
    return Promise.resolve(joined);
  };
  return { count: list.length, read };
}

test("an entry holds any time and any position of a log", () => {
  fc.assert(fc.property(
    fc.nat({ max: 2 ** 44 }),
    fc.boolean(),
    fc.nat({ max: 2 ** 40 - 1 }),
    (latestMs, isKnown, byteOffset) => {
      const timeMs = isKnown ? latestMs : null;
      assertEquals(decodeArrival(encodeArrival(latestMs, isKnown, byteOffset), 0), {
        ...{ timeMs, latestMs, byteOffset },
      });
    },
  ));
});

test("times are found by position, and positions by time, as a naive search finds them", async () => {
  const steps = fc.array(fc.tuple(fc.nat(5), fc.boolean(), fc.integer({ min: 1, max: 9 })), {
    maxLength: 300,
  });
  await fc.assert(fc.asyncProperty(steps, async (given) => {
    let timeMs = 1000, end = 0;
    const list = given.map(([laterMs, isKnown, bytes]) =>
      [timeMs += laterMs, isKnown, end += bytes] as [number, boolean, number]
    );
    const entries = entriesOf(list);
    const offsets = Array.from({ length: end + 2 }, (_, at) => at);
    const found = offsets.map((offset) => list.find(([, , until]) => until > offset));
    assertEquals(
      await arrivalsOf(entries, offsets),
      found.map((entry) => entry?.[1] ? entry[0] : null),
    );
    for (let askedMs = 999; askedMs <= timeMs + 1; askedMs += 7) {
      const at = list.findIndex(([noted]) => noted >= askedMs);
      const wanted = at === -1 ? null : at === 0 ? 0 : list[at - 1][2];
      assertEquals(await arrivedSince(entries, askedMs), wanted);
    }
  }));
});

async function checkTimes(storage: Storage): Promise<void> {
  const id = crypto.randomUUID();
  const log = await storage.create(id, { lineAccess: true, epoch: 1 });
  const beforeMs = Date.now();
  await log.append(0, [utf8("one\n")], shown);
  const secondMs = await later();
  await log.append(4, [utf8("two\n")]);
  await log.append(8, [utf8("three\n")], shown);
  await log.append(14, [], shown);
  const reader = await storage.openReader(id);
  const [one, two, three] = await reader.arrivals!([3, 7, 13]);
  assert(one! >= beforeMs && one! < secondMs, `${one}`);
  assert(two! >= secondMs && two === three, `${two} ${three}`);
  assertEquals(await reader.arrivedSince!(secondMs), 4);
  assertEquals(await reader.arrivedSince!(beforeMs), 0);
  assertEquals(await reader.arrivedSince!(two! + 1), null);
  await reader.close();
  await log.close();
}

test("MemoryStorage: bytes have the time of the checkpoint that showed them", () =>
  checkTimes(new MemoryStorage()));

test("FileStorage: bytes have the time of the checkpoint that showed them", async () => {
  await using directory = await temporaryDirectory();
  await checkTimes(new FileStorage(directory.path));
});

test("FileStorage: bytes that nobody noted are unknown, and what a crash took is forgotten", async () => {
  await using directory = await temporaryDirectory();
  const storage = new FileStorage(directory.path);
  const id = crypto.randomUUID();
  const log = await storage.create(id, { lineAccess: true, epoch: 1 });
  await log.append(0, [utf8("one\n")], shown);
  await log.append(4, [utf8("two\n")], shown);
  await log.close();
  const path = logPath(directory.path, id);
  // A crash in the middle of an entry, and bytes without one.
  await appendFile(arrivalsPath(path), new Uint8Array(5));
  await appendFile(path, "three\n");
  const again = await storage.recover(id, { lineAccess: true, epoch: 2 });
  await again.append(14, [utf8("four\n")], shown);
  await again.close();
  const known = async (...byteOffsets: number[]) => {
    const reader = await storage.openReader(id);
    const times = await reader.arrivals!(byteOffsets);
    await reader.close();
    return times.map((timeMs) => timeMs !== null);
  };
  assertEquals(await known(3, 7, 13, 18), [true, true, false, true]);
  await truncate(path, 4);
  const shorter = await storage.recover(id, { lineAccess: true, epoch: 3 });
  await shorter.append(4, [utf8("2\n")], shown);
  await shorter.close();
  assertEquals(await known(3, 5), [true, true]);
  await rm(arrivalsPath(path));
  assertEquals(await known(3, 5), [false, false]);
  await storage.delete(id);
});

test("FileStorage: times that are not written yet are told to readers and to the next owner, and are gone with the log", async () => {
  await using directory = await temporaryDirectory();
  const storage = new FileStorage(directory.path);
  const id = crypto.randomUUID();
  const times = arrivalsPath(logPath(directory.path, id));
  const log = await storage.create(id, { lineAccess: true, epoch: 1 });
  await log.append(0, [utf8("one\n")], shown);
  assert(!existsSync(times));
  const reader = await storage.openReader(id);
  assertEquals((await reader.arrivals!([3])).map(Number.isInteger), [true]);
  await log.append(4, [utf8("two\n")], shown);
  const next = await storage.recover(id, { lineAccess: true, epoch: 2 });
  await next.append(8, [utf8("three\n")], shown);
  await log.close();
  assertEquals((await reader.arrivals!([3, 7, 13])).map(Number.isInteger), [true, true, true]);
  await next.append(14, [utf8("four\n")], shown);
  await storage.delete(id);
  assertEquals((await reader.arrivals!([3, 18])).map(Number.isInteger), [true, false]);
  await Promise.all([reader.close(), next.close()]);
  assert(!existsSync(times));
});

test("FileStorage: times are written every second while there are new ones, and after 256 of them", async () => {
  await using directory = await temporaryDirectory();
  const storage = new FileStorage(directory.path);
  const id = crypto.randomUUID();
  const times = arrivalsPath(logPath(directory.path, id));
  const log = await storage.create(id, { lineAccess: true, epoch: 1 });
  for (let count = 0; count < 256; count++) await log.append(log.size, [utf8("x\n")], shown);
  assertEquals((await stat(times)).size, 256 * ARRIVAL_BYTES);
  await log.append(log.size, [utf8("x\n")], shown);
  while ((await stat(times)).size === 256 * ARRIVAL_BYTES) {
    await delay(100);
    await log.append(log.size, [utf8("x\n")], shown);
  }
  await log.close();
});
