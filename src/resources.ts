/**
 * The life cycle of resources: registered, appended to, completed or failed, read, listed, deleted.
 *
 * Knows storage and catalog by their interfaces only, and nothing of connections.
 * @module
 */
import type {
  Announcement,
  Catalog,
  ContextQuery,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "./catalog.ts";
import { chooseDigest, createDigest } from "./digest.ts";
import {
  checkContextId,
  checkMetadata,
  isFinal,
  isResourceId,
  LIMITS,
  type ResourceMetadata,
  StreamError,
  toStreamError,
} from "./protocol.ts";
import type { Appender } from "./resources/writing/appender.ts";
import { CreditPool } from "./resources/writing/credit.ts";
import { type EventFilter, type ResourceEvent, ResourceEvents } from "./resources/events.ts";
import { Health } from "./resources/health.ts";
import { notFound } from "./resources/find.ts";
import { type OpenResource, ResourceCache, type ResourceView } from "./resources/reading/cache.ts";
import { type Meter, NO_METER } from "./resources/meter.ts";
import {
  type CompletedUpload,
  type OwnedUpload,
  Ownership,
  type UploadOptions,
} from "./resources/writing/ownership.ts";
import { Quota, type QuotaOptions } from "./resources/quota.ts";
import { type RetentionOptions, sweep } from "./resources/retention.ts";
import { hashSecret, newSecret } from "./resources/writing/secret.ts";
import { Usage, type UsageLimits } from "./resources/usage.ts";
import type { Storage } from "./storage.ts";

export type { ContextQuery, UploadContext } from "./catalog.ts";
export type { EventFilter, ResourceEvent } from "./resources/events.ts";
export { notFound } from "./resources/find.ts";
export type { Meter } from "./resources/meter.ts";
export type { QuotaOptions, QuotaPolicy, QuotaSubject } from "./resources/quota.ts";
export { followFrom, readFast, readRange } from "./resources/reading/bytes.ts";
export type { OpenResource, ResourceView } from "./resources/reading/cache.ts";
export { lineAt, type LineWindow, locateLines, readLinePage } from "./resources/reading/lines.ts";
export { finderFor } from "./resources/reading/pattern.ts";
export type { Resource } from "./resources/reading/resource.ts";
export { search, type SearchBounds } from "./resources/reading/search.ts";
export type { RetentionOptions } from "./resources/retention.ts";
export type { UsageLimits } from "./resources/usage.ts";
export type { Appender, Durability } from "./resources/writing/appender.ts";
export { Credit, type CreditPool } from "./resources/writing/credit.ts";
export {
  type CompletedUpload,
  mayComeBack,
  type OwnedUpload,
  type UploadOptions,
} from "./resources/writing/ownership.ts";
export { hashSecret, matchesSecret } from "./resources/writing/secret.ts";

/** Limits and settings of a server's resources. */
export interface ResourcesOptions
  extends UploadOptions, QuotaOptions, UsageLimits, RetentionOptions {
  /** Where bytes are. */
  storage: Storage;
  /** Where records are. */
  catalog: Catalog;
  /** Hears of what listeners throw, which harms nobody else. */
  listenerFailed?: (error: unknown) => void;
  /** Whether uploads without an upload context are refused; false by default. */
  requireContext?: boolean;
  /** Those who have one resource open at the same time; 20 000 by default. */
  maxFollowers?: number;
  /** Measures what happens to bytes; nothing does by default. */
  meter?: Meter;
  /** Received bytes that may wait to be written, all uploads together, in bytes; 128 MiB by default. */
  receiveBudgetBytes?: number;
}

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
  /** Upload contexts, newest first. */
  listContexts(query: ContextQuery): Promise<UploadContext[]>;
  /**
   * Closes an upload context: it takes no more uploads, those that run go on.
   * @throws {StreamError} CONTEXT_UNKNOWN.
   */
  closeContext(id: string): Promise<UploadContext>;
  /**
   * An upload context.
   * @throws {StreamError} CONTEXT_UNKNOWN.
   */
  getContext(id: string): Promise<UploadContext>;
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
  /** Id that the uploader chose; a new UUID by default. */
  id?: string;
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
  /** What the uploader says of the whole in advance; nothing by default. */
  announced?: Announcement;
}

/** What most uploaders say in advance. */
const NOTHING: Announcement = { size: null, checksum: null };
/** Received bytes that may wait to be written, all uploads together. */
const RECEIVE_BUDGET_BYTES = 128 * 1024 * 1024;
/** Time between two looks for resources that need not be kept. */
const SWEEP_MS = 60_000;

