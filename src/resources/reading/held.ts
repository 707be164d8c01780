/**
 * The resources that somebody has open: all who do share one `Resource`, with its newest status.
 * @module
 */
import type { Catalog, ResourceRecord } from "../../catalog.ts";
import { StreamError } from "../../protocol.ts";
import type { Storage } from "../../storage.ts";
import { IdleReaders } from "./idle.ts";
import type { Meter } from "../meter.ts";
import { findRecord, notFound, type ResourceView, statusOf } from "../record.ts";
import { type RecentBudget, Resource } from "./resource.ts";

const MAX_FOLLOWERS = 20_000;
/** Memory for the newest bytes of all resources, for followers at their tails. */
const RECENT_BYTES = 32 * 1024 * 1024;

interface Held {
  resource: Resource;
  createdAtMs: number;
  holders: number;
}

/** What held resources need. */
export interface HeldParts {
  /** Where records are. */
  catalog: Catalog;
  /** Where bytes are. */
  storage: Storage;
  /** Who measures. */
  meter: Meter;
}

/** Counts who has which resource open; the log of one that all have released stays open for a while. */
export class HeldResources {
  readonly #parts: HeldParts;
  readonly #maxFollowers: number;
  readonly #held = new Map<string, Held>();
  readonly #idle = new IdleReaders();
  readonly #recentBudget: RecentBudget = { freeBytes: RECENT_BYTES };

  /**
   * @param parts What they need.
   * @param maxFollowers Those who may have one resource open at the same time.
   */
  constructor(parts: HeldParts, maxFollowers = MAX_FOLLOWERS) {
    this.#parts = parts;
    this.#maxFollowers = maxFollowers;
  }

  /**
   * Opens a resource; whoever does so calls `release` with it once.
   * @param id Its id.
   * @param record What the catalog said just now; asked for by default.
   * @throws {StreamError} NOT_FOUND, LIMIT_REACHED.
   */
  async open(id: string, record?: ResourceRecord): Promise<Resource> {
    // Somebody else may have opened it while the catalog was asked.
    const held = this.#held.get(id) ??
      this.#entry(record ?? await findRecord(this.#parts.catalog, id));
    if (held.resource.deleted) throw notFound(id);
    if (held.holders >= this.#maxFollowers) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${this.#maxFollowers} have resource ${id} open: try again later`,
      );
    }
    held.holders++;
    return held.resource;
  }

  /** Opens a resource for its upload, which no limit keeps out; released like any other. */
  hold(record: ResourceRecord): Resource {
    const held = this.#entry(record);
    held.holders++;
    return held.resource;
  }

  /** The resource, if somebody has it open. */
  find(id: string): Resource | undefined {
    return this.#held.get(id)?.resource;
  }

  /** A record with the newest status. */
  view(record: ResourceRecord): ResourceView {
    return { ...record, status: this.find(record.id)?.status ?? statusOf(record) };
  }

  /** Ends what `open` or `hold` began. */
  async release(resource: Resource): Promise<void> {
    const held = this.#held.get(resource.id);
    if (held?.resource !== resource || --held.holders > 0) return;
    this.#held.delete(resource.id);
    if (resource.deleted) return await resource.close();
    const reader = resource.leave();
    if (reader !== null) this.#idle.keep(resource.id, held.createdAtMs, reader);
  }

  /** A resource was deleted: tells those who have it open, and keeps nothing of it. */
  async deleted(id: string): Promise<void> {
    this.find(id)?.markDeleted();
    await this.#idle.close(id);
  }

  /** Closes every resource, whoever has it open. */
  async close(): Promise<void> {
    const closing = Array.from(this.#held.values(), ({ resource }) => resource.close());
    this.#held.clear();
    await Promise.all([...closing, this.#idle.closeAll()]);
  }

  #entry(record: ResourceRecord): Held {
    const { id, metadata, createdAtMs } = record;
    let held = this.#held.get(id);
    if (held === undefined) {
      const { storage, meter } = this.#parts;
      const status = statusOf(record);
      const reader = this.#idle.take(id, createdAtMs);
      const budget = this.#recentBudget;
      const resource = new Resource(id, metadata, status, storage, budget, meter, reader);
      held = { resource, createdAtMs, holders: 0 };
      this.#held.set(id, held);
    }
    return held;
  }
}
