/**
 * Ends of uploads that their records do not tell: the catalog refused them, as on a full disk, or was restored to how it
 * was before.
 * @module
 */
import type { ResourceRecord } from "../../catalog.ts";
import { isFinal, type ResourceStatus, toStreamError } from "../../protocol.ts";
import { annotationAt } from "../intent.ts";
import type { OpenResource } from "../reading/cache.ts";
import { lifeOf } from "../status.ts";
import type { UploadAccount } from "../usage.ts";
import { restoreDigest } from "./restore.ts";
import type { TakeoverParts } from "./takeover.ts";

/** How often a catalog is asked that refused an end, in ms. */
const AGAIN_MS = 1000;

/**
 * Has a record tell how its upload ended.
 * @param parts Where log and record are.
 * @param record The record as it is.
 * @param status The end, as those who follow the log were told.
 * @throws {StreamError} CONFLICT when the record changed meanwhile; NOT_FOUND, NOT_READY, STORAGE_FAILED.
 */
export async function recordEnd(
  { storage, catalog, clock }: TakeoverParts,
  record: ResourceRecord,
  status: ResourceStatus,
): Promise<void> {
  const { transferStatus, currentSize: size, numberOfLines: lines, durableSize } = status;
  const { epoch, sequence, failure, outcome } = status;
  const digest = transferStatus === "COMPLETED" ? await digestOf({ ...record, size }) : null;
  await catalog.update(record.id, record.revision, {
    ...{ transferStatus, size, lines, durableSize, epoch, sequence, failure, digest },
    ...(outcome === undefined ? {} : { outcome }),
    ...(record.intent ? { annotation: annotationAt(record, size), intent: null } : {}),
    digestState: null,
    owner: null,
    updatedAtMs: clock.nowMs,
  });

  async function digestOf(whole: ResourceRecord) {
    const { running } = await restoreDigest(storage, whole);
    return { algorithm: running.algorithm, value: running.value() };
  }
}

/** An upload that ended, and its record does not say so. */
export interface UnrecordedEnd {
  /** The resource, which has the end. */
  open: OpenResource;
  /** Count of its bytes. */
  account: UploadAccount;
}

/** Tells the catalog of ends again that it refused, until it takes them. */
export class UnrecordedEnds {
  readonly #parts: TakeoverParts;
  readonly #take: (id: string, step: () => Promise<void>) => Promise<void>;
  readonly #ends = new Set<UnrecordedEnd>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #telling: Promise<void> | null = null;

  /**
   * @param parts Where logs and records are.
   * @param take Runs a step that changes the record of an upload, in its turn.
   */
  constructor(
    parts: TakeoverParts,
    take: (id: string, step: () => Promise<void>) => Promise<void>,
  ) {
    this.#parts = parts;
    this.#take = take;
  }

  /** The catalog refused an end. */
  add(end: UnrecordedEnd): void {
    this.#ends.add(end);
    this.#timer ??= setInterval(() => {
      this.#telling ??= this.#tellAll().finally(() => this.#telling = null);
    }, AGAIN_MS);
  }

  /** Tells of nothing any more: who comes next finds uploads that nobody goes on with. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#telling;
  }

  async #tellAll(): Promise<void> {
    for (const end of this.#ends) {
      const { id, status } = end.open.resource;
      try {
        await this.#take(id, () => this.#tell(id, status));
      } catch (error) {
        const { code } = toStreamError(error);
        // What it does not take of one it takes of no other, either.
        if (code === "STORAGE_FAILED" || code === "NOT_READY") return;
      }
      this.#ends.delete(end);
      end.account.close();
      await end.open.release();
    }
  }

  /** What is another owner's by now, or another resource, is not ours to end. */
  async #tell(id: string, status: ResourceStatus): Promise<void> {
    const record = await this.#parts.catalog.get(id);
    if (record === null || lifeOf(record) !== status.life) return;
    if (isFinal(record.transferStatus) || record.epoch !== status.epoch) return;
    await recordEnd(this.#parts, record, status);
  }
}
