/**
 * The log of an upload in the hands of its owner: what was received becomes written, safe, and readable.
 * @module
 */
import type { Catalog, DigestState } from "../../catalog.ts";
import { DIGEST_VERSION } from "../../digest.ts";
import {
  type Digest,
  type ResourceStatus,
  StreamError,
  toStreamError,
  type TransferStatus,
} from "../../protocol.ts";
import type { LogEnd, LogWriter } from "../../storage.ts";
import type { Meter } from "../meter.ts";
import type { Resource } from "../reading/resource.ts";
import { insist, type OwnedRecord } from "./owned_record.ts";
import { Received } from "./received.ts";
import type { LogDigest } from "./restore.ts";

/** Accident that an acknowledged byte survives (docs/durability.md). */
export type Durability = "os" | "disk";

/** Parts and settings of a log that is owned. */
export interface OwnedLogOptions {
  /** The log, opened for this owner's epoch. */
  writer: LogWriter;
  /** Where the record is kept. */
  catalog: Catalog;
  /** The newest status of this epoch. */
  status: ResourceStatus;
  /** The digest of what the log holds. */
  digest: LogDigest;
  /** The present boot of storage; null where an append is as safe as it gets. */
  boot: string | null;
  /** Accident that an acknowledged byte survives: the end of the server's process, or of its machine. */
  durability: Durability;
  /** Measures what is written. */
  meter: Meter;
  /** Throws QUOTA_EXCEEDED when the resource must not grow to so many bytes. */
  checkGrowth(size: number): void | Promise<void>;
  /** Called with null when bytes were written, else with the error. */
  stored(error: StreamError | null): void;
  /** Called with every new status, after those who watch the resource. */
  published(status: ResourceStatus): void;
}

/** What counts of a log at its end. */
export interface LogTotals {
  /** Bytes. */
  size: number;
  /** Lines; null where they are not counted. */
  lines: number | null;
  /** Bytes that survive the machine. */
  durableSize: number;
}

/** Writes one log, one step after the other; only a flush may run beside them. */
export class OwnedLog {
  readonly #resource: Resource;
  readonly #record: OwnedRecord;
  readonly #options: OwnedLogOptions;
  readonly #waiting: Received;
  /** The newest status that was told. */
  #status: ResourceStatus;
  /** The one that travels with the bytes that are being appended. */
  #next: ResourceStatus | null = null;
  /** When the first of the bytes came that are written and wait for a checkpoint. */
  #writtenSinceMs: number | null = null;
  #received: number;
  #written: number;
  #durable: number;
  /** Lines up to the last checkpoint, if that were the end. */
  #readableLines: number | null;
  /** Bytes were given up: what comes after them must never be written in their place. */
  #broken: StreamError | null = null;
  /** Whether the record would survive the machine, as what is acknowledged must be found again. */
  #recordFlushed = false;
  /** A flush that failed may have lost bytes for good, and a later one that succeeds would not tell. */
  #flushFailure: StreamError | null = null;

  /**
   * @param resource Resource that readers see.
   * @param record Its record, which notices when another owner has the log.
   * @param options Parts and settings.
   */
  constructor(resource: Resource, record: OwnedRecord, options: OwnedLogOptions) {
    this.#resource = resource;
    this.#record = record;
    this.#options = options;
    this.#status = options.status;
    this.#written = this.#received = options.writer.size;
    this.#waiting = new Received(this.#written);
    this.#durable = options.status.durableSize;
    this.#readableLines = this.lines;
  }

  /** The newest status that was told. */
  get status(): ResourceStatus {
    return this.#status;
  }

  /** Bytes received, written or not. */
  get received(): number {
    return this.#received;
  }

  /** Bytes received that wait to be written. */
  get waitingBytes(): number {
    return this.#waiting.byteCount;
  }

  /** Bytes written. */
  get written(): number {
    return this.#written;
  }

