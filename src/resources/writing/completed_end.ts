/**
 * The end of an upload that has everything: nobody is told before the catalog takes it, however long that is.
 * @module
 */
import { Bell } from "../../bell.ts";
import type { Catalog } from "../../catalog.ts";
import { checkOutcome, type Outcome, StreamError, type UploadResult } from "../../protocol.ts";
import { checkDigest, checkSize } from "./agreement.ts";
import type { OwnedLog } from "./owned_log.ts";
import { isRefusal } from "./owned_record.ts";
import type { ToldRecord } from "./told_record.ts";

/** Time between two attempts to have the catalog know. */
const AGAIN_MS = 500;
/** So long an uploader waits that could not come back for the answer, in ms. */
const PATIENCE_MS = 120_000;

/** What is told, and where. */
export interface CompletedEndParts {
  /** The log, of which everything is readable. */
  log: OwnedLog;
  /** What its record tells. */
  told: ToldRecord;
  /** Where that is. */
  catalog: Catalog;
  /** Whether the uploader could come for the answer later. */
  mayComeBack: boolean;
}

/** What the uploader says of the whole. */
export interface Whole {
  /** Its digest, in hexadecimal; null when it has none but what it announced. */
  checksum: string | null;
  /** Its count of bytes, if it said. */
  size: number | null;
  /** How its producer ended, if it said. */
  outcome: Outcome | undefined;
}

/** Tells of one upload that it is COMPLETED. */
export class CompletedEnd {
  readonly #parts: CompletedEndParts;
  readonly #heldUp = Promise.withResolvers<void>();
  readonly #bell = new Bell();
  #isHeldUp = false;
  #instead: StreamError | "LET_GO" | null = null;

  /** @param parts What is told, and where. */
  constructor(parts: CompletedEndParts) {
    this.#parts = parts;
  }

  /** Whether the catalog has refused it. */
  get isHeldUp(): boolean {
    return this.#isHeldUp;
  }

  /** Resolved when the catalog has refused it, and the uploader may come for the answer later. */
  get isNotWaitedFor(): Promise<void> {
    return this.#heldUp.promise;
  }

  /**
   * Compares what is there with what the uploader says, brings it to disk, and tells the record and those who read.
   * @returns Null when the upload was let go of instead.
   * @throws What it is to fail with.
   */
  async tell({ checksum, size, outcome }: Whole): Promise<UploadResult | null> {
    const { log, told, catalog } = this.#parts;
    const digest = log.digest();
    checkSize(size, log.written);
    checkSize(told.announced.size, log.written);
    checkDigest(checksum, digest);
    checkDigest(told.announced.checksum, digest);
    if (checksum === null && told.announced.checksum === null) log.checkBelieved();
    const ended = outcome === undefined ? {} : { outcome: checkOutcome(outcome) };
    const totals = await log.complete();
    const status = { ...log.statusWith("COMPLETED", totals), ...ended };
    const change = { digest, digestState: null, owner: null, ...ended };
    if (!await this.#insist(() => told.tell(status, change))) return null;
    await catalog.sync?.();
    await log.announce(status);
    return { size: totals.size, numberOfLines: totals.lines, digest };
  }

  /** Something else becomes of the upload, unless the catalog takes its end at once. */
  giveUp(instead: StreamError | "LET_GO"): void {
    this.#instead ??= instead;
    this.#bell.ring();
  }

  /** Tells the record, again and again where it is refused; false when the upload was let go of instead. */
  async #insist(tell: () => Promise<void>): Promise<boolean> {
    const { mayComeBack } = this.#parts;
    const untilMs = mayComeBack ? Infinity : performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        await tell();
        return true;
      } catch (error) {
        if (!isRefusal(error) || performance.now() >= untilMs) throw error;
      }
      this.#isHeldUp = true;
      if (mayComeBack) this.#heldUp.resolve();
      if (this.#instead === null) await this.#bell.rungWithin(AGAIN_MS);
      if (this.#instead === "LET_GO") return false;
      if (this.#instead !== null) throw this.#instead;
    }
  }
}

/** What an uploader is told that may come back. */
export function heldUp(): StreamError {
  return new StreamError(
    "NOT_READY",
    "everything is there: it will be COMPLETED as soon as the catalog takes that",
  );
}
