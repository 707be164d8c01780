/**
 * `stream adopt --cluster`: copies the data directory of a single server into a cluster.
 *
 * A record is made when its log is whole: cut off anywhere, the same command goes on.
 * @module
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Catalog, ResourceRecord } from "../../catalog.ts";
import { NatsCatalog } from "../../catalog/nats.ts";
import { SqliteCatalog } from "../../catalog/sqlite.ts";
import { MESSAGE_BYTES } from "../../cluster/logs.ts";
import { createDigest, DIGEST_VERSION } from "../../digest.ts";
import { isFinal, StreamError, toStreamError } from "../../protocol.ts";
import { annotationAt, restoreDigest } from "../../resources.ts";
import type { LogOptions, LogWriter, Storage } from "../../storage.ts";
import { FileStorage } from "../../storage/file.ts";
import { logPath } from "../../storage/layout.ts";
import { NatsStorage } from "../../storage/nats.ts";
import type { Options } from "../command.ts";
import { lockDirectory } from "../lock.ts";
import { Announcer } from "../output/output.ts";
import { Progress } from "../output/progress.ts";
import { flush } from "../output/stderr.ts";
import { catalogPath } from "../unknown_logs.ts";
import { eachOf } from "./each.ts";
import { withEngine } from "./engine.ts";

/** Records looked at together. */
const PAGE = 100;

/** A place with logs and records. */
interface Place {
  storage: Storage;
  catalog: Catalog;
}

/** The data directory of a single server. */
interface Source extends Place {
  directory: string;
}

/**
 * Copies everything; the directory stays as it is.
 * @param directory Data directory of a server that does not run.
 * @param options Options with `cluster` and `json`.
 * @returns How many resources could not be copied.
 * @throws {StreamError} SOURCE_FAILED for no data directory, CONFLICT while a server runs there.
 */
export async function adoptIntoCluster(directory: string, options: Options): Promise<number> {
  if (!existsSync(catalogPath(directory))) {
    const message = `cannot adopt ${directory}: it is no data directory of stream`;
    throw new StreamError("SOURCE_FAILED", message);
  }
  const unlock = await lockDirectory(directory);
  const copies = await mkdtemp(join(tmpdir(), "stream-adopt-"));
  try {
    const from = {
      directory,
      storage: new FileStorage(directory),
      catalog: new SqliteCatalog(catalogPath(directory)),
    };
    return await withEngine(options, async (engine) => {
      const to = {
        storage: await NatsStorage.open(engine),
        catalog: await NatsCatalog.open(engine, { path: join(copies, "catalog.sqlite") }),
      };
      try {
        return await copyAll(from, to, new Announcer(options.flag("json")));
      } finally {
        for (const { storage, catalog } of [to, from]) {
          await storage.close();
          await catalog.close();
        }
      }
    });
  } finally {
    await rm(copies, { recursive: true, force: true });
    await unlock();
  }
}

async function copyAll(from: Source, to: Place, announcer: Announcer): Promise<number> {
  let [copied, known, failed] = [0, 0, 0];
  {
    using progress = new Progress(() => `${copied} resources copied`);
    await eachOf(recordsOf(from.catalog), async (record) => {
      const { id, metadata: { filename }, size } = record;
      try {
        if (await copyOne(record, from, to, progress)) {
          copied++;
          await announcer.tell({ id, filename, size });
        } else known++;
      } catch (error) {
        failed++;
        const { message } = toStreamError(error);
        await announcer.tell({ id, problem: message, remedy: null }, `${id}: ${message}`);
      }
    });
  }
  // The end of the progress stands before the sum.
  await flush();
  const text = `${copied} resources copied, ${known} were there already, ${failed} failed`;
  await announcer.tell({ copied, known, failed }, text);
  announcer.done();
  return failed;
}

async function* recordsOf(catalog: Catalog): AsyncGenerator<ResourceRecord, void, void> {
  let after: { createdAtMs: number; id: string } | undefined;
  for (;;) {
    const records = await catalog.list({ limit: PAGE, order: "oldest", after });
    yield* records;
    if (records.length < PAGE) return;
    after = records[records.length - 1];
  }
}