/** All resources of a server. */
export class Resources implements ServerResources {
  readonly #options: ResourcesOptions;
  readonly #catalog: Catalog;
  readonly #storage: Storage;
  readonly #events: ResourceEvents;
  readonly #cache: ResourceCache;
  readonly #usage: Usage;
  readonly #quota: Quota;
  readonly #ownership: Ownership;
  readonly #health = new Health();
  #sweeper: ReturnType<typeof setInterval> | undefined;
  #newestMs = 0;

  /** Measures what happens to bytes. */
  readonly meter: Meter;
  /** Budget of received bytes that wait to be written. */
  readonly creditPool: CreditPool;

  /** @param options Parts and limits. */
  constructor(options: ResourcesOptions) {
    const { storage, catalog, receiveBudgetBytes = RECEIVE_BUDGET_BYTES } = options;
    this.#options = options;
    this.#catalog = catalog;
    this.#storage = storage;
    const meter = this.meter = options.meter ?? NO_METER;
    const events = this.#events = new ResourceEvents(options.listenerFailed);
    const cache = this.#cache = new ResourceCache(
      { catalog, storage, meter },
      options.maxFollowers,
    );
    const usage = this.#usage = new Usage(options, storage, (bytes) => this.#sweep(bytes));
    const quota = this.#quota = new Quota(options);
    const parts = { storage, catalog, cache, quota, usage, events, meter, health: this.#health };
    this.#ownership = new Ownership(parts, options);
    const reservedBytes = this.#ownership.maxUploads * LIMITS.minUploadWindowBytes;
    this.creditPool = new CreditPool(Math.max(0, receiveBudgetBytes - reservedBytes));
  }

  get totalBytes(): number {
    return this.#usage.totalBytes;
  }

  get uploads(): number {
    return this.#ownership.uploads;
  }

  /** Largest size of one resource, in bytes. */
  get maxResourceBytes(): number {
    return this.#quota.maxBytes;
  }

  /** How long an interrupted upload can be resumed, in ms. */
  get resumeWindowMs(): number {
    return this.#ownership.resumeWindowMs;
  }

  /**
   * Registers an upload; the resource can be followed from now on.
   * @throws {StreamError} BAD_METADATA; CONTEXT_REQUIRED, CONTEXT_UNKNOWN, CONTEXT_CLOSED; CONFLICT when the
   * chosen id is taken; QUOTA_EXCEEDED, LIMIT_REACHED, STORAGE_FAILED.
   */
  async register(registration: Registration): Promise<OwnedUpload> {
    const { metadata, contextId } = registration;
    try {
      const checked = { ...registration, metadata: checkMetadata(metadata) };
      return await this.#ownership.admit(() => this.#register(checked));
    } catch (thrown) {
      const error = toStreamError(thrown);
      this.#health.stored(error);
      this.#events.emit({ type: "refused", contextId, metadata, error });
      throw error;
    }
  }

  /**
   * Takes an upload over for whoever knows its secret; an owner that is still connected is shut out.
   * @throws {StreamError} NOT_FOUND, NOT_OWNER; WRONG_STATE when it is FAILED; LIMIT_REACHED, STORAGE_FAILED.
   */
  resume(id: string, secret: string): Promise<OwnedUpload | CompletedUpload> {
    return this.#ownership.resume(id, secret);
  }

  /**
   * The owner of an upload is gone: it may come back for a while, if it can be resumed after that at all.
   * @param appender What the owner appended with.
   * @param cause Why; told to everybody if it does not come back.
   */
  interrupt(appender: Appender, cause: StreamError): Promise<void> {
    return this.#ownership.interrupt(appender, cause);
  }

  /**
   * Opens a resource, until it is released.
   * @param id Its id.
   * @param view What `get` said just now; asked for by default.
   * @throws {StreamError} NOT_FOUND, LIMIT_REACHED.
   */
  open(id: string, view?: ResourceView): Promise<OpenResource> {
    return this.#cache.open(id, view);
  }

  get(id: string): Promise<ResourceView> {
    return this.#cache.get(id);
  }

