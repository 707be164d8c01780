/** What waits while the catalog takes nothing: a full disk, a directory that turned read-only. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { StreamError } from "../../src/protocol.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eventually } from "../helpers/frames/connection.ts";
import { readAll, registration, statusWhere, world } from "../helpers/resources.ts";

/** Takes no change of a record while `isFull`. */
class RefusingCatalog extends MemoryCatalog {
  isFull = false;
  refusals = 0;

  override async update(...args: Parameters<MemoryCatalog["update"]>) {
    if (!this.isFull) return await super.update(...args);
    this.refusals++;
    throw new StreamError("STORAGE_FAILED", "the catalog: database or disk is full");
  }
}

test("an upload whose owner did not come back while the catalog took nothing is FAILED when it does", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog, resumeWindowMs: 5 });
  const { appender } = await here.resources.register(registration({ ownedBy: "SECRET" }));
  appender.append(utf8("abc"));
  await using opened = await here.resources.open(appender.resource.id);
  await here.resources.interrupt(appender, new StreamError("INTERRUPTED", "its owner is gone"));
  catalog.isFull = true;
  // The takeover, and the word that it failed.
  await eventually("the end of the window", () => catalog.refusals >= 2);
  catalog.isFull = false;
  const { failure } = await statusWhere(
    opened.resource,
    ({ transferStatus }) => transferStatus === "FAILED",
  );
  assert(failure?.startsWith("INTERRUPTED"), String(failure));
  assertEquals(await readAll(opened.resource), utf8("abc"));
});

test("an upload that failed while the catalog took nothing is FAILED in its record when it does, and counted", async () => {
  const catalog = new RefusingCatalog();
  await using here = world({ catalog });
  const { appender } = await here.resources.register(registration({ ownedBy: "SECRET" }));
  const { id } = appender.resource;
  appender.append(utf8("abc"));
  catalog.isFull = true;
  await appender.fail(new StreamError("ABORTED", "it was given up"));
  assertEquals((await catalog.get(id))?.transferStatus, "INITIATED");
  const recorded = new Promise<void>((resolve) => catalog.watch(() => resolve()));
  catalog.isFull = false;
  await recorded;
  const { transferStatus, size, lines, failure, owner } = (await catalog.get(id))!;
  assertEquals([transferStatus, size, lines, owner], ["FAILED", 3, 1, null]);
  assert(failure?.startsWith("ABORTED"), String(failure));
  assertEquals((await here.resources.get(id)).status.currentSize, 3);
  assertEquals(here.resources.totalBytes, 3);
});
