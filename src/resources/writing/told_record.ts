/**
 * What the record of a running upload tells of it: its status, what its uploader announced, and what belongs to its bytes.
 * @module
 */
import type { Announcement, Catalog, Intent, ResourceChange } from "../../catalog.ts";
import type { ResourceStatus } from "../../protocol.ts";
import type { SteadyClock } from "../steady_clock.ts";
import type { Durability } from "./owned_log.ts";
import type { OwnedRecord } from "./owned_record.ts";

/** Parts and settings of {@link ToldRecord}. */
export interface ToldRecordParts {
  /** Where it is kept. */
  catalog: Catalog;
  /** The time by which resources age. */
  clock: SteadyClock;
  /** What is promised of what it tells. */
  durability: Durability;
}

/** The record of an upload, and what it tells from its next update on. */
export class ToldRecord {
  readonly #record: OwnedRecord;
  readonly #parts: ToldRecordParts;
  /** Announcement of the whole by the uploader. */
  announced: Announcement;
  /** Text of a face that belongs to the bytes that were appended. */
  annotation: string | undefined;
  /** The append that is being made, for whoever takes the upload over. */
  intent: Intent | null = null;

  /**
   * @param record The record in its owner's hands.
   * @param parts Parts and settings.
   */
  constructor(record: OwnedRecord, parts: ToldRecordParts) {
    this.#record = record;
    this.#parts = parts;
    this.announced = record.value.announced;
    this.annotation = record.value.annotation;
  }

  /**
   * Tells of a status.
   * @param status The status.
   * @param change What changes besides.
   * @throws {StreamError} As `OwnedRecord.update`.
   */
  tell(status: ResourceStatus, change: ResourceChange): Promise<void> {
    const { announced, annotation, intent } = this;
    return this.#record.update({
      transferStatus: status.transferStatus,
      size: status.currentSize,
      durableSize: status.durableSize,
      lines: status.numberOfLines,
      epoch: status.epoch,
      sequence: status.sequence,
      announced,
      ...(annotation === undefined && intent === null ? {} : { annotation, intent }),
      updatedAtMs: this.#parts.clock.nowMs,
      ...change,
    });
  }

  /** Makes what was told as safe as the durability promises. */
  async secure(): Promise<void> {
    if (this.#parts.durability === "disk") await this.#parts.catalog.sync?.();
  }
}
