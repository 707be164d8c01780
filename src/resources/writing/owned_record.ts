/**
 * The record of an upload in the hands of its owner.
 * @module
 */
import type { Catalog, ResourceChange, ResourceRecord } from "../../catalog.ts";
import { StreamError, toStreamError } from "../../protocol.ts";
import type { Lease } from "./lease.ts";

/** How long an upload that has everything else waits for a catalog that somebody holds, in ms. */
const PATIENCE_MS = 120_000;
const AGAIN_MS = 100;

/** Changes a record, one update after the other, for as long as nobody else owns it. */
export class OwnedRecord {
  readonly #catalog: Catalog;
  readonly #lease: Lease;
  #record: ResourceRecord;
  #renewedAtMs: number;
  /** The last update. */
  #updating: Promise<unknown> = Promise.resolve();

  /**
   * @param catalog Where it is kept.
   * @param lease For how long it is this node's.
   * @param record The record as it stands.
   */
  constructor(catalog: Catalog, lease: Lease, record: ResourceRecord) {
    this.#catalog = catalog;
    this.#lease = lease;
    this.#record = record;
    this.#renewedAtMs = lease.nowMs;
  }

  /** The record as it stands. */
  get value(): Readonly<ResourceRecord> {
    return this.#record;
  }

  /** Whether it is time to renew the lease. */
  get isDue(): boolean {
    return this.#lease.isDue(this.#renewedAtMs);
  }

  /**
   * Changes the record, and renews the lease with it.
   * @param change What changes.
   * @throws {StreamError} FENCED when it is another owner's by now; CONFLICT when somebody else changed it;
   * STORAGE_FAILED; NOT_READY when the catalog could not be reached for minutes.
   */
  async update(change: ResourceChange): Promise<void> {
    const before = this.#updating;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#updating = promise;
    await before;
    try {
      this.#record = await this.#insist(change);
    } catch (error) {
      throw await this.#isLost(toStreamError(error)) ? fenced() : error;
    } finally {
      resolve();
    }
  }

  /** What the uploader is told when another owner has it. */
  async loss(): Promise<StreamError> {
    const { id } = this.#record;
    // Where nobody can say whose it is, whoever comes back hears of it.
    const record = await this.#catalog.get(id).catch(() => "UNKNOWN" as const);
    return record === "UNKNOWN" ? taken() : lossOf(record);
  }

  /** Comes back as often as the catalog says so, for a bounded time. */
  async #insist(change: ResourceChange): Promise<ResourceRecord> {
    const { id, revision } = this.#record;
    const untilMs = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        const owner = this.#lease.owner();
        const renewedAtMs = this.#lease.nowMs;
        const record = await this.#catalog.update(id, revision, { owner, ...change });
        this.#renewedAtMs = renewedAtMs;
        return record;
      } catch (error) {
        const { code } = toStreamError(error);
        if (code !== "NOT_READY" || performance.now() >= untilMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }

  /** Whether a refusal means that another owner has it. */
  async #isLost({ code }: StreamError): Promise<boolean> {
    if (code !== "CONFLICT") return false;
    const record = await this.#catalog.get(this.#record.id).catch(() => null);
    return record !== null && record.epoch > this.#record.epoch;
  }
}

/**
 * What an uploader is told when its upload has another owner: that it is over for this one or, where that only waits
 * for the uploader, as this node seemed to be gone, to come back.
 * @param record The record as it is now.
 */
export function lossOf(record: ResourceRecord | null): StreamError {
  return record?.owner?.waits ? taken() : fenced();
}

/** Another owner goes on with the upload. */
export function fenced(): StreamError {
  return new StreamError("FENCED", "the upload was resumed elsewhere");
}

function taken(): StreamError {
  return new StreamError("NOT_READY", "another node has the upload now, and waits: resume it");
}
