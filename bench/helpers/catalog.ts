/** Catalogs with many records of finished uploads; the data of none is there. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** Records of one upload context. */
export const RECORDS_PER_CONTEXT = 1000;

/** Expressions of columns that differ from record to record; `n` counts them. */
const DIFFERENT: Record<string, string> = {
  id: "lower(printf('%s-%s-4%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)), " +
    "substr(hex(randomblob(2)), 2), substr(hex(randomblob(2)), 2), hex(randomblob(6))))",
  filename: "n || '.log'",
  context_id: `'run-' || (n / ${RECORDS_PER_CONTEXT})`,
  created_at: "created_at + n",
  updated_at: "updated_at + n",
};

/**
 * Fills a catalog: one record as the program writes it, the others as copies of it, in one transaction.
 * @param root The checkout of the program: a catalog of another version would be migrated, or refused.
 * @param directory The server's directory.
 * @param resources How many records.
 */
export async function fillCatalog(
  root: string,
  directory: string,
  resources: number,
): Promise<void> {
  const { SqliteCatalog }: typeof import("../../mod.ts") = await import(join(root, "mod.ts"));
  await mkdir(directory, { recursive: true });
  const path = join(directory, "catalog.sqlite");
  const catalog = new SqliteCatalog(path);
  const record = someRecord();
  await catalog.create(record);
  await catalog.close();
  const database = new DatabaseSync(path);
  const columns = database.prepare("PRAGMA table_info(resources)").all();
  const values = columns.map(({ name }) => DIFFERENT[String(name)] ?? String(name)).join(", ");
  database.exec(
    `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers ` +
      `WHERE n < ${
        resources - 1
      }) INSERT INTO resources SELECT ${values} FROM numbers, resources ` +
      `WHERE id = '${record.id}'`,
  );
  database.close();
}

function someRecord() {
  const createdAtMs = Date.UTC(2026, 0);
  return {
    id: crypto.randomUUID(),
    metadata: { filename: "0.log", mimeType: "text/plain", supportsLineAccess: true },
    contextId: "run-0",
    ...{ createdAtMs, updatedAtMs: createdAtMs },
    transferStatus: "COMPLETED" as const,
    ...{
      size: 1_000_000,
      durableSize: 1_000_000,
      lines: 10_000,
      epoch: 1,
      sequence: 9,
      failure: null,
    },
    digest: { algorithm: "xxh128" as const, value: "0".repeat(32) },
    ...{ digestState: null, secretHash: null, ownedBy: "CONNECTION" as const, revision: 1 },
    announced: { size: null, checksum: null },
    owner: null,
  };
}
