/**
 * A catalog in an SQLite file (`node:sqlite`, write-ahead log).
 *
 * No call waits inside SQLite for another process (`sqlite/patience.ts`), and none looks at more rows than a page or a
 * slice has (`sqlite/queries.ts`, `sqlite/slices.ts`), as nothing else goes on meanwhile.
 *
 * Writes are not flushed one by one: `sync()` flushes the write-ahead log for all of them, off the main
 * thread, which is what `synchronous=FULL` would do on it for each (https://www.sqlite.org/wal.html).
 * @module
 */
import { mkdirSync, statSync } from "node:fs";
import { open, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import {
  DatabaseSync,
  type SQLInputValue,
  type SQLOutputValue,
  type StatementSync,
} from "node:sqlite";
import {
  type DigestAlgorithm,
  type Outcome,
  StreamError,
  type TransferStatus,
} from "../protocol.ts";
import type {
  Catalog,
  CatalogTime,
  ContextAttributes,
  ContextQuery,
  EndedQuery,
  Intent,
  Ownership,
  RecordChange,
  ResourceChange,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "../catalog.ts";
import { type Key, lowerAscii, newestFirst } from "./matching.ts";
import { isBusy, Patience, resultCode } from "./sqlite/patience.ts";
import { pageQuestion, type Question } from "./sqlite/queries.ts";
import { Reserve } from "./sqlite/reserve.ts";
import { type Slice, Slices } from "./sqlite/slices.ts";
import { Watchers } from "./watchers.ts";

/** How long a call waits for a process that holds the file. */
const WAIT_MS = 10_000;
/** The same at opening, before anything goes on that could be held up. */
const OPEN_WAIT_MS = 5000;
/** Statements that are kept prepared: more than there are different ones. */
const MOST_STATEMENTS = 100;
/** Rows of one slice of a look that no index answers. */
const SLICE_ROWS = 500;

/** Free space with which the reserve is kept again after it was needed. */
const PLENTY_BYTES = 100 * 1024 * 1024;

/** Result codes of SQLite for a disk that is full (https://www.sqlite.org/rescode.html). */
const [SQLITE_IOERR, SQLITE_FULL] = [10, 13];

const UNFINISHED = "transfer_status IN ('INITIATED', 'IN_PROGRESS')";
const FINISHED = "transfer_status IN ('COMPLETED', 'FAILED')";

/** Steps that bring a catalog from each version of its schema to the next; the first makes it. */
const MIGRATIONS = [
  `
  CREATE TABLE resources (
    id TEXT PRIMARY KEY,
    filename TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    line_access INTEGER NOT NULL,
    context_id TEXT,
    created_at INTEGER NOT NULL,
    transfer_status TEXT NOT NULL,
    size INTEGER NOT NULL,
    lines INTEGER,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    failure TEXT,
    digest_algorithm TEXT,
    digest_value TEXT,
    state_algorithm TEXT,
    state_offset INTEGER,
    state BLOB,
    secret_hash TEXT,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX resources_newest ON resources (created_at DESC, id DESC);
  CREATE INDEX resources_context ON resources (context_id, created_at DESC, id DESC);
  CREATE INDEX resources_unfinished ON resources (transfer_status) WHERE ${UNFINISHED};
  CREATE TABLE contexts (
    id TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE resources ADD COLUMN announced_size INTEGER;
  ALTER TABLE resources ADD COLUMN announced_checksum TEXT;
  ALTER TABLE contexts ADD COLUMN closed_at INTEGER;
  CREATE INDEX contexts_newest ON contexts (created_at DESC, id DESC);
  `,
  `
  CREATE INDEX resources_usage ON resources (context_id, size);
  `,
  `
  ALTER TABLE resources ADD COLUMN durable_size INTEGER NOT NULL DEFAULT 0;
  UPDATE resources SET durable_size = size WHERE transfer_status = 'COMPLETED'
    OR transfer_status = 'FAILED' AND failure NOT LIKE 'STORAGE_FAILED:%';
  `,
  `
  ALTER TABLE resources ADD COLUMN owner_node TEXT;
  ALTER TABLE resources ADD COLUMN owner_until INTEGER;
  `,
  `
  ALTER TABLE resources ADD COLUMN exit_code INTEGER;
  ALTER TABLE resources ADD COLUMN exit_signal TEXT;
  `,
  `
  ALTER TABLE resources ADD COLUMN annotation TEXT;
  `,
  `
  ALTER TABLE contexts ADD COLUMN attributes TEXT NOT NULL DEFAULT '{}';
  `,
  `
  ALTER TABLE resources ADD COLUMN state_version TEXT;
  ALTER TABLE resources ADD COLUMN state_boot TEXT;
  ALTER TABLE resources ADD COLUMN doubtful_from INTEGER;
  `,
  `
  DROP INDEX resources_unfinished;
  DROP INDEX resources_usage;
  CREATE INDEX resources_status ON resources (transfer_status, created_at DESC, id DESC);
  CREATE INDEX resources_context_status
    ON resources (context_id, transfer_status, created_at DESC, id DESC);
  CREATE INDEX resources_ended ON resources (updated_at, id) WHERE ${FINISHED};
  CREATE TABLE usage (
    context_id TEXT PRIMARY KEY,
    resources INTEGER NOT NULL,
    bytes INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO usage
    SELECT COALESCE(context_id, ''), COUNT(*), SUM(size) FROM resources GROUP BY context_id;
  CREATE TRIGGER usage_created AFTER INSERT ON resources BEGIN
    INSERT INTO usage VALUES (COALESCE(NEW.context_id, ''), 1, NEW.size) ON CONFLICT DO UPDATE
      SET resources = resources + 1, bytes = bytes + excluded.bytes;
  END;
  CREATE TRIGGER usage_changed AFTER UPDATE OF size ON resources WHEN NEW.size <> OLD.size BEGIN
    UPDATE usage SET bytes = bytes + NEW.size - OLD.size
      WHERE context_id = COALESCE(NEW.context_id, '');
  END;
  CREATE TRIGGER usage_deleted AFTER DELETE ON resources BEGIN
    UPDATE usage SET resources = resources - 1, bytes = bytes - OLD.size
      WHERE context_id = COALESCE(OLD.context_id, '');
    DELETE FROM usage WHERE context_id = COALESCE(OLD.context_id, '') AND resources = 0;
  END;
  CREATE TABLE clock (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    steady INTEGER NOT NULL,
    wall INTEGER NOT NULL
  ) STRICT;
  INSERT INTO clock SELECT 1, newest, newest FROM (
    SELECT COALESCE(MAX(updated_at), CAST(unixepoch('subsec') * 1000 AS INTEGER)) AS newest
    FROM resources
  );
  `,
  `
  ALTER TABLE resources ADD COLUMN owned_by TEXT NOT NULL DEFAULT 'CONNECTION';
  UPDATE resources SET owned_by = 'SECRET' WHERE secret_hash IS NOT NULL;
  ALTER TABLE resources ADD COLUMN intent TEXT;
  `,
];

const COLUMNS = [
  "id",
  "filename",
  "mime_type",
  "line_access",
  "context_id",
  "created_at",
  "transfer_status",
  "size",
  "lines",
  "epoch",
  "sequence",
  "failure",
  "digest_algorithm",
  "digest_value",
  "state_algorithm",
  "state_offset",
  "state",
  "secret_hash",
  "updated_at",
  "revision",
  "announced_size",
  "announced_checksum",
  "durable_size",
  "owner_node",
  "owner_until",
  "exit_code",
  "exit_signal",
  "annotation",
  "state_version",
  "state_boot",
  "doubtful_from",
  "owned_by",
  "intent",
];

type Row = Record<string, SQLInputValue>;

/** How a catalog in a file behaves. */
export interface SqliteCatalogOptions {
  /** How long a call waits while another process holds the file, in ms; 10 000 by default. */
  waitMs?: number;
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
  readonly #path: string;
  readonly #database: DatabaseSync;
  /** The ones that were used first come first. */
  readonly #statements = new Map<string, StatementSync>();
  readonly #watchers = new Watchers();
  readonly #patience: Patience;
  readonly #slices: Slices;
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
    this.#path = path;
    this.#patience = new Patience(waitMs);
    this.#slices = new Slices(this.#patience);
    this.#reserve = new Reserve(`${path}-reserve`);
    try {
      mkdirSync(dirname(path), { recursive: true });
      this.#database = new DatabaseSync(path);
      this.#database.exec(
        `PRAGMA busy_timeout=${OPEN_WAIT_MS}; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL`,
      );
      this.#migrate();
      // From here on nothing waits inside a call.
      this.#database.exec("PRAGMA busy_timeout=0");
      this.#inode = statSync(path).ino;
      this.#reserve.keep();
    } catch (error) {
      if (error instanceof StreamError) throw error;
      const reason = (error as Error).message;
      throw new StreamError("STORAGE_FAILED", `cannot open the catalog ${path}: ${reason}`, {
        cause: error,
      });
    }
  }

  /** Adds a record. */
  async create(record: ResourceRecord): Promise<void> {
    await this.#write(() => {
      const values = COLUMNS.map((column) => `:${column}`).join(", ");
      const added = this.#prepare(
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
    return this.#read(() => this.#get(id));
  }

  /** Changes a record if nobody did since it was read. */
  update(id: string, revision: number, change: ResourceChange): Promise<ResourceRecord> {
    return this.#write(() => {
      const record = this.#get(id);
      if (record === null) throw new StreamError("NOT_FOUND", `there is no resource ${id}`);
      const changed = { ...record, ...change, revision: revision + 1 };
      const assignments = COLUMNS.map((column) => `${column} = :${column}`).join(", ");
      const updated = this.#prepare(
        `UPDATE resources SET ${assignments} WHERE id = :id AND revision = :revision - 1`,
      ).run(toRow(changed));
      if (updated.changes === 0) {
        const message = `resource ${id} is at revision ${record.revision}, not ${revision}`;
        throw new StreamError("CONFLICT", message);
      }
      this.#watchers.tell({ was: record, is: changed });
      return changed;
    });
  }

  /** Records in the order asked for. */
  async list(query: ResourceQuery): Promise<ResourceRecord[]> {
    if (query.transferStatuses?.length === 0) return [];
    if (query.idPrefix !== undefined) return await this.#listByPrefix(query, query.idPrefix);
    if (query.filenamePart) return await this.#listByName(query, query.filenamePart);
    return await this.#read(() => this.#all(pageQuestion("*", query)).map(fromRow));
  }

  /** Finished resources that ended before a time. */
  listEnded({ beforeMs, after, limit }: EndedQuery): Promise<ResourceRecord[]> {
    const values: Row = { beforeMs, limit };
    if (after !== undefined) Object.assign(values, { updatedAt: after.updatedAtMs, id: after.id });
    const start = after === undefined ? "" : "AND (updated_at, id) > (:updatedAt, :id)";
    const sql = `SELECT * FROM resources INDEXED BY resources_ended ` +
      `WHERE ${FINISHED} AND updated_at < :beforeMs ${start} ORDER BY updated_at, id LIMIT :limit`;
    return this.#read(() => this.#all({ sql, values }).map(fromRow));
  }

  /** Removes a record; on a full disk by the space that is kept for it. */
  delete(id: string, createdAtMs?: number): Promise<boolean> {
    return this.#write(() => {
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
    return this.#write(() => {
      this.#prepare(
        "INSERT INTO contexts VALUES (:id, :now, NULL, :attributes) ON CONFLICT DO NOTHING",
      )
        .run({ id, now: Date.now(), attributes: JSON.stringify(attributes) });
      return this.#getContext(id)!;
    });
  }

  /** The upload context, or null. */
  getContext(id: string): Promise<UploadContext | null> {
    return this.#read(() => this.#getContext(id));
  }

  /** Closes an upload context unless it is closed. */
  closeContext(id: string): Promise<UploadContext | null> {
    return this.#write(() => {
      this.#prepare("UPDATE contexts SET closed_at = :now WHERE id = :id AND closed_at IS NULL")
        .run({ id, now: Date.now() });
      return this.#getContext(id);
    });
  }

  /** Upload contexts, newest first. */
  listContexts({ after, limit }: ContextQuery): Promise<UploadContext[]> {
    const where = after === undefined ? "" : "WHERE (created_at, id) < (:createdAt, :id)";
    const start: Row = after === undefined ? {} : { createdAt: after.createdAtMs, id: after.id };
    const sql = `SELECT * FROM contexts ${where} ORDER BY created_at DESC, id DESC LIMIT :limit`;
    return this.#read(() =>
      this.#all({ sql, values: { ...start, limit } }).map((row) => contextFromRow(row as Row))
    );
  }

  /** Bytes of all resources, by upload context. */
  usage(): Promise<{ contextId: string | null; bytes: number }[]> {
    const sql = "SELECT context_id, bytes FROM usage WHERE context_id > :from LIMIT :limit";
    const none = "SELECT context_id, bytes FROM usage WHERE context_id = ''";
    return this.#look(async (slice) => {
      const found = (await slice(() => this.#all({ sql: none, values: {} })))
        .map(({ bytes }) => ({ contextId: null as string | null, bytes: Number(bytes) }));
      for (let from = "";;) {
        const rows = await slice(() => this.#all({ sql, values: { from, limit: SLICE_ROWS } }));
        for (const { context_id, bytes } of rows) {
          from = String(context_id);
          found.push({ contextId: from, bytes: Number(bytes) });
        }
        if (rows.length < SLICE_ROWS) return found;
      }
    });
  }

  /** The time that was kept last. */
  lastTime(): Promise<CatalogTime> {
    return this.#read(() => {
      const { steady, wall } = this.#prepare("SELECT steady, wall FROM clock").get()!;
      return { steadyMs: Number(steady), wallMs: Number(wall) };
    });
  }

  /** Keeps the time, for the process that comes next. */
  keepTime({ steadyMs, wallMs }: CatalogTime): Promise<void> {
    return this.#write(() => {
      this.#prepare("UPDATE clock SET steady = :steadyMs, wall = :wallMs")
        .run({ steadyMs: Math.round(steadyMs), wallMs: Math.round(wallMs) });
    });
  }

  /** Finds out by a write whether records are taken; who holds the file for a while is no reason why not. */
  probe(): Promise<void> {
    return this.#attempt(() => {
      if (statSync(this.#path, { throwIfNoEntry: false })?.ino !== this.#inode) {
        throw new StreamError("STORAGE_FAILED", "the file of the catalog was deleted");
      }
      try {
        this.#prepare("UPDATE clock SET wall = wall").run();
      } catch (error) {
        if (!isBusy(error)) throw error;
      }
    });
  }

  /** Brings everything written to disk. */
  sync(): Promise<void> {
    return this.#attempt(async () => {
      const log = await open(`${this.#path}-wal`, "r");
      try {
        await log.datasync();
      } finally {
        await log.close();
      }
    });
  }

  /** Closes the file. */
  close(): Promise<void> {
    return this.#attempt(() => this.#database.close());
  }

  #get(id: string): ResourceRecord | null {
    const row = this.#prepare("SELECT * FROM resources WHERE id = :id").get({ id });
    return row === undefined ? null : fromRow(row);
  }

  #delete(id: string, createdAtMs?: number): boolean {
    const record = this.#get(id);
    if (record === null || record.createdAtMs !== (createdAtMs ?? record.createdAtMs)) return false;
    const created = record.createdAtMs;
    const { changes } = this.#prepare(
      "DELETE FROM resources WHERE id = :id AND created_at = :created",
    ).run({ id, created });
    if (changes === 0) return false;
    this.#watchers.tell({ was: record, is: null });
    return true;
  }

  #getContext(id: string): UploadContext | null {
    const row = this.#prepare("SELECT * FROM contexts WHERE id = :id").get({ id });
    return row === undefined ? null : contextFromRow(row as Row);
  }

  /** Looks through the records of a query, in its order, for names that hold something. */
  #listByName(query: ResourceQuery, filenamePart: string): Promise<ResourceRecord[]> {
    const part = lowerAscii(filenamePart);
    return this.#look(async (slice) => {
      const found: ResourceRecord[] = [];
      for (let after = query.after;;) {
        const question = pageQuestion("id, created_at, filename", {
          ...query,
          after,
          limit: SLICE_ROWS,
        });
        const rows = await slice(() => {
          const rows = this.#all(question);
          for (const { id, filename } of rows) {
            if (found.length === query.limit) break;
            if (lowerAscii(String(filename)).includes(part)) found.push(this.#get(String(id))!);
          }
          return rows;
        });
        if (rows.length < SLICE_ROWS || found.length === query.limit) return found;
        after = keyOf(rows[rows.length - 1]);
      }
    });
  }

  /** Looks through the records whose id begins so: few, unless uploaders chose such ids. */
  #listByPrefix(query: ResourceQuery, prefix: string): Promise<ResourceRecord[]> {
    const { order = "newest", limit } = query;
    const compare = order === "newest" ? newestFirst : (a: Key, b: Key) => newestFirst(b, a);
    const matches = matcher(query, compare);
    const sqlFrom = (beyond: string) =>
      "SELECT id, created_at, filename, context_id, transfer_status FROM resources " +
      `WHERE id ${beyond} :from AND id < :behind ORDER BY id LIMIT :limit`;
    return this.#look(async (slice) => {
      let best: Key[] = [];
      for (let from = prefix, sql = sqlFrom(">=");; sql = sqlFrom(">")) {
        const values = { from, behind: `${prefix}~`, limit: SLICE_ROWS };
        const rows = await slice(() => this.#all({ sql, values }));
        best = [...best, ...rows.filter(matches).map(keyOf)].sort(compare).slice(0, limit);
        if (rows.length < SLICE_ROWS) break;
        from = String(rows[rows.length - 1].id);
      }
      const found = await slice(() => best.map(({ id }) => this.#get(id)));
      return found.filter((record) => record !== null);
    });
  }

  #all({ sql, values }: Question): Record<string, SQLOutputValue>[] {
    return this.#prepare(sql).all(values);
  }

  #prepare(sql: string): StatementSync {
    const statement = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.delete(sql);
    this.#statements.set(sql, statement);
    if (this.#statements.size > MOST_STATEMENTS) {
      this.#statements.delete(this.#statements.keys().next().value!);
    }
    return statement;
  }

  /** Keeps space for deletions again, once there is plenty. */
  async #refill(): Promise<void> {
    const { bavail, bsize } = await statfs(dirname(this.#path));
    if (bavail * bsize < PLENTY_BYTES) return;
    this.#isReserveSpent = false;
    this.#reserve.keep();
  }

  #migrate(): void {
    const { user_version: version } = this.#database.prepare("PRAGMA user_version").get() as {
      user_version: number;
    };
    if (version > MIGRATIONS.length) {
      throw new StreamError(
        "STORAGE_FAILED",
        `the catalog ${this.#path} has schema version ${version}; this program knows ${MIGRATIONS.length}: use a newer one`,
      );
    }
    if (version === MIGRATIONS.length) return;
    const steps = MIGRATIONS.slice(version).join("");
    this.#database.exec(`BEGIN; ${steps} PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`);
  }

  #read<T>(step: () => T): Promise<T> {
    return this.#attempt(() => this.#patience.read(step));
  }

  #write<T>(step: () => T): Promise<T> {
    return this.#attempt(() => this.#patience.write(step));
  }

  #look<T>(look: (slice: Slice) => Promise<T>): Promise<T> {
    return this.#attempt(() => this.#slices.look(look));
  }

  async #attempt<T>(step: () => T | Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      if (error instanceof StreamError) throw error;
      const reason = (error as Error).message;
      throw new StreamError("STORAGE_FAILED", `the catalog: ${reason}`, { cause: error });
    }
  }
}

