/** Records of finished resources: kept for a second, and no longer than the resource. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { ResourceRecord } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { NO_METER } from "../../src/resources/meter.ts";
import { ResourceCache } from "../../src/resources/reading/cache.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { assertFails } from "../helpers/errors.ts";
import { override } from "../helpers/storage.ts";

const IDS = Array.from({ length: 65 }, () => crypto.randomUUID());
const [ID] = IDS;

/** A cache over a catalog that counts how often it is read. */
function cache(transferStatus: ResourceRecord["transferStatus"], now?: () => number) {
  const told = { count: 0 };
  const catalog = override(new MemoryCatalog(), {
    get(id: string) {
      told.count++;
      return Promise.resolve({ id, transferStatus, createdAtMs: 0 } as ResourceRecord);
    },
  });
  const records = new ResourceCache({
    catalog,
    storage: new MemoryStorage(),
    meter: NO_METER,
    now,
  });
  return { told, records };
}

test("a finished record is read once, and again when it was deleted", async () => {
  for (const status of ["COMPLETED", "FAILED"] as const) {
    const { told, records } = cache(status);
    for (let time = 0; time < 3; time++) assertEquals((await records.get(ID)).id, ID);
    assertEquals(told.count, 1);
    await records.deleted(ID, 0);
    await records.get(ID);
    assertEquals(told.count, 2);
  }
});

test("a record that still changes is read each time", async () => {
  const { told, records } = cache("IN_PROGRESS");
  for (let time = 0; time < 3; time++) await records.get(ID);
  assertEquals(told.count, 3);
});

test("a record that was read while its resource was deleted is not kept", async () => {
  const { told, records } = cache("COMPLETED");
  const reading = records.get(ID);
  await records.deleted(ID, 0);
  await reading;
  await records.get(ID);
  assertEquals(told.count, 2);
});

test("who comes with a record that was read before its deletion was heard of hears of it, too", async () => {
  const { records } = cache("IN_PROGRESS");
  const record = await records.get(ID);
  await records.deleted(ID, 0);
  await assertFails("NOT_FOUND", () => records.open(ID, record));
});

test("what somebody else changed is seen a second later", async () => {
  let nowMs = 5000;
  const { told, records } = cache("COMPLETED", () => nowMs);
  await records.get(ID);
  nowMs = 5999;
  await records.get(ID);
  assertEquals(told.count, 1);
  nowMs = 6000;
  await records.get(ID);
  assertEquals(told.count, 2);
});

test("64 records are kept, those that were read last", async () => {
  const { told, records } = cache("COMPLETED");
  for (const id of IDS) await records.get(id);
  for (const id of IDS.slice(1)) await records.get(id);
  assertEquals(told.count, 65);
  await records.get(ID);
  assertEquals(told.count, 66);
});
