/** What is counted, what is too much, and that nothing stays counted that is not there. */
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { ResourceRecord } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { type ErrorCode, isFinal, StreamError } from "../../src/protocol.ts";
import { Resources, type ResourcesOptions } from "../../src/resources.ts";
import type { Appender } from "../../src/resources/writing/appender.ts";
import { Usage, type UsageLimits } from "../../src/resources/usage.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { assertFails } from "../helpers/errors.ts";
import { type Chance, withChance } from "../helpers/random.ts";
import { checksumOf, registration, statusWhere } from "../helpers/resources.ts";
import { changed } from "../helpers/storage.ts";

/** Storage on a disk with so many free bytes; counts how often it is asked. */
function disk(freeBytes: number) {
  const asked = { freeBytes, times: 0 };
  const storage = changed(new MemoryStorage(), {
    storage: {
      async freeBytes() {
        asked.times++;
        await turn();
        return asked.freeBytes;
      },
    },
  });
  return { asked, storage };
}

function usage(
  limits: UsageLimits,
  makeRoom: (bytes: number) => Promise<boolean> = () => Promise.resolve(false),
) {
  return new Usage(limits, new MemoryStorage(), makeRoom);
}

test("the last byte within the total is taken, the next one is refused and not counted", async () => {
  const here = usage({ maxTotalBytes: 10 });
  await here.take("a", 4);
  await here.take(null, 6);
  await here.take(null, 0);
  await assertFails("QUOTA_EXCEEDED", () => here.take("b", 1));
  assertEquals(here.totalBytes, 10);
  here.give("a", 4);
  await here.take("b", 4);
  assertEquals(here.totalBytes, 10);
});

test("every upload context has its own limit, and uploads without one have none", async () => {
  const here = usage({ maxContextBytes: 10 });
  await here.take("a", 10);
  await here.take("b", 10);
  await here.take(null, 1000);
  await assertFails("QUOTA_EXCEEDED", () => here.take("a", 1));
  await here.take("a", 0);
  here.give("a", 3);
  await here.take("a", 3);
  await assertFails("QUOTA_EXCEEDED", () => here.take("a", 1));
  assertEquals(here.totalBytes, 1020);
});

test("takes at the same time do not exceed a limit together", async () => {
  const { storage } = disk(1000);
  const limits = { maxTotalBytes: 50, maxContextBytes: 20, minFreeBytes: 1 };
  const here = new Usage(limits, storage, () => turn());
  const take = async (contextId: string) => {
    try {
      await here.take(contextId, 3);
      return 3;
    } catch (error) {
      assertEquals((error as StreamError).code, "QUOTA_EXCEEDED");
      return 0;
    }
  };
  const contexts = Array.from({ length: 60 }, (_, index) => "abc"[index % 3]);
  const taken = await Promise.all(contexts.map(take));
  const inContext = (name: string) =>
    taken.filter((_, index) => contexts[index] === name).reduce<number>((sum, n) => sum + n, 0);
  assertEquals(here.totalBytes, 48);
  for (const name of "abc") assert(inContext(name) <= 20, `${inContext(name)} bytes of ${name}`);
});

test("the disk keeps its free bytes: the last that may be used is given, the next is not", async () => {
  const { asked, storage } = disk(110);
  const here = new Usage({ minFreeBytes: 100 }, storage, () => Promise.resolve(false));
  await here.take(null, 10);
  asked.freeBytes = 100;
  await assertFails("QUOTA_EXCEEDED", () => here.take(null, 1));
  await here.take(null, 0);
  asked.freeBytes = 99;
  await assertFails("QUOTA_EXCEEDED", () => here.take(null, 1));
  assertEquals(here.totalBytes, 10);
});

test("the disk is not asked for every write, but before one is refused", async () => {
  const { asked, storage } = disk(1000);
  const here = new Usage({ minFreeBytes: 100 }, storage, () => Promise.resolve(false));
  for (let bytes = 0; bytes < 500; bytes += 10) await here.take(null, 10);
  assertEquals(asked.times, 1);
  await here.take(null, 800);
  assertEquals(asked.times, 2);
});

test("room is made for exactly what is missing, and only for what may be taken at all", async () => {
  const wanted: number[] = [];
  const here = usage({ maxTotalBytes: 10, maxContextBytes: 6 }, (bytes) => {
    wanted.push(bytes);
    here.give(null, 5);
    return Promise.resolve(true);
  });
  await here.take(null, 8);
  await here.take("a", 4);
  assertEquals([wanted, here.totalBytes], [[4], 7]);
  await assertFails("QUOTA_EXCEEDED", () => here.take("a", 7));
  assertEquals(wanted, [4]);
});

