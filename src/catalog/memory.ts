/**
 * A catalog in memory, for tests and for servers that need not outlive their process.
 * @module
 */
import { setImmediate } from "node:timers";
import { isFinal, lowerAscii, StreamError } from "../protocol.ts";
import type {
  Catalog,
  ContextAttributes,
  ContextQuery,
  EndedQuery,
  RecordChange,
  ResourceChange,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "../catalog.ts";
import { type Key, newestFirst } from "./matching.ts";
import { Watchers } from "./watchers.ts";

/** Hands something to those who watch, in order: at once, or later. */
type Deliver = (tell: () => void) => void;

/**
 * Records that several instances of {@link MemoryCatalog} share, as nodes share an engine.
 *
 * @example
 * ```ts
 * import { MemoryCatalog, MemoryRecords } from "@stream/live/server";
 *
 * const records = new MemoryRecords();
 * const [one, other] = [new MemoryCatalog(records), new MemoryCatalog(records)];
 * await one.createContext("run-17");
 * console.log((await other.getContext("run-17"))?.id); // run-17
 * ```
 */
export class MemoryRecords {
  /** Records of resources by id. */
  readonly records: Map<string, ResourceRecord> = new Map();
  /** Upload contexts by id. */
  readonly contexts: Map<string, UploadContext> = new Map();
  readonly #watchers = new Watchers();
  readonly #deliver: Deliver;

  /**
   * Starts without any.
   * @param deliver Hands changes to those who watch, in order; in a later turn of the event loop by default.
   */
  constructor(deliver: Deliver = (tell) => void setImmediate(tell)) {
    this.#deliver = deliver;
  }

  /** Adds somebody who watches. */
  watch(listener: (change: RecordChange) => void): () => void {
    return this.#watchers.add(listener);
  }

  /**
   * A record changed.
   * @returns When everybody who watches was told.
   */
  changed(was: ResourceRecord | null, is: ResourceRecord | null): Promise<void> {
    return new Promise((resolve) =>
      this.#deliver(() => {
        this.#watchers.tell({ was, is });
        resolve();
      })
    );
  }
}

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
  readonly #shared: MemoryRecords;
  readonly #records: Map<string, ResourceRecord>;
  readonly #contexts: Map<string, UploadContext>;
  readonly #isAlone: boolean;

  /**
   * Makes an empty catalog, or one that shows what is shared.
   * @param shared Records that other instances have, too; by default it has its own.
   */
  constructor(shared?: MemoryRecords) {
    this.#isAlone = shared === undefined;
    this.#shared = shared ?? new MemoryRecords((tell) => tell());
    this.#records = this.#shared.records;
    this.#contexts = this.#shared.contexts;
  }

  /** Adds a record. */
  create(record: ResourceRecord): Promise<void> {
    if (this.#records.has(record.id)) {
      return Promise.reject(
        new StreamError("CONFLICT", `the resource ${record.id} exists already`),
      );
    }
    const created = structuredClone(record);
    this.#records.set(record.id, created);
    return this.#shared.changed(null, created);
  }

  /** The record, or null. */
  get(id: string): Promise<ResourceRecord | null> {
    const record = this.#records.get(id);
    return Promise.resolve(record === undefined ? null : structuredClone(record));
  }

  /** Changes a record if nobody did since it was read. */
  async update(id: string, revision: number, change: ResourceChange): Promise<ResourceRecord> {
    const record = this.#records.get(id);
    if (record === undefined) throw new StreamError("NOT_FOUND", `there is no resource ${id}`);
    if (record.revision !== revision) {
      throw new StreamError(
        "CONFLICT",
        `resource ${id} is at revision ${record.revision}, not ${revision}`,
      );
    }
    const changed = { ...record, ...structuredClone(change), revision: revision + 1 };
    this.#records.set(id, changed);
    const copy = structuredClone(changed);
    await this.#shared.changed(record, changed);
    return copy;
  }

  /** Records in the order asked for. */
  list(query: ResourceQuery): Promise<ResourceRecord[]> {
    const { contextId, transferStatuses, filenamePart, idPrefix = "", after, limit } = query;
    const { order = "newest" } = query;
    const part = filenamePart === undefined ? "" : lowerAscii(filenamePart);
    const compare = order === "newest" ? newestFirst : (a: Key, b: Key) => newestFirst(b, a);
    const records = [...this.#records.values()]
      .filter((record) => contextId === undefined || record.contextId === contextId)
      .filter((record) => transferStatuses?.includes(record.transferStatus) ?? true)
      .filter(({ id }) => id.startsWith(idPrefix))
      .filter(({ metadata }) => part === "" || lowerAscii(metadata.filename).includes(part))
      .filter((record) => after === undefined || compare(after, record) < 0)
      .sort(compare);
    return Promise.resolve(records.slice(0, limit).map((record) => structuredClone(record)));
  }

  /** Finished resources that ended before a time. */
  listEnded({ beforeMs, after, limit }: EndedQuery): Promise<ResourceRecord[]> {
    const ended = [...this.#records.values()]
      .filter(({ transferStatus }) => isFinal(transferStatus))
      .filter(({ updatedAtMs }) => updatedAtMs < beforeMs)
      .filter((record) => after === undefined || earliestEnd(after, record) < 0)
      .sort(earliestEnd);
    return Promise.resolve(ended.slice(0, limit).map((record) => structuredClone(record)));
  }

  /** Removes a record. */
  async delete(id: string, createdAtMs?: number): Promise<boolean> {
    const record = this.#records.get(id);
    if (record === undefined || record.createdAtMs !== (createdAtMs ?? record.createdAtMs)) {
      return false;
    }
    this.#records.delete(id);
    await this.#shared.changed(record, null);
    return true;
  }

  /** Hears of every change of a record, through whichever instance. */
  watch(listener: (change: RecordChange) => void): () => void {
    return this.#shared.watch(listener);
  }

  /** Makes an upload context unless it exists. */
  createContext(id: string, attributes: ContextAttributes = {}): Promise<UploadContext> {
    const context = this.#contexts.get(id) ??
      { id, createdAtMs: Date.now(), closedAtMs: null, attributes: { ...attributes } };
    this.#contexts.set(id, context);
    return Promise.resolve(structuredClone(context));
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
    return Promise.resolve(contexts.slice(0, limit).map((context) => structuredClone(context)));
  }

  /** Bytes of all resources, by upload context. */
  usage(): Promise<{ contextId: string | null; bytes: number }[]> {
    const bytes = new Map<string | null, number>();
    for (const { contextId, size } of this.#records.values()) {
      bytes.set(contextId, (bytes.get(contextId) ?? 0) + size);
    }
    return Promise.resolve(Array.from(bytes, ([contextId, bytes]) => ({ contextId, bytes })));
  }

  /** Forgets everything that no other instance has. */
  close(): Promise<void> {
    if (this.#isAlone) {
      this.#records.clear();
      this.#contexts.clear();
    }
    return Promise.resolve();
  }
}

type End = Pick<ResourceRecord, "updatedAtMs" | "id">;

function earliestEnd(a: End, b: End): number {
  return a.updatedAtMs - b.updatedAtMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
