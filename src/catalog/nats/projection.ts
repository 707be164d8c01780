/**
 * Copy of all records and upload contexts in a file of this node, for everything that looks at many of them.
 *
 * It is only a copy: one that does not fit what the engine has is made anew.
 * @module
 */
import { rmSync } from "node:fs";
import type { ResourceRecord, UploadContext } from "../../catalog.ts";
import { CatalogFile, isOfEarlierVersion } from "../sqlite/file.ts";
import { assignmentsOf, changesIn, COLUMNS, toRow } from "../sqlite/rows.ts";

/** How long a call waits for a process that looks at the file, in ms. */
const WAIT_MS = 10_000;

/** Ids that are read together: all of them would be most of the memory of a node. */
const ID_PAGE = 1000;

const VALUES = COLUMNS.map((column) => `:${column}`).join(", ");

/** How far a bucket was copied. */
export interface Position {
  /** Life of the bucket: another one has nothing of this. */
  life: string;
  /** Number of the last message that was copied. */
  sequence: number;
  /** When nothing was missing, by the clocks of the engine, in ms since 1970. */
  atMs: number;
}

/** Records and contexts in a file. */
export class Projection {
  /** The file, for those who read it. */
  readonly file: CatalogFile;

  /**
   * Opens the file.
   * @param path The file; made with its directory when missing, or when it is no copy that can be continued.
   * @param fits Whether what it has can be continued.
   */
  constructor(
    path: string,
    fits: (positions: ReadonlyMap<string, Position>, ids: Iterable<string>) => boolean,
  ) {
    let file = openFile(path);
    if (file === null || !fits(positionsIn(file), idsIn(file))) {
      void file?.close();
      for (const suffix of ["", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
      file = new CatalogFile(path, WAIT_MS);
      makeFeeds(file);
    }
    this.file = file;
  }

  /** How far each bucket was copied when that was kept last. */
  positions(): Map<string, Position> {
    return positionsIn(this.file);
  }

  /** Ids of all records, in their order, some at a time. */
  idPages(): Generator<string[], void, void> {
    return idPagesIn(this.file);
  }

  /** Ids of all records. */
  ids(): Iterable<string> {
    return idsIn(this.file);
  }

  /** Keeps how far a bucket was copied; everything before is in the file. */
  keep(bucket: string, { life, sequence, atMs }: Position): void {
    this.file.prepare(
      "INSERT INTO feeds VALUES (:bucket, :life, :sequence, :atMs) " +
        "ON CONFLICT DO UPDATE SET life = :life, sequence = :sequence, at = :atMs",
    ).run({ bucket, life, sequence, atMs });
  }

  /** Runs changes as one. */
  together(step: () => void): void {
    this.file.prepare("BEGIN IMMEDIATE").run();
    try {
      step();
      this.file.prepare("COMMIT").run();
    } catch (error) {
      this.file.prepare("ROLLBACK").run();
      throw error;
    }
  }

  /**
   * Adds a record, or changes it.
   * @param was The record as the file has it; null for none.
   * @param is What it is now.
   */
  put(was: ResourceRecord | null, is: ResourceRecord): void {
    if (was === null) {
      this.file.prepare(`INSERT INTO resources VALUES (${VALUES})`).run(toRow(is));
      return;
    }
    const row = changesIn(was, is);
    if (Object.keys(row).length === 0) return;
    this.file.prepare(`UPDATE resources SET ${assignmentsOf(row)} WHERE id = :id`)
      .run({ ...row, id: is.id });
  }

  /** Removes a record, if it is there. */
  remove(id: string): void {
    this.file.prepare("DELETE FROM resources WHERE id = :id").run({ id });
  }

  /** Sets an upload context, whatever it was. */
  putContext({ id, createdAtMs, closedAtMs, attributes }: UploadContext): void {
    this.file.prepare(
      "INSERT INTO contexts (id, created_at, closed_at, attributes) " +
        "VALUES (:id, :createdAtMs, :closedAtMs, :attributes) ON CONFLICT DO UPDATE SET " +
        "created_at = :createdAtMs, closed_at = :closedAtMs, attributes = :attributes",
    ).run({ id, createdAtMs, closedAtMs, attributes: JSON.stringify(attributes) });
  }

  /** Bytes of all resources, by upload context, as they are in this very turn. */
  usage(): { contextId: string | null; bytes: number }[] {
    return this.file.prepare("SELECT context_id, bytes FROM usage").all()
      .map(({ context_id, bytes }) => ({
        contextId: context_id === "" ? null : String(context_id),
        bytes: Number(bytes),
      }));
  }

  /** Closes the file. */
  close(): Promise<void> {
    return this.file.close();
  }
}

/** The file as it is; null when it cannot be read, or when an older program left out of it what it did not know. */
function openFile(path: string): CatalogFile | null {
  try {
    if (isOfEarlierVersion(path)) return null;
    const file = new CatalogFile(path, WAIT_MS);
    makeFeeds(file);
    return file;
  } catch {
    return null;
  }
}

function makeFeeds(file: CatalogFile): void {
  file.prepare(
    "CREATE TABLE IF NOT EXISTS feeds (bucket TEXT PRIMARY KEY, life TEXT NOT NULL, " +
      "sequence INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
  ).run();
}

function* idsIn(file: CatalogFile): Generator<string, void, void> {
  for (const page of idPagesIn(file)) yield* page;
}

function* idPagesIn(file: CatalogFile): Generator<string[], void, void> {
  const sql = "SELECT id FROM resources WHERE id > :after ORDER BY id LIMIT :limit";
  for (let after = "";;) {
    const page = file.prepare(sql).all({ after, limit: ID_PAGE }).map(({ id }) => String(id));
    yield page;
    if (page.length < ID_PAGE) return;
    after = page[page.length - 1];
  }
}

function positionsIn(file: CatalogFile): Map<string, Position> {
  return new Map(
    file.prepare("SELECT bucket, life, sequence, at FROM feeds").all().map((row) => [
      String(row.bucket),
      { life: String(row.life), sequence: Number(row.sequence), atMs: Number(row.at) },
    ]),
  );
}
