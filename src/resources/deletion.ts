/**
 * Deleting a resource: its record first, so that nobody finds it, then its bytes.
 * @module
 */
import type { Catalog, ResourceRecord } from "../catalog.ts";
import { checkLife, isFinal, StreamError, toStreamError } from "../protocol.ts";
import type { Storage } from "../storage.ts";
import { notFound } from "./find.ts";
import type { ResourceCache } from "./reading/cache.ts";
import type { DeleteOptions } from "./server_resources.ts";
import { lifeOf } from "./status.ts";
import type { Handover } from "./writing/handover.ts";

/** Deletions of which nobody knows whether they were made, and as many logs that the disk kept. */
const MOST_DOUBTED = 10_000;

/** Parts of deletion. */
export interface DeletionParts {
  /** Where records are. */
  catalog: Catalog;
  /** Where bytes are. */
  storage: Storage;
  /** The resources that somebody has open. */
  cache: ResourceCache;
  /** Ends uploads. */
  handover: Handover;
}

/** Deletes resources. */
export class Deletion {
  readonly #parts: DeletionParts;
  /** Records that could not be deleted, or nobody knows whether they were, by the names of their lives. */
  readonly #doubted = new Set<string>();
  readonly #underWay = new Steps();
  /** Records whose logs the disk kept, by their ids. */
  readonly #kept = new Map<string, ResourceRecord>();

  /** @param parts What it works with. */
  constructor(parts: DeletionParts) {
    this.#parts = parts;
  }

  /**
   * Deletes a resource.
   * @param id Its id.
   * @param options Whether a running upload is ended, and which life of the id is meant.
   * @throws {StreamError} NOT_FOUND, WRONG_STATE, NOT_READY.
   */
  async delete(id: string, { force = false, life }: DeleteOptions): Promise<void> {
    const { cache, handover } = this.#parts;
    // What is believed of the one before is no reason not to delete this one.
    cache.forget(id);
    const record = await cache.get(id);
    checkLife(record.status, life);
    if (!isFinal(record.status.transferStatus)) {
      if (!force) {
        throw new StreamError(
          "WRONG_STATE",
          `resource ${id} is still being uploaded: wait for its end, or force it (stream rm --force)`,
        );
      }
      const cause = "the upload was ended by whoever runs the server, and is deleted";
      await handover.end(id, record.status.life, new StreamError("DELETED", cause));
    }
    await this.#underWay.during(id, async () => {
      // Two may delete it at the same time: it is counted and told once, by those who watch the catalog.
      const existed = await this.#deleteRecord(record);
      await cache.deleted(id, record.createdAtMs);
      if (!existed) throw notFound(id);
      await this.#deleteLog(record);
    });
  }

  /** Whether the log of an id is about to be deleted here, though its record is gone. */
  isUnderWay(id: string): boolean {
    return this.#underWay.has(id);
  }

  /** Deletes what the disk kept when its record was deleted: until then nobody counts it. */
  async deleteKept(): Promise<void> {
    const { catalog, handover } = this.#parts;
    for (const record of [...this.#kept.values()]) {
      // In its turn: who uses the id meanwhile has a log of its own there.
      await handover.take(record.id, async () => {
        this.#kept.delete(record.id);
        if (await catalog.get(record.id) === null) await this.#deleteLog(record);
      }).catch(() => {});
    }
  }

  /** Finishes what a process left that was killed in between: their records are gone, their bytes are not. */
  async finish(): Promise<void> {
    const { catalog, storage } = this.#parts;
    for (const id of await storage.doomed?.() ?? []) {
      if (await catalog.get(id) !== null) await storage.spare?.(id);
      // What the disk does not let go of now is tried again at the next start.
      else await storage.delete(id).catch(() => {});
    }
  }

  /** A record is gone, whoever deleted it. */
  deleted(record: ResourceRecord): void {
    if (!this.#doubted.delete(nameOf(record))) return;
    void this.#underWay.during(record.id, () => this.#deleteLog(record)).catch(() => {});
  }

  async #deleteRecord(record: ResourceRecord): Promise<boolean> {
    const { catalog, storage } = this.#parts;
    await storage.doom?.(record.id);
    try {
      return await catalog.delete(record.id, record.createdAtMs);
    } catch (error) {
      await storage.spare?.(record.id);
      // It may be deleted all the same: then its log is, too, when that shows.
      if (this.#doubted.size >= MOST_DOUBTED) {
        this.#doubted.delete(this.#doubted.values().next().value!);
      }
      this.#doubted.add(nameOf(record));
      throw error;
    }
  }

  async #deleteLog(record: ResourceRecord): Promise<void> {
    try {
      await this.#parts.storage.delete(record.id, lifeOf(record));
    } catch (error) {
      // Nobody finds it any more, and its bytes go when they can.
      if (toStreamError(error).code === "NOT_READY") return;
      if (this.#kept.size < MOST_DOUBTED) this.#kept.set(record.id, record);
      throw error;
    }
  }
}

/** Name of one life of a resource. */
function nameOf(record: ResourceRecord): string {
  return `${record.id} ${lifeOf(record)}`;
}

/** Steps of ids, several of one at a time. */
class Steps {
  readonly #running = new Map<string, number>();

  has(id: string): boolean {
    return this.#running.has(id);
  }

  async during(id: string, step: () => Promise<void>): Promise<void> {
    this.#running.set(id, (this.#running.get(id) ?? 0) + 1);
    try {
      await step();
    } finally {
      const others = this.#running.get(id)! - 1;
      if (others > 0) this.#running.set(id, others);
      else this.#running.delete(id);
    }
  }
}
