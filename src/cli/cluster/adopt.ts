/**
 * `stream adopt --cluster`: copies the data directory of a single server into a cluster.
 *
 * A record is made when its log is whole (`copy.ts`): cut off anywhere, the same command goes on.
 * @module
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Catalog, ResourceRecord } from "../../catalog.ts";
import { NatsCatalog } from "../../catalog/nats.ts";
import { SqliteCatalog } from "../../catalog/sqlite.ts";
import { StreamError, toStreamError } from "../../protocol.ts";
import { FileStorage } from "../../storage/file.ts";
import { NatsStorage } from "../../storage/nats.ts";
import type { Options } from "../command.ts";
import { lockDirectory } from "../lock.ts";
import { Announcer } from "../output/output.ts";
import { Progress } from "../output/progress.ts";
import { flush } from "../output/stderr.ts";
import { catalogPath } from "../unknown_logs.ts";
import { copyResource, type Destination, type Source } from "./copy.ts";
import { eachOf } from "./each.ts";
import { withEngine } from "./engine.ts";

/** Records looked at together. */
const PAGE = 100;

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

async function copyAll(from: Source, to: Destination, announcer: Announcer): Promise<number> {
  let [copied, known, failed] = [0, 0, 0];
  {
    using progress = new Progress(() => `${copied} resources copied`);
    await eachOf(recordsOf(from.catalog), async (record) => {
      const { id, metadata: { filename }, size } = record;
      try {
        if (await copyResource(record, from, to, (bytes) => progress.count(bytes))) {
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
