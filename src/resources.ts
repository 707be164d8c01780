/**
 * The life cycle of resources: registered, appended to, completed or failed, read, listed, deleted.
 *
 * Knows storage and catalog by their interfaces only, and nothing of connections.
 * @module
 */
import type { Catalog, ResourceQuery, ResourceRecord, UploadContext } from "./catalog.ts";
import { chooseDigest, createDigest, type RunningDigest } from "./digest.ts";
import {
  checkContextId,
  checkMetadata,
  isFinal,
  isResourceId,
  LIMITS,
  type ResourceMetadata,
  type ResourceStatus,
  StreamError,
  toStreamError,
  type TransferStatus,
  type UploadResult,
} from "./protocol.ts";
import { Appender, type Durability } from "./resources/appender.ts";
import { CreditPool } from "./resources/credit.ts";
import { type RetentionOptions, sweep } from "./resources/retention.ts";
import { type RecentBudget, Resource } from "./resources/resource.ts";
import { hashSecret, matchesSecret, newSecret } from "./resources/secret.ts";
import { Usage, type UsageLimits } from "./resources/usage.ts";
import type { LogWriter, Storage } from "./storage.ts";

/** What a quota policy is asked about. */
export interface QuotaSubject {
  /** Id of the resource. */
  id: string;
  /** What the upload announced. */
  metadata: ResourceMetadata;
  /** Upload context; null without one. */
  contextId: string | null;
}

/** Decides what may be stored; refuses by throwing, the error's message reaches the uploader. */
export interface QuotaPolicy {
  /** Asked before a resource is registered. */
  checkRegistration?(subject: QuotaSubject): void | Promise<void>;
  /** Asked before a resource grows to a size in bytes. */
  checkGrowth?(subject: QuotaSubject, size: number): void | Promise<void>;
}

/** What listeners hear. */
export type ResourceEvent =
  | { type: "created"; id: string; contextId: string | null; metadata: ResourceMetadata }
  | { type: "status"; id: string; contextId: string | null; status: ResourceStatus }
  | { type: "refused"; contextId: string | null; metadata: ResourceMetadata; error: StreamError }
  | { type: "deleted"; id: string; contextId: string | null };

/** Which events a listener wants; all without a filter. */
export interface EventFilter {
  /** Only those of one upload context. */
  contextId?: string;
  /** Of the status events, only those with one of these. */
  transferStatuses?: readonly TransferStatus[];
}

/** Limits and settings of a server's resources. */
export interface ResourcesOptions extends UsageLimits, RetentionOptions {
  /** Where bytes are. */
  storage: Storage;
  /** Where records are. */
  catalog: Catalog;
  /** Who decides what may be stored; everything may without one. */
  quota?: QuotaPolicy;
  /** Shortest time between two checkpoints of one resource under load, in ms; 50 by default. */
  checkpointIntervalMs?: number;
  /** Hears of what listeners throw, which harms nobody else. */
  listenerFailed?: (error: unknown) => void;
  /** What an acknowledged byte survives: `os` the end of the server's process, `disk` that of its machine. */
  durability?: Durability;
  /** How long an interrupted upload can be resumed before it is FAILED, in ms; 60 000 by default. */
  resumeWindowMs?: number;
  /** Whether uploads without an upload context are refused; false by default. */
  requireContext?: boolean;
  /** Largest size of one resource in bytes; 1 TiB by default, which is also the most. */
  maxResourceBytes?: number;
  /** Those who have one resource open at the same time; 20 000 by default. */
  maxFollowers?: number;
  /** Uploads at the same time; 1000 by default. */
  maxUploads?: number;
  /** Received bytes that may wait to be written, all uploads together, in bytes; 128 MiB by default. */
  receiveBudgetBytes?: number;
}

/** A record with the newest status, which a running upload has not written to the catalog yet. */
export type ResourceView = ResourceRecord & {
  /** The newest status. */
  status: ResourceStatus;
};

