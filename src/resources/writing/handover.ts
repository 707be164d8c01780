/**
 * Uploads between two owners: interrupted, resumed, given up, lost to another node.
 *
 * A log has one owner at a time, the appender of the newest epoch. An upload whose owner is gone waits for
 * it, and is FAILED when nobody comes back in time.
 * @module
 */
import type { Owner, Ownership, ResourceRecord } from "../../catalog.ts";
import { createDigest } from "../../digest.ts";
import {
  type ErrorCode,
  isFinal,
  StreamError,
  toStreamError,
  type UploadResult,
} from "../../protocol.ts";
import { startTimer } from "../../timer.ts";
import { findRecord } from "../find.ts";
import type { OpenResource } from "../reading/cache.ts";
import { lifeOf, statusOf } from "../status.ts";
import type { Admission } from "./admission.ts";
import type { Appender } from "./appender.ts";
import { insistOn } from "./claims.ts";
import { heldUp } from "./completed_end.ts";
import { forNow } from "./owned_record.ts";
import { doubtIn, flushedSize, type LogDigest, restoreDigest } from "./restore.ts";
import { matchesSecret } from "./secret.ts";
import { LogRefused, takeLog } from "./takeover.ts";
import { Turns } from "./turns.ts";
import { recordEnd, recordLoss } from "./unrecorded.ts";
import type { OpenUpload, RunningUpload, Uploads, WritingParts } from "./uploads.ts";
import { type Interrupted, WaitingUploads } from "./waiting.ts";

/** An upload that was registered or taken over. */
export interface OwnedUpload {
  /** Where its bytes go. */
  appender: Appender;
  /** Proof of ownership; null when the upload cannot be resumed. */
  secret: string | null;
}

/** A resumed upload that needs nothing more: it was completed before its owner heard of it. */
export interface CompletedUpload {
  /** Its size, lines and digest. */
  completed: UploadResult;
}

/** Errors after which the owner of an upload may come back; all others are final. */
const INTERRUPTIONS: ReadonlySet<ErrorCode> = new Set([
  "FENCED",
  "INTERRUPTED",
  "NOT_READY",
  "PEER_SILENT",
  "SHUTDOWN",
  "UNAUTHORIZED",
]);

/** For each upload that may run so many may wait for their owners: who begins and abandons them holds no place. */
const WAITING_PER_UPLOAD = 10;

/** Parts of the handover. */
export interface HandoverParts extends WritingParts {
  /** The uploads that run. */
  uploads: Uploads;
  /** Lets uploads begin. */
  admission: Admission;
  /** How long an interrupted upload can be resumed, in ms. */
  resumeWindowMs: number;
  /** Called with the last change of a record by which another node has it, or nobody, heard of while this one was changing it. */
  heardMeanwhile(record: ResourceRecord): void;
}

/** Changes the owners of uploads, one step at a time for each. */
export class Handover {
  readonly #parts: HandoverParts;
  readonly #interrupted: WaitingUploads;
  readonly #turns = new Turns();
  /** Uploads whose record this node is changing, and the last change of it by which another one has it, or nobody. */
  readonly #handling = new Map<string, ResourceRecord | null>();
  #closed = false;

  /** @param parts What it works with. */
  constructor(parts: HandoverParts) {
    this.#parts = parts;
    this.#interrupted = new WaitingUploads(parts.admission.maxUploads * WAITING_PER_UPLOAD);
  }

  /** Whether this node says what becomes of an upload. */
  isOurs(id: string): boolean {
    return this.isHeld(id) || this.#handling.has(id);
  }

  /** Whether this node says, or has said, what a record tells. */
  isOurWord(record: ResourceRecord): boolean {
    return this.isOurs(record.id) || this.#parts.uploads.isToldLate(record);
  }

  /** Whether an upload runs here, or waits here for its owner. */
  isHeld(id: string): boolean {
    return this.#parts.uploads.find(id) !== undefined || this.#interrupted.has(id);
  }

