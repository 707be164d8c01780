/**
 * A catalog in an SQLite file (`node:sqlite`, write-ahead log).
 *
 * Writes are not flushed one by one: `sync()` flushes the write-ahead log for all of them, off the main
 * thread, which is what `synchronous=FULL` would do on it for each (https://www.sqlite.org/wal.html).
 * @module
 */
import { mkdirSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import {
  type DigestAlgorithm,
  isFinal,
  type Outcome,
  StreamError,
  type TransferStatus,
} from "../protocol.ts";
import type {
  Catalog,
  ContextAttributes,
  ContextQuery,
  RecordChange,
  ResourceChange,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "../catalog.ts";
import { Watchers } from "./watchers.ts";

const UNFINISHED = "transfer_status IN ('INITIATED', 'IN_PROGRESS')";

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
];

type Row = Record<string, SQLInputValue>;

/**
 * Catalog in an SQLite file; survives its process.
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
  readonly #statements = new Map<string, StatementSync>();
  readonly #watchers = new Watchers();

  /**
   * Opens the file.
   * @param path The file; made with its directory when missing.
   * @throws {StreamError} STORAGE_FAILED when it is no catalog, or one of a newer version.
   */
  constructor(path: string) {
    this.#path = path;
    try {
      mkdirSync(dirname(path), { recursive: true });
      this.#database = new DatabaseSync(path);
      this.#database.exec(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=5000",
      );
      this.#migrate();
    } catch (error) {
      if (error instanceof StreamError) throw error;
      const reason = (error as Error).message;
      throw new StreamError("STORAGE_FAILED", `cannot open the catalog ${path}: ${reason}`, {
        cause: error,
      });
    }
  }

  /** Adds a record. */
  create(record: ResourceRecord): Promise<void> {
    return this.#attempt(() => {
      const values = COLUMNS.map((column) => `:${column}`).join(", ");
      const added = this.#prepare(
        `INSERT INTO resources VALUES (${values}) ON CONFLICT DO NOTHING`,
      ).run(toRow(record));
      if (added.changes === 0) {
        throw new StreamError("CONFLICT", `the resource ${record.id} exists already`);
      }
      this.#watchers.tell({ was: null, is: { ...record } });
    });
  }

  /** The record, or null. */
  get(id: string): Promise<ResourceRecord | null> {
    return this.#attempt(() => this.#get(id));
  }

  /** Changes a record if nobody did since it was read. */
  update(id: string, revision: number, change: ResourceChange): Promise<ResourceRecord> {
    return this.#attempt(() => {
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
  list(query: ResourceQuery): Promise<ResourceRecord[]> {
    const { contextId, transferStatuses, filenamePart, idPrefix, after, limit } = query;
    const { order = "newest" } = query;
    const [direction, beyond] = order === "newest" ? ["DESC", "<"] : ["ASC", ">"];
    return this.#attempt(() => {
      const conditions: string[] = [];
      const values: Row = { limit };
      if (contextId !== undefined) {
        conditions.push("context_id = :context");
        values.context = contextId;
      }
      if (transferStatuses !== undefined) {
        const names = transferStatuses.map((status, index) => {
          values[`status${index}`] = status;
          return `:status${index}`;
        });
        conditions.push(`transfer_status IN (${names.join(", ")})`);
      }
      if (filenamePart !== undefined) {
        conditions.push("instr(lower(filename), lower(:part)) > 0");
        values.part = filenamePart;
      }
      if (idPrefix !== undefined) {
        conditions.push("id >= :prefix AND id < :behind");
        values.prefix = idPrefix;
        values.behind = `${idPrefix}~`;
      }
      if (after !== undefined) {
        conditions.push(`(created_at, id) ${beyond} (:createdAt, :id)`);
        values.createdAt = after.createdAtMs;
        values.id = after.id;
      }
      const isUnfinished = transferStatuses?.length !== 0 &&
        transferStatuses?.some(isFinal) === false;
      // SQLite uses the index of the unfinished only where its very condition is asked for.
      if (isUnfinished) conditions.push(UNFINISHED);
      const from = isUnfinished ? "resources INDEXED BY resources_unfinished" : "resources";
      const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
      // A sign makes an expression of the column, which no index sorts: few have a prefix, and they are found by their key.
      const createdAt = idPrefix === undefined ? "created_at" : "+created_at";
      const rows = this.#prepare(
        `SELECT * FROM ${from} ${where} ORDER BY ${createdAt} ${direction}, id ${direction} LIMIT :limit`,
      ).all(values);
      return rows.map((row) => fromRow(row as Row));
    });
  }

  /** Removes a record. */
  delete(id: string): Promise<boolean> {
    return this.#attempt(() => {
      const record = this.#get(id);
      const { changes } = this.#prepare("DELETE FROM resources WHERE id = :id").run({ id });
      if (record === null || changes === 0) return false;
      this.#watchers.tell({ was: record, is: null });
      return true;
    });
  }

  /** Hears of every change of a record through this instance: one process has the file. */
  watch(listener: (change: RecordChange) => void): () => void {
    return this.#watchers.add(listener);
  }

  /** Makes an upload context unless it exists. */
  createContext(id: string, attributes: ContextAttributes = {}): Promise<UploadContext> {
    return this.#attempt(() => {
      this.#prepare(
        "INSERT INTO contexts VALUES (:id, :now, NULL, :attributes) ON CONFLICT DO NOTHING",
      )
        .run({ id, now: Date.now(), attributes: JSON.stringify(attributes) });
      return this.#getContext(id)!;
    });
  }

  /** The upload context, or null. */
  getContext(id: string): Promise<UploadContext | null> {
    return this.#attempt(() => this.#getContext(id));
  }

  /** Closes an upload context unless it is closed. */
  closeContext(id: string): Promise<UploadContext | null> {
    return this.#attempt(() => {
      this.#prepare("UPDATE contexts SET closed_at = :now WHERE id = :id AND closed_at IS NULL")
        .run({ id, now: Date.now() });
      return this.#getContext(id);
    });
  }

  /** Upload contexts, newest first. */
  listContexts({ after, limit }: ContextQuery): Promise<UploadContext[]> {
    const where = after === undefined ? "" : "WHERE (created_at, id) < (:createdAt, :id)";
    const start: Row = after === undefined ? {} : { createdAt: after.createdAtMs, id: after.id };
    return this.#attempt(() =>
      this.#prepare(
        `SELECT * FROM contexts ${where} ORDER BY created_at DESC, id DESC LIMIT :limit`,
      ).all({ ...start, limit }).map((row) => contextFromRow(row as Row))
    );
  }

  /** Bytes of all resources, by upload context. */
  usage(): Promise<{ contextId: string | null; bytes: number }[]> {
    return this.#attempt(() =>
      this.#prepare("SELECT context_id, SUM(size) AS bytes FROM resources GROUP BY context_id")
        .all().map((row) => ({
          contextId: row.context_id as string | null,
          bytes: Number(row.bytes),
        }))
    );
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
    return row === undefined ? null : fromRow(row as Row);
  }

  #getContext(id: string): UploadContext | null {
    const row = this.#prepare("SELECT * FROM contexts WHERE id = :id").get({ id });
    return row === undefined ? null : contextFromRow(row as Row);
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
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

  async #attempt<T>(step: () => T | Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      if (error instanceof StreamError) throw error;
      const reason = (error as Error).message;
      throw new StreamError("STORAGE_FAILED", `catalog ${this.#path}: ${reason}`, { cause: error });
    }
  }
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
  };
}

function fromRow(row: Row): ResourceRecord {
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
    ...(row.annotation === null ? {} : { annotation: String(row.annotation) }),
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
function outcomeIn({ exit_code, exit_signal }: Row): { outcome?: Outcome } {
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
