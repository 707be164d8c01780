/**
 * The writing side of a resource: received bytes become written, checkpointed and, at the end, final.
 *
 * A checkpoint is when bytes become readable. The first few after a silence come at once; under load there is
 * one per interval; what came last is never left waiting for more than the interval.
 * @module
 */
import type {
  Announcement,
  Catalog,
  DigestState,
  Intent,
  Owner,
  Ownership,
  ResourceChange,
  ResourceRecord,
} from "../../catalog.ts";
import { DIGEST_VERSION } from "../../digest.ts";
import {
  checkOutcome,
  type DigestAlgorithm,
  failureOf,
  isFinal,
  LIMITS,
  type Outcome,
  type ResourceStatus,
  StreamError,
  toStreamError,
  type TransferStatus,
  type UploadResult,
} from "../../protocol.ts";
import type { LogEnd, LogWriter } from "../../storage.ts";
import { LONGEST_TIMER_MS } from "../../timer.ts";
import { checkDigest, checkEnd, checkSize } from "./agreement.ts";
import { FlushAhead } from "./flush_ahead.ts";
import type { Lease } from "./lease.ts";
import { fenced, lossOf, OwnedRecord } from "./owned_record.ts";
import type { Meter } from "../meter.ts";
import { type AffordableInterval, CheckpointPace } from "./pace.ts";
import { ProgressRecord } from "./progress_record.ts";
import { Received } from "./received.ts";
import type { Resource } from "../reading/resource.ts";
import type { SteadyClock } from "../steady_clock.ts";
import type { LogDigest } from "./restore.ts";

/** Accident that an acknowledged byte survives (docs/durability.md). */
export type Durability = "os" | "disk";

/** Parts and settings of an appender, besides its resource. */
export interface AppenderOptions {
  /** The log, opened for this appender's epoch. */
  writer: LogWriter;
  /** Where the record is kept. */
  catalog: Catalog;
  /** The record as it stands. */
  record: ResourceRecord;
  /** The newest status of this epoch. */
  status: ResourceStatus;
  /** For how long the upload is this node's. */
  lease: Lease;
  /** The time by which resources age. */
  clock: SteadyClock;
  /** The digest of what the log holds. */
  digest: LogDigest;
  /** The present boot of storage; null where an append is as safe as it gets. */
  boot: string | null;
  /** Accident that an acknowledged byte survives: the end of the server's process, or of its machine. */
  durability: Durability;
  /** Time between two checkpoints under load: always the same, in ms, or what they cost. */
  checkpointInterval: number | AffordableInterval;
  /** Measures what is written. */
  meter: Meter;
  /** Throws QUOTA_EXCEEDED when the resource must not grow to so many bytes. */
  checkGrowth(size: number): void | Promise<void>;
  /** Called with null when bytes were written, else with the error. */
  stored(error: StreamError | null): void;
  /** Called with every new status, after those who watch the resource. */
  published(status: ResourceStatus): void;
  /**
   * Called once when nothing more comes from this appender, unless it was detached.
   * @param end How it ended.
   * @param size Bytes of the log that count, as far as this appender knows.
   */
  ended(end: AppenderEnd, size: number): void | Promise<void>;
}

/**
 * How an appender ends: `RECORDED` completed or failed, and the catalog knows; `UNRECORDED` failed where the catalog
 * took nothing any more; `FENCED` when log and record are another owner's.
 */
export type AppenderEnd = "RECORDED" | "UNRECORDED" | "FENCED";

/** News for the owner of an upload. */
export interface AppenderEvents {
  /** So many bytes are as safe as the durability promises. */
  acknowledged(byteOffset: number): void;
  /** The upload failed here, at the server, goes on elsewhere (FENCED), or waits there (NOT_READY). */
  failed(error: StreamError): void;
}

