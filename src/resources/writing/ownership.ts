/**
 * Who owns the logs of unfinished uploads: begun, interrupted, resumed, recovered after a restart, given up.
 *
 * A log has one owner at a time, the appender of the newest epoch. An upload whose owner is gone waits for
 * it, and is FAILED when nobody comes back in time.
 * @module
 */
import type { Catalog, ResourceQuery, ResourceRecord } from "../../catalog.ts";
import { createDigest, type RunningDigest } from "../../digest.ts";
import {
  type ErrorCode,
  isFinal,
  StreamError,
  toStreamError,
  type UploadResult,
} from "../../protocol.ts";
import type { LogOptions, LogWriter, Storage } from "../../storage.ts";
import { startTimer } from "../../timer.ts";
import { Appender, type Durability } from "./appender.ts";
import type { ResourceEvents } from "../events.ts";
import type { Health } from "../health.ts";
import type { OpenResource, ResourceCache } from "../reading/cache.ts";
import type { Meter } from "../meter.ts";
import type { Quota } from "../quota.ts";
import { findRecord } from "../find.ts";
import { statusOf } from "../status.ts";
import { restoreDigest } from "./restore.ts";
import { matchesSecret } from "./secret.ts";
import { Turns } from "./turns.ts";
import type { Usage } from "../usage.ts";

/** How uploads run. */
export interface UploadOptions {
  /** Shortest time between two checkpoints of one resource under load, in ms; 50 by default. */
  checkpointIntervalMs?: number;
  /** What an acknowledged byte survives: `os` the end of the server's process, `disk` that of its machine. */
  durability?: Durability;
  /** How long an interrupted upload can be resumed before it is FAILED, in ms; 60 000 by default. */
  resumeWindowMs?: number;
  /** Uploads at the same time; 1000 by default. */
  maxUploads?: number;
}

/** An upload that was registered or taken over. */
export interface OwnedUpload {
  /** Where its bytes go. */
  appender: Appender;
  /** What proves ownership; null when the upload cannot be resumed. */
  secret: string | null;
}

/** A resumed upload that needs nothing more: it was completed before its owner heard of it. */
export interface CompletedUpload {
  /** Its size, lines and digest. */
  completed: UploadResult;
}

/** What ownership works with. */
export interface OwnershipParts {
  /** Where bytes are. */
  storage: Storage;
  /** Where records are. */
  catalog: Catalog;
  /** The resources that somebody has open. */
  cache: ResourceCache;
  /** Says whether a resource may grow. */
  quota: Quota;
  /** Measures what is written. */
  meter: Meter;
  /** Hears whether the disk takes bytes. */
  health: Health;
  /** Counts what is stored. */
  usage: Usage;
  /** Told of every status. */
  events: ResourceEvents;
}

const DEFAULTS = {
  checkpointIntervalMs: 50,
  durability: "os",
  resumeWindowMs: 60_000,
  maxUploads: 1000,
} as const;

/** Errors after which the owner of an upload may come back; all others are final. */
const INTERRUPTIONS: ReadonlySet<ErrorCode> = new Set([
  "FENCED",
  "INTERRUPTED",
  "PEER_SILENT",
  "SHUTDOWN",
  "UNAUTHORIZED",
]);

/** Records looked at together during recovery. */
const RECOVERY_PAGE = 100;

/** An upload that runs. */
interface Running {
  appender: Appender;
  open: OpenResource;
}

/** An upload whose owner is gone, for the time it may come back. */
interface Interrupted {
  open: OpenResource;
  /** The digest of what the log holds; null after a restart, when it must be brought up to date. */
  digest: RunningDigest | null;
  stopTimer: () => void;
}

/** The owners of all unfinished uploads. */
export class Ownership {
  readonly #parts: OwnershipParts;
  readonly #options: Required<UploadOptions>;
  readonly #uploads = new Map<string, Running>();
  readonly #interrupted = new Map<string, Interrupted>();
  /** Steps that change who owns a log. */
  readonly #handovers = new Turns();
  /** Uploads that are being registered or taken over. */
  #starting = 0;
  #closed = false;

