/**
 * A catalog in memory, for tests and for servers that need not outlive their process.
 * @module
 */
import { StreamError } from "../protocol.ts";
import type {
  Catalog,
  ContextQuery,
  ResourceChange,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "../catalog.ts";

/**
 * Catalog in memory; nothing survives the process.
 *
 * @example
 * ```ts
 * import { MemoryCatalog } from "@stream/live";
 *
 * const catalog = new MemoryCatalog();
 * console.log(await catalog.get(crypto.randomUUID())); // null
 * ```
 */
export class MemoryCatalog implements Catalog {
  readonly #records = new Map<string, ResourceRecord>();
  readonly #contexts = new Map<string, UploadContext>();

  /** Adds a record. */
  create(record: ResourceRecord): Promise<void> {
    if (this.#records.has(record.id)) {
      return Promise.reject(
        new StreamError("CONFLICT", `the resource ${record.id} exists already`),
      );
    }
    this.#records.set(record.id, structuredClone(record));
    return Promise.resolve();
  }

  /** The record, or null. */
  get(id: string): Promise<ResourceRecord | null> {
    const record = this.#records.get(id);
    return Promise.resolve(record === undefined ? null : structuredClone(record));
  }

  /** Changes a record if nobody did since it was read. */
  update(id: string, revision: number, change: ResourceChange): Promise<ResourceRecord> {
    const record = this.#records.get(id);
    if (record === undefined) {
      return Promise.reject(new StreamError("NOT_FOUND", `there is no resource ${id}`));
    }
    if (record.revision !== revision) {
      return Promise.reject(
        new StreamError(
          "CONFLICT",
          `resource ${id} is at revision ${record.revision}, not ${revision}`,
        ),
      );
    }
    const changed = { ...record, ...structuredClone(change), revision: revision + 1 };
    this.#records.set(id, changed);
    return Promise.resolve(structuredClone(changed));
  }

  /** Records in the order asked for. */
  list(query: ResourceQuery): Promise<ResourceRecord[]> {
    const { contextId, transferStatuses, after, order = "newest", limit } = query;
    const compare = order === "newest" ? newestFirst : (a: Key, b: Key) => newestFirst(b, a);
    const records = [...this.#records.values()]
      .filter((record) => contextId === undefined || record.contextId === contextId)
      .filter((record) => transferStatuses?.includes(record.transferStatus) ?? true)
      .filter((record) => after === undefined || compare(after, record) < 0)
      .sort(compare);
    return Promise.resolve(records.slice(0, limit).map((record) => structuredClone(record)));
  }

  /** Removes a record. */
  delete(id: string): Promise<boolean> {
    return Promise.resolve(this.#records.delete(id));
  }

  /** Makes an upload context unless it exists. */
  createContext(id: string): Promise<UploadContext> {
    const context = this.#contexts.get(id) ?? { id, createdAtMs: Date.now(), closedAtMs: null };
    this.#contexts.set(id, context);
    return Promise.resolve({ ...context });
  }

  /** The upload context, or null. */
  getContext(id: string): Promise<UploadContext | null> {
    return Promise.resolve(structuredClone(this.#contexts.get(id) ?? null));
  }

  /** Closes an upload context unless it is closed. */
  closeContext(id: string): Promise<UploadContext | null> {
    const context = this.#contexts.get(id);
    if (context !== undefined) context.closedAtMs ??= Date.now();
    return this.getContext(id);
  }

  /** Upload contexts, newest first. */
  listContexts({ after, limit }: ContextQuery): Promise<UploadContext[]> {
    const contexts = [...this.#contexts.values()]
      .filter((context) => after === undefined || newestFirst(after, context) < 0)
      .sort(newestFirst);
    return Promise.resolve(contexts.slice(0, limit).map((context) => ({ ...context })));
  }

  /** Bytes of all resources, by upload context. */
  usage(): Promise<{ contextId: string | null; bytes: number }[]> {
    const bytes = new Map<string | null, number>();
    for (const { contextId, size } of this.#records.values()) {
      bytes.set(contextId, (bytes.get(contextId) ?? 0) + size);
    }
    return Promise.resolve(Array.from(bytes, ([contextId, bytes]) => ({ contextId, bytes })));
  }

  /** Memory is as durable as it gets. */
  sync(): Promise<void> {
    return Promise.resolve();
  }

  /** Forgets everything. */
  close(): Promise<void> {
    this.#records.clear();
    this.#contexts.clear();
    return Promise.resolve();
  }
}

type Key = { createdAtMs: number; id: string };

function newestFirst(a: Key, b: Key): number {
  return b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}
