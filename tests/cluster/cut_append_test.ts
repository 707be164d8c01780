/** Appends that count whole or not at all, and end in the middle: whoever saw their parts reads what came in their place. */
import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import { MESSAGE_BYTES } from "../../src/cluster/logs.ts";
import type { ResourceStatus } from "../../src/protocol.ts";
import type { LogEnd, LogReader, Storage } from "../../src/storage.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertBytes } from "../helpers/frames/connection.ts";
import { logsInEngine } from "./logs.ts";

const LINE = utf8("line\n");
const PIECE_BYTES = 65_536;
const LONG_BYTES = MESSAGE_BYTES + 1000;

function shown(epoch: number, { size, lines }: LogEnd, sequence: number): ResourceStatus {
  return {
    ...{ transferStatus: "IN_PROGRESS", currentSize: size, numberOfLines: lines },
    ...{ durableSize: size, epoch, sequence, life: "1", failure: null },
  };
}

/**
 * Some lines, then an append that ends in the middle, then another owner with other bytes.
 * @param lines How many lines; with so many that its parts are in a page of the index.
 * @param seen Called when the parts are there.
 */
async function cutShort(
  [a, b]: readonly Storage[],
  lines: number,
  seen: (id: string) => Promise<void>,
): Promise<{ id: string; all: Uint8Array }> {
  const id = crypto.randomUUID();
  const log = await a.create(id, { lineAccess: true, epoch: 1 });
  for (let line = 1; line <= lines; line++) {
    await log.append(log.size, [LINE], (end) => shown(1, end, line));
  }
  const byteOffset = log.size;
  const never = () => {
    throw new Error("its process ended");
  };
  const lost = new Uint8Array(LONG_BYTES).fill(1);
  await assertRejects(() => log.append(byteOffset, [lost], never));
  await seen(id);
  await log.close();
  const whole = { byteOffset, byteCount: LONG_BYTES };
  const next = await b.recover(id, { lineAccess: true, epoch: 2, whole });
  assertEquals([next.size, next.lines], [byteOffset, lines]);
  const all = new Uint8Array(byteOffset + LONG_BYTES).fill(2);
  for (let line = 0; line < lines; line++) all.set(LINE, line * LINE.length);
  await next.append(byteOffset, [all.subarray(byteOffset)], (end) => shown(2, end, 1));
  await next.close();
  return { id, all };
}

async function assertReads(reader: LogReader, all: Uint8Array): Promise<void> {
  for (let at = 0; at < all.length; at += PIECE_BYTES) {
    const piece = all.subarray(at, at + PIECE_BYTES);
    assertBytes(await reader.read(at, piece.length), piece);
  }
}

test("whoever read beside parts of an append that never counted reads what came in their place", async () => {
  await using logs = await logsInEngine();
  const [a, b] = [await logs.node(), await logs.node()];
  let reader!: LogReader;
  const { id, all } = await cutShort([a, b], 1, async (id) => {
    reader = await b.openReader(id);
    assertBytes(await reader.read(0, LINE.length), LINE);
  });
  await assertReads(reader, all);
  await reader.close();
  await a.delete(id);
});

test("parts of an append that never counted are in no page of the index", async () => {
  await using logs = await logsInEngine();
  const [a, b, c] = [await logs.node(), await logs.node(), await logs.node()];
  const { id, all } = await cutShort([a, b], 255, () => Promise.resolve());
  const reader = await c.openReader(id);
  await assertReads(reader, all);
  await reader.close();
  await a.delete(id);
});
