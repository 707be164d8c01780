/**
 * The writing side of a resource: received bytes go to its log (`owned_log.ts`), with checkpoints (`checkpoints.ts`), and
 * at the end it is final. A checkpoint is when bytes become readable.
 * @module
 */
import type { Announcement, Intent, Owner, Ownership, ResourceRecord } from "../../catalog.ts";
import {
  type DigestAlgorithm,
  failureOf,
  isFinal,
  LIMITS,
  type Outcome,
  StreamError,
  toStreamError,
  type UploadResult,
} from "../../protocol.ts";
import { checkEnd } from "./agreement.ts";
import { Checkpoints } from "./checkpoints.ts";
import { CompletedEnd, heldUp } from "./completed_end.ts";
import { FailedEnd } from "./failed_end.ts";
import { FlushAhead } from "./flush_ahead.ts";
import type { Lease } from "./lease.ts";
import { OwnedLog, type OwnedLogOptions } from "./owned_log.ts";
import { fenced, forNow, isRefusal, OwnedRecord } from "./owned_record.ts";
import { type AffordableInterval, CheckpointPace } from "./pace.ts";
import { ProgressRecord } from "./progress_record.ts";
import type { Resource } from "../reading/resource.ts";
import type { SteadyClock } from "../steady_clock.ts";
import type { LogDigest } from "./restore.ts";
import { ToldRecord } from "./told_record.ts";

/** Parts and settings of an appender, besides its resource. */
export interface AppenderOptions extends OwnedLogOptions {
  /** The record as it stands. */
  record: ResourceRecord;
  /** For how long the upload is this node's. */
  lease: Lease;
  /** The time by which resources age. */
  clock: SteadyClock;
  /** Time between two checkpoints under load: always the same, in ms, or what they cost. */
  checkpointInterval: number | AffordableInterval;
  /** How many uploads run here. */
  uploadCount(): number;
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
  /** It is over, however it ended: nothing more is acknowledged. */
  ended?(): void;
}

/** Appends to one resource, for one epoch. */
export class Appender {
  readonly #options: AppenderOptions;
  readonly #record: OwnedRecord;
  readonly #told: ToldRecord;
  readonly #log: OwnedLog;
  readonly #progress: ProgressRecord;
  readonly #pace: CheckpointPace;
  readonly #checkpoints: Checkpoints;
  /** Null where every acknowledgement waits for a flush, and where nothing has to be flushed. */
  readonly #flushAhead: FlushAhead | null;
  #events: AppenderEvents | null = null;
  #clients: readonly string[] = [];
  #acknowledged: number;
  #writeAfterBytes: number = LIMITS.dataMessageBytes;
  #closing = false;
  #ending: Promise<void> | null = null;
  /** Whether the record tells how it ended, or what it left. */
  #recorded = true;
  #isDetached = false;
  #failedEnd: FailedEnd | null = null;
  readonly #completedEnd: CompletedEnd;