/** Appends to one resource, for one epoch. */
export class Appender {
  readonly #options: AppenderOptions;
  readonly #record: OwnedRecord;
  readonly #progress: ProgressRecord;
  /** The newest status that was told. */
  #status: ResourceStatus;
  /** The one that travels with the bytes that are being appended. */
  #next: ResourceStatus | null = null;
  #events: AppenderEvents | null = null;
  #clients: readonly string[] = [];
  readonly #waiting: Received;
  readonly #pace: CheckpointPace;
  /** When the first of the bytes came that are written and wait for a checkpoint. */
  #writtenSinceMs: number | null = null;
  /** When the newest step began. */
  #advancedAtMs = 0;
  #received: number;
  #written: number;
  #acknowledged: number;
  #durable: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | null = null;
  /** Lines up to the last checkpoint, if that were the end. */
  #readableLines: number | null;
  #closing = false;
  /** Bytes were given up: what comes after them must never be written in their place. */
  #broken: StreamError | null = null;
  #ending: Promise<void> | null = null;
  /** Whether the record says how it ended. */
  #recorded = true;
  /**
   * What the uploader is told once another owner has the log: what is in it, and what becomes of it, is that one's to
   * say.
   */
  #fence: StreamError | null = null;
  /** Whether the record would survive the machine, as what is acknowledged must be found again. */
  #recordFlushed = false;
  /** A flush that failed may have lost bytes for good, and a later one that succeeds would not tell. */
  #flushFailure: StreamError | null = null;
  /** Null where every acknowledgement waits for a flush, and where nothing has to be flushed. */
  readonly #flushAhead: FlushAhead | null;

  #writeAfterBytes: number = LIMITS.dataMessageBytes;

  /** Announcement of the whole by the uploader; kept in the catalog from its next update on. */
  announced: Announcement;
  #annotation: string | undefined;
  /** The append that is being made, for the record to tell a takeover of. */
  #intent: Intent | null = null;

