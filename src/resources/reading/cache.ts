/**
 * The resources that somebody has open, and what is kept of those that somebody had open just now.
 *
 * All who have a resource open share one {@link Resource}. Whoever reads here and there comes again at once:
 * opening a log costs more than a short read, and reading a row of the catalog a tenth to a fifth of one.
 * @module
 */
import type { Catalog, ResourceRecord } from "../../catalog.ts";
import { isFinal, type ResourceStatus, StreamError } from "../../protocol.ts";
import type { LogReader, Storage } from "../../storage.ts";
import { findRecord, notFound } from "../find.ts";
import type { Meter } from "../meter.ts";
import { statusOf } from "../status.ts";
import { type RecentBudget, Resource } from "./resource.ts";

const MAX_FOLLOWERS = 20_000;
/** Memory for the newest bytes of all resources, for followers at their tails. */
const RECENT_BYTES = 32 * 1024 * 1024;
/** Resources of which something is kept; each log has one or two files open. */
const MAX_IDLE = 64;
/** A log that nobody reads is closed after once to twice this time. */
const IDLE_MS = 5000;
/** A record is believed for so long: `stream check --repair` changes finished ones in a process of its own. */
const BELIEVED_MS = 1000;

/** A record with the newest status, which a running upload has not written to the catalog yet. */
export type ResourceView = ResourceRecord & {
  /** The newest status. */
  status: ResourceStatus;
};

/** A resource that somebody has open, until it is released. */
export class OpenResource implements AsyncDisposable {
  #release: (() => Promise<void>) | null;

  /** Use `Resources.open`. */
  constructor(
    /** The resource, which others may have open, too. */
    readonly resource: Resource,
    release: () => Promise<void>,
  ) {
    this.#release = release;
  }

  /** Gives it back; once is enough. */
  async release(): Promise<void> {
    const release = this.#release;
    this.#release = null;
    await release?.();
  }

  /** Gives it back. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

/** A resource that somebody has open. */
interface Held {
  readonly resource: Resource;
  readonly createdAtMs: number;
  holders: number;
}

/** What is kept of a resource that nobody has open. */
interface Idle {
  /** Its record, if it is finished. */
  record: ResourceRecord | null;
  believedUntilMs: number;
  /** Its log, if somebody read it, and when the resource was registered: an id may be used again. */
  reader: Promise<LogReader> | null;
  createdAtMs: number;
  openUntilMs: number;
}

/** What the cache works with. */
export interface CacheParts {
  /** Where records are. */
  catalog: Catalog;
  /** Where bytes are. */
  storage: Storage;
  /** Measures what is read. */
  meter: Meter;
  /** The clock, in ms; that of the process by default. */
  now?: () => number;
}

/** Resources that are open, and the newest of those that were. */
export class ResourceCache {
  readonly #parts: CacheParts;
  readonly #now: () => number;
  readonly #maxFollowers: number;
  readonly #held = new Map<string, Held>();
  /** The ones that were used first come first. */
  readonly #idle = new Map<string, Idle>();
  readonly #recentBudget: RecentBudget = { freeBytes: RECENT_BYTES };
  #deletions = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param parts Records, bytes and a clock.
   * @param maxFollowers Those who may have one resource open at the same time.
   */
  constructor(parts: CacheParts, maxFollowers = MAX_FOLLOWERS) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
    this.#maxFollowers = maxFollowers;
  }

  /**
   * The record of a resource with its newest status; that of a finished one as it was within the last second.
   * @throws {StreamError} NOT_FOUND.
   */
  async get(id: string): Promise<ResourceView> {
    return this.view(await this.#record(id));
  }

  /**
   * Opens a resource.
   * @param id Its id.
   * @param record What the catalog said just now; asked for by default.
   * @throws {StreamError} NOT_FOUND, LIMIT_REACHED.
   */
  async open(id: string, record?: ResourceRecord): Promise<OpenResource> {
    // Somebody else may have opened it while the catalog was asked.
    const held = this.#held.get(id) ??
      this.#hold(record ?? await findRecord(this.#parts.catalog, id));
    if (held.resource.deleted) throw notFound(id);
    if (held.holders >= this.#maxFollowers) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${this.#maxFollowers} have resource ${id} open: try again later`,
      );
    }
    return this.#handle(held);
  }

