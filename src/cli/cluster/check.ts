/**
 * `stream check --cluster`: holds records against logs, and finds logs that no record names.
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ResourceRecord } from "../../catalog.ts";
import { NatsCatalog } from "../../catalog/nats.ts";
import { type Engine, RECORD_BUCKETS, shardOf } from "../../cluster/engine.ts";
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
/** Records looked at together. */
const PAGE = 1000;
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
  const lost = await lostBuckets(parts, unknown);
  for (const { id, ageMs } of unknown) {
    const bucket = bucketOf(id);
    const isYoung = ageMs < ORPHAN_AGE_MS;
    const left = isYoung ? LEFT : lost.has(bucket) ? leftAs(bucket) : null;
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
}

/** Buckets that name fewer logs than they do not name: they may have been purged, and be restored. */
async function lostBuckets(
  { catalog }: Parts,
  unknown: readonly UnknownLog[],
): Promise<ReadonlySet<string>> {
  const missing = new Map<string, number>();
  const count = ({ id }: { id: string }, change: number) =>
    missing.set(bucketOf(id), (missing.get(bucketOf(id)) ?? 0) + change);
  for (const log of unknown) count(log, 1);
  let page: ResourceRecord[] = [];
  do {
    page = await catalog.list({ limit: PAGE, after: page.at(-1) });
    for (const record of page) count(record, -1);
  } while (page.length === PAGE);
  return new Set([...missing].filter(([, count]) => count > 0).map(([bucket]) => bucket));
}

function bucketOf(id: string): string {
  return RECORD_BUCKETS[shardOf(id, RECORD_BUCKETS.length)];
}

function leftAs(bucket: string): string {
  return `left, as bucket ${bucket} names fewer logs than it does not: did it lose records?`;
}

async function unknownLogs({ engine, catalog }: Parts): Promise<UnknownLog[]> {
  const { streams } = engine.jsm;
  const shards = await shardsOf(engine);
  const found: UnknownLog[] = [];
  for (let shard = 0; shard < shards; shard++) {
    const stream = streamOf(shard);
    const { state, ts } = await engine.streamInfo(stream, { subjects_filter: "log.>" });
    for (const subject of Object.keys(state.subjects ?? {})) {
      const id = subject.slice(subject.lastIndexOf(".") + 1);
      if (await catalog.get(id) !== null) continue;
      const last = await streams.getMessage(stream, { last_by_subj: subject });
      if (last === null) continue;
      found.push({ id, ageMs: Date.parse(ts!) - Date.parse(last.timestamp) });
    }
  }
  if (found.length > 0) await sleep(REGISTERED_WITHIN_MS);
  const known = await Promise.all(found.map(({ id }) => catalog.get(id)));
  return found.filter((_, at) => known[at] === null);
}