/** @returns False when it is there already. */
async function copyOne(
  record: ResourceRecord,
  from: Source,
  to: Place,
  progress: Progress,
): Promise<boolean> {
  const { id, contextId } = record;
  const there = await to.catalog.get(id);
  if (there?.createdAtMs === record.createdAtMs) return false;
  if (there !== null) throw new StreamError("CONFLICT", "the cluster has another one of this id");
  const isOver = isFinal(record.transferStatus);
  const left = isOver ? record : await asLeft(record, from);
  const lineBreaks = await copyLog(left, from.storage, to.storage, progress);
  if (contextId !== null) await copyContext(contextId, from.catalog, to.catalog);
  await to.catalog.create({
    ...left,
    durableSize: left.size,
    lines: isOver || left.lines === null ? left.lines : lineBreaks,
    owner: null,
    revision: 0,
  });
  return true;
}

/**
 * An upload that was not finished, as its log has it: what a server had told when it was killed its record may not count.
 * @throws {StreamError} OFFSET_LOST where the log lost what it held.
 */
async function asLeft(record: ResourceRecord, from: Source): Promise<ResourceRecord> {
  const { intent } = record;
  const path = logPath(from.directory, record.id);
  const bytes = await stat(path).then(({ size }) => size, () => record.size);
  const isTorn = intent && bytes > intent.byteOffset &&
    bytes < intent.byteOffset + intent.byteCount;
  const size = isTorn ? intent.byteOffset : bytes;
  const { running, doubtfulFrom } = await restoreDigest(from.storage, { ...record, size });
  const digestState = {
    algorithm: running.algorithm,
    byteOffset: size,
    state: running.save(),
    version: DIGEST_VERSION,
    boot: null,
    doubtfulFrom,
  };
  return {
    ...record,
    size,
    transferStatus: size === 0 ? "INITIATED" : "IN_PROGRESS",
    digestState,
    ...(intent ? { annotation: annotationAt(record, size), intent: null } : {}),
  };
}

/**
 * Copies the bytes that the record counts, and holds them against its digest.
 * @returns Line breaks among them.
 */
async function copyLog(
  record: ResourceRecord,
  from: Storage,
  to: Storage,
  progress: Progress,
): Promise<number> {
  const { id, size, epoch, metadata: { supportsLineAccess }, digest: wanted } = record;
  const digest = wanted === null ? null : await createDigest(wanted.algorithm);
  let lineBreaks: number;
  const reader = await from.openReader(id);
  try {
    const writer = await begin(to, id, { lineAccess: supportsLineAccess, epoch });
    try {
      for (let at = 0; at < size;) {
        const bytes = await reader.read(at, Math.min(MESSAGE_BYTES, size - at));
        digest?.update(bytes);
        await writer.append(at, [bytes]);
        at += bytes.length;
        progress.count(bytes.length);
      }
      ({ lineBreaks } = writer);
    } finally {
      await writer.close();
    }
  } finally {
    await reader.close();
  }
  if (digest === null || digest.value() === wanted!.value) return lineBreaks;
  await to.delete(id);
  throw new StreamError("CHECKSUM_MISMATCH", "its bytes do not have the digest they had");
}

/** Makes a log; what an earlier attempt left has no record, and is replaced. */
async function begin(to: Storage, id: string, options: LogOptions): Promise<LogWriter> {
  try {
    return await to.create(id, options);
  } catch (error) {
    if (!["CONFLICT", "NOT_READY"].includes(toStreamError(error).code)) throw error;
    await to.delete(id);
    return await to.create(id, options);
  }
}

async function copyContext(id: string, from: Catalog, to: Catalog): Promise<void> {
  const context = await from.getContext(id);
  if (context === null) return;
  await to.createContext(id, context.attributes);
  if (context.closedAtMs !== null) await to.closeContext(id);
}