function keyOf({ id, created_at }: Record<string, SQLOutputValue>): Key {
  return { id: String(id), createdAtMs: Number(created_at) };
}

/** Tells whether a row is one that a query asks for. */
function matcher(
  { contextId, transferStatuses, filenamePart = "", after }: ResourceQuery,
  compare: (a: Key, b: Key) => number,
): (row: Record<string, SQLOutputValue>) => boolean {
  const part = lowerAscii(filenamePart);
  return (row) =>
    (contextId === undefined || row.context_id === contextId) &&
    (transferStatuses?.includes(row.transfer_status as TransferStatus) ?? true) &&
    lowerAscii(String(row.filename)).includes(part) &&
    (after === undefined || compare(after, keyOf(row)) < 0);
}

function toRow(record: ResourceRecord): Row {
  return {
    id: record.id,
    filename: record.metadata.filename,
    mime_type: record.metadata.mimeType,
    line_access: record.metadata.supportsLineAccess ? 1 : 0,
    context_id: record.contextId,
    created_at: record.createdAtMs,
    transfer_status: record.transferStatus,
    size: record.size,
    lines: record.lines,
    epoch: record.epoch,
    sequence: record.sequence,
    failure: record.failure,
    digest_algorithm: record.digest?.algorithm ?? null,
    digest_value: record.digest?.value ?? null,
    state_algorithm: record.digestState?.algorithm ?? null,
    state_offset: record.digestState?.byteOffset ?? null,
    state: record.digestState?.state ?? null,
    secret_hash: record.secretHash,
    updated_at: record.updatedAtMs,
    revision: record.revision,
    announced_size: record.announced.size,
    announced_checksum: record.announced.checksum,
    durable_size: record.durableSize,
    owner_node: record.owner?.node ?? null,
    owner_until: finiteOrNull(record.owner?.untilMs),
    exit_code: record.outcome?.exitCode ?? null,
    exit_signal: record.outcome?.signal ?? null,
    annotation: record.annotation ?? null,
    state_version: record.digestState?.version ?? null,
    state_boot: record.digestState?.boot ?? null,
    doubtful_from: record.digestState?.doubtfulFrom ?? null,
    owned_by: record.ownedBy,
    intent: record.intent ? JSON.stringify(record.intent) : null,
  };
}