/** What the owner of a server can do with its resources. */
export interface ServerResources {
  /** Uploads that run. */
  readonly uploads: number;
  /** Bytes of all resources. */
  readonly totalBytes: number;
  /**
   * Hears of what happens, in order.
   * @returns Ends it.
   */
  listen(listener: (event: ResourceEvent) => void, filter?: EventFilter): () => void;
  /**
   * Makes an upload context unless it exists.
   * @throws {StreamError} BAD_METADATA.
   */
  createContext(id: string): Promise<UploadContext>;
  /**
   * The record of a resource with its newest status.
   * @throws {StreamError} NOT_FOUND.
   */
  get(id: string): Promise<ResourceView>;
  /** Records with their newest statuses, newest resource first. */
  list(query: ResourceQuery): Promise<ResourceView[]>;
  /**
   * Deletes a resource with its bytes.
   * @throws {StreamError} NOT_FOUND; WRONG_STATE while it is being uploaded.
   */
  delete(id: string): Promise<void>;
}

/** How an upload is registered. */
export interface Registration {
  /** What the upload announces. */
  metadata: ResourceMetadata;
  /** Upload context; null without one. */
  contextId: string | null;
  /** Whether the upload can be resumed after its connection broke. */
  resumable: boolean;
  /** Whether an upload context nobody made yet is made now; otherwise it counts as none. */
  makeContext: boolean;
  /** Digest algorithms, in the uploader's order of preference. */
  digests: readonly string[];
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

const DEFAULTS = {
  checkpointIntervalMs: 50,
  resumeWindowMs: 60_000,
  durability: "os",
  maxUploads: 1000,
  maxFollowers: 20_000,
  receiveBudgetBytes: 128 * 1024 * 1024,
  /** Memory for the newest bytes of all resources, for followers at their tails. */
  recentBytes: 32 * 1024 * 1024,
} as const;

/** Step of a read that brings a digest up to date. */
const DIGEST_READ_BYTES = 1024 * 1024;
/** Time between two looks for resources that need not be kept. */
const SWEEP_MS = 60_000;
/** Records looked at together during recovery. */
const RECOVERY_PAGE = 100;

/** An upload whose owner is gone, for the time it may come back. */
interface Interrupted {
  resource: Resource;
  /** The digest of what the log holds; null after a restart, when it must be brought up to date. */
  digest: RunningDigest | null;
  timer: ReturnType<typeof setTimeout>;
}

/** A resource that somebody holds open. */
interface Held {
  resource: Resource;
  holders: number;
}

interface Listener {
  listener: (event: ResourceEvent) => void;
  filter: EventFilter;
}

/** All resources of a server. */
export class Resources implements ServerResources {
  readonly #options: ResourcesOptions;
  readonly #catalog: Catalog;
  readonly #storage: Storage;
  readonly #held = new Map<string, Held>();
  readonly #uploads = new Map<string, Appender>();
  readonly #interrupted = new Map<string, Interrupted>();
  /** The last step that changes who owns a log, by id. */
  readonly #handovers = new Map<string, Promise<unknown>>();
  readonly #listeners = new Set<Listener>();
  readonly #recentBudget: RecentBudget = { freeBytes: DEFAULTS.recentBytes };
  readonly #maxUploads: number;
  readonly #usage: Usage;
  #sweeper: ReturnType<typeof setInterval> | undefined;
  #registering = 0;
  #newestMs = 0;
  #closed = false;

  /** Budget of received bytes that wait to be written. */
  readonly creditPool: CreditPool;

  /** @param options Parts and limits. */
  constructor(options: ResourcesOptions) {
    this.#options = options;
    this.#catalog = options.catalog;
    this.#storage = options.storage;
    this.#usage = new Usage(options, options.storage, (bytes) => this.#sweep(bytes));
    this.#maxUploads = options.maxUploads ?? DEFAULTS.maxUploads;
    const budgetBytes = options.receiveBudgetBytes ?? DEFAULTS.receiveBudgetBytes;
    const reservedBytes = this.#maxUploads * LIMITS.minUploadWindowBytes;
    this.creditPool = new CreditPool(Math.max(0, budgetBytes - reservedBytes));
  }

  get totalBytes(): number {
    return this.#usage.totalBytes;
  }

