/**
 * Records by id.
 * @module
 */
import type { Catalog, ResourceRecord } from "../catalog.ts";
import { isResourceId, StreamError } from "../protocol.ts";

/**
 * The record of a resource.
 * @throws {StreamError} NOT_FOUND.
 */
export async function findRecord(catalog: Catalog, id: string): Promise<ResourceRecord> {
  const record = isResourceId(id) ? await catalog.get(id) : null;
  if (record === null) throw notFound(id);
  return record;
}

/** There is no such resource. */
export function notFound(id: string): StreamError {
  const shown = id.length > 80 ? `${id.slice(0, 80)}…` : id;
  return new StreamError("NOT_FOUND", `there is no resource ${JSON.stringify(shown)}`);
}
