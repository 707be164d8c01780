/**
 * A file of SQLite with the tables of a catalog: opened, brought to the newest schema, read.
 *
 * No call waits inside SQLite for another process (`patience.ts`), and none looks at more rows than a page or a slice
 * has (`queries.ts`, `slices.ts`), as nothing else goes on meanwhile.
 * @module
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";
import type {
  CatalogTime,
  ContextQuery,
  EndedQuery,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "../../catalog.ts";
import { lowerAscii, StreamError, type TransferStatus } from "../../protocol.ts";
import { type Key, newestFirst } from "../matching.ts";
import { Patience } from "./patience.ts";
import { pageQuestion, type Question } from "./queries.ts";
import { contextFromRow, fromRow, keyOf, type Row } from "./rows.ts";
import { FINISHED, isOutdated, migrate } from "./schema.ts";
import { type Slice, Slices } from "./slices.ts";

/** How long opening waits for a process that holds the file, before anything goes on that could be held up. */
const OPEN_WAIT_MS = 5000;
/** Statements that are kept prepared: more than there are different ones. */
const MOST_STATEMENTS = 100;
/** Rows of one slice of a look that no index answers. */
const SLICE_ROWS = 500;
/** Whole records of one slice: each costs 5 to 16 µs, and its page is told in slices, too. */
const SLICE_RECORDS = 128;

/** A catalog's file, for those who write it. */
export class CatalogFile {
  /** The file. */
  readonly path: string;
  readonly #database: DatabaseSync;
  /** The ones that were used first come first. */
  readonly #statements = new Map<string, StatementSync>();
  readonly #patience: Patience;
  readonly #slices: Slices;

  /**
   * Opens the file.
   * @param path The file; made with its directory when missing.
   * @param waitMs How long a call waits for a process that holds the file, in ms.
   * @throws {StreamError} STORAGE_FAILED when it is no catalog, or one of a newer version.
   */
  constructor(path: string, waitMs: number) {
    this.path = path;
    this.#patience = new Patience(waitMs);
    this.#slices = new Slices(this.#patience);
    try {
      mkdirSync(dirname(path), { recursive: true });
      this.#database = new DatabaseSync(path);
      this.#database.exec(
        `PRAGMA busy_timeout=${OPEN_WAIT_MS}; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL`,
      );
      migrate(this.#database, path);
      // From here on nothing waits inside a call.
      this.#database.exec("PRAGMA busy_timeout=0");
    } catch (error) {
      throw error instanceof StreamError ? error : cannotOpen(path, error);
    }
  }

  /** The record, or null; in the same turn. */
  record(id: string): ResourceRecord | null {
    const row = this.prepare("SELECT * FROM resources WHERE id = :id").get({ id });
    return row === undefined ? null : fromRow(row);
  }

  /** The upload context, or null; in the same turn. */
  context(id: string): UploadContext | null {
    const row = this.prepare("SELECT * FROM contexts WHERE id = :id").get({ id });
    return row === undefined ? null : contextFromRow(row as Row);
  }