  get #resumeWindowMs(): number {
    return this.#options.resumeWindowMs ?? DEFAULTS.resumeWindowMs;
  }

  get uploads(): number {
    return this.#uploads.size;
  }

  /**
   * Registers an upload; the resource can be followed from now on.
   * @throws {StreamError} BAD_METADATA, CONTEXT_REQUIRED, CONTEXT_UNKNOWN, QUOTA_EXCEEDED, LIMIT_REACHED, STORAGE_FAILED.
   */
  async register(registration: Registration): Promise<OwnedUpload> {
    this.#registering++;
    try {
      return await this.#register(registration);
    } catch (error) {
      const { metadata, contextId } = registration;
      const refusal = toStreamError(error);
      this.#emit({ type: "refused", contextId, metadata, error: refusal });
      throw refusal;
    } finally {
      this.#registering--;
    }
  }

  /**
   * Takes an upload over for whoever knows its secret; an owner that is still connected is shut out.
   * @throws {StreamError} NOT_FOUND, NOT_OWNER; WRONG_STATE when it is FAILED; LIMIT_REACHED, STORAGE_FAILED.
   */
  async resume(id: string, secret: string): Promise<OwnedUpload | CompletedUpload> {
    const { secretHash } = await this.get(id);
    if (secretHash === null || !await matchesSecret(secret, secretHash)) {
      throw new StreamError("NOT_OWNER", `that is not the secret of upload ${id}`);
    }
    return await this.#exclusively(id, async () => {
      await this.#detachOwner(id);
      const record = await this.get(id);
      const { transferStatus, failure } = record.status;
      if (transferStatus === "COMPLETED") return { completed: completedUpload(record) };
      if (isFinal(transferStatus)) {
        throw new StreamError("WRONG_STATE", `upload ${id} is FAILED: ${failure}`);
      }
      this.#checkCapacity();
      const interrupted = this.#interrupted.get(id);
      return { appender: await this.#takeOver(record, interrupted?.digest ?? null), secret };
    });
  }

  /**
   * The owner of an upload is gone: it may come back for a while, if it can be resumed at all.
   * @param appender What the owner appended with.
   * @param cause Why; told to everybody if it does not come back.
   */
  async interrupt(appender: Appender, cause: StreamError): Promise<void> {
    const { id } = appender.resource;
    if (!appender.resumable || this.#resumeWindowMs === 0) return await appender.fail(cause);
    await this.#exclusively(id, async () => {
      // Whoever resumed in the meantime has detached it already.
      if (this.#uploads.get(id) === appender) await this.#detach(appender, cause);
    });
  }

  /**
   * Opens a resource; whoever does so calls `release` with it once.
   * @throws {StreamError} NOT_FOUND, LIMIT_REACHED.
   */
  async open(id: string): Promise<Resource> {
    const held = this.#held.get(id) ?? await this.#load(id);
    if (held.resource.deleted) throw notFound(id);
    const maxFollowers = this.#options.maxFollowers ?? DEFAULTS.maxFollowers;
    if (held.holders >= maxFollowers) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${maxFollowers} have resource ${id} open: try again later`,
      );
    }
    held.holders++;
    return held.resource;
  }

  /** Ends what `open` began. */
  async release(resource: Resource): Promise<void> {
    const held = this.#held.get(resource.id);
    if (held?.resource !== resource || --held.holders > 0) return;
    this.#held.delete(resource.id);
    await resource.close();
  }

  async get(id: string): Promise<ResourceView> {
    const record = isResourceId(id) ? await this.#catalog.get(id) : null;
    if (record === null) throw notFound(id);
    return { ...record, status: this.#newestStatus(record) };
  }

  async list(query: ResourceQuery): Promise<ResourceView[]> {
    const records = await this.#catalog.list(query);
    return records.map((record) => ({ ...record, status: this.#newestStatus(record) }));
  }

  async delete(id: string): Promise<void> {
    const record = await this.get(id);
    if (!isFinal(record.status.transferStatus)) {
      throw new StreamError("WRONG_STATE", `resource ${id} is still being uploaded`);
    }
    // Two may delete it at the same time: it is counted and told once.
    if (!await this.#catalog.delete(id)) throw notFound(id);
    this.#usage.give(record.contextId, record.size);
    this.#held.get(id)?.resource.markDeleted();
    this.#emit({ type: "deleted", id, contextId: record.contextId });
    await this.#storage.delete(id);
  }

  async createContext(id: string): Promise<UploadContext> {
    return await this.#catalog.createContext(checkContextId(id));
  }

  listen(listener: (event: ResourceEvent) => void, filter: EventFilter = {}): () => void {
    const entry = { listener, filter };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /**
   * Brings every upload that an earlier process left unfinished in line with its log: it can be resumed
   * from now on for the resume window; what cannot be resumed is FAILED.
   * @returns How many there were.
   */
  async recover(): Promise<number> {
    let recovered = 0;
    let after: ResourceQuery["after"];
    await this.#usage.load(this.#catalog);
    for (;;) {
      const records = await this.#catalog.list({
        transferStatuses: ["INITIATED", "IN_PROGRESS"],
        limit: RECOVERY_PAGE,
        after,
      });
      for (const record of records) await this.#recoverOne(record);
      recovered += records.length;
      if (records.length < RECOVERY_PAGE) break;
      after = records[records.length - 1];
    }
    await this.#startSweeping();
    return recovered;
  }

  /** Lets go of running uploads, so that they can be resumed after a restart, and of everything else. */
  async close(): Promise<void> {
    this.#closed = true;
    const shutdown = new StreamError("SHUTDOWN", "the server was shut down");
    clearInterval(this.#sweeper);
    for (const { timer } of this.#interrupted.values()) clearTimeout(timer);
    await Promise.all(this.#handovers.values());
    await Promise.all(
      [...this.#uploads.values()].map((upload) =>
        upload.resumable ? upload.detach() : upload.fail(shutdown)
      ),
    );
    await Promise.all([...this.#held.values()].map(({ resource }) => resource.close()));
    this.#held.clear();
  }

  async #register(registration: Registration): Promise<OwnedUpload> {
    const metadata = checkMetadata(registration.metadata);
    this.#checkCapacity();
    const contextId = await this.#context(registration);
    const subject = { id: crypto.randomUUID(), metadata, contextId };
    await this.#usage.take(contextId, 0);
    await this.#checkQuota(() => this.#options.quota?.checkRegistration?.(subject));
    const digest = await createDigest(chooseDigest(registration.digests));
    const secret = registration.resumable ? newSecret() : null;
    const secretHash = secret === null ? null : await hashSecret(secret);
    const record = newRecord(subject, digest, secretHash, this.#nextTimeMs());
    const writer = await this.#storage.create(record.id, logOptions(record));
    try {
      await this.#catalog.create(record);
    } catch (error) {
      await writer.close();
      await this.#storage.delete(record.id);
      throw error;
    }
    if (this.#closed) {
      await this.#catalog.delete(record.id);
      await writer.close();
      await this.#storage.delete(record.id);
      throw shuttingDown();
    }
    const resource = this.#holdOn(record);
    const appender = this.#append(resource, record, writer, digest);
    this.#emit({ type: "created", ...subject });
    return { appender, secret };
  }

  /** Appends to a log from now on. */
  #append(
    resource: Resource,
    record: ResourceRecord,
    writer: LogWriter,
    digest: RunningDigest,
  ): Appender {
    const { id, metadata, contextId } = record;
    const subject = { id, metadata, contextId };
    let counted = record.size;
    const appender = new Appender(resource, {
      writer,
      catalog: this.#catalog,
      record,
      digest,
      durability: this.#options.durability ?? DEFAULTS.durability,
      checkpointIntervalMs: this.#options.checkpointIntervalMs ?? DEFAULTS.checkpointIntervalMs,
      checkGrowth: async (size) => {
        await this.#checkGrowth(subject, size);
        await this.#usage.take(contextId, size - counted);
        counted = size;
      },
      published: (status) => this.#emit({ type: "status", id, contextId, status }),
      ended: (recorded) => {
        this.#uploads.delete(id);
        // What was counted and then refused is not there.
        this.#usage.give(contextId, counted - resource.status.currentSize);
        // An end that the catalog refused is remembered as long as this process lives.
        if (recorded) return this.release(resource);
      },
    });
    this.#uploads.set(id, appender);
    return appender;
  }

  /**
   * Makes somebody the owner of an unfinished upload.
   * @param digest The digest of what the log holds; null when it must be brought up to date.
   */
  async #takeOver(record: ResourceRecord, digest: RunningDigest | null): Promise<Appender> {
    const next = await this.#nextEpoch(record);
    try {
      digest ??= await this.#restoreDigest(next.record);
    } catch (error) {
      await next.writer.close();
      this.#keep(next.resource, null, toStreamError(error));
      throw error;
    }
    return this.#append(next.resource, next.record, next.writer, digest);
  }

  /** Opens the log of an unfinished upload for its next epoch; the log says how much there is. */
  async #nextEpoch(
    record: ResourceRecord,
  ): Promise<{ resource: Resource; record: ResourceRecord; writer: LogWriter }> {
    const { id } = record;
    // Claimed before it is used: after a failure halfway the next attempt has a greater one.
    const epoch = record.epoch + 1;
    const { revision } = await this.#catalog.update(id, record.revision, { epoch, sequence: 0 });
    const writer = await this.#storage.recover(id, { ...logOptions(record), epoch });
    let updated: ResourceRecord;
    try {
      updated = await this.#catalog.update(id, revision, {
        transferStatus: writer.size === 0 ? "INITIATED" : "IN_PROGRESS",
        size: writer.size,
        lines: record.metadata.supportsLineAccess ? writer.lineBreaks : null,
        updatedAtMs: Date.now(),
      });
    } catch (error) {
      await writer.close();
      throw error;
    }
    this.#usage.give(record.contextId, record.size - updated.size);
    clearTimeout(this.#interrupted.get(id)?.timer);
    this.#interrupted.delete(id);
    const resource = this.#held.get(id)?.resource ?? this.#hold(updated).resource;
    const durableSize = Math.min(resource.status.durableSize, writer.size);
    resource.publish({ ...statusOf(updated), durableSize });
    return { resource, record: updated, writer };
  }

  /** Shuts the present owner of an upload out, if there is one. */
  async #detachOwner(id: string): Promise<void> {
    const owner = this.#uploads.get(id);
    if (owner === undefined) return;
    const fenced = new StreamError("FENCED", "the upload was resumed by another connection");
    await this.#detach(owner, fenced);
    owner.disown(fenced);
  }

  /** Takes the log from an owner, unless the upload is over then. */
  async #detach(owner: Appender, cause: StreamError): Promise<void> {
    const digest = await owner.detach();
    if (digest === null) return;
    this.#uploads.delete(owner.resource.id);
    this.#keep(owner.resource, digest, cause);
  }

  /** Waits for the owner of an upload to come back. */
  #keep(resource: Resource, digest: RunningDigest | null, cause: StreamError): void {
    if (this.#closed) return;
    const { id } = resource;
    const timer = setTimeout(() => {
      this.#exclusively(id, () => this.#giveUp(id, cause)).catch(() => {});
    }, this.#resumeWindowMs);
    this.#interrupted.set(id, { resource, digest, timer });
  }

  /** Nobody came back: the upload is FAILED with everything it has. */
  async #giveUp(id: string, cause: StreamError): Promise<void> {
    const interrupted = this.#interrupted.get(id);
    if (interrupted === undefined) return;
    try {
      // The digest of a failed upload is not asked for.
      const appender = await this.#takeOver(await this.get(id), await createDigest("md5"));
      await appender.fail(cause);
    } catch (error) {
      this.#interrupted.delete(id);
      const record = await this.#recordLost(id, toStreamError(error));
      const status = statusOf(record);
      interrupted.resource.publish(status);
      this.#emit({ type: "status", id, contextId: record.contextId, status });
      await this.release(interrupted.resource);
    }
  }

  /** The digest of what a log holds, from its last saved state. */
  async #restoreDigest(record: ResourceRecord): Promise<RunningDigest> {
    const reader = await this.#storage.openReader(record.id);
    try {
      const saved = record.digestState;
      const isUsable = saved !== null && saved.byteOffset <= record.size;
      const digest = await createDigest(
        saved?.algorithm ?? "md5",
        isUsable ? saved.state : undefined,
      );
      for (let at = isUsable ? saved.byteOffset : 0; at < record.size;) {
        const bytes = await reader.read(at, Math.min(DIGEST_READ_BYTES, record.size - at));
        digest.update(bytes);
        at += bytes.length;
      }
      return digest;
    } finally {
      await reader.close();
    }
  }

  async #startSweeping(): Promise<void> {
    const { retentionMs = Infinity, maxTotalBytes = Infinity } = this.#options;
    if (retentionMs === Infinity && maxTotalBytes === Infinity) return;
    await this.#sweep(0);
    const everyMs = Math.min(SWEEP_MS, Math.max(1000, retentionMs / 2));
    // What fails now is tried again then.
    this.#sweeper = setInterval(() => void this.#sweep(0).catch(() => {}), everyMs);
  }

  /** Deletes what need not be kept, with room for so many more bytes. */
  #sweep(bytes: number): Promise<number> {
    const { retentionMs, maxTotalBytes = Infinity } = this.#options;
    return sweep(this, { retentionMs, maxTotalBytes: maxTotalBytes - bytes }, Date.now());
  }

  /** Steps that change who owns a log happen one after the other. */
  async #exclusively<T>(id: string, step: () => Promise<T>): Promise<T> {
    const before = this.#handovers.get(id) ?? Promise.resolve();
    const after = before.then(step);
    const settled = after.catch(() => {});
    this.#handovers.set(id, settled);
    try {
      return await after;
    } finally {
      if (this.#handovers.get(id) === settled) this.#handovers.delete(id);
    }
  }

  /** The time, later than any before, so that lists keep the order of registration. */
  #nextTimeMs(): number {
    this.#newestMs = Math.max(Date.now(), this.#newestMs + 1);
    return this.#newestMs;
  }

  #checkCapacity(): void {
    if (this.#closed) throw shuttingDown();
    if (this.#uploads.size + this.#registering > this.#maxUploads) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${this.#maxUploads} uploads are running already: try again later`,
      );
    }
  }

  async #context({ contextId, makeContext }: Registration): Promise<string | null> {
    const required = this.#options.requireContext ?? false;
    if (contextId === null) {
      if (!required) return null;
      throw new StreamError(
        "CONTEXT_REQUIRED",
        "this server wants an upload context with every upload: stream push --context ID",
      );
    }
    if (makeContext) return (await this.createContext(contextId)).id;
    if (await this.#catalog.getContext(contextId) !== null) return contextId;
    if (!required) return null;
    throw new StreamError("CONTEXT_UNKNOWN", `there is no upload context ${contextId}`);
  }

  async #checkGrowth(subject: QuotaSubject, size: number): Promise<void> {
    const maxBytes = Math.min(this.#options.maxResourceBytes ?? Infinity, LIMITS.resourceBytes);
    if (size > maxBytes) {
      throw new StreamError("QUOTA_EXCEEDED", `a resource may hold ${maxBytes} bytes at most`);
    }
    await this.#checkQuota(() => this.#options.quota?.checkGrowth?.(subject, size));
  }

  async #checkQuota(ask: () => void | Promise<void>): Promise<void> {
    try {
      await ask();
    } catch (error) {
      throw toStreamError(error, "QUOTA_EXCEEDED");
    }
  }

  async #load(id: string): Promise<Held> {
    const record = isResourceId(id) ? await this.#catalog.get(id) : null;
    if (record === null) throw notFound(id);
    // Somebody else may have opened it while the catalog was asked.
    return this.#held.get(id) ?? this.#hold(record, 0);
  }

  /** Holds a resource; who listed its record may have opened it before. */
  #holdOn(record: ResourceRecord): Resource {
    const held = this.#held.get(record.id) ?? this.#hold(record, 0);
    held.holders++;
    return held.resource;
  }

  #hold(record: ResourceRecord, holders = 1): Held {
    const { id, metadata } = record;
    const status = statusOf(record);
    const resource = new Resource(id, metadata, status, this.#storage, this.#recentBudget);
    const held = { resource, holders };
    this.#held.set(id, held);
    return held;
  }

  #newestStatus(record: ResourceRecord): ResourceStatus {
    return this.#held.get(record.id)?.resource.status ?? statusOf(record);
  }

  async #recoverOne(record: ResourceRecord): Promise<void> {
    const cause = new StreamError(
      "INTERRUPTED",
      "the server ended while this was being uploaded, and the uploader did not come back",
    );
    try {
      const next = await this.#nextEpoch(record);
      if (record.secretHash === null || this.#resumeWindowMs === 0) {
        const digest = await createDigest("md5");
        return await this.#append(next.resource, next.record, next.writer, digest).fail(cause);
      }
      await next.writer.close();
      this.#keep(next.resource, null, cause);
    } catch (error) {
      const lost = toStreamError(error);
      if (lost.code === "NOT_FOUND") await this.#recordLost(record.id, lost);
      // What cannot be opened now may be when its owner is back, or when the window is over.
      else this.#keep(this.#holdOn(record), null, cause);
    }
  }

  /** The log of an upload is gone or cannot be opened: that is no reason not to serve the others. */
  async #recordLost(id: string, error: StreamError): Promise<ResourceRecord> {
    const isGone = error.code === "NOT_FOUND";
    const record = await this.get(id);
    if (isGone) this.#usage.give(record.contextId, record.size);
    return await this.#catalog.update(id, record.revision, {
      transferStatus: "FAILED",
      ...(isGone ? { size: 0, lines: record.metadata.supportsLineAccess ? 0 : null } : {}),
      failure: `STORAGE_FAILED: ${error.message}`,
      digestState: null,
      updatedAtMs: Date.now(),
    });
  }

  #emit(event: ResourceEvent): void {
    for (const { listener, filter } of this.#listeners) {
      if (filter.contextId !== undefined && filter.contextId !== event.contextId) continue;
      const wanted = filter.transferStatuses;
      if (event.type === "status" && wanted?.includes(event.status.transferStatus) === false) {
        continue;
      }
      try {
        listener(event);
      } catch (error) {
        this.#options.listenerFailed?.(error);
      }
    }
  }
}