function fromRow(row: Record<string, SQLOutputValue>): ResourceRecord {
  return {
    id: String(row.id),
    metadata: {
      filename: String(row.filename),
      mimeType: String(row.mime_type),
      supportsLineAccess: row.line_access === 1,
    },
    contextId: row.context_id as string | null,
    createdAtMs: Number(row.created_at),
    transferStatus: row.transfer_status as TransferStatus,
    size: Number(row.size),
    lines: row.lines as number | null,
    epoch: Number(row.epoch),
    sequence: Number(row.sequence),
    failure: row.failure as string | null,
    ...outcomeIn(row),
    digest: row.digest_algorithm === null ? null : {
      algorithm: row.digest_algorithm as DigestAlgorithm,
      value: String(row.digest_value),
    },
    digestState: row.state_algorithm === null ? null : {
      algorithm: row.state_algorithm as DigestAlgorithm,
      byteOffset: Number(row.state_offset),
      state: row.state as Uint8Array,
      version: row.state_version as string | null,
      boot: row.state_boot as string | null,
      doubtfulFrom: row.doubtful_from as number | null,
    },
    secretHash: row.secret_hash as string | null,
    announced: {
      size: row.announced_size as number | null,
      checksum: row.announced_checksum as string | null,
    },
    ownedBy: row.owned_by as Ownership,
    ...(row.annotation === null ? {} : { annotation: String(row.annotation) }),
    ...(row.intent === null ? {} : { intent: JSON.parse(String(row.intent)) as Intent }),
    durableSize: Number(row.durable_size),
    owner: row.owner_node === null ? null : {
      node: String(row.owner_node),
      untilMs: row.owner_until === null ? Infinity : Number(row.owner_until),
    },
    updatedAtMs: Number(row.updated_at),
    revision: Number(row.revision),
  };
}

/** Nothing where the uploader did not tell. */
function outcomeIn(
  { exit_code, exit_signal }: Record<string, SQLOutputValue>,
): { outcome?: Outcome } {
  const [exitCode, signal] = [exit_code as number | null, exit_signal as string | null];
  return exitCode === null && signal === null ? {} : { outcome: { exitCode, signal } };
}

/** A column of integers has no Infinity. */
function finiteOrNull(value: number | undefined): number | null {
  return value === undefined || value === Infinity ? null : value;
}

function contextFromRow(row: Row): UploadContext {
  return {
    id: String(row.id),
    createdAtMs: Number(row.created_at),
    closedAtMs: row.closed_at as number | null,
    attributes: JSON.parse(String(row.attributes)),
  };
}
