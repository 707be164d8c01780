/**
 * `stream check --cluster`: holds records against logs, and finds logs that no record names.
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { SeqMsgRequest } from "@nats-io/jetstream";
import type { ResourceRecord } from "../../catalog.ts";
import { NatsCatalog } from "../../catalog/nats.ts";
import type { Engine } from "../../cluster/engine.ts";
import { shardsOf, streamOf } from "../../cluster/logs.ts";
import { createDigest } from "../../digest.ts";
import { toStreamError } from "../../protocol.ts";
import { lifeOf } from "../../resources.ts";
import { NatsStorage } from "../../storage/nats.ts";
import {
  CheckReport,
  type Facts,
  LEFT,
  ORPHAN_AGE_MS,
  REGISTERED_WITHIN_MS,
  type ReportSettings,
} from "../check_report.ts";
import type { Options } from "../command.ts";
import { eachOf } from "./each.ts";
import { withEngine } from "./engine.ts";

const READ_BYTES = 1024 * 1024;
/** What becomes of a log that somebody was told of, and that no node deleted. */
const KEPT = "left, as no node deleted it: did its bucket lose records?";
const LINE_BREAK = 0x0a;

/**
 * Checks everything that is finished.
 * @param options Options with `cluster`, `repair` and `json`.
 * @returns How many problems there are.
 */
export async function checkCluster(options: Options): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), "stream-check-"));
  try {
    return await withEngine(options, async (engine) => {
      const storage = await NatsStorage.open(engine);
      const catalog = await NatsCatalog.open(engine, { path: join(directory, "catalog.sqlite") });
      try {
        return await checkAll({ engine, storage, catalog }, {
          repair: options.flag("repair"),
          json: options.flag("json"),
        });
      } finally {
        await storage.close();
        await catalog.close();
      }
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

interface Parts {
  engine: Engine;
  storage: NatsStorage;
  catalog: NatsCatalog;
}

async function checkAll(parts: Parts, settings: ReportSettings): Promise<number> {
  using report = new CheckReport(parts.catalog, settings);
  await eachOf(report.finished(), async (record) => {
    const facts = await inspect(parts.storage, record, (bytes) => report.count(bytes));
    await report.compare(record, facts);
  });
  const unknown = await unknownLogs(parts);
  for (const log of unknown) {
    const { id, ageMs } = log;
    const left = ageMs < ORPHAN_AGE_MS ? LEFT : await isNobodys(parts, log) ? null : KEPT;
    await report.problem(id, "no record names this log", left ?? "deleted");
    if (!settings.repair || left !== null) continue;
    if (await parts.catalog.touch(id)) await parts.storage.deleteLeft(id);
  }
  await report.sum(unknown.length);
  return report.problems;
}

/** What the log of a record holds, as far as the record says; null when there is none. */
async function inspect(
  storage: NatsStorage,
  record: ResourceRecord,
  counted: (byteCount: number) => void,
): Promise<Facts | null> {
  const { id, size, metadata: { supportsLineAccess }, digest: wanted } = record;
  const digest = wanted === null ? null : await createDigest(wanted.algorithm);
  let [at, breaks, last] = [0, 0, LINE_BREAK];
  try {
    const reader = await storage.openReader(id, lifeOf(record));
    try {
      for (let most = READ_BYTES; at < size;) {
        const bytes = await reader.read(at, Math.min(most, size - at)).catch((error) => {
          if (most === 1 || !isShort(error)) throw error;
          return null;
        });
        if (bytes === null) {
          // A log that is shorter than its record is refused as a whole: its end is found in smaller steps.
          most = Math.ceil(most / 2);
          continue;
        }
        digest?.update(bytes);
        counted(bytes.length);
        for (let found = bytes.indexOf(LINE_BREAK); found >= 0; breaks++) {
          found = bytes.indexOf(LINE_BREAK, found + 1);
        }
        last = bytes[bytes.length - 1];
        at += bytes.length;
      }
    } finally {
      await reader.close();
    }
  } catch (thrown) {
    if (toStreamError(thrown).code === "NOT_FOUND") return null;
    if (!isShort(thrown)) throw thrown;
  }
  const lines = supportsLineAccess ? breaks + (last === LINE_BREAK ? 0 : 1) : null;
  return { size: at, lines, digest: digest?.value() ?? null };
}

/** Whether a log has less than its record says, or some of it is gone. */
function isShort(error: unknown): boolean {
  return ["STORAGE_FAILED", "DELETED"].includes(toStreamError(error).code);
}

/** A log that no record names. */
interface UnknownLog {
  readonly id: string;
  /** Since something was last stored in it, by the clocks of the engine. */
  readonly ageMs: number;
  /** When it began, by the same. */
  readonly beganAtMs: number;
}

/** Whether nobody was ever told of a log, or a node deleted its record: one that is gone without a word may be restored. */
async function isNobodys({ storage, catalog }: Parts, log: UnknownLog): Promise<boolean> {
  if (await storage.isBlank(log.id)) return true;
  const deletedAtMs = await catalog.deletedAtMs(log.id);
  return deletedAtMs !== null && deletedAtMs > log.beganAtMs;
}

async function unknownLogs({ engine, catalog }: Parts): Promise<UnknownLog[]> {
  const shards = await shardsOf(engine);
  const found = new Map<string, UnknownLog>();
  for (let shard = 0; shard < shards; shard++) {
    const stream = streamOf(shard);
    const { state, ts } = await engine.streamInfo(stream, { subjects_filter: "log.>" });
    for (const subject of Object.keys(state.subjects ?? {})) {
      const id = subject.slice(subject.lastIndexOf(".") + 1);
      // The engine is asked for those only that the copy does not know.
      if (catalog.knows(id) || await catalog.get(id) !== null) continue;
      const seen = await timesIn(engine, stream, subject, Date.parse(ts!));
      if (seen === null) continue;
      // It may have come to its spare stream.
      const { ageMs = Infinity, beganAtMs = Infinity } = found.get(id) ?? {};
      found.set(id, {
        id,
        ageMs: Math.min(ageMs, seen.ageMs),
        beganAtMs: Math.min(beganAtMs, seen.beganAtMs),
      });
    }
  }
  if (found.size > 0) await sleep(REGISTERED_WITHIN_MS);
  const logs = [...found.values()];
  const known = await Promise.all(logs.map(({ id }) => catalog.get(id)));
  return logs.filter((_, at) => known[at] === null);
}

async function timesIn(
  { jsm: { streams } }: Engine,
  stream: string,
  subject: string,
  nowMs: number,
): Promise<Omit<UnknownLog, "id"> | null> {
  const last = await streams.getMessage(stream, { last_by_subj: subject });
  const query = { seq: 1, next_by_subj: subject } as unknown as SeqMsgRequest;
  const first = await streams.getMessage(stream, query);
  if (last === null || first === null) return null;
  return { ageMs: nowMs - Date.parse(last.timestamp), beganAtMs: Date.parse(first.timestamp) };
}