  /** Use `Resources.register`. */
  constructor(
    /** Resource that readers see. */
    readonly resource: Resource,
    options: AppenderOptions,
  ) {
    this.#options = options;
    this.#record = new OwnedRecord(options.catalog, options.lease, options.record);
    this.#progress = new ProgressRecord({
      tellsPauses: options.lease.ms !== Infinity,
      tell: () => this.#recordProgress(),
      failed: (error) => this.#failed(error),
    });
    this.#status = options.status;
    this.announced = options.record.announced;
    this.#annotation = options.record.annotation;
    this.#pace = new CheckpointPace(options.checkpointInterval);
    this.#written = this.#received = this.#acknowledged = options.writer.size;
    this.#waiting = new Received(this.#written);
    this.#durable = options.status.durableSize;
    this.#readableLines = this.#finalLines();
    this.#flushAhead = options.durability === "os" && options.writer.flushData !== undefined
      ? new FlushAhead(this.#written, () => this.#secure().catch((error) => this.#failed(error)))
      : null;
  }

  /** Ownership of the log. */
  get epoch(): number {
    return this.#status.epoch;
  }

  /** Algorithm of the digest that completes the upload. */
  get digestAlgorithm(): DigestAlgorithm {
    return this.#options.digest.running.algorithm;
  }

  /** Whose the upload is. */
  get ownedBy(): Ownership {
    return this.#record.value.ownedBy;
  }

  /** Text of a face that belongs to the bytes that were appended. */
  get annotation(): string | undefined {
    return this.#annotation;
  }

  /** Whether it takes nothing any more. */
  get isOver(): boolean {
    return this.#closing;
  }

  /** Bytes received, written or not. */
  get received(): number {
    return this.#received;
  }

  /** Bytes that are as safe as the durability promises. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /**
   * Tells one owner what becomes of the upload.
   * @param events Hears it.
   * @param clients Who that is, by each name that counts; nobody in particular by default.
   */
  listen(events: AppenderEvents, clients: readonly string[] = []): void {
    this.#events = events;
    this.#clients = clients;
  }

  /** Whose it is at present. */
  get clients(): readonly string[] {
    return this.#clients;
  }

  /** Tells the owner that it does not own the upload any more. */
  disown(error: StreamError): void {
    this.#events?.failed(error);
    this.#events = null;
  }

  /**
   * Another owner has the log: this one leaves log and record alone from now on, and tells its uploader.
   * @param record The record as it is now.
   */
  fence(record: ResourceRecord): void {
    if (this.#fence !== null) return;
    this.#fence = lossOf(record);
    this.#failed(this.#fence);
  }

  /** Stays the owner for another lease, where that is necessary. */
  async renew(): Promise<void> {
    if (this.#closing || !this.#record.isDue) return;
    try {
      await this.#record.update({});
    } catch (error) {
      await this.#noticeFence(toStreamError(error));
      // What the catalog refuses otherwise it may take the next time.
      if (this.#fence !== null) this.#failed(this.#fence);
    }
  }

  /** Bytes that may wait for the next checkpoint before they are written. */
  get writeAfterBytes(): number {
    return this.#writeAfterBytes;
  }

  set writeAfterBytes(byteCount: number) {
    this.#writeAfterBytes = byteCount;
    if (this.#waiting.byteCount > 0) this.#schedule();
  }

  /** Takes the next bytes, of which it makes a copy. */
  append(bytes: Uint8Array): void {
    if (this.#closing || bytes.length === 0) return;
    this.#waiting.add(bytes);
    this.#received += bytes.length;
    this.#schedule();
  }

  /**
   * Takes down what the uploader announces of the whole, so that whoever goes on with the upload is held to it.
   * @throws {StreamError} FENCED, NOT_READY, STORAGE_FAILED.
   */
  async keepAnnounced(announced: Announcement): Promise<void> {
    const { size, checksum } = this.announced;
    if (announced.size === size && announced.checksum === checksum) return;
    this.announced = announced;
    const { durability, catalog } = this.#options;
    await this.#recordProgress();
    if (durability === "disk") await catalog.sync?.();
  }

  /**
   * Appends bytes that count whole or not at all, with the annotation that belongs to them: whatever ends this
   * process, both are there or neither is.
   * @param bytes They must not be changed until it is over.
   * @param annotation What it is from then on.
   * @returns When they are as safe as promised; those who read are told then.
   * @throws {StreamError} QUOTA_EXCEEDED, NOT_READY, after which everything is as before; STORAGE_FAILED, FENCED,
   * WRONG_STATE when the upload is over.
   */
  async appendWhole(bytes: Uint8Array, annotation: string): Promise<void> {
    while (this.#running !== null) await this.#running;
    if (this.#closing) throw this.#fence ?? new StreamError("WRONG_STATE", "the upload is over");
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const appending = this.#appendWhole(bytes, annotation);
    this.#running = appending.catch(() => {}).finally(() => this.#running = null);
    await appending;
  }

  async #appendWhole(bytes: Uint8Array, annotation: string): Promise<void> {
    await this.#orFail(() => this.#drain());
    await this.#options.checkGrowth(this.#written + bytes.length);
    await this.#intend({ byteOffset: this.#written, byteCount: bytes.length, annotation });
    this.#waiting.add(bytes);
    this.#received += bytes.length;
    await this.#orFail(() => this.#drain());
    this.#annotation = annotation;
    this.#intent = null;
  }

  /** Has the record tell which append comes next. */
  async #intend(intent: Intent): Promise<void> {
    const { durability, catalog } = this.#options;
    this.#intent = intent;
    try {
      await this.#recordProgress();
      if (durability === "disk") await catalog.sync?.();
    } catch (error) {
      this.#intent = null;
      if (this.#fence !== null || toStreamError(error).code !== "NOT_READY") this.#failed(error);
      throw error;
    }
  }

  /** Runs a step; an upload whose step fails is over. */
  async #orFail(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  /**
   * Completes the upload: when it returns, everything is on disk.
   * @param checksum The uploader's digest, in hexadecimal; null when it has none but what it announced.
   * @param size The uploader's count of bytes, if it said.
   * @param outcome How its producer ended, if it said.
   * @throws {StreamError} CHECKSUM_MISMATCH, STORAGE_FAILED, BAD_REQUEST for no outcome, after the resource was made FAILED;
   * FENCED when another owner has it, NOT_READY when that waits for the uploader.
   */
  async complete(
    checksum: string | null,
    size?: number,
    outcome?: Outcome,
  ): Promise<UploadResult> {
    let result: UploadResult | null = null;
    await this.#end(async () => {
      this.#checkFlushed();
      await this.#drain();
      const digest = {
        algorithm: this.digestAlgorithm,
        value: this.#options.digest.running.value(),
      };
      checkSize(size ?? null, this.#written);
      checkSize(this.announced.size, this.#written);
      checkDigest(checksum, digest);
      checkDigest(this.announced.checksum, digest);
      if (checksum === null && this.announced.checksum === null) this.#checkBelieved();
      const told = outcome === undefined ? {} : { outcome: checkOutcome(outcome) };
      const { writer, catalog } = this.#options;
      if (writer.flush !== undefined) await this.#flush(() => writer.flush!());
      const status = {
        ...this.#statusWith("COMPLETED", writer.size, this.#finalLines(), writer.size),
        ...told,
      };
      await this.#catalog(status, { digest, digestState: null, owner: null, ...told });
      await catalog.sync?.();
      await this.#announce(status);
      result = { size: writer.size, numberOfLines: status.numberOfLines, digest };
      return "OVER";
    });
    if (result !== null) return result;
    const { transferStatus, failure } = this.#status;
    if (!isFinal(transferStatus)) throw this.#fence ?? fenced();
    throw new StreamError("ABORTED", failure ?? "the upload is over");
  }

  /**
   * Ends the upload as FAILED; everything received is kept and counted.
   * @param error Why; everybody who asks is told.
   */
  fail(error: StreamError): Promise<void> {
    return this.#end(() => Promise.reject(error)).catch(() => {});
  }

  /**
   * Lets go of the log with everything received, so that the next owner can take over.
   * @param owner Whose the upload is until then.
   * @returns The digest to continue; null when the upload is over, or another owner's.
   */
  async detach(owner: Owner | null): Promise<LogDigest | null> {
    let digest: LogDigest | null = null;
    await this.#end(async () => {
      this.#checkFlushed();
      await this.#drain();
      await this.#catalog(this.#status, { digestState: this.#digestState(), owner });
      digest = this.#options.digest;
      return "DETACHED";
    }).catch(() => {});
    return digest;
  }

  /** Runs the one end of this appender, and makes it a failure if the step throws. */
  #end(step: () => Promise<"OVER" | "DETACHED">): Promise<void> {
    this.#ending ??= this.#runEnd(step);
    return this.#ending;
  }

  async #runEnd(step: () => Promise<"OVER" | "DETACHED">): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    this.#progress.end();
    let isDetached = false;
    try {
      await this.#running;
      await this.#flushAhead?.settled();
      isDetached = await step() === "DETACHED";
    } catch (error) {
      if (this.#fence === null) await this.#failNow(toStreamError(error));
      throw this.#fence ?? error;
    } finally {
      await this.#options.writer.close().catch(() => {});
      if (!isDetached) await this.#options.ended(this.#endedAs(), this.#status.currentSize);
    }
  }

  #endedAs(): AppenderEnd {
    if (this.#fence !== null) return "FENCED";
    return this.#recorded ? "RECORDED" : "UNRECORDED";
  }

  /** Counts what arrived; where the disk refuses even that, the last checkpoint stands. */
  async #failNow(error: StreamError): Promise<void> {
    const { writer, catalog } = this.#options;
    const failure = failureOf(error);
    let { currentSize: size, durableSize } = this.#status;
    let lines = this.#readableLines;
    try {
      await this.#write(false);
    } catch { /* What was not written never counts; the first error is the one to tell. */ }
    if (this.#fence !== null) return;
    try {
      await writer.settle?.();
      size = writer.size;
      lines = this.#finalLines();
      await writer.flush?.();
      if (this.#flushFailure === null) durableSize = this.#believed(size);
    } catch { /* The disk refuses: what was readable stays so. */ }
    const status = { ...this.#statusWith("FAILED", size, lines, durableSize), failure };
    try {
      await this.#catalog(status, { failure, digest: null, digestState: null, owner: null });
      await catalog.sync?.();
    } catch (refusal) {
      // Recovery finds the record unfinished. One that is somebody else's by now is not ours to judge.
      const { code } = toStreamError(refusal);
      this.#recorded = code !== "STORAGE_FAILED" && code !== "NOT_READY";
    }
    if (this.#fence === null) await this.#announce(status);
  }

  /** Tells everybody of an end; where the tail takes nothing any more, the record tells those elsewhere. */
  async #announce(status: ResourceStatus): Promise<void> {
    try {
      await this.#options.writer.announce(status);
    } catch {
      this.resource.publish(status);
    }
    this.#told(status);
  }

  #schedule(): void {
    if (this.#running !== null || this.#closing) return;
    const waitMs = this.#pace.untilNextMs(performance.now());
    if (waitMs <= 0 || this.#waiting.byteCount >= this.#writeAfterBytes) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#running = this.#run().catch((error) => this.#failed(error)).finally(() => {
        this.#running = null;
        if (this.#waiting.byteCount > 0 || this.#written > this.#readable) this.#schedule();
      });
    } else if (this.#timer === undefined) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#schedule();
      }, Math.min(Math.ceil(waitMs), LONGEST_TIMER_MS));
    }
  }

  #run(): Promise<void> {
    return this.#advance(this.#pace.untilNextMs(performance.now()) <= 0);
  }

  #failed(error: unknown): void {
    const failure = this.#fence ?? toStreamError(error);
    this.#events?.failed(failure);
    void this.fail(failure);
  }

  get #readable(): number {
    return this.#status.currentSize;
  }

  #drain(): Promise<void> {
    return this.#advance(true);
  }

  /**
   * Writes what waits.
   * @param shows Whether it becomes readable, too: in the same step, unless it must be flushed before.
   */
  async #advance(shows: boolean): Promise<void> {
    this.#advancedAtMs = performance.now();
    const flushes = this.#options.durability === "disk" &&
      this.#options.writer.flushData !== undefined;
    await this.#write(shows && !flushes);
    if (this.#acknowledged !== this.#written) {
      if (this.#options.durability === "disk") await this.#secure();
      this.#acknowledge(this.#written);
    }
    if (!this.#closing) this.#flushAhead?.written(this.#written);
    if (!shows) return;
    if (this.#written !== this.#readable) await this.#checkpoint();
    this.#progress.catchUp();
  }

  /** Writes what waits, with or without a checkpoint. */
  async #write(shows: boolean): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    const { byteCount, sinceMs } = this.#waiting;
    if (byteCount === 0) return;
    const byteOffset = this.#written;
    const blocks = this.#waiting.take();
    this.#writtenSinceMs ??= sinceMs;
    let startedAtMs: number;
    try {
      checkEnd(this.announced.size, byteOffset + byteCount);
      await this.#options.checkGrowth(byteOffset + byteCount);
      startedAtMs = performance.now();
      await this.#options.writer.append(byteOffset, blocks, shows ? this.#statusOf : undefined);
    } catch (error) {
      this.#broken = toStreamError(error);
      await this.#noticeFence(this.#broken);
      if (this.#fence === null) this.#options.stored(this.#broken);
      throw error;
    }
    this.#options.stored(null);
    this.#options.meter.appended(performance.now() - startedAtMs);
    this.#options.meter.written(byteCount);
    this.#written = byteOffset + byteCount;
    for (const block of blocks) this.#options.digest.running.update(block);
    this.#waiting.giveBack();
    if (shows) this.#shown();
  }

  /** Notices that storage refused because the log is another owner's, which is no failure. */
  async #noticeFence({ code }: StreamError): Promise<void> {
    if (code === "FENCED") this.#fence ??= await this.#record.loss();
  }

  /** Brings what was written to disk; one flush covers all that came during the last. */
  async #secure(): Promise<void> {
    const written = this.#written;
    const { writer, catalog } = this.#options;
    if (writer.flushData !== undefined) await this.#flush(() => writer.flushData!());
    if (!this.#recordFlushed) await catalog.sync?.();
    this.#recordFlushed = true;
    this.#durable = this.#believed(written);
  }

  /** @throws {StreamError} What the disk said when it refused to keep bytes that were acknowledged. */
  #checkFlushed(): void {
    if (this.#flushFailure !== null) throw this.#flushFailure;
  }

  /** Bytes are as safe as promised. */
  #acknowledge(byteOffset: number): void {
    this.#acknowledged = byteOffset;
    this.#events?.acknowledged(byteOffset);
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

  /** Makes what was written readable. */
  async #checkpoint(): Promise<void> {
    try {
      await this.#options.writer.append(this.#written, [], this.#statusOf);
    } catch (error) {
      await this.#noticeFence(toStreamError(error));
      throw error;
    }
    this.#shown();
  }

  /** The status of a checkpoint. */
  readonly #statusOf = ({ size, lineBreaks }: LogEnd): ResourceStatus => {
    const { durability, writer } = this.#options;
    const isDurable = durability === "disk" && writer.flushData === undefined;
    const lines = this.resource.metadata.supportsLineAccess ? lineBreaks : null;
    this.#next = this.#statusWith("IN_PROGRESS", size, lines, isDurable ? size : this.#durable);
    return this.#next;
  };

  /** A checkpoint was made. */
  #shown(): void {
    const nowMs = performance.now();
    this.#pace.made(nowMs, nowMs - this.#advancedAtMs);
    this.#readableLines = this.#finalLines();
    this.#told(this.#next!);
    this.#options.meter.checkpointed(nowMs - this.#writtenSinceMs!);
    this.#writtenSinceMs = null;
    this.#progress.checkpointed();
  }

  #digestState(): DigestState {
    const { digest: { running, doubtfulFrom }, boot } = this.#options;
    return {
      algorithm: running.algorithm,
      byteOffset: this.#written,
      state: running.save(),
      version: DIGEST_VERSION,
      boot,
      doubtfulFrom,
    };
  }

  /** Bytes from the first on of which no stop of the machine may have changed one. */
  #believed(size: number): number {
    return Math.min(size, this.#options.digest.doubtfulFrom ?? Infinity);
  }

  /** What the machine may have changed, only the uploader's own digest proves. */
  #checkBelieved(): void {
    const { doubtfulFrom } = this.#options.digest;
    if (doubtfulFrom === null) return;
    throw new StreamError(
      "OFFSET_LOST",
      `the machine stopped during the upload, and no digest of the uploader proves the bytes from ${doubtfulFrom} on: send one with the end`,
    );
  }

  #told(status: ResourceStatus): void {
    this.#status = status;
    this.#options.published(status);
  }

  #finalLines(): number | null {
    return this.resource.metadata.supportsLineAccess ? this.#options.writer.lines : null;
  }

  #statusWith(
    transferStatus: TransferStatus,
    currentSize: number,
    numberOfLines: number | null,
    durableSize: number,
  ): ResourceStatus {
    const { epoch, sequence, life } = this.#status;
    return {
      transferStatus,
      currentSize,
      numberOfLines,
      durableSize,
      epoch,
      sequence: sequence + 1,
      life,
      failure: null,
    };
  }

  /** Has the record tell what was told last, and what belongs to it. */
  #recordProgress(): Promise<void> {
    return this.#catalog(this.#status, { digestState: this.#digestState() });
  }

  async #catalog(status: ResourceStatus, change: ResourceChange): Promise<void> {
    const whole = {
      transferStatus: status.transferStatus,
      size: status.currentSize,
      durableSize: status.durableSize,
      lines: status.numberOfLines,
      epoch: status.epoch,
      sequence: status.sequence,
      announced: this.announced,
      ...(this.#annotation === undefined && this.#intent === null
        ? {}
        : { annotation: this.#annotation, intent: this.#intent }),
      updatedAtMs: this.#options.clock.nowMs,
      ...change,
    };
    try {
      await this.#record.update(whole);
    } catch (error) {
      await this.#noticeFence(toStreamError(error));
      throw error;
    }
  }
}