test("who needs more than another one for whom nothing had to be deleted gets it, too", async () => {
  const wanted: number[] = [];
  const here = usage({ maxTotalBytes: 100 }, async (bytes) => {
    wanted.push(bytes);
    await Promise.resolve();
    // Meanwhile so much went by itself that the first one fits.
    here.give(null, bytes === 10 ? 5 : 40);
    return bytes !== 10;
  });
  await here.take(null, 95);
  await Promise.all([here.take(null, 10), here.take(null, 30)]);
  assertEquals([wanted, here.totalBytes], [[10, 30], 90]);
});

test("room that could not be made is no room", async () => {
  const here = usage({ maxTotalBytes: 10 });
  await here.take(null, 8);
  await assertFails("QUOTA_EXCEEDED", () => here.take(null, 3));
  assertEquals(here.totalBytes, 8);
});

/** How a step may end. */
const EXPECTED: ErrorCode[] = [
  ...["ABORTED", "CHECKSUM_MISMATCH", "NOT_FOUND", "QUOTA_EXCEEDED"] as const,
  ...["STORAGE_FAILED", "WRONG_STATE"] as const,
];

/** Uploads of all kinds that end in all ways. */
class Play {
  resources: Resources;
  /** How often the disk refuses to be written to, of 1. */
  refusesOften = 0.1;
  #running: Appender[] = [];
  #interrupted: { id: string; secret: string }[] = [];
  readonly #secrets = new Map<Appender, string>();
  readonly #options: ResourcesOptions;

  constructor(readonly chance: Chance, limits: Partial<ResourcesOptions>) {
    const refusing = changed(new MemoryStorage(), {
      writer: (log) => ({
        append: (byteOffset, parts, statusOf) =>
          chance.happens(this.refusesOften)
            ? Promise.reject(new StreamError("STORAGE_FAILED", "the disk refused"))
            : log.append(byteOffset, parts, statusOf),
      }),
    });
    const parts = { storage: refusing, catalog: new MemoryCatalog(), checkpointIntervalMs: 0 };
    this.#options = { ...parts, ...limits };
    this.resources = new Resources(this.#options);
  }

  /** One step of any kind; what a limit refuses is part of it. */
  async step(): Promise<void> {
    const steps = [
      ...[() => this.#start(), () => this.#start(), () => this.#append(), () => this.#append()],
      ...[() => this.#end(), () => this.#interrupt(), () => this.#resume(), () => this.#delete()],
      () => this.chance.happens(0.1) ? this.restart() : this.#append(),
    ];
    try {
      await this.chance.pick(steps)();
    } catch (error) {
      const { code } = error as StreamError;
      if (!EXPECTED.includes(code)) throw error;
    }
    this.#running = this.#running.filter(({ resource }) =>
      !isFinal(resource.status.transferStatus)
    );
  }

  async #start(): Promise<void> {
    const contextId = this.chance.pick(["a", "b", null]);
    const resumable = this.chance.happens(0.7);
    const given = registration({
      contextId,
      ownedBy: resumable ? "SECRET" : "CONNECTION",
      makeContext: true,
    });
    const { appender, secret } = await this.resources.register(given);
    this.#running.push(appender);
    if (secret !== null) this.#secrets.set(appender, secret);
  }

  async #append(): Promise<void> {
    const appender = this.#any(this.#running);
    if (appender === undefined) return;
    const { resource } = appender;
    appender.append(this.chance.text(this.chance.whole(1, 40)));
    await statusWhere(
      resource,
      ({ currentSize, transferStatus }) =>
        currentSize === appender.received || isFinal(transferStatus),
    );
  }