function completedUpload({ size, lines, digest }: ResourceRecord): UploadResult {
  return { size, numberOfLines: lines, digest: digest! };
}

function logOptions(record: ResourceRecord): { lineAccess: boolean; epoch: number } {
  return { lineAccess: record.metadata.supportsLineAccess, epoch: record.epoch };
}

function newRecord(
  { id, metadata, contextId }: QuotaSubject,
  digest: RunningDigest,
  secretHash: string | null,
  nowMs: number,
): ResourceRecord {
  return {
    id,
    metadata,
    contextId,
    createdAtMs: nowMs,
    transferStatus: "INITIATED",
    size: 0,
    lines: metadata.supportsLineAccess ? 0 : null,
    epoch: 1,
    sequence: 0,
    failure: null,
    digest: null,
    digestState: { algorithm: digest.algorithm, byteOffset: 0, state: digest.save() },
    secretHash,
    updatedAtMs: nowMs,
    revision: 0,
  };
}

/** The status a record shows: of a finished resource everything is on disk. */
function statusOf(record: ResourceRecord): ResourceStatus {
  return {
    transferStatus: record.transferStatus,
    currentSize: record.size,
    numberOfLines: record.lines,
    durableSize: isFinal(record.transferStatus) ? record.size : 0,
    epoch: record.epoch,
    sequence: record.sequence,
    failure: record.failure,
  };
}

function shuttingDown(): StreamError {
  return new StreamError("SHUTDOWN", "the server is shutting down");
}

function notFound(id: string): StreamError {
  const shown = id.length > 80 ? `${id.slice(0, 80)}…` : id;
  return new StreamError("NOT_FOUND", `there is no resource ${JSON.stringify(shown)}`);
}