  /** Records in the order asked for. */
  async list(query: ResourceQuery): Promise<ResourceRecord[]> {
    if (query.transferStatuses?.length === 0) return [];
    if (query.idPrefix !== undefined) return await this.#listByPrefix(query, query.idPrefix);
    if (query.filenamePart) return await this.#listByName(query, query.filenamePart);
    if (query.limit > SLICE_RECORDS) return await this.#listInSlices(query);
    return await this.read(() => this.#all(pageQuestion("*", query)).map(fromRow));
  }

  /** Finished resources that ended before a time. */
  listEnded({ beforeMs, after, limit }: EndedQuery): Promise<ResourceRecord[]> {
    const values: Row = { beforeMs, limit };
    if (after !== undefined) Object.assign(values, { updatedAt: after.updatedAtMs, id: after.id });
    const start = after === undefined ? "" : "AND (updated_at, id) > (:updatedAt, :id)";
    const sql = `SELECT * FROM resources INDEXED BY resources_ended ` +
      `WHERE ${FINISHED} AND updated_at < :beforeMs ${start} ORDER BY updated_at, id LIMIT :limit`;
    return this.read(() => this.#all({ sql, values }).map(fromRow));
  }

  /** Upload contexts, newest first. */
  listContexts({ after, limit }: ContextQuery): Promise<UploadContext[]> {
    const where = after === undefined ? "" : "WHERE (created_at, id) < (:createdAt, :id)";
    const start: Row = after === undefined ? {} : { createdAt: after.createdAtMs, id: after.id };
    const sql = `SELECT * FROM contexts ${where} ORDER BY created_at DESC, id DESC LIMIT :limit`;
    return this.read(() =>
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
    return this.read(() => {
      const { steady, wall } = this.prepare("SELECT steady, wall FROM clock").get()!;
      return { steadyMs: Number(steady), wallMs: Number(wall) };
    });
  }

  /** Keeps the time, for the process that comes next. */
  keepTime({ steadyMs, wallMs }: CatalogTime): Promise<void> {
    return this.write(() => {
      this.prepare("UPDATE clock SET steady = :steadyMs, wall = :wallMs")
        .run({ steadyMs: Math.round(steadyMs), wallMs: Math.round(wallMs) });
    });
  }

  /** A statement that is kept prepared. */
  prepare(sql: string): StatementSync {
    const statement = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.delete(sql);
    this.#statements.set(sql, statement);
    if (this.#statements.size > MOST_STATEMENTS) {
      this.#statements.delete(this.#statements.keys().next().value!);
    }
    return statement;
  }

  /** Runs a step that reads, once nobody holds the file. */
  read<T>(step: () => T): Promise<T> {
    return this.attempt(() => this.#patience.read(step));
  }

  /** Runs a step that writes, after those that wait already. */
  write<T>(step: () => T): Promise<T> {
    return this.attempt(() => this.#patience.write(step));
  }

  /**
   * Runs a step, and tells of what SQLite refuses.
   * @throws {StreamError} STORAGE_FAILED.
   */
  async attempt<T>(step: () => T | Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      if (error instanceof StreamError) throw error;
      const reason = (error as Error).message;
      throw new StreamError("STORAGE_FAILED", `the catalog: ${reason}`, { cause: error });
    }
  }

  /** Closes the file. */
  close(): Promise<void> {
    return this.attempt(() => this.#database.close());
  }

  /** Reads a long page: what is made or deleted meanwhile may be in it or not, as in the next page. */
  #listInSlices(query: ResourceQuery): Promise<ResourceRecord[]> {
    return this.#look(async (slice) => {
      const found: ResourceRecord[] = [];
      for (let after = query.after;;) {
        const limit = Math.min(SLICE_RECORDS, query.limit - found.length);
        const question = pageQuestion("*", { ...query, after, limit });
        const records = await slice(() => this.#all(question).map(fromRow));
        found.push(...records);
        if (records.length < limit || found.length === query.limit) return found;
        after = records[records.length - 1];
      }
    });
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
            if (lowerAscii(String(filename)).includes(part)) found.push(this.record(String(id))!);
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
      const found = await slice(() => best.map(({ id }) => this.record(id)));
      return found.filter((record) => record !== null);
    });
  }

  #all({ sql, values }: Question): Record<string, SQLOutputValue>[] {
    return this.prepare(sql).all(values);
  }

  #look<T>(look: (slice: Slice) => Promise<T>): Promise<T> {
    return this.attempt(() => this.#slices.look(look));
  }
}

/**
 * Whether opening a file would bring its tables to a newer version, which programs of an earlier one do not know.
 * @param path The file, which is there.
 * @throws {StreamError} STORAGE_FAILED when it is no catalog.
 */
export function isOfEarlierVersion(path: string): boolean {
  try {
    const database = new DatabaseSync(path);
    try {
      database.exec(`PRAGMA busy_timeout=${OPEN_WAIT_MS}`);
      return isOutdated(database);
    } finally {
      database.close();
    }
  } catch (error) {
    throw cannotOpen(path, error);
  }
}

function cannotOpen(path: string, cause: unknown): StreamError {
  const reason = (cause as Error).message;
  return new StreamError("STORAGE_FAILED", `cannot open the catalog ${path}: ${reason}`, { cause });
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
