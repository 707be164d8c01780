/**
 * Records of finished resources that were asked for just now: whoever reads here and there asks for the same one
 * with every request, and to read its row costs a tenth to a fifth of a short range.
 * @module
 */
import type { ResourceRecord } from "../../catalog.ts";
import { isFinal } from "../../protocol.ts";

const MAX_KEPT = 64;
/** Of finished records only `stream check --repair` changes any, in a process of its own. */
const KEPT_MS = 1000;

interface Kept {
  record: ResourceRecord;
  untilMs: number;
}

/** The ones that were read last. */
export class FinishedRecords {
  /** Those that were read first come first. */
  readonly #kept = new Map<string, Kept>();
  readonly #now: () => number;
  #deletions = 0;

  /** @param now The clock, in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * The record of a resource, as it was within the last second.
   * @param id Id of the resource.
   * @param read Reads the record where it is not known.
   */
  async get(id: string, read: () => Promise<ResourceRecord>): Promise<ResourceRecord> {
    const kept = this.#kept.get(id);
    if (kept !== undefined && this.#now() < kept.untilMs) return kept.record;
    const deletions = this.#deletions;
    const record = await read();
    // What was deleted meanwhile is not there any more.
    if (isFinal(record.transferStatus) && deletions === this.#deletions) this.#keep(record);
    return record;
  }

  /** A resource was deleted. */
  deleted(id: string): void {
    this.#deletions++;
    this.#kept.delete(id);
  }

  #keep(record: ResourceRecord): void {
    this.#kept.delete(record.id);
    this.#kept.set(record.id, { record, untilMs: this.#now() + KEPT_MS });
    if (this.#kept.size > MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value!);
  }
}
