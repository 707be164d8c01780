/** Streams that somebody took away, or restored to how they were, while nodes go on: what is gone is said to be gone. */
import { test } from "node:test";
import type { StoredMsg } from "@nats-io/jetstream";
import { assertEquals } from "@std/assert";
import type { Engine } from "../../src/cluster/engine.ts";
import { placeOf } from "../../src/cluster/logs.ts";
import type { ResourceStatus } from "../../src/protocol.ts";
import type { LogEnd, LogWriter, Storage } from "../../src/storage.ts";
import { assertFails } from "../helpers/errors.ts";
import { logsInEngine, SHARDS } from "./logs.ts";

const LIFE = { lineAccess: false, epoch: 1 };
/** So many appends have a page of the index. */
const APPENDS = 20;

const blockOf = (byte: number) => new Uint8Array(100).fill(byte);

/** An id whose log begins in a stream. */
function idIn(stream: string): string {
  for (;;) {
    const id = crypto.randomUUID();
    if (placeOf(id, SHARDS).stream === stream) return id;
  }
}

function shown({ size }: LogEnd): ResourceStatus {
  return {
    ...{ transferStatus: "IN_PROGRESS", currentSize: size, numberOfLines: null },
    ...{ durableSize: size, epoch: 1, sequence: size, life: "1", failure: null },
  };
}

async function append(log: LogWriter, byte: number, times = 1): Promise<void> {
  for (let left = times; left > 0; left--) await log.append(log.size, [blockOf(byte)], shown);
}

/** Makes a stream anew, as `stream cluster init` does after it was deleted. */
async function makeAnew(engine: Engine, stream: string): Promise<void> {
  const { config } = await engine.streamInfo(stream);
  await engine.jsm.streams.delete(stream);
  await engine.addStream(config);
  // Its leader may be elected a moment later.
  await engine.streamInfo(stream);
}

/** Restores the stream of a log to how it was before its last message. */
async function restore(engine: Engine, id: string): Promise<void> {
  const { js, jsm: { streams } } = engine;
  const { stream, subject } = placeOf(id, SHARDS);
  const { state: { last_seq: end } } = await engine.streamInfo(stream);
  const messages: StoredMsg[] = [];
  for (let seq = 1; seq <= end; seq++) messages.push((await streams.getMessage(stream, { seq }))!);
  const last = messages.findLastIndex((message) => message.subject === subject);
  await makeAnew(engine, stream);
  for (const { subject, data, header: headers } of messages.slice(0, last)) {
    await js.publish(subject, data, { headers });
  }
}

test("a node reads nothing of what was where a log is in a stream that was made anew", async () => {
  await using logs = await logsInEngine();
  const [a, b] = [await logs.node(), await logs.node()];
  const readAll = async (storage: Storage, id: string) => {
    const reader = await storage.openReader(id);
    const bytes = await reader.read(0, APPENDS * 100);
    await reader.close();
    return new Set(bytes);
  };
  for (const byte of [1, 2]) {
    await makeAnew(logs.engineOf(a), "log-02");
    const id = idIn("log-02");
    const log = await a.create(id, LIFE);
    await append(log, byte, APPENDS);
    await log.close();
    assertEquals(await readAll(b, id), new Set([byte]));
  }
});

test("an upload whose acknowledged bytes the engine has lost goes on nowhere", async () => {
  await using logs = await logsInEngine();
  const storage = await logs.node({ stallMs: 20_000 });
  const engine = logs.engineOf(storage);
  await makeAnew(engine, "log-02");
  const id = idIn("log-02");
  const log = await storage.create(id, LIFE);
  await append(log, 1, 3);
  await restore(engine, id);
  await assertFails("STORAGE_FAILED", () => append(log, 1));
  assertEquals(storage.moves, 0);
});

test("an upload that went on in its spare stream is not whole without what it left in the other one", async () => {
  await using logs = await logsInEngine();
  const storage = await logs.node({ stallMs: 50 });
  const engine = logs.engineOf(storage);
  await makeAnew(engine, "log-02");
  const id = idIn("log-02");
  const log = await storage.create(id, LIFE);
  await append(log, 1, 3);
  const publish = engine.js.publish.bind(engine.js);
  engine.js.publish = (subject, ...given) =>
    subject === placeOf(id, SHARDS).subject
      ? Promise.reject(new Error("nobody answers"))
      : publish(subject, ...given);
  await append(log, 1);
  engine.js.publish = publish;
  assertEquals(storage.moves, 1);
  await log.confirm!();
  await restore(engine, id);
  await assertFails("STORAGE_FAILED", () => log.confirm!());
});