  /** Whether bytes were refused of which nothing was written, while all that was written before is there. */
  get hasRefused(): boolean {
    const code = this.#broken?.code;
    // Of a log that can lose what it has taken nobody knows that.
    const isKept = this.#options.writer.confirm === undefined;
    return code === "QUOTA_EXCEEDED" || code === "STORAGE_FAILED" && isKept;
  }

  /** Whether readers see all that was written. */
  get isShown(): boolean {
    return this.#written === this.#status.currentSize;
  }

  /** Lines of what was written, if that were the end; null where they are not counted. */
  get lines(): number | null {
    return this.#resource.metadata.supportsLineAccess ? this.#options.writer.lines : null;
  }

  /** Whether what was written is safe only once it was flushed. */
  get needsFlush(): boolean {
    return this.#options.writer.flushData !== undefined;
  }

  /** Takes the next bytes, of which it makes a copy. */
  receive(bytes: Uint8Array): void {
    this.#waiting.add(bytes);
    this.#received += bytes.length;
  }

  /**
   * Writes what waits.
   * @param shows Whether it becomes readable in the same step.
   * @throws {StreamError} QUOTA_EXCEEDED, FENCED, DELETED, STORAGE_FAILED, NOT_READY; from then on nothing is written.
   */
  async write(shows: boolean): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    const { byteCount, sinceMs } = this.#waiting;
    if (byteCount === 0) return;
    const { writer, meter, digest, stored } = this.#options;
    const byteOffset = this.#written;
    const blocks = this.#waiting.take();
    this.#writtenSinceMs ??= sinceMs;
    let startedAtMs: number;
    try {
      // Where something must be deleted before, that may have to wait.
      await insist(() => this.#options.checkGrowth(byteOffset + byteCount));
      startedAtMs = performance.now();
      await writer.append(byteOffset, blocks, shows ? this.#statusOf : undefined);
    } catch (error) {
      this.#broken = toStreamError(error);
      await this.#record.notice(this.#broken);
      if (this.#record.loss === null) stored(this.#broken);
      throw error;
    }
    stored(null);
    meter.appended(performance.now() - startedAtMs);
    meter.written(byteCount);
    this.#written = byteOffset + byteCount;
    for (const block of blocks) digest.running.update(block);
    this.#waiting.giveBack();
    if (shows) this.#shown();
  }

  /** Makes what was written readable. */
  async show(): Promise<void> {
    try {
      await this.#options.writer.append(this.#written, [], this.#statusOf);
    } catch (error) {
      await this.#record.notice(toStreamError(error));
      throw error;
    }
    this.#shown();
  }

  /** Brings what was written to disk; one flush covers all that came during the last. */
  async secure(): Promise<void> {
    const written = this.#written;
    const { catalog } = this.#options;
    if (this.needsFlush) await this.#flushData();
    if (!this.#recordFlushed) await catalog.sync?.();
    this.#recordFlushed = true;
    this.#durable = this.#believed(written);
  }

  /** Brings what was written to disk before the log is closed: nobody hears what the disk refuses after that. */
  async keep(): Promise<void> {
    if (this.needsFlush && this.#durable !== this.#written) await this.#flushData();
  }

  async #flushData(): Promise<void> {
    const { writer, digest } = this.#options;
    const flushed = { byteOffset: this.#written, state: digest.running.save() };
    await this.#flush(() => writer.flushData!());
    digest.flushed = flushed;
  }

  /** @throws {StreamError} What the disk said when it refused to keep bytes that were acknowledged. */
  checkFlushed(): void {
    if (this.#flushFailure !== null) throw this.#flushFailure;
  }

  /** The digest of what was written. */
  digest(): Digest {
    const { running } = this.#options.digest;
    return { algorithm: running.algorithm, value: running.value() };
  }

  /** The digest of what was written, as another owner takes it up. */
  digestState(): DigestState {
    const { digest: { running, doubtfulFrom, flushed }, boot } = this.#options;
    return {
      algorithm: running.algorithm,
      byteOffset: this.#written,
      state: running.save(),
      version: DIGEST_VERSION,
      boot,
      doubtfulFrom,
      flushed,
    };
  }

  /**
   * What the machine may have changed, only the uploader's own digest proves.
   * @throws {StreamError} OFFSET_LOST.
   */
  checkBelieved(): void {
    const { doubtfulFrom } = this.#options.digest;
    if (doubtfulFrom === null) return;
    throw new StreamError(
      "OFFSET_LOST",
      `the machine may have stopped during the upload, and no digest of the uploader proves the bytes from ${doubtfulFrom} on: send one with the end`,
    );
  }

  /** Brings a log that is complete to disk with all that belongs to it. */
  async complete(): Promise<LogTotals> {
    const { writer } = this.#options;
    await writer.confirm?.();
    if (writer.flush !== undefined) await this.#flush(() => writer.flush!());
    return { size: writer.size, lines: this.lines, durableSize: writer.size };
  }

  /**
   * Counts what arrived of a log that fails; where the disk refuses even that, the last checkpoint stands.
   * @returns What counts, and why it may not be all that was written; null when that is another owner's to say.
   */
  async salvage(): Promise<{ totals: LogTotals; refusal: StreamError | null } | null> {
    const { writer } = this.#options;
    const { currentSize: size, durableSize } = this.#status;
    const totals = { size, lines: this.#readableLines, durableSize };
    try {
      await this.write(false);
    } catch { /* What was not written never counts; the first error is the one to tell. */ }
    if (this.#record.loss !== null) return null;
    try {
      await writer.settle?.();
      totals.size = writer.size;
      totals.lines = this.lines;
      await writer.flush?.();
      if (this.#flushFailure === null) totals.durableSize = this.#believed(totals.size);
    } catch (error) {
      // What was readable stays so.
      return { totals, refusal: toStreamError(error) };
    }
    return { totals, refusal: null };
  }

  /** The status that follows the newest one. */
  statusWith(
    transferStatus: TransferStatus,
    { size, lines, durableSize }: LogTotals,
  ): ResourceStatus {
    const { epoch, sequence, life } = this.#status;
    return {
      transferStatus,
      currentSize: size,
      numberOfLines: lines,
      durableSize,
      epoch,
      sequence: sequence + 1,
      life,
      failure: null,
    };
  }

  /** Tells everybody of an end; where the tail takes nothing any more, the record tells those elsewhere. */
  async announce(status: ResourceStatus): Promise<void> {
    try {
      await this.#options.writer.announce(status);
    } catch {
      this.#resource.publish(status);
    }
    this.#told(status);
  }

  /** Lets go of the log. */
  close(): Promise<void> {
    return this.#options.writer.close().catch(() => {});
  }

  async #flush(step: () => Promise<void>): Promise<void> {
    const startedAtMs = performance.now();
    try {
      await step();
    } catch (error) {
      this.#flushFailure = toStreamError(error);
      this.#options.stored(this.#flushFailure);
      throw error;
    }
    this.#options.meter.flushed(performance.now() - startedAtMs);
  }

  /** The status of a checkpoint. */
  readonly #statusOf = ({ size, lineBreaks }: LogEnd): ResourceStatus => {
    const isDurable = this.#options.durability === "disk" && !this.needsFlush;
    const lines = this.#resource.metadata.supportsLineAccess ? lineBreaks : null;
    const durableSize = isDurable ? size : this.#durable;
    return this.#next = this.statusWith("IN_PROGRESS", { size, lines, durableSize });
  };

  /** A checkpoint was made. */
  #shown(): void {
    this.#readableLines = this.lines;
    this.#told(this.#next!);
    this.#options.meter.checkpointed(performance.now() - this.#writtenSinceMs!);
    this.#writtenSinceMs = null;
  }

  #told(status: ResourceStatus): void {
    this.#status = status;
    this.#options.published(status);
  }

  /** Bytes from the first on of which no stop of the machine may have changed one. */
  #believed(size: number): number {
    return Math.min(size, this.#options.digest.doubtfulFrom ?? Infinity);
  }
}
