/** What the catalog hears of a running upload: how often, and what comes of a refusal. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { StreamError } from "../../src/protocol.ts";
import { ProgressRecord } from "../../src/resources/writing/progress_record.ts";

/** A record of which each update waits until the test lets it go. */
function waitingCatalog(uploads = 1) {
  const updates: { startedAtMs: number; end: (error?: StreamError) => void }[] = [];
  let changed = Promise.withResolvers<void>();
  const failures: StreamError[] = [];
  const record = new ProgressRecord({
    tellsPauses: true,
    uploadCount: () => uploads,
    tell: () => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      updates.push({
        startedAtMs: performance.now(),
        end: (error) => error === undefined ? resolve() : reject(error),
      });
      changed.resolve();
      changed = Promise.withResolvers();
      return promise;
    },
    failed: (error) => void failures.push(error),
  });
  const reached = async (count: number) => {
    while (updates.length < count) await changed.promise;
    return updates[count - 1];
  };
  const checkpoint = () => {
    record.checkpointed();
    record.catchUp();
  };
  return { record, updates, failures, reached, checkpoint };
}

test("a catalog that takes long to hear of an upload is told as many times less often", async () => {
  const { record, updates, reached, checkpoint } = waitingCatalog();
  checkpoint();
  const first = await reached(1);
  await new Promise((resolve) => setTimeout(resolve, 150));
  const tookMs = performance.now() - first.startedAtMs;
  checkpoint();
  assertEquals(updates.length, 1, "one at a time");
  first.end();
  const second = await reached(2);
  assert(second.startedAtMs - first.startedAtMs >= 10 * tookMs - 5, "ten times as long");
  second.end();
  record.end();
});

test("one that hears at once is told at most once a second, and of the last checkpoint, too", async () => {
  const { record, updates, reached, checkpoint } = waitingCatalog();
  checkpoint();
  const first = await reached(1);
  first.end();
  for (let count = 0; count < 3; count++) checkpoint();
  assertEquals(updates.length, 1);
  const second = await reached(2);
  assert(second.startedAtMs - first.startedAtMs >= 990);
  second.end();
  record.end();
});

test("of many uploads it hears less often of each: of 75 each one and a half seconds", async () => {
  const { record, updates, reached, checkpoint } = waitingCatalog(75);
  checkpoint();
  const first = await reached(1);
  first.end();
  checkpoint();
  const second = await reached(2);
  assert(second.startedAtMs - first.startedAtMs >= 1490);
  assertEquals(updates.length, 2);
  second.end();
  record.end();
});

test("a catalog that is not ready or full hears of it again, one that another owner has ends the upload", async () => {
  const { record, failures, reached, checkpoint } = waitingCatalog();
  checkpoint();
  (await reached(1)).end(new StreamError("NOT_READY", "later"));
  (await reached(2)).end(new StreamError("STORAGE_FAILED", "full"));
  (await reached(3)).end(new StreamError("FENCED", "no"));
  while (failures.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assertEquals(failures.map(({ code }) => code), ["FENCED"]);
  record.end();
});
