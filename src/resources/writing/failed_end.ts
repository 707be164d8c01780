/**
 * The end of an upload that failed: readers are told what counts, and its record as soon as the catalog takes it.
 * @module
 */
import type { Catalog } from "../../catalog.ts";
import type { ResourceStatus } from "../../protocol.ts";
import type { OwnedLog } from "./owned_log.ts";
import { isRefusal, type OwnedRecord } from "./owned_record.ts";
import type { ToldRecord } from "./told_record.ts";

/** What is told, and where. */
export interface FailedEndParts {
  /** The log, which nobody appends to any more. */
  log: OwnedLog;
  /** Its record. */
  record: OwnedRecord;
  /** What that tells. */
  told: ToldRecord;
  /** Where it is. */
  catalog: Catalog;
}

/** An end, and what it must not take back. */
export interface Failed {
  /** Why, as everybody is told. */
  failure: string;
  /** Bytes that were acknowledged. */
  acknowledged: number;
  /** Whether nobody but this node can go on with what the record does not tell. */
  isAlone: boolean;
}

/** Tells of one upload that it failed. */
export class FailedEnd {
  readonly #parts: FailedEndParts;
  readonly #failed: Failed;
  #status: ResourceStatus | null = null;

  /**
   * @param parts What is told, and where.
   * @param failed How it ended.
   */
  constructor(parts: FailedEndParts, failed: Failed) {
    this.#parts = parts;
    this.#failed = failed;
  }

  /**
   * Tells the record, and those who read: before it is recorded where nobody else can go on with it.
   * @returns As {@link record}.
   */
  async tell(): Promise<boolean> {
    const { log, record } = this.#parts;
    const isRecorded = await this.record();
    const status = this.#status;
    if (this.#failed.isAlone && status !== null && record.loss === null) await log.announce(status);
    return isRecorded;
  }

  /**
   * Tells the record.
   * @returns False when the catalog took nothing: it has to be told again.
   */
  async record(): Promise<boolean> {
    try {
      await this.#tellRecord();
      return true;
    } catch (error) {
      // One that is somebody else's by now is not ours to judge.
      return !isRefusal(error);
    }
  }

  async #tellRecord(): Promise<void> {
    const { log, told, catalog } = this.#parts;
    const { failure, isAlone } = this.#failed;
    const status = await this.#counted();
    if (status === null) return;
    await told.tell(status, { failure, digest: null, digestState: null, owner: null });
    await catalog.sync?.();
    if (!isAlone) await log.announce(status);
  }

  /** What counts: what was told stays, but for acknowledged bytes that the disk refused to count at first. */
  async #counted(): Promise<ResourceStatus | null> {
    const { acknowledged, failure } = this.#failed;
    if (this.#status !== null && this.#status.currentSize >= acknowledged) return this.#status;
    const { log } = this.#parts;
    const salvaged = await log.salvage();
    if (salvaged === null) return null;
    const { totals, refusal } = salvaged;
    const status: ResourceStatus = { ...log.statusWith("FAILED", totals), failure };
    this.#status ??= status;
    // The record says nothing that is wrong: it waits until the disk counts them.
    if (totals.size < acknowledged && isRefusal(refusal)) throw refusal;
    return status;
  }
}