  /** Opens a resource for its upload, which no limit keeps out. */
  hold(record: ResourceRecord): OpenResource {
    return this.#handle(this.#hold(record));
  }

  /** The resource, if somebody has it open. */
  find(id: string): Resource | undefined {
    return this.#held.get(id)?.resource;
  }

  /** A record with the newest status. */
  view(record: ResourceRecord): ResourceView {
    return { ...record, status: this.find(record.id)?.status ?? statusOf(record) };
  }

  /** A resource was deleted: tells those who have it open, and keeps nothing of it. */
  async deleted(id: string): Promise<void> {
    this.#deletions++;
    this.find(id)?.markDeleted();
    await this.#drop(id);
  }

  /** Closes every resource, whoever has it open. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    const closing = Array.from(this.#held.values(), ({ resource }) => resource.close());
    this.#held.clear();
    await Promise.all([...closing, ...Array.from(this.#idle.keys(), (id) => this.#drop(id))]);
  }

  async #record(id: string): Promise<ResourceRecord> {
    const idle = this.#idle.get(id);
    if (idle?.record && this.#now() < idle.believedUntilMs) return idle.record;
    const deletions = this.#deletions;
    const record = await findRecord(this.#parts.catalog, id);
    // What was deleted meanwhile is not there any more.
    if (isFinal(record.transferStatus) && deletions === this.#deletions) {
      this.#keep(id, { record, believedUntilMs: this.#now() + BELIEVED_MS });
    }
    return record;
  }

  #handle(held: Held): OpenResource {
    held.holders++;
    return new OpenResource(held.resource, () => this.#release(held));
  }

  #hold(record: ResourceRecord): Held {
    const { id, metadata, createdAtMs } = record;
    let held = this.#held.get(id);
    if (held === undefined) {
      const { storage, meter } = this.#parts;
      const reader = this.#take(id, createdAtMs);
      const budget = this.#recentBudget;
      const resource = new Resource(id, metadata, statusOf(record), storage, budget, meter, reader);
      held = { resource, createdAtMs, holders: 0 };
      this.#held.set(id, held);
    }
    return held;
  }

  async #release(held: Held): Promise<void> {
    const { resource, createdAtMs } = held;
    if (--held.holders > 0 || this.#held.get(resource.id) !== held) return;
    this.#held.delete(resource.id);
    if (resource.deleted) return await resource.close();
    const reader = resource.leave();
    if (reader === null) return;
    this.#keep(resource.id, { reader, createdAtMs, openUntilMs: performance.now() + IDLE_MS });
    this.#timer ??= setTimeout(() => this.#closeOld(), IDLE_MS);
  }

  /** Keeps something of a resource, besides what is kept of it already. */
  #keep(id: string, known: Partial<Idle>): void {
    const idle = this.#idle.get(id) ??
      { record: null, believedUntilMs: 0, reader: null, createdAtMs: 0, openUntilMs: 0 };
    if (known.reader && idle.reader) void closeQuietly(idle.reader);
    this.#idle.delete(id);
    this.#idle.set(id, Object.assign(idle, known));
    if (this.#idle.size > MAX_IDLE) void this.#drop(this.#idle.keys().next().value!);
  }

  /** Gives a log away; null if it is not here. */
  #take(id: string, createdAtMs: number): Promise<LogReader> | null {
    const idle = this.#idle.get(id);
    if (idle === undefined || idle.createdAtMs !== createdAtMs) return null;
    const { reader } = idle;
    idle.reader = null;
    return reader;
  }

  async #drop(id: string): Promise<void> {
    const idle = this.#idle.get(id);
    this.#idle.delete(id);
    if (idle?.reader) await closeQuietly(idle.reader);
  }

  #closeOld(): void {
    const nowMs = performance.now();
    let left = false;
    for (const [id, { reader, openUntilMs }] of this.#idle) {
      if (openUntilMs <= nowMs) void this.#drop(id);
      else left ||= reader !== null;
    }
    this.#timer = left ? setTimeout(() => this.#closeOld(), IDLE_MS) : undefined;
  }
}

async function closeQuietly(reader: Promise<LogReader>): Promise<void> {
  try {
    await (await reader).close();
  } catch { /* What cannot be closed harms nobody. */ }
}
