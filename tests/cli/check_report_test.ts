/** What a check makes of what changes while it looks. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { MemoryCatalog } from "../../mod.ts";
import { CheckReport } from "../../src/cli/check_report.ts";
import { record } from "../catalog/records.ts";

test("a resource whose id is used again while it is checked is no problem, and the next one is left as it is", async () => {
  const catalog = new MemoryCatalog();
  const before = record({ createdAtMs: 1, transferStatus: "COMPLETED", size: 4 });
  const next = { ...before, createdAtMs: 2 };
  await catalog.create(next);
  using report = new CheckReport(catalog, { repair: true, json: false });
  await report.compare(before, null);
  assertEquals(report.problems, 0);
  assertEquals(await catalog.get(before.id), next);
});
