/**
 * The tables of a catalog in SQLite.
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { StreamError } from "../../protocol.ts";

const UNFINISHED = "transfer_status IN ('INITIATED', 'IN_PROGRESS')";
/** Condition of a record that is finished. */
export const FINISHED = "transfer_status IN ('COMPLETED', 'FAILED')";

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
  `
  ALTER TABLE resources ADD COLUMN flushed_offset INTEGER;
  ALTER TABLE resources ADD COLUMN flushed_state BLOB;
  `,
];

/**
 * Brings the tables of a file to the newest version.
 * @param database The file, open.
 * @param path Its name, for errors.
 * @throws {StreamError} STORAGE_FAILED when a newer program made it.
 */
export function migrate(database: DatabaseSync, path: string): void {
  const version = versionOf(database);
  if (version > MIGRATIONS.length) {
    throw new StreamError(
      "STORAGE_FAILED",
      `the catalog ${path} has schema version ${version}; this program knows ${MIGRATIONS.length}: use a newer one`,
    );
  }
  if (version === MIGRATIONS.length) return;
  const steps = MIGRATIONS.slice(version).join("");
  database.exec(`BEGIN; ${steps} PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`);
}

/** Whether the tables of a file are of an earlier version than this program's. */
export function isOutdated(database: DatabaseSync): boolean {
  return versionOf(database) < MIGRATIONS.length;
}

function versionOf(database: DatabaseSync): number {
  return Number(database.prepare("PRAGMA user_version").get()!.user_version);
}
