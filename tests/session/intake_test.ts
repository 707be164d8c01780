/** The content of one request on its way into a log: how much is read, and when it ends. */
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { assert, assertEquals } from "@std/assert";
import { StreamError } from "../../src/protocol.ts";
import type { Appender } from "../../src/resources/writing/appender.ts";
import { CreditPool } from "../../src/resources/writing/credit.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { Intake } from "../../src/session/intake.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eventually } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import { register, world } from "../helpers/resources.ts";
import { GatedStorage } from "../helpers/server.ts";
import { changed } from "../helpers/storage.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const KIB = 1024;

function intakeFor(appender: Appender, pool = new CreditPool(0)): Intake {
  const intake = new Intake(appender, pool, DAY_MS);
  appender.listen({
    acknowledged: (byteOffset) => intake.acknowledged(byteOffset),
    failed: (error) => intake.stop(error),
  });
  return intake;
}

test("no more is read than the window holds, until it is written", async () => {
  const storage = new GatedStorage();
  await using here = world({ storage, checkpointIntervalMs: 1 });
  const upload = await register(here);
  const intake = intakeFor(upload);
  let pulled = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (pulled === 1024 * KIB) return controller.close();
      pulled += 16 * KIB;
      controller.enqueue(new Uint8Array(16 * KIB));
    },
  }, { highWaterMark: 0 });
  storage.appending.shut();
  const receiving = intake.receive({ body, byteCount: null });
  await eventually("a write", () => storage.appending.waiting > 0);
  await turn(); // Whatever could be read without waiting has been read then.
  assertEquals(pulled, 64 * KIB);
  storage.appending.open();
  await receiving;
  assertEquals([pulled, upload.acknowledged], [1024 * KIB, 1024 * KIB]);
});

test("a larger window comes from the server's budget, and goes back to it", async () => {
  await using here = world();
  const pool = new CreditPool(1024 * KIB);
  const intake = intakeFor(await register(here), pool);
  assertEquals(pool.freeBytes, (1024 - 192) * KIB);
  intake.release();
  assertEquals(pool.freeBytes, 1024 * KIB);
});

test("bytes that arrive in the moment of the stop are not appended", async () => {
  await using here = world();
  const upload = await register(here);
  const intake = intakeFor(upload);
  let given = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(utf8(given++ === 0 ? "one" : "never"));
      if (given === 2) intake.stop(new StreamError("FENCED", "somebody else"));
    },
  }, { highWaterMark: 0 });
  await assertFails("FENCED", () => intake.receive({ body, byteCount: null }));
  assertEquals([given, upload.received], [2, 3]);
});

test("a stop ends a read that waits", async () => {
  await using here = world();
  const intake = intakeFor(await register(here));
  let cancelled: unknown;
  const body = new ReadableStream<Uint8Array>({ cancel: (reason) => void (cancelled = reason) });
  const receiving = intake.receive({ body, byteCount: null });
  const shutdown = new StreamError("SHUTDOWN", "over");
  intake.stop(shutdown);
  await assertFails("SHUTDOWN", () => receiving);
  assertEquals(cancelled, shutdown);
});

test("content that is not as long as it said is an interruption", async () => {
  await using here = world();
  const upload = await register(here);
  const intake = intakeFor(upload);
  const content = { body: new Blob(["one"]).stream(), byteCount: 4 };
  await assertFails("INTERRUPTED", () => intake.receive(content));
  assertEquals(upload.received, 3);
});

test("bytes that an appender did not take are never acknowledged", async () => {
  await using here = world();
  const upload = await register(here);
  const intake = intakeFor(upload);
  await upload.detach(null);
  const content = { body: new Blob(["one"]).stream(), byteCount: 3 };
  await assertFails("FENCED", () => intake.receive(content));
  assert(upload.received === 0);
});

test("what comes after all of an earlier content is gathered before it is written", async () => {
  let appends = 0;
  const storage = changed(new MemoryStorage(), {
    writer: (log) => ({
      append(...append) {
        appends++;
        return log.append(...append);
      },
    }),
  });
  await using here = world({ storage, checkpointIntervalMs: DAY_MS });
  const intake = intakeFor(await register(here), new CreditPool(1024 * KIB));
  await intake.receive({ body: null, byteCount: null });
  let pulled = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (pulled++ === 64) return controller.close();
      controller.enqueue(new Uint8Array(4 * KIB));
    },
  }, { highWaterMark: 0 });
  await intake.receive({ body, byteCount: 256 * KIB });
  // Four are shown at once; what comes later waits until it is a quarter of the window.
  assert(appends <= 12, `${appends} appends of 256 KiB`);
});