  /**
   * @param parts What it works with.
   * @param options How uploads run.
   */
  constructor(parts: OwnershipParts, options: UploadOptions) {
    this.#parts = parts;
    this.#options = {
      checkpointIntervalMs: options.checkpointIntervalMs ?? DEFAULTS.checkpointIntervalMs,
      durability: options.durability ?? DEFAULTS.durability,
      resumeWindowMs: options.resumeWindowMs ?? DEFAULTS.resumeWindowMs,
      maxUploads: options.maxUploads ?? DEFAULTS.maxUploads,
    };
  }

  /** Uploads that run. */
  get uploads(): number {
    return this.#uploads.size;
  }

  /** How long an interrupted upload can be resumed, in ms. */
  get resumeWindowMs(): number {
    return this.#options.resumeWindowMs;
  }

  /** Uploads that may run at the same time. */
  get maxUploads(): number {
    return this.#options.maxUploads;
  }

  /**
   * Runs a step that starts an upload; it counts as one from now on.
   * @throws {StreamError} LIMIT_REACHED, SHUTDOWN; what the step throws.
   */
  async admit<T>(step: () => Promise<T>): Promise<T> {
    if (this.#closed) throw shuttingDown();
    const { maxUploads } = this.#options;
    if (this.#uploads.size + this.#starting >= maxUploads) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${maxUploads} uploads are running already: try again later`,
      );
    }
    this.#starting++;
    try {
      return await step();
    } finally {
      this.#starting--;
    }
  }

  /**
   * Makes log and record of a new upload, or neither.
   * @param record The record.
   * @param digest The digest of no bytes.
   */
  async create(record: ResourceRecord, digest: RunningDigest): Promise<Appender> {
    const { storage, catalog, cache } = this.#parts;
    const writer = await storage.create(record.id, logOptions(record));
    try {
      await catalog.create(record);
      if (this.#closed) {
        await catalog.delete(record.id);
        throw shuttingDown();
      }
    } catch (error) {
      await writer.close();
      await storage.delete(record.id);
      throw error;
    }
    return this.#append(cache.hold(record), record, writer, digest);
  }

  /**
   * Takes an upload over for whoever knows its secret; an owner that is still connected is shut out.
   * @throws {StreamError} NOT_FOUND, NOT_OWNER; WRONG_STATE when it is FAILED; LIMIT_REACHED, STORAGE_FAILED.
   */
  async resume(id: string, secret: string): Promise<OwnedUpload | CompletedUpload> {
    const { catalog, cache } = this.#parts;
    const { secretHash } = await findRecord(catalog, id);
    if (secretHash === null || !await matchesSecret(secret, secretHash)) {
      throw new StreamError("NOT_OWNER", `that is not the secret of upload ${id}`);
    }
    return await this.#handovers.take(id, async () => {
      await this.#detachOwner(id);
      const record = await findRecord(catalog, id);
      const { transferStatus, failure } = cache.view(record).status;
      if (transferStatus === "COMPLETED") return { completed: completedUpload(record) };
      if (isFinal(transferStatus)) {
        throw new StreamError("WRONG_STATE", `upload ${id} is FAILED: ${failure}`);
      }
      const digest = this.#interrupted.get(id)?.digest ?? null;
      return { appender: await this.admit(() => this.#takeOver(record, digest)), secret };
    });
  }

  /**
   * The owner of an upload is gone: it may come back for a while, if it can be resumed after that at all.
   * @param appender What the owner appended with.
   * @param cause Why; told to everybody if it does not come back.
   */
  async interrupt(appender: Appender, cause: StreamError): Promise<void> {
    const { id } = appender.resource;
    if (!mayComeBack(appender, cause) || this.#options.resumeWindowMs === 0) {
      return await appender.fail(cause);
    }
    await this.#handovers.take(id, async () => {
      // Whoever resumed in the meantime has detached it already.
      const running = this.#uploads.get(id);
      if (running?.appender === appender) await this.#detach(running, cause);
    });
  }

  /**
   * Brings every upload that an earlier process left unfinished in line with its log.
   * @returns How many there were.
   */
  async recover(): Promise<number> {
    let recovered = 0;
    let after: ResourceQuery["after"];
    for (;;) {
      const records = await this.#parts.catalog.list({
        transferStatuses: ["INITIATED", "IN_PROGRESS"],
        limit: RECOVERY_PAGE,
        after,
      });
      for (const record of records) await this.#recoverOne(record);
      recovered += records.length;
      if (records.length < RECOVERY_PAGE) return recovered;
      after = records[records.length - 1];
    }
  }

  /** Lets go of running uploads, so that they can be resumed after a restart. */
  async close(): Promise<void> {
    this.#closed = true;
    const shutdown = new StreamError("SHUTDOWN", "the server was shut down");
    for (const { stopTimer } of this.#interrupted.values()) stopTimer();
    await this.#handovers.settled();
    await Promise.all(
      [...this.#uploads.values()].map(({ appender }) =>
        appender.resumable ? appender.detach() : appender.fail(shutdown)
      ),
    );
  }

  /** Appends to a log from now on. */
  #append(
    open: OpenResource,
    record: ResourceRecord,
    writer: LogWriter,
    digest: RunningDigest,
  ): Appender {
    const { catalog, quota, usage, events, meter, health } = this.#parts;
    const { durability, checkpointIntervalMs } = this.#options;
    const { id, metadata, contextId } = record;
    const { resource } = open;
    const subject = { id, metadata, contextId };
    let counted = record.size;
    const appender = new Appender(resource, {
      writer,
      catalog,
      record,
      digest,
      durability,
      checkpointIntervalMs,
      meter,
      stored: (error) => health.stored(error),
      checkGrowth: async (size) => {
        await quota.checkGrowth(subject, size);
        await usage.take(contextId, size - counted);
        counted = size;
      },
      published: (status) => events.emit({ type: "status", id, contextId, status }),
      ended: (recorded) => {
        this.#uploads.delete(id);
        // What was counted and then refused is not there.
        usage.give(contextId, counted - resource.status.currentSize);
        // An end that the catalog refused is remembered as long as this process lives.
        if (recorded) return open.release();
      },
    });
    this.#uploads.set(id, { appender, open });
    return appender;
  }

  /**
   * Makes somebody the owner of an unfinished upload.
   * @param digest The digest of what the log holds; null when it must be brought up to date.
   */
  async #takeOver(record: ResourceRecord, digest: RunningDigest | null): Promise<Appender> {
    const next = await this.#nextEpoch(record);
    try {
      digest ??= await restoreDigest(this.#parts.storage, next.record);
    } catch (error) {
      await next.writer.close();
      this.#keep(next.open, null, toStreamError(error));
      throw error;
    }
    return this.#append(next.open, next.record, next.writer, digest);
  }

  /** Opens the log of an unfinished upload for its next epoch; the log says how much there is. */
  async #nextEpoch(
    record: ResourceRecord,
  ): Promise<{ open: OpenResource; record: ResourceRecord; writer: LogWriter }> {
    const { catalog, storage, cache, usage } = this.#parts;
    const { id } = record;
    // Claimed before it is used: after a failure halfway the next attempt has a greater one.
    const epoch = record.epoch + 1;
    const { revision } = await catalog.update(id, record.revision, { epoch, sequence: 0 });
    const writer = await storage.recover(id, { ...logOptions(record), epoch });
    let updated: ResourceRecord;
    try {
      updated = await catalog.update(id, revision, {
        transferStatus: writer.size === 0 ? "INITIATED" : "IN_PROGRESS",
        size: writer.size,
        durableSize: Math.min(record.durableSize, writer.size),
        lines: record.metadata.supportsLineAccess ? writer.lineBreaks : null,
        updatedAtMs: Date.now(),
      });
    } catch (error) {
      await writer.close();
      throw error;
    }
    usage.give(record.contextId, record.size - updated.size);
    const interrupted = this.#interrupted.get(id);
    interrupted?.stopTimer();
    this.#interrupted.delete(id);
    // An upload that waited for its owner is open already.
    const open = interrupted?.open ?? cache.hold(updated);
    const { resource } = open;
    const durableSize = Math.min(resource.status.durableSize, writer.size);
    resource.publish({ ...statusOf(updated), durableSize });
    return { open, record: updated, writer };
  }

  /** Shuts the present owner of an upload out, if there is one. */
  async #detachOwner(id: string): Promise<void> {
    const owner = this.#uploads.get(id);
    if (owner === undefined) return;
    const fenced = new StreamError("FENCED", "the upload was resumed by another connection");
    await this.#detach(owner, fenced);
    owner.appender.disown(fenced);
  }

  /** Takes the log from an owner, unless the upload is over then. */
  async #detach({ appender, open }: Running, cause: StreamError): Promise<void> {
    const digest = await appender.detach();
    if (digest === null) return;
    this.#uploads.delete(appender.resource.id);
    this.#keep(open, digest, cause);
  }

  /** Waits for the owner of an upload to come back. */
  #keep(open: OpenResource, digest: RunningDigest | null, cause: StreamError): void {
    if (this.#closed) return;
    const { id } = open.resource;
    const stopTimer = startTimer(this.#options.resumeWindowMs, () => {
      this.#handovers.take(id, () => this.#giveUp(id, cause)).catch(() => {});
    });
    this.#interrupted.set(id, { open, digest, stopTimer });
  }

  /** Nobody came back: the upload is FAILED with everything it has. */
  async #giveUp(id: string, cause: StreamError): Promise<void> {
    const { catalog, events } = this.#parts;
    const interrupted = this.#interrupted.get(id);
    if (interrupted === undefined) return;
    try {
      // The digest of a failed upload is not asked for.
      const digest = await createDigest("md5");
      const appender = await this.#takeOver(await findRecord(catalog, id), digest);
      await appender.fail(cause);
    } catch (error) {
      this.#interrupted.delete(id);
      const record = await this.#recordLost(id, toStreamError(error));
      const status = statusOf(record);
      interrupted.open.resource.publish(status);
      events.emit({ type: "status", id, contextId: record.contextId, status });
      await interrupted.open.release();
    }
  }

  async #recoverOne(record: ResourceRecord): Promise<void> {
    const cause = new StreamError(
      "INTERRUPTED",
      "the server ended while this was being uploaded, and the uploader did not come back",
    );
    try {
      const next = await this.#nextEpoch(record);
      if (record.secretHash === null || this.#options.resumeWindowMs === 0) {
        const digest = await createDigest("md5");
        return await this.#append(next.open, next.record, next.writer, digest).fail(cause);
      }
      await next.writer.close();
      this.#keep(next.open, null, cause);
    } catch (error) {
      const lost = toStreamError(error);
      if (lost.code === "NOT_FOUND") await this.#recordLost(record.id, lost);
      // What cannot be opened now may be when its owner is back, or when the window is over.
      else this.#keep(this.#parts.cache.hold(record), null, cause);
    }
  }

  /** The log of an upload is gone or cannot be opened: that is no reason not to serve the others. */
  async #recordLost(id: string, error: StreamError): Promise<ResourceRecord> {
    const { catalog, usage } = this.#parts;
    const isGone = error.code === "NOT_FOUND";
    const record = await findRecord(catalog, id);
    if (isGone) usage.give(record.contextId, record.size);
    return await catalog.update(id, record.revision, {
      transferStatus: "FAILED",
      ...(isGone
        ? { size: 0, durableSize: 0, lines: record.metadata.supportsLineAccess ? 0 : null }
        : {}),
      failure: `STORAGE_FAILED: ${error.message}`,
      digestState: null,
      updatedAtMs: Date.now(),
    });
  }
}

/** Tells whether an upload waits for its owner after an error. */
export function mayComeBack({ resumable }: Appender, { code }: StreamError): boolean {
  return resumable && INTERRUPTIONS.has(code);
}

function completedUpload({ size, lines, digest }: ResourceRecord): UploadResult {
  return { size, numberOfLines: lines, digest: digest! };
}

function shuttingDown(): StreamError {
  return new StreamError("SHUTDOWN", "the server is shutting down");
}

/** How the log of a resource is opened. */
function logOptions(record: ResourceRecord): LogOptions {
  return { lineAccess: record.metadata.supportsLineAccess, epoch: record.epoch };
}