  /** Use `Resources.register`. */
  constructor(
    /** Resource that readers see. */
    readonly resource: Resource,
    options: AppenderOptions,
  ) {
    this.#options = options;
    this.#record = new OwnedRecord(options.catalog, options.lease, options.record);
    this.#told = new ToldRecord(this.#record, options);
    this.#log = new OwnedLog(resource, this.#record, {
      ...options,
      checkGrowth: (size) => {
        checkEnd(this.announced.size, size);
        return options.checkGrowth(size);
      },
    });
    this.#completedEnd = new CompletedEnd({
      log: this.#log,
      told: this.#told,
      catalog: options.catalog,
      mayComeBack: this.ownedBy !== "CONNECTION",
    });
    this.#progress = new ProgressRecord({
      tellsPauses: options.lease.ms !== Infinity,
      uploadCount: options.uploadCount,
      tell: () => this.#recordProgress(),
      failed: (error) => this.#failed(error),
    });
    this.#pace = new CheckpointPace(options.checkpointInterval);
    this.#checkpoints = new Checkpoints(this.#pace, {
      isMuch: () => this.#log.waitingBytes >= this.#writeAfterBytes,
      isBehind: () => this.#log.waitingBytes > 0 || !this.#log.isShown,
      advance: (shows) => this.#advance(shows),
      failed: (error) => this.#failed(error),
    });
    this.#acknowledged = this.#log.written;
    const secure = () => this.#log.secure().catch((error) => this.#failed(error));
    this.#flushAhead = options.durability === "os" && this.#log.needsFlush
      ? new FlushAhead(this.#log.written, secure)
      : null;
  }

  /** Ownership of the log. */
  get epoch(): number {
    return this.#log.status.epoch;
  }

  /** Algorithm of the digest that completes the upload. */
  get digestAlgorithm(): DigestAlgorithm {
    return this.#options.digest.running.algorithm;
  }

  /** Whose the upload is. */
  get ownedBy(): Ownership {
    return this.#record.value.ownedBy;
  }

  /** Announcement of the whole by the uploader; kept in the catalog from its next update on. */
  get announced(): Announcement {
    return this.#told.announced;
  }

  set announced(announced: Announcement) {
    this.#told.announced = announced;
  }

  /** Text of a face that belongs to the bytes that were appended. */
  get annotation(): string | undefined {
    return this.#told.annotation;
  }

  /** Whether the record tells how it ended, or what it left. */
  get isRecorded(): boolean {
    return this.#recorded;
  }

  /** Whether bytes were refused that were to count whole: the next owner begins where the log ends. */
  get isRefused(): boolean {
    return this.#told.intent !== null && this.#log.hasRefused;
  }

  /** Whether it has everything, and the catalog does not take its end: it will be COMPLETED when that does. */
  get isHeldUp(): boolean {
    return this.#completedEnd.isHeldUp;
  }

  /** Whether it takes nothing any more. */
  get isOver(): boolean {
    return this.#closing;
  }

  /** Bytes received, written or not. */
  get received(): number {
    return this.#log.received;
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
    if (this.#record.loss !== null) return;
    this.#record.lose(record);
    this.#failed(this.#record.loss);
  }

  /** Stays the owner for another lease, where that is necessary. */
  async renew(): Promise<void> {
    if (this.#closing || !this.#record.isDue) return;
    try {
      await this.#record.update({});
    } catch {
      // What the catalog refuses otherwise it may take the next time.
      if (this.#record.loss !== null) this.#failed(this.#record.loss);
    }
  }

  /** Bytes that may wait for the next checkpoint before they are written. */
  get writeAfterBytes(): number {
    return this.#writeAfterBytes;
  }

  set writeAfterBytes(byteCount: number) {
    this.#writeAfterBytes = byteCount;
    if (this.#log.waitingBytes > 0) this.#checkpoints.next();
  }

  /** Takes the next bytes, of which it makes a copy. */
  append(bytes: Uint8Array): void {
    if (this.#closing || bytes.length === 0) return;
    this.#log.receive(bytes);
    this.#checkpoints.next();
  }

  /**
   * Takes down what the uploader announces of the whole, so that whoever goes on with the upload is held to it.
   * @throws {StreamError} FENCED, NOT_READY.
   */
  async keepAnnounced(announced: Announcement): Promise<void> {
    const before = this.announced;
    if (announced.size === before.size && announced.checksum === before.checksum) return;
    this.announced = announced;
    try {
      await this.#recordProgress();
      await this.#told.secure();
    } catch (error) {
      this.announced = before;
      if (this.#record.loss !== null) this.#failed(error);
      throw forNow(error);
    }
  }

  /**
   * Appends bytes that count whole or not at all, with the annotation that belongs to them: whatever ends this
   * process, both are there or neither is.
   * @param bytes They must not be changed until it is over.
   * @param annotation What it is from then on.
   * @returns When they are as safe as promised; those who read are told then.
   * @throws {StreamError} QUOTA_EXCEEDED, NOT_READY, STORAGE_FAILED, after which everything is as before, but for another
   * owner where `isRefused`, or it is over, as a flush failed; FENCED, WRONG_STATE when the upload is over.
   */
  async appendWhole(bytes: Uint8Array, annotation: string): Promise<void> {
    await this.#checkpoints.alone(() => this.#appendWhole(bytes, annotation));
  }

  async #appendWhole(bytes: Uint8Array, annotation: string): Promise<void> {
    if (this.#closing) {
      throw this.#record.loss ?? new StreamError("WRONG_STATE", "the upload is over");
    }
    await this.#orFail(() => this.#advance(true));
    const byteOffset = this.#log.written;
    await this.#options.checkGrowth(byteOffset + bytes.length);
    await this.#intend({ byteOffset, byteCount: bytes.length, annotation });
    this.#log.receive(bytes);
    try {
      await this.#advance(true);
    } catch (error) {
      if (!this.isRefused) this.#failed(error);
      throw error;
    }
    this.#told.annotation = annotation;
    this.#told.intent = null;
  }

  /** Has the record tell which append comes next. */
  async #intend(intent: Intent): Promise<void> {
    this.#told.intent = intent;
    try {
      await this.#recordProgress();
    } catch (error) {
      this.#told.intent = null;
      if (this.#record.loss !== null || !isRefusal(error)) this.#failed(error);
      throw forNow(error);
    }
    // A flush that failed may have lost the record of an earlier one.
    await this.#orFail(() => this.#told.secure());
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
   * FENCED when another owner has it, NOT_READY when that waits for the uploader, or it `isHeldUp` and may come back.
   */
  async complete(
    checksum: string | null,
    size?: number,
    outcome?: Outcome,
  ): Promise<UploadResult> {
    let result: UploadResult | null = null;
    const ended = this.#end(async () => {
      this.#log.checkFlushed();
      await this.#advance(true);
      result = await this.#completedEnd.tell({ checksum, size: size ?? null, outcome });
      this.#recorded = result !== null;
      return this.#recorded ? "OVER" : "DETACHED";
    });
    await Promise.race([ended, this.#completedEnd.isNotWaitedFor]);
    if (result !== null) return result;
    const { transferStatus, failure } = this.#log.status;
    if (!isFinal(transferStatus)) {
      throw this.#record.loss ?? (this.isHeldUp ? heldUp() : fenced());
    }
    throw new StreamError("ABORTED", failure ?? "the upload is over");
  }

  /**
   * Ends the upload as FAILED; everything received is kept and counted.
   * @param error Why; everybody who asks is told.
   */
  fail(error: StreamError): Promise<void> {
    this.#completedEnd.giveUp(error);
    return this.#end(() => Promise.reject(error)).catch(() => {});
  }

  /**
   * Gives the upload up, so that it is FAILED.
   * @throws {StreamError} WRONG_STATE where it was completed before; FENCED, NOT_READY where it goes on with another owner, or
   * could, as the catalog takes nothing.
   */
  async giveUp(error: StreamError): Promise<void> {
    await this.fail(error);
    const { transferStatus } = this.#log.status;
    if (transferStatus === "FAILED") return;
    if (transferStatus === "COMPLETED") throw new StreamError("WRONG_STATE", "it is completed");
    if (!this.#recorded) throw new StreamError("NOT_READY", "the catalog takes nothing at present");
    throw this.#record.loss ?? fenced();
  }

  /**
   * Lets go of the log with everything received, so that the next owner can take over; see `isRecorded`.
   * @param owner Whose the upload is until then.
   * @returns The digest to continue; null when the upload is over, or another owner's.
   */
  async detach(owner: Owner | null): Promise<LogDigest | null> {
    this.#completedEnd.giveUp("LET_GO");
    await this.#end(async () => {
      this.#log.checkFlushed();
      // Where bytes were refused the record tells which, and the next owner looks what there is, as after a crash.
      const { isRefused } = this;
      if (!isRefused) await this.#advance(true);
      await this.#log.keep();
      if (!isRefused) await this.#tellLeft(owner);
      return "DETACHED";
    }).catch(() => {});
    return this.#isDetached ? this.#options.digest : null;
  }

  /** Has the record tell what there is; the log knows better where that is refused. */
  async #tellLeft(owner: Owner | null): Promise<void> {
    try {
      await this.#told.tell(this.#log.status, { digestState: this.#log.digestState(), owner });
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#recorded = false;
    }
  }

  /** Runs the one end of this appender, and makes it a failure if the step throws. */
  #end(step: () => Promise<"OVER" | "DETACHED">): Promise<void> {
    this.#ending ??= this.#runEnd(step);
    return this.#ending;
  }

  async #runEnd(step: () => Promise<"OVER" | "DETACHED">): Promise<void> {
    this.#closing = true;
    const closed = this.#checkpoints.close();
    this.#progress.end();
    try {
      await closed;
      await this.#flushAhead?.settled();
      this.#isDetached = await step() === "DETACHED";
    } catch (error) {
      if (this.#record.loss === null) await this.#failNow(toStreamError(error));
      throw this.#record.loss ?? error;
    } finally {
      this.#events?.ended?.();
      // What is not recorded yet may still be counted.
      if (this.#isDetached || this.#recorded) await this.#log.close();
      if (!this.#isDetached) {
        await this.#options.ended(this.#endedAs(), this.#log.status.currentSize);
      }
    }
  }

  #endedAs(): AppenderEnd {
    if (this.#record.loss !== null) return "FENCED";
    return this.#recorded ? "RECORDED" : "UNRECORDED";
  }

  /** Tells that it is over, and the record as soon as that takes it. */
  async #failNow(error: StreamError): Promise<void> {
    const { catalog, lease } = this.#options;
    this.#failedEnd = new FailedEnd(
      { log: this.#log, record: this.#record, told: this.#told, catalog },
      {
        failure: failureOf(error),
        acknowledged: this.#acknowledged,
        isAlone: lease.ms === Infinity,
      },
    );
    this.#recorded = await this.#failedEnd.tell();
  }

  /** Has the record tell again how it ended, where that was refused, as recovery would find it unfinished. */
  async recordEnd(): Promise<void> {
    this.#recorded = await this.#failedEnd!.record();
    if (this.#recorded) await this.#log.close();
  }

  /**
   * Writes what waits.
   * @param shows Whether it becomes readable, too: in the same step, unless it must be flushed before.
   */
  async #advance(shows: boolean): Promise<void> {
    const log = this.#log;
    const startedAtMs = performance.now();
    const { sequence } = log.status;
    const isSafe = this.#options.durability === "os" || !log.needsFlush;
    await log.write(shows && isSafe);
    if (this.#acknowledged !== log.written) {
      if (this.#options.durability === "disk") await log.secure();
      this.#acknowledge(log.written);
    }
    if (!this.#closing) this.#flushAhead?.written(log.written);
    if (!shows) return;
    if (!log.isShown) await log.show();
    if (log.status.sequence !== sequence) {
      const nowMs = performance.now();
      this.#pace.made(nowMs, nowMs - startedAtMs);
      this.#progress.checkpointed();
    }
    this.#progress.catchUp();
  }

  /** Bytes are as safe as promised. */
  #acknowledge(byteOffset: number): void {
    this.#acknowledged = byteOffset;
    this.#events?.acknowledged(byteOffset);
  }

  #failed(error: unknown): void {
    const failure = this.#record.loss ?? toStreamError(error);
    this.#events?.failed(failure);
    void this.fail(failure);
  }

  /** Has the record tell what was told last, and what belongs to it. */
  #recordProgress(): Promise<void> {
    return this.#told.tell(this.#log.status, { digestState: this.#log.digestState() });
  }
}
