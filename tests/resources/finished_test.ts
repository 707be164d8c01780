/** Records of finished resources: kept for a second, and no longer than the resource. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { ResourceRecord } from "../../src/catalog.ts";
import { FinishedRecords } from "../../src/resources/reading/finished.ts";

/** Reads that count themselves. */
function reads(transferStatus: ResourceRecord["transferStatus"]) {
  const told = { count: 0 };
  const read = (id: string) => () => {
    told.count++;
    return Promise.resolve({ id, transferStatus } as ResourceRecord);
  };
  return { told, read };
}

test("a finished record is read once, and again when it was deleted", async () => {
  for (const status of ["COMPLETED", "FAILED"] as const) {
    const records = new FinishedRecords();
    const { told, read } = reads(status);
    for (let time = 0; time < 3; time++) assertEquals((await records.get("a", read("a"))).id, "a");
    assertEquals(told.count, 1);
    records.deleted("a");
    await records.get("a", read("a"));
    assertEquals(told.count, 2);
  }
});

test("a record that still changes is read each time", async () => {
  const records = new FinishedRecords();
  const { told, read } = reads("IN_PROGRESS");
  for (let time = 0; time < 3; time++) await records.get("a", read("a"));
  assertEquals(told.count, 3);
});

test("a record that was read while its resource was deleted is not kept", async () => {
  const records = new FinishedRecords();
  const { told, read } = reads("COMPLETED");
  const reading = records.get("a", read("a"));
  records.deleted("a");
  await reading;
  await records.get("a", read("a"));
  assertEquals(told.count, 2);
});

test("what somebody else changed is seen a second later", async () => {
  let nowMs = 5000;
  const records = new FinishedRecords(() => nowMs);
  const { told, read } = reads("COMPLETED");
  await records.get("a", read("a"));
  nowMs = 5999;
  await records.get("a", read("a"));
  assertEquals(told.count, 1);
  nowMs = 6000;
  await records.get("a", read("a"));
  assertEquals(told.count, 2);
});

test("64 records are kept, those that were read last", async () => {
  const records = new FinishedRecords();
  const { told, read } = reads("COMPLETED");
  const ids = Array.from({ length: 65 }, (_, at) => String(at));
  for (const id of ids) await records.get(id, read(id));
  for (const id of ids.slice(1)) await records.get(id, read(id));
  assertEquals(told.count, 65);
  await records.get("0", read("0"));
  assertEquals(told.count, 66);
});