  /** Runs a step that makes or changes the record of an upload, after all earlier ones of its id. */
  take<T>(id: string, step: () => Promise<T>): Promise<T> {
    return this.#turns.take(id, async () => {
      this.#handling.set(id, null);
      try {
        return await step();
      } finally {
        const heard = this.#handling.get(id) ?? null;
        this.#handling.delete(id);
        if (heard !== null) this.#parts.heardMeanwhile(heard);
      }
    });
  }

  /**
   * Takes an upload over for whoever knows its secret, or for anybody whose it is; an owner that is still connected is
   * shut out, here or on another node.
   * @throws {StreamError} NOT_FOUND, NOT_OWNER; WRONG_STATE when it is FAILED; FENCED when somebody else came later;
   * NOT_READY while others take it again and again; LIMIT_REACHED, STORAGE_FAILED.
   */
  async resume(id: string, secret: string | null): Promise<OwnedUpload | CompletedUpload> {
    await this.#findOwned(id, secret);
    return await this.take(id, async () => {
      const record = await this.#findOwned(id, secret);
      await this.#detachOwner(id);
      return await this.#insist(record, ["CONFLICT"], () => this.#resumeNow(id, secret));
    });
  }

  /**
   * The owner of an upload is gone: it may come back for a while, if it can be resumed after that at all.
   * @param appender What the owner appended with.
   * @param cause Why; told to everybody if it does not come back.
   */
  async interrupt(appender: Appender, cause: StreamError): Promise<void> {
    const { id } = appender.resource;
    if (!mayComeBack(appender, cause) || !this.#isKept(appender)) {
      return await appender.fail(cause);
    }
    if (appender.isHeldUp) return;
    await this.take(id, async () => {
      const running = this.#parts.uploads.find(id);
      // Whoever resumed in the meantime has detached it already.
      if (running?.appender === appender) await this.#detach(running, cause);
    });
  }

  /**
   * Ends an upload that is to be deleted, whoever has it: it is FAILED with everything it has, and its uploader is told.
   * @param id The resource.
   * @param life The life of its id: one that began since goes on.
   * @param cause Why.
   * @throws {StreamError} NOT_READY while others take it again and again; NOT_FOUND without a record, STORAGE_FAILED.
   */
  end(id: string, life: string, cause: StreamError): Promise<void> {
    return this.take(id, async () => {
      const { catalog, lease } = this.#parts;
      const running = this.#running(id, life);
      if (running !== undefined) return await endRunning(running, cause);
      const interrupted = this.#interrupted.get(id);
      if (interrupted?.open.resource.status.life === life) return await this.#giveUp(id, cause);
      const found = await findRecord(catalog, id);
      await this.#insist(found, ["CONFLICT", "FENCED"], async () => {
        const record = await findRecord(catalog, id);
        if (isFinal(record.transferStatus) || lifeOf(record) !== life) return;
        const owner: Owner = { ...lease.owner(), deletes: true };
        const upload = await this.#nextEpoch(record, owner).catch(async (thrown) => {
          const error = toStreamError(thrown);
          if (error.code !== "NOT_FOUND") throw error;
          // Where its log is gone there is nothing to end.
          await this.lose(id, life, error);
          return null;
        });
        if (upload !== null) await this.#fail(upload, cause);
      });
    });
  }

  /**
   * Takes an upload over that nobody appends to any more, in its turn: it waits for its uploader or, if that
   * cannot come back, is FAILED; what its log says of its end stands.
   * @throws {StreamError} CONFLICT, FENCED when another node was faster; NOT_FOUND, STORAGE_FAILED.
   */
  async adopt(record: ResourceRecord, cause: StreamError): Promise<void> {
    await using opened = await this.#parts.cache.hold(record);
    const { status } = opened.resource;
    if (isFinal(status.transferStatus)) return await recordEnd(this.#parts, record, status);
    const isKept = this.#isKept(record);
    const upload = await this.#nextEpoch(record, this.#parts.lease.owner(isKept));
    if (!isKept) return await this.#fail(upload, cause);
    await upload.writer.close();
    if (record.ownedBy === "ANYBODY") return await this.#leave(upload);
    this.wait(upload.open, upload.record.epoch, null, cause);
  }

  /**
   * Waits for the owner of an upload to come back.
   * @param open The resource.
   * @param epoch The epoch that its owner had.
   * @param digest The digest of what the log holds; null when it must be brought up to date.
   * @param cause Why the owner is gone; told to everybody if it does not come back.
   * @param clients Whose it is, by each name that counts.
   */
  wait(
    open: OpenResource,
    epoch: number,
    digest: LogDigest | null,
    cause: StreamError,
    clients: readonly string[] = [],
  ): void {
    const { id } = open.resource;
    const giveUp = () => void this.take(id, () => this.#giveUp(id, cause)).catch(() => {});
    // What is taken over while this node ends is let go of with the others.
    const stopTimer = this.#closed ? () => {} : startTimer(this.#parts.resumeWindowMs, giveUp);
    this.#interrupted.add(id, { open, epoch, digest, clients, stopTimer, giveUp });
  }

  /** A record changed that this node is not changing: another one may own its upload now, or have ended it. */
  changed(record: ResourceRecord): void {
    const { id, epoch, transferStatus } = record;
    if (this.#handling.has(id)) {
      if (record.owner?.node !== this.#parts.lease.node) this.#handling.set(id, record);
      return;
    }
    const running = this.#running(id, lifeOf(record));
    if (running !== undefined && epoch > running.appender.epoch) {
      this.#parts.uploads.detached(id, running);
      running.appender.fence(record);
      void running.open.release();
    }
    const interrupted = this.#waiting(record);
    if (interrupted === undefined) return;
    if (epoch > interrupted.epoch || isFinal(transferStatus)) void this.#drop(id);
  }

  /** A resource was deleted: its upload does not come back, and is over where it runs all the same. */
  deleted(record: ResourceRecord): void {
    const { id } = record;
    if (this.#handling.has(id)) return;
    const running = this.#running(id, lifeOf(record));
    const cause = new StreamError("DELETED", `resource ${id} was deleted`);
    if (running !== undefined) void endRunning(running, cause);
    if (this.#waiting(record) !== undefined) void this.#drop(id);
  }

  /**
   * Lets go of all uploads, so that they can be resumed elsewhere, or here after a restart.
   * @param answered Until then those may end by themselves that cannot be resumed.
   */
  async close(answered: Promise<unknown> = Promise.resolve()): Promise<void> {
    this.#closed = true;
    const shutdown = new StreamError("SHUTDOWN", "the server was shut down");
    for (const { stopTimer } of this.#interrupted.all()) stopTimer();
    await this.#turns.settled();
    await Promise.all([
      ...this.#parts.uploads.all().map(({ appender }) =>
        appender.ownedBy === "CONNECTION"
          ? answered.catch(() => {}).then(() => appender.fail(shutdown))
          : appender.detach(null)
      ),
      ...Array.from(this.#interrupted.ids(), (id) => this.#disown(id)),
    ]);
  }

  /** Leaves an upload of this node to which nothing is appended here to whichever node comes first. */
  async disown({ id, revision, owner }: ResourceRecord): Promise<void> {
    const { catalog, lease } = this.#parts;
    // A node that is alone finds it again.
    if (lease.ms === Infinity || owner?.node !== lease.node) return;
    await catalog.update(id, revision, { owner: null }).catch(() => {});
  }

  /**
   * Makes a claim again whose record somebody else changed meanwhile.
   * @param again Refusals after which it is made again.
   */
  async #insist<T>(
    record: ResourceRecord,
    again: readonly ErrorCode[],
    make: () => Promise<T>,
  ): Promise<T> {
    // To begin to follow it may take longer than until its record changes again.
    await using _followed = await this.#parts.cache.hold(record);
    return await insistOn({ id: record.id, again, make, lookAt: (id) => this.#lookAt(id) });
  }

  async #resumeNow(id: string, secret: string | null): Promise<OwnedUpload | CompletedUpload> {
    const { cache, admission, uploads } = this.#parts;
    // The id may have been used again since: then the secret is another one.
    const record = await this.#findOwned(id, secret);
    if (record.transferStatus === "COMPLETED") return { completed: completedUpload(record) };
    // Whoever has it open here may hear of its end before or after this look, or of one that has no record.
    const { transferStatus, failure } = isFinal(record.transferStatus)
      ? record
      : cache.view(record).status;
    if (transferStatus === "FAILED") {
      throw new StreamError("WRONG_STATE", `upload ${id} is FAILED: ${failure}`);
    }
    if (transferStatus === "COMPLETED") {
      throw new StreamError("CONFLICT", `upload ${id} was completed just now`);
    }
    const interrupted = this.#waiting(record);
    return await admission.admit(async () => {
      const upload = await this.#nextEpoch(record).catch((error) => {
        throw error instanceof LogRefused ? error : forNow(error);
      });
      // Another node may have appended since.
      const known = interrupted?.epoch === record.epoch ? interrupted.digest : null;
      const digest = known ?? await this.#restoreDigest(upload);
      return { appender: uploads.start(upload, digest), secret };
    });
  }

  /** The record of an upload for whoever knows its secret. */
  async #findOwned(id: string, secret: string | null): Promise<ResourceRecord> {
    const record = await findRecord(this.#parts.catalog, id);
    if (await isOwner(record, secret)) return record;
    throw new StreamError("NOT_OWNER", `that is not the secret of upload ${id}`);
  }

  /** An upload that runs here; not one of another life of its id. */
  #running(id: string, life: string): RunningUpload | undefined {
    const running = this.#parts.uploads.find(id);
    return running?.open.resource.status.life === life ? running : undefined;
  }

  /** An upload that waits here; not one of another life of its id. */
  #waiting(record: ResourceRecord): Interrupted | undefined {
    const interrupted = this.#interrupted.get(record.id);
    return interrupted?.open.resource.status.life === lifeOf(record) ? interrupted : undefined;
  }

  /** The digest of what a log holds that was taken over; one that lost bytes is FAILED. */
  async #restoreDigest(upload: OpenUpload): Promise<LogDigest> {
    const { open, record, writer } = upload;
    try {
      return await restoreDigest(this.#parts.storage, record);
    } catch (thrown) {
      const error = toStreamError(thrown);
      if (error.code === "OFFSET_LOST") {
        await this.#fail(upload, error, flushedSize(this.#parts.storage, record));
      } else {
        await writer.close();
        if (record.ownedBy === "ANYBODY") await this.#leave(upload);
        else this.wait(open, record.epoch, null, error);
      }
      throw error;
    }
  }

  /** Ends an upload that was taken over; the digest of a failed one is not asked for. */
  async #fail(
    upload: OpenUpload,
    cause: StreamError,
    doubtfulFrom: number | null = doubtIn(this.#parts.storage, upload.record),
  ): Promise<void> {
    const { uploads } = this.#parts;
    const running = await createDigest("md5");
    await uploads.start(upload, { running, doubtfulFrom, flushed: null }).fail(cause);
  }

  /** Opens the log of an unfinished upload for its next epoch. */
  async #nextEpoch(
    record: ResourceRecord,
    owner: Owner = this.#parts.lease.owner(),
  ): Promise<OpenUpload> {
    const { cache } = this.#parts;
    const { id } = record;
    const interrupted = this.#waiting(record);
    // An upload that waited for its owner is open already.
    const open = interrupted?.open ?? await cache.hold(record);
    try {
      await cache.reach(id).catch((error) => {
        throw new LogRefused(error);
      });
      const { durableSize } = open.resource.status;
      const taken = await takeLog(this.#parts, record, durableSize, owner);
      this.#parts.meter.takenOver();
      interrupted?.stopTimer();
      this.#interrupted.delete(id);
      // The tail may bring it later, and what follows is decided by it.
      open.resource.publish(taken.status);
      return { open, ...taken };
    } catch (error) {
      if (interrupted === undefined) await open.release();
      throw error;
    }
  }

  /** Shuts the present owner of an upload out, if it is on this node. */
  async #detachOwner(id: string): Promise<void> {
    const running = this.#parts.uploads.find(id);
    if (running === undefined) return;
    if (running.appender.isHeldUp) throw heldUp();
    const fenced = new StreamError("FENCED", "the upload was resumed by another connection");
    await this.#detach(running, fenced);
    running.appender.disown(fenced);
  }

  /** Takes the log from an owner, unless the upload is over then. */
  async #detach(running: RunningUpload, cause: StreamError): Promise<void> {
    const { uploads, lease } = this.#parts;
    const { appender, open } = running;
    const isLeft = this.#closed || appender.ownedBy === "ANYBODY";
    const digest = await appender.detach(isLeft ? null : lease.owner(true));
    if (digest === null) return;
    uploads.detached(appender.resource.id, running);
    // What its record does not tell is known as long as it is open.
    if (this.#closed || isLeft && appender.isRecorded) await open.release();
    else this.wait(open, appender.epoch, digest, cause, appender.clients);
  }

  /** Leaves an upload that was taken over to anybody who comes; until then it costs nothing. */
  async #leave({ open, record }: OpenUpload): Promise<void> {
    try {
      await this.#parts.catalog.update(record.id, record.revision, { owner: null });
    } finally {
      await open.release();
    }
  }

  /** Whether an upload goes on after its owner is gone: for the resume window, or for whoever comes. */
  #isKept({ ownedBy }: { ownedBy: Ownership }): boolean {
    return ownedBy === "ANYBODY" || ownedBy === "SECRET" && this.#parts.resumeWindowMs > 0;
  }

  /** Nobody came back: the upload is FAILED with everything it has. */
  async #giveUp(id: string, cause: StreamError): Promise<void> {
    const { catalog, lease } = this.#parts;
    const interrupted = this.#interrupted.get(id);
    if (interrupted === undefined) return;
    try {
      const record = await findRecord(catalog, id);
      const isOver = isFinal(record.transferStatus) || this.#waiting(record) === undefined;
      if (isOver || !lease.mayTake(record)) return await this.#drop(id);
      if (record.ownedBy === "ANYBODY") return await this.adopt(record, cause);
      await this.#fail(await this.#nextEpoch(record), cause);
    } catch (thrown) {
      const error = toStreamError(thrown);
      if (error.code === "CONFLICT" || error.code === "FENCED") return await this.#drop(id);
      const { open, epoch, digest, clients } = interrupted;
      const isLost = error.code === "NOT_FOUND" ||
        error instanceof LogRefused && error.code !== "NOT_READY";
      const isTold = isLost &&
        await this.lose(id, open.resource.status.life, error).then(() => true, () => false);
      if (isTold) return await this.#drop(id);
      // A catalog that takes nothing now is told after another window.
      this.wait(open, epoch, digest, cause, clients);
    }
  }

  /**
   * The log of an upload is gone or cannot be opened: it is FAILED, and that is no reason not to serve the others.
   * @param id The resource.
   * @param life The life of its id: one that began since has a log of its own.
   * @param error What the log was refused with.
   */
  async lose(id: string, life: string, error: StreamError): Promise<void> {
    const { catalog, cache, events } = this.#parts;
    const record = await catalog.get(id);
    if (record === null || lifeOf(record) !== life) return;
    const lost = await recordLoss(this.#parts, record, cache.find(id)?.status ?? null, error);
    const status = statusOf(lost);
    cache.find(id)?.publish(status);
    events.emit({ type: "status", id, contextId: lost.contextId, status });
  }

  /** Another node says what becomes of an upload that waited here. */
  async #drop(id: string): Promise<void> {
    const interrupted = this.#interrupted.get(id);
    this.#interrupted.delete(id);
    interrupted?.stopTimer();
    await interrupted?.open.release();
  }

  /** Looks whether an upload that could not be taken over is another node's. */
  async #lookAt(id: string): Promise<ResourceRecord | null> {
    const record = await this.#parts.catalog.get(id).catch(() => null);
    if (record !== null && !this.#parts.lease.mayTake(record)) await this.#drop(id);
    return record;
  }

  /** Leaves an upload that waits here to whichever node comes first. */
  async #disown(id: string): Promise<void> {
    const record = await this.#parts.catalog.get(id).catch(() => null);
    if (record !== null) await this.disown(record);
  }
}

/** Ends an upload that runs, and tells its owner. */
function endRunning({ appender }: RunningUpload, cause: StreamError): Promise<void> {
  const ended = appender.fail(cause);
  appender.disown(cause);
  return ended;
}

/** Tells whether an upload waits for its owner after an error. */
export function mayComeBack({ ownedBy }: Appender, { code }: StreamError): boolean {
  return ownedBy !== "CONNECTION" && INTERRUPTIONS.has(code);
}

/** Tells whether an upload is theirs who know a secret; null is nobody's. */
export async function isOwner(
  { ownedBy, secretHash }: ResourceRecord,
  secret: string | null,
): Promise<boolean> {
  // What is anybody's has rules of its own, which the owner of an upload knows nothing of.
  if (ownedBy === "ANYBODY") return secret === null;
  return secret !== null && secretHash !== null && await matchesSecret(secret, secretHash);
}

function completedUpload({ size, lines, digest }: ResourceRecord): UploadResult {
  return { size, numberOfLines: lines, digest: digest! };
}
