/**
 * SQL of lists: each page is read off an index, in its order, and ends with its last row.
 * @module
 */
import type { SQLInputValue } from "node:sqlite";
import type { ResourceQuery } from "../../catalog.ts";
import { TRANSFER_STATUSES } from "../../protocol.ts";

/** A statement with its values. */
export interface Question {
  /** The statement; there are few different ones. */
  sql: string;
  /** Its values, by name. */
  values: Record<string, SQLInputValue>;
}

/** A page of records, whatever their names and ids. */
type PageQuery = Pick<
  ResourceQuery,
  "contextId" | "transferStatuses" | "order" | "after" | "limit"
>;

/**
 * Asks for a page.
 * @param columns Columns that are wanted; `id` and `created_at` are among them.
 * @param query Which records.
 */
export function pageQuestion(columns: string, query: PageQuery): Question {
  const { contextId, transferStatuses, order = "newest", after, limit } = query;
  const [direction, beyond] = order === "newest" ? ["DESC", "<"] : ["ASC", ">"];
  const values: Question["values"] = { limit };
  const shared: string[] = [];
  if (contextId !== undefined) {
    shared.push("context_id = :context");
    values.context = contextId;
  }
  if (after !== undefined) {
    shared.push(`(created_at, id) ${beyond} (:createdAt, :id)`);
    values.createdAt = after.createdAtMs;
    values.id = after.id;
  }
  const statuses = someStatuses(transferStatuses);
  const index = indexFor(contextId !== undefined, statuses !== null);
  // One look for each status, merged as they are read: no index has several statuses in the order of time.
  const looks = (statuses ?? [null]).map((status, at) => {
    const conditions = status === null ? shared : [`transfer_status = :status${at}`, ...shared];
    if (status !== null) values[`status${at}`] = status;
    const where = conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
    return `SELECT ${columns} FROM resources INDEXED BY ${index}${where}`;
  });
  const sql = `${looks.join(" UNION ALL ")} ` +
    `ORDER BY created_at ${direction}, id ${direction} LIMIT :limit`;
  return { sql, values };
}

/** The statuses of a query, each once; null for all there are. */
function someStatuses(given: PageQuery["transferStatuses"]): readonly string[] | null {
  if (given === undefined) return null;
  const statuses = TRANSFER_STATUSES.filter((status) => given.includes(status));
  return statuses.length === TRANSFER_STATUSES.length ? null : statuses;
}

function indexFor(hasContext: boolean, hasStatus: boolean): string {
  if (hasContext) return hasStatus ? "resources_context_status" : "resources_context";
  return hasStatus ? "resources_status" : "resources_newest";
}
