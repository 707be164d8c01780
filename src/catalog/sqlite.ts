/**
 * A catalog in an SQLite file (`node:sqlite`, write-ahead log).
 *
 * Writes are not flushed one by one: `sync()` flushes the write-ahead log for all of them, off the main
 * thread, which is what `synchronous=FULL` would do on it for each (https://www.sqlite.org/wal.html).
 * @module
 */
import { statSync } from "node:fs";
import { open, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { FLUSHES } from "../flushes.ts";
import { StreamError } from "../protocol.ts";
import type {
  Catalog,
  CatalogTime,
  ContextAttributes,
  ContextQuery,
  EndedQuery,
  RecordChange,
  ResourceChange,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "../catalog.ts";
import { CatalogFile } from "./sqlite/file.ts";
import { isBusy, resultCode } from "./sqlite/patience.ts";
import { Reserve } from "./sqlite/reserve.ts";
import { assignmentsOf, changesIn, COLUMNS, toRow } from "./sqlite/rows.ts";
import { Watchers } from "./watchers.ts";

export { isOfEarlierVersion } from "./sqlite/file.ts";

/** How long a call waits for a process that holds the file. */
const WAIT_MS = 10_000;

/** Free space with which the reserve is kept again after it was needed. */
const PLENTY_BYTES = 100 * 1024 * 1024;

/** Result codes of SQLite for a disk that is full (https://www.sqlite.org/rescode.html). */
const [SQLITE_IOERR, SQLITE_FULL] = [10, 13];

/** How a catalog in a file behaves. */
export interface SqliteCatalogOptions {
  /** How long a call waits while another process holds the file, in ms; 10 000 by default. */
  waitMs?: number | undefined;
}

/**
 * Catalog in an SQLite file; survives its process.
 *
 * While another process holds the file (a backup), calls wait; after `waitMs` they fail with NOT_READY.
 *
 * @example
 * ```ts
 * import { SqliteCatalog } from "@stream/live";
 *
 * const catalog = new SqliteCatalog(`/tmp/stream-example-${crypto.randomUUID()}.sqlite`);
 * console.log((await catalog.createContext("run-17")).id); // run-17
 * await catalog.close();
 * ```
 */
export class SqliteCatalog implements Catalog {
  readonly #file: CatalogFile;
  readonly #watchers = new Watchers();
  readonly #reserve: Reserve;
  /** Whether the reserve was given away. */
  #isReserveSpent = false;
  /** Number of the file on its file system, to notice when it was deleted. */
  readonly #inode: number;

  /**
   * Opens the file.
   * @param path The file; made with its directory when missing.
   * @param options How long calls wait.
   * @throws {StreamError} STORAGE_FAILED when it is no catalog, or one of a newer version.
   */
  constructor(path: string, { waitMs = WAIT_MS }: SqliteCatalogOptions = {}) {
    this.#file = new CatalogFile(path, waitMs);
    this.#inode = statSync(path).ino;
    this.#reserve = new Reserve(`${path}-reserve`);
    this.#reserve.keep();
  }

  /** Adds a record. */
  async create(record: ResourceRecord): Promise<void> {
    await this.#file.write(() => {
      const values = COLUMNS.map((column) => `:${column}`).join(", ");
      const added = this.#file.prepare(
        `INSERT INTO resources VALUES (${values}) ON CONFLICT DO NOTHING`,
      ).run(toRow(record));
      if (added.changes === 0) {
        throw new StreamError("CONFLICT", `the resource ${record.id} exists already`);
      }
      this.#watchers.tell({ was: null, is: { ...record } });
    });
    if (this.#isReserveSpent) void this.#refill().catch(() => {});
  }

  /** The record, or null. */
  get(id: string): Promise<ResourceRecord | null> {
    return this.#file.read(() => this.#file.record(id));
  }

  /** Changes a record if nobody did since it was read. */
  update(id: string, revision: number, change: ResourceChange): Promise<ResourceRecord> {
    return this.#file.write(() => {
      const record = this.#file.record(id);
      if (record === null) throw new StreamError("NOT_FOUND", `there is no resource ${id}`);
      const changed = { ...record, ...change, revision: revision + 1 };
      const row = changesIn(record, changed);
      const updated = this.#file.prepare(
        `UPDATE resources SET ${assignmentsOf(row)} WHERE id = :id AND revision = :revision - 1`,
      ).run({ ...row, id });
      if (updated.changes === 0) {
        const message = `resource ${id} is at revision ${record.revision}, not ${revision}`;
        throw new StreamError("CONFLICT", message);
      }
      this.#watchers.tell({ was: record, is: changed });
      return changed;
    });
  }

  /** Records in the order asked for. */
  list(query: ResourceQuery): Promise<ResourceRecord[]> {
    return this.#file.list(query);
  }

  /** Finished resources that ended before a time. */
  listEnded(query: EndedQuery): Promise<ResourceRecord[]> {
    return this.#file.listEnded(query);
  }

  /** Removes a record; on a full disk by the space that is kept for it. */
  delete(id: string, createdAtMs?: number): Promise<boolean> {
    return this.#file.write(() => {
      try {
        return this.#delete(id, createdAtMs);
      } catch (error) {
        const code = resultCode(error);
        if (code !== SQLITE_FULL && code !== SQLITE_IOERR || !this.#reserve.release()) throw error;
        this.#isReserveSpent = true;
        return this.#delete(id, createdAtMs);
      }
    });
  }

  /** Hears of every change of a record through this instance: one process has the file. */
  watch(listener: (change: RecordChange) => void): () => void {
    return this.#watchers.add(listener);
  }

  /** Makes an upload context unless it exists. */
  createContext(id: string, attributes: ContextAttributes = {}): Promise<UploadContext> {
    return this.#file.write(() => {
      this.#file.prepare(
        "INSERT INTO contexts VALUES (:id, :now, NULL, :attributes) ON CONFLICT DO NOTHING",
      )
        .run({ id, now: Date.now(), attributes: JSON.stringify(attributes) });
      return this.#file.context(id)!;
    });
  }

  /** The upload context, or null. */
  getContext(id: string): Promise<UploadContext | null> {
    return this.#file.read(() => this.#file.context(id));
  }

  /** Closes an upload context unless it is closed. */
  closeContext(id: string): Promise<UploadContext | null> {
    return this.#file.write(() => {
      this.#file.prepare(
        "UPDATE contexts SET closed_at = :now WHERE id = :id AND closed_at IS NULL",
      )
        .run({ id, now: Date.now() });
      return this.#file.context(id);
    });
  }

  /** Upload contexts, newest first. */
  listContexts(query: ContextQuery): Promise<UploadContext[]> {
    return this.#file.listContexts(query);
  }

  /** Bytes of all resources, by upload context. */
  usage(): Promise<{ contextId: string | null; bytes: number }[]> {
    return this.#file.usage();
  }

  /** The time that was kept last. */
  lastTime(): Promise<CatalogTime> {
    return this.#file.lastTime();
  }

  /** Keeps the time, for the process that comes next. */
  keepTime(time: CatalogTime): Promise<void> {
    return this.#file.keepTime(time);
  }

  /** Finds out by a write whether records are taken; who holds the file for a while is no reason why not. */
  probe(): Promise<void> {
    return this.#file.attempt(() => {
      if (statSync(this.#file.path, { throwIfNoEntry: false })?.ino !== this.#inode) {
        throw new StreamError("STORAGE_FAILED", "the file of the catalog was deleted");
      }
      try {
        // What is as it was is not written. Both are changed alike, as what they are apart counts.
        this.#file.prepare("UPDATE clock SET steady = steady + 1, wall = wall + 1").run();
      } catch (error) {
        if (!isBusy(error)) throw error;
      }
    });
  }

  /** Brings everything written to disk. */
  sync(): Promise<void> {
    return this.#file.attempt(async () => {
      const log = await open(`${this.#file.path}-wal`, "r");
      try {
        await FLUSHES.run(() => log.datasync());
      } finally {
        await log.close();
      }
    });
  }

  /** Closes the file. */
  close(): Promise<void> {
    return this.#file.close();
  }

  #delete(id: string, createdAtMs?: number): boolean {
    const record = this.#file.record(id);
    if (record === null || record.createdAtMs !== (createdAtMs ?? record.createdAtMs)) return false;
    const created = record.createdAtMs;
    const { changes } = this.#file.prepare(
      "DELETE FROM resources WHERE id = :id AND created_at = :created",
    ).run({ id, created });
    if (changes === 0) return false;
    this.#watchers.tell({ was: record, is: null });
    return true;
  }

  /** Keeps space for deletions again, once there is plenty. */
  async #refill(): Promise<void> {
    const { bavail, bsize } = await statfs(dirname(this.#file.path));
    if (bavail * bsize < PLENTY_BYTES) return;
    this.#isReserveSpent = false;
    this.#reserve.keep();
  }
}