  async #end(): Promise<void> {
    const appender = this.#any(this.#running);
    if (appender === undefined) return;
    if (this.chance.happens(0.5)) return await appender.fail(new StreamError("ABORTED", "enough"));
    await appender.complete("this is wrong");
  }

  async #interrupt(): Promise<void> {
    const appender = this.#any(this.#running);
    if (appender === undefined) return;
    await this.resources.interrupt(appender, new StreamError("INTERRUPTED", "it broke"));
    const secret = this.#secrets.get(appender);
    this.#running = this.#running.filter((other) => other !== appender);
    const isOver = isFinal(appender.resource.status.transferStatus);
    if (secret !== undefined && !isOver) {
      this.#interrupted.push({ id: appender.resource.id, secret });
    }
  }

  async #resume(): Promise<void> {
    const upload = this.#any(this.#interrupted);
    if (upload === undefined) return;
    this.#interrupted = this.#interrupted.filter((other) => other !== upload);
    const resumed = await this.resources.resume(upload.id, upload.secret);
    assert("appender" in resumed);
    this.#running.push(resumed.appender);
    this.#secrets.set(resumed.appender, upload.secret);
  }

  async #delete(): Promise<void> {
    const records = await this.resources.list({
      limit: 100,
      transferStatuses: ["COMPLETED", "FAILED"],
    });
    const record = this.#any(records);
    if (record !== undefined) await this.resources.delete(record.id);
  }

  /** Resumable uploads survive, the others are FAILED. */
  async restart(): Promise<void> {
    await this.resources.close();
    const isResumable = (appender: Appender) =>
      this.#secrets.has(appender) && !isFinal(appender.resource.status.transferStatus);
    for (const appender of this.#running.filter(isResumable)) {
      this.#interrupted.push({ id: appender.resource.id, secret: this.#secrets.get(appender)! });
    }
    this.#running = [];
    this.resources = new Resources(this.#options);
    await this.resources.recover();
  }

  #any<T>(values: readonly T[]): T | undefined {
    return values.length === 0 ? undefined : this.chance.pick(values);
  }
}

async function stored(resources: Resources): Promise<number> {
  const records = await resources.list({ limit: 1000 });
  return records.reduce((sum, { status }) => sum + status.currentSize, 0);
}

/** An upload that failed is given back a moment after it was told. */
async function assertCounted(resources: Resources): Promise<void> {
  for (let turns = 0; turns < 100 && resources.totalBytes !== await stored(resources); turns++) {
    await turn();
  }
  assertEquals(resources.totalBytes, await stored(resources));
}

test("whatever happens to uploads, the count is what is stored, and never above the limits", () =>
  withChance(async (chance) => {
    for (let round = 0; round < 20; round++) {
      const play = new Play(chance, { maxTotalBytes: 400, maxContextBytes: 250 });
      for (let steps = 0; steps < 60; steps++) {
        await play.step();
        await assertCounted(play.resources);
        assert(play.resources.totalBytes <= 400, `${play.resources.totalBytes} bytes`);
      }
      await play.resources.close();
    }
  }));

test("what was counted of an upload context can be used again when all of it is deleted", () =>
  withChance(async (chance) => {
    const play = new Play(chance, { maxContextBytes: 250, resumeWindowMs: 0 });
    for (let steps = 0; steps < 100; steps++) await play.step();
    play.refusesOften = 0;
    await play.restart();
    const { resources } = play;
    for (const { id } of await resources.list({ limit: 1000 })) await resources.delete(id);
    assertEquals(resources.totalBytes, 0);
    for (const contextId of ["a", "b"]) {
      const { appender } = await resources.register(registration({ contextId, makeContext: true }));
      const bytes = chance.text(250);
      appender.append(bytes.slice());
      assertEquals((await appender.complete(await checksumOf(bytes))).size, 250);
    }
    await resources.close();
  }));

test("an append that is under way when another node takes the upload over is not counted", async () => {
  const here = usage({});
  const record = { id: "a", contextId: null, createdAtMs: 1, size: 10 } as ResourceRecord;
  here.changed({ was: null, is: record });
  const account = here.openAccount(record);
  const growing = account.grow(50);
  account.close();
  await growing;
  await account.grow(5);
  account.close();
  assertEquals(here.totalBytes, 10);
});

/** An upload with 50 bytes, of which its record has 10. */
async function grown() {
  const here = usage({});
  const record = { id: "a", contextId: null, createdAtMs: 1, size: 10 } as ResourceRecord;
  here.changed({ was: null, is: record });
  const account = here.openAccount(record);
  await account.grow(50);
  return { here, record, account };
}

test("what is left of an upload whose record is gone is not counted", async () => {
  const { here, record, account } = await grown();
  here.changed({ was: record, is: null });
  account.settle(40);
  assertEquals(here.totalBytes, 0);
});

test("an upload that nobody appends to any more is counted by its record from its next change on", async () => {
  const { here, record, account } = await grown();
  account.leave();
  assertEquals(here.totalBytes, 50);
  here.changed({ was: record, is: { ...record, size: 40 } });
  assertEquals(here.totalBytes, 40);
});

test("an upload that still ends when its id is used again takes nothing from the count of the next one", () => {
  const here = usage({});
  const old = { id: "a", contextId: null, createdAtMs: 1, size: 10 } as ResourceRecord;
  here.changed({ was: null, is: old });
  here.changed({ was: old, is: null });
  const account = here.openAccount(old);
  here.changed({ was: null, is: { ...old, createdAtMs: 2, size: 3 } });
  account.close();
  assertEquals(here.totalBytes, 3);
});
