/**
 * The record of an upload in the hands of its owner.
 * @module
 */
import type { Catalog, ResourceChange, ResourceRecord } from "../../catalog.ts";
import { type ErrorCode, StreamError, toStreamError } from "../../protocol.ts";
import type { Lease } from "./lease.ts";

/** How long an upload that has everything else waits for a catalog that does not answer, in ms. */
const PATIENCE_MS = 120_000;
const AGAIN_MS = 100;

/** Somebody holds the catalog, what nodes share does not answer, or its disk is full: the record is as it was, and may be changed later. */
const REFUSED: readonly ErrorCode[] = ["NOT_READY", "STORAGE_FAILED"];

/** Changes a record, one update after the other, for as long as nobody else owns it. */
export class OwnedRecord {
  readonly #catalog: Catalog;
  readonly #lease: Lease;
  #record: ResourceRecord;
  #renewedAtMs: number;
  /** The last update. */
  #updating: Promise<unknown> = Promise.resolve();
  #loss: StreamError | null = null;

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

  /**
   * What the uploader is told once another owner has the upload: what is in the log, and what becomes of it, is that
   * one's to say. Null while it is this one's.
   */
  get loss(): StreamError | null {
    return this.#loss;
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
    } catch (thrown) {
      const error = await isTaken(this.#catalog, this.#record, thrown) ? fenced() : thrown;
      await this.notice(toStreamError(error));
      throw error;
    } finally {
      resolve();
    }
  }

  /**
   * Another owner has it.
   * @param record The record as it is now; null for none.
   */
  lose(record: ResourceRecord | null): void {
    this.#loss ??= lossOf(record);
  }

  /** Notices that the log or the record was refused because it is another owner's, which is no failure. */
  async notice({ code }: StreamError): Promise<void> {
    if (code !== "FENCED" || this.#loss !== null) return;
    // Where nobody can say whose it is, whoever comes back hears of it.
    const record = await this.#catalog.get(this.#record.id).catch(() => "UNKNOWN" as const);
    if (record === "UNKNOWN") this.#loss ??= taken();
    else this.lose(record);
  }

  #insist(change: ResourceChange): Promise<ResourceRecord> {
    const { id, revision } = this.#record;
    return insist(async () => {
      const owner = this.#lease.owner();
      const renewedAtMs = this.#lease.nowMs;
      const record = await this.#catalog.update(id, revision, { owner, ...change });
      this.#renewedAtMs = renewedAtMs;
      return record;
    });
  }
}

/** Whether a change was refused because another owner has the upload by now. */
export async function isTaken(
  catalog: Catalog,
  { id, epoch }: Pick<ResourceRecord, "id" | "epoch">,
  refusal: unknown,
): Promise<boolean> {
  if (toStreamError(refusal).code !== "CONFLICT") return false;
  const record = await catalog.get(id).catch(() => null);
  return record !== null && record.epoch > epoch;
}

/** Whether a catalog refused a change for now, and may take it later. */
export function isRefusal(error: unknown): boolean {
  return REFUSED.includes(toStreamError(error).code);
}

/** What a peer is told of a change that the catalog refuses for now, which is no end of anything: to come again. */
export function forNow(error: unknown): unknown {
  if (!isRefusal(error)) return error;
  const { message } = toStreamError(error);
  return new StreamError("NOT_READY", `try again later: ${message}`, { cause: error });
}

/** Comes back as often as the catalog says so, for a bounded time. */
export async function insist<T>(step: () => T | Promise<T>): Promise<T> {
  const untilMs = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await step();
    } catch (error) {
      const { code } = toStreamError(error);
      if (code !== "NOT_READY" || performance.now() >= untilMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

/** What becomes of an upload that another one has: that it is over for this uploader or, where the other owner only waits for one, as this node seemed to be gone, to come back. */
export function lossOf(record: ResourceRecord | null): StreamError {
  if (record === null || record.owner?.deletes) {
    return new StreamError("DELETED", "the upload was ended elsewhere, and is deleted");
  }
  return record.owner?.waits ? taken() : fenced();
}

/** Another owner goes on with the upload. */
export function fenced(): StreamError {
  return new StreamError("FENCED", "the upload was resumed elsewhere");
}

function taken(): StreamError {
  return new StreamError("NOT_READY", "another node has the upload now, and waits: resume it");
}