  async list(query: ResourceQuery): Promise<ResourceView[]> {
    const records = await this.#catalog.list(query);
    return records.map((record) => this.#cache.view(record));
  }

  async delete(id: string): Promise<void> {
    const record = await this.get(id);
    if (!isFinal(record.status.transferStatus)) {
      throw new StreamError("WRONG_STATE", `resource ${id} is still being uploaded`);
    }
    // Two may delete it at the same time: it is counted and told once.
    const existed = await this.#catalog.delete(id);
    const closed = this.#cache.deleted(id);
    if (!existed) throw notFound(id);
    this.#usage.give(record.contextId, record.size);
    this.#events.emit({ type: "deleted", id, contextId: record.contextId });
    await closed;
    await this.#storage.delete(id);
  }

  async createContext(id: string): Promise<UploadContext> {
    return await this.#catalog.createContext(checkContextId(id));
  }

  async getContext(id: string): Promise<UploadContext> {
    return await this.#catalog.getContext(id) ?? unknownContext(id);
  }

  listContexts(query: ContextQuery): Promise<UploadContext[]> {
    return this.#catalog.listContexts(query);
  }

  async closeContext(id: string): Promise<UploadContext> {
    return await this.#catalog.closeContext(id) ?? unknownContext(id);
  }

  listen(listener: (event: ResourceEvent) => void, filter?: EventFilter): () => void {
    return this.#events.listen(listener, filter);
  }

  /**
   * Brings every upload that an earlier process left unfinished in line with its log: it can be resumed
   * from now on for the resume window; what cannot be resumed is FAILED.
   * @returns How many there were.
   */
  async recover(): Promise<number> {
    await this.#usage.load(this.#catalog);
    const recovered = await this.#ownership.recover();
    await this.#startSweeping();
    this.#health.state = "SERVING";
    return recovered;
  }

  /** Why no upload should be sent here now; nothing when all is well. */
  async unready(): Promise<string[]> {
    return this.#health.reasons(await this.#usage.isDiskFull());
  }

  /** Bytes that can still be stored. */
  freeBytes(): Promise<number> {
    return this.#storage.freeBytes();
  }

  /** Lets go of running uploads, so that they can be resumed after a restart, and of everything else. */
  async close(): Promise<void> {
    this.#health.state = "CLOSED";
    clearInterval(this.#sweeper);
    await this.#ownership.close();
    await this.#cache.close();
  }

  async #register(registration: Registration): Promise<OwnedUpload> {
    const { id = crypto.randomUUID(), metadata, digests, resumable, announced = NOTHING } =
      registration;
    if (registration.id !== undefined) await this.#checkFree(id);
    const contextId = await this.#context(registration);
    const subject = { id, metadata, contextId };
    if (announced.size !== null) await this.#quota.checkGrowth(subject, announced.size);
    await this.#usage.take(contextId, 0);
    await this.#quota.checkRegistration(subject);
    const digest = await createDigest(chooseDigest(digests));
    const secret = resumable ? newSecret() : null;
    const secretHash = secret === null ? null : await hashSecret(secret);
    const nowMs = this.#nextTimeMs();
    const record: ResourceRecord = {
      ...subject,
      createdAtMs: nowMs,
      transferStatus: "INITIATED",
      size: 0,
      durableSize: 0,
      lines: metadata.supportsLineAccess ? 0 : null,
      epoch: 1,
      sequence: 0,
      failure: null,
      digest: null,
      digestState: { algorithm: digest.algorithm, byteOffset: 0, state: digest.save() },
      secretHash,
      announced,
      updatedAtMs: nowMs,
      revision: 0,
    };
    const appender = await this.#ownership.create(record, digest);
    this.#events.emit({ type: "created", ...subject });
    return { appender, secret };
  }

  /**
   * Tells that an id which an uploader chose can be used.
   * @throws {StreamError} CONFLICT when it is taken; an id that only storage has, storage refuses.
   */
  async #checkFree(id: string): Promise<void> {
    if (!isResourceId(id)) {
      throw new StreamError("BAD_METADATA", `${JSON.stringify(id)} is no resource id`);
    }
    // Those who follow a deleted resource have it open until they are told.
    if (this.#cache.find(id) !== undefined || await this.#catalog.get(id) !== null) {
      throw new StreamError("CONFLICT", `there is a resource ${id} already`);
    }
  }

  /** The time, later than any before, so that lists keep the order of registration. */
  #nextTimeMs(): number {
    this.#newestMs = Math.max(Date.now(), this.#newestMs + 1);
    return this.#newestMs;
  }

  /** The upload context a registration belongs to; null for none. */
  async #context({ contextId, makeContext }: Registration): Promise<string | null> {
    const required = this.#options.requireContext ?? false;
    if (contextId === null) {
      if (!required) return null;
      throw new StreamError(
        "CONTEXT_REQUIRED",
        "this server wants an upload context with every upload: stream push --context ID",
      );
    }
    const context = makeContext
      ? await this.createContext(contextId)
      : await this.#catalog.getContext(contextId);
    if (context === null) {
      if (!required) return null;
      unknownContext(contextId);
    }
    if (context.closedAtMs === null) return contextId;
    throw new StreamError(
      "CONTEXT_CLOSED",
      `the upload context ${contextId} was closed: it takes no more uploads`,
    );
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
}

function unknownContext(id: string): never {
  throw new StreamError("CONTEXT_UNKNOWN", `there is no upload context ${JSON.stringify(id)}`);
}
