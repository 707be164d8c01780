/**
 * The life cycle of resources: registered, appended to, completed or failed, read, listed, deleted.
 *
 * Knows storage and catalog by their interfaces only, and nothing of connections.
 * @module
 */
import type {
  Catalog,
  ContextAttributes,
  ContextQuery,
  EndedQuery,
  ResourceQuery,
  UploadContext,
} from "./catalog.ts";
import {
  checkMetadata,
  DIGESTS,
  isFinal,
  LIMITS,
  type ResourceMetadata,
  StreamError,
  toStreamError,
} from "./protocol.ts";
import { RecordChanges } from "./resources/changes.ts";
import type { Appender } from "./resources/writing/appender.ts";
import { Contexts } from "./resources/contexts.ts";
import { CreditPool } from "./resources/writing/credit.ts";
import { type EventFilter, type ResourceEvent, ResourceEvents } from "./resources/events.ts";
import { Health } from "./resources/health.ts";
import { Deletion } from "./resources/deletion.ts";
import { findRecord } from "./resources/find.ts";
import { type OpenResource, ResourceCache, type ResourceView } from "./resources/reading/cache.ts";
import { type Meter, NO_METER } from "./resources/meter.ts";
import { Admission } from "./resources/writing/admission.ts";
import { type CompletedUpload, Handover, type OwnedUpload } from "./resources/writing/handover.ts";
import { Lease, type NodeOptions } from "./resources/writing/lease.ts";
import { Recovery } from "./resources/writing/recovery.ts";
import {
  AlreadyBegun,
  Registrar,
  type Registration,
  unknownContext,
} from "./resources/writing/registration.ts";
import {
  lineBreaksOf,
  linesOf,
  type ServerReadOptions,
  streamOf,
} from "./resources/reading/server_reads.ts";
import {
  HeldUpload,
  type ServerUpload,
  type ServerUploadOptions,
} from "./resources/writing/server_upload.ts";
import { type UploadOptions, Uploads } from "./resources/writing/uploads.ts";
import { Quota, type QuotaOptions } from "./resources/quota.ts";
import { type RetentionOptions, sweep, type Swept } from "./resources/retention.ts";
import type { DeleteOptions, ServerResources } from "./resources/server_resources.ts";
import { SteadyClock } from "./resources/steady_clock.ts";
import { Upkeep } from "./resources/upkeep.ts";
import { Usage, type UsageLimits } from "./resources/usage.ts";
import type { Storage } from "./storage.ts";

export type { ContextAttributes, ContextQuery, UploadContext } from "./catalog.ts";
export type { EventFilter, EventSubject, Happening, ResourceEvent } from "./resources/events.ts";
export { notFound } from "./resources/find.ts";
export type { Meter } from "./resources/meter.ts";
export type { QuotaOptions, QuotaPolicy, QuotaResource, QuotaSubject } from "./resources/quota.ts";
export {
  CountedReader,
  followFrom,
  isLost,
  lendRange,
  offsetLost,
  readFast,
  type ReadMemory,
  readRange,
} from "./resources/reading/bytes.ts";
export type { OpenResource, ResourceView } from "./resources/reading/cache.ts";
export {
  lineAt,
  type LinePage,
  type LineWindow,
  locateLines,
  readLinePage,
} from "./resources/reading/lines.ts";
export { NewTextReader } from "./resources/reading/new_text.ts";
export { type Finder, finderFor, type Span } from "./resources/reading/pattern.ts";
export type { Resource } from "./resources/reading/resource.ts";
export { search, type SearchBounds } from "./resources/reading/search.ts";
export type { ServerReadOptions } from "./resources/reading/server_reads.ts";
export type { RetentionOptions } from "./resources/retention.ts";
export type { DeleteOptions, ServerResources } from "./resources/server_resources.ts";
export { lifeOf } from "./resources/status.ts";
export type { UsageLimits } from "./resources/usage.ts";
export type { Appender } from "./resources/writing/appender.ts";
export type { Durability } from "./resources/writing/owned_log.ts";
export { Credit, type CreditPool } from "./resources/writing/credit.ts";
export {
  type CompletedUpload,
  mayComeBack,
  type OwnedUpload,
} from "./resources/writing/handover.ts";
export type { NodeOptions } from "./resources/writing/lease.ts";
export { AlreadyBegun, type Registration } from "./resources/writing/registration.ts";
export { annotationAt } from "./resources/intent.ts";
export { restoreDigest } from "./resources/writing/restore.ts";
export type {
  ServerUpload,
  ServerUploadOptions,
  UploadEnd,
} from "./resources/writing/server_upload.ts";
export type { UploadOptions } from "./resources/writing/uploads.ts";
export { hashSecret, matchesSecret } from "./resources/writing/secret.ts";

/** Limits and settings of a server's resources. */
export interface ResourcesOptions
  extends UploadOptions, QuotaOptions, UsageLimits, RetentionOptions, NodeOptions {
  /** Where bytes are. */
  storage: Storage;
  /** Where records are. */
  catalog: Catalog;
  /** Hears of what listeners throw, which harms nobody else. */
  listenerFailed?: ((error: unknown) => void) | undefined;
  /** Whether uploads without an upload context are refused; false by default. */
  requireContext?: boolean | undefined;
  /** Those who have one resource open at the same time; 20 000 by default. */
  maxFollowers?: number | undefined;
  /** Measures what happens to bytes; nothing does by default. */
  meter?: Meter | undefined;
  /** Received bytes that may wait to be written, all uploads together, in bytes; 128 MiB by default. */
  receiveBudgetBytes?: number | undefined;
}

/** Received bytes that may wait to be written, all uploads together. */
const RECEIVE_BUDGET_BYTES = 128 * 1024 * 1024;
/** How often a change of a record is tried that somebody else changes, too. */
const ATTEMPTS = 5;
/** How long an interrupted upload can be resumed. */
const RESUME_WINDOW_MS = 60_000;

/** All resources of a server. */
export class Resources implements ServerResources {
  readonly #options: ResourcesOptions;
  readonly #catalog: Catalog;
  readonly #storage: Storage;
  readonly #contexts: Contexts;
  readonly #events: ResourceEvents;
  readonly #cache: ResourceCache;
  readonly #usage: Usage;
  readonly #quota: Quota;
  readonly #uploads: Uploads;
  readonly #admission: Admission;
  readonly #handover: Handover;
  readonly #registrar: Registrar;
  readonly #recovery: Recovery;
  readonly #deletion: Deletion;
  readonly #lease: Lease;
  readonly #health = new Health();
  readonly #unwatch: () => void;
  readonly #clock: SteadyClock;
  readonly #upkeep: Upkeep;
  #started: Promise<void> | null = null;

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
    const contexts = this.#contexts = new Contexts(catalog, () => usage.take(null, 0));
    const events = this.#events = new ResourceEvents(contexts, options.listenerFailed);
    const cache = this.#cache = new ResourceCache(
      { catalog, storage, meter },
      options.maxFollowers,
    );
    const usage = this.#usage = new Usage(options, storage, async (bytes) => {
      const { deleted, gone } = await this.#sweep(bytes);
      return deleted + gone > 0;
    });
    const quota = this.#quota = new Quota(options, contexts);
    const lease = this.#lease = new Lease(options, this.resumeWindowMs);
    const health = this.#health;
    const clock = this.#clock = new SteadyClock(catalog, { wall: options.clock });
    const parts = {
      storage,
      catalog,
      lease,
      clock,
      contexts,
      cache,
      quota,
      usage,
      events,
      meter,
      health,
    };
    const uploads = this.#uploads = new Uploads(parts, options);
    const admission = this.#admission = new Admission(() => uploads.count, options.maxUploads);
    const { resumeWindowMs } = this;
    const handover = this.#handover = new Handover({
      ...parts,
      uploads,
      admission,
      resumeWindowMs,
      heardMeanwhile: (record) => changes.heardLate(record),
    });
    const deletion = this.#deletion = new Deletion({ catalog, storage, cache, handover });
    const isBeingDeleted = (id: string) => deletion.isUnderWay(id);
    const registrar = this.#registrar = new Registrar(
      { ...parts, uploads, admission, handover, isBeingDeleted },
      options.requireContext,
    );
    this.#recovery = new Recovery({ catalog, cache, lease, handover });
    this.#upkeep = new Upkeep(clock, () => this.sweep());
    const changes = new RecordChanges({ usage, cache, handover, deletion, registrar, events });
    this.#unwatch = catalog.watch((change) => changes.heard(change));
    const reservedBytes = admission.maxUploads * LIMITS.minUploadWindowBytes;
    this.creditPool = new CreditPool(Math.max(0, receiveBudgetBytes - reservedBytes));
  }

  get totalBytes(): number {
    return this.#usage.totalBytes;
  }

  get uploads(): number {
    return this.#uploads.count;
  }

  /** Uploads that may run at the same time. */
  get maxUploads(): number {
    return this.#admission.maxUploads;
  }

  /** Largest size of one resource, in bytes. */
  get maxResourceBytes(): number {
    return this.#quota.maxBytes;
  }

  /** How long an interrupted upload can be resumed, in ms. */
  get resumeWindowMs(): number {
    return this.#options.resumeWindowMs ?? RESUME_WINDOW_MS;
  }

  /**
   * Registers an upload; the resource can be followed from now on.
   * @throws {StreamError} BAD_METADATA; CONTEXT_REQUIRED, CONTEXT_UNKNOWN, CONTEXT_CLOSED; CONFLICT when the
   * chosen id is taken; QUOTA_EXCEEDED, LIMIT_REACHED, STORAGE_FAILED.
   */
  async register(registration: Registration): Promise<OwnedUpload> {
    const { id = crypto.randomUUID(), metadata, contextId } = registration;
    try {
      const checked = { ...registration, metadata: checkMetadata(metadata) };
      const registering = () => this.#registrar.register(id, checked);
      return await (registration.isSign ? registering() : this.#admission.admit(registering));
    } catch (thrown) {
      const error = toStreamError(thrown);
      this.#health.stored(error);
      if (error instanceof AlreadyBegun) throw error;
      this.#events.emit({ type: "refused", id, contextId, metadata, error });
      throw error;
    }
  }

  /**
   * Takes an upload over for whoever owns it, without a secret where it is anybody's; an owner that is still connected is shut out.
   * @throws {StreamError} NOT_FOUND, NOT_OWNER; WRONG_STATE when it is FAILED; LIMIT_REACHED, STORAGE_FAILED.
   */
  resume(id: string, secret: string | null): Promise<OwnedUpload | CompletedUpload> {
    return this.#handover.resume(id, secret);
  }

  /**
   * The owner of an upload is gone: it may come back for a while, if it can be resumed after that at all.
   * @param appender What the owner appended with.
   * @param cause Why; told to everybody if it does not come back.
   */
  interrupt(appender: Appender, cause: StreamError): Promise<void> {
    return this.#handover.interrupt(appender, cause);
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

  /** Finished resources that ended before a time, the one that ended first first. */
  async listEnded(query: EndedQuery): Promise<ResourceView[]> {
    const records = await this.#catalog.listEnded(query);
    return records.map((record) => this.#cache.view(record));
  }

  delete(id: string, options: DeleteOptions = {}): Promise<void> {
    return this.#deletion.delete(id, options);
  }

  /**
   * Changes what a face keeps with a resource that is finished; with any other its appender does.
   * @param id Its id.
   * @param change Makes the new text out of the present one; called again when somebody else was faster.
   * @throws {StreamError} NOT_FOUND; WRONG_STATE for one that is not finished.
   */
  async annotate(id: string, change: (annotation: string | undefined) => string): Promise<void> {
    for (let attempts = 1;; attempts++) {
      const record = await findRecord(this.#catalog, id);
      if (!isFinal(record.transferStatus)) {
        throw new StreamError("WRONG_STATE", `resource ${id} is still being uploaded`);
      }
      try {
        const annotation = change(record.annotation);
        await this.#catalog.update(id, record.revision, { annotation });
        return;
      } catch (error) {
        if (toStreamError(error).code !== "CONFLICT" || attempts === ATTEMPTS) throw error;
      }
    }
  }

  createContext(id: string, attributes?: ContextAttributes): Promise<UploadContext> {
    return this.#contexts.make(id, attributes);
  }

  async getContext(id: string): Promise<UploadContext> {
    return await this.#contexts.find(id) ?? refuse(unknownContext(id));
  }

  listContexts(query: ContextQuery): Promise<UploadContext[]> {
    return this.#catalog.listContexts(query);
  }

  async closeContext(id: string): Promise<UploadContext> {
    return await this.#catalog.closeContext(id) ?? refuse(unknownContext(id));
  }

  listen(listener: (event: ResourceEvent) => void, filter?: EventFilter): () => void {
    return this.#events.listen(listener, filter);
  }

  async startUpload(
    metadata: ResourceMetadata,
    { id, contextId, digest }: ServerUploadOptions = {},
  ): Promise<ServerUpload> {
    const { appender } = await this.register({
      id,
      metadata,
      contextId: contextId ?? null,
      makeContext: true,
      ownedBy: "CONNECTION",
      digests: digest === undefined ? DIGESTS : [digest],
    });
    return new HeldUpload(appender);
  }

  read(id: string, options: ServerReadOptions = {}): ReadableStream<Uint8Array<ArrayBuffer>> {
    return streamOf(() => this.open(id), options);
  }

  lines(
    id: string,
    startingLineIndex: number,
    linesCount: number,
  ): AsyncIterableIterator<string> {
    return linesOf(() => this.open(id), startingLineIndex, linesCount);
  }

  async lineBreaks(
    id: string,
    startingLineIndex: number,
    linesCount: number,
  ): Promise<number[]> {
    await using opened = await this.open(id);
    return await lineBreaksOf(opened.resource, startingLineIndex, linesCount);
  }

  /**
   * Whether other nodes may take over what this one left unfinished: then nobody has to wait until it has done so itself,
   * as whoever comes for an upload takes it over at once.
   */
  get isOneOfSeveral(): boolean {
    return this.#lease.ms !== Infinity;
  }

  /** Gets ready to serve: all that there is to do before `recover`. */
  start(): Promise<void> {
    return this.#started ??= this.#start();
  }

  async #start(): Promise<void> {
    await this.#usage.load(this.#catalog);
    await this.#clock.start();
    const [newest] = await this.#catalog.list({ limit: 1 });
    if (newest !== undefined) this.#registrar.registered(newest);
    await this.#deletion.finish();
    await this.#upkeep.start(this.#options);
    if (this.isOneOfSeveral) this.#health.serves();
  }

  /**
   * Brings every upload that an earlier process left unfinished in line with its log: it can be resumed
   * from now on for the resume window; what cannot be resumed is FAILED.
   * @returns How many there were.
   */
  async recover(): Promise<number> {
    await this.start();
    // What fails now is tried again then.
    this.#recovery.start();
    const recovered = await this.#recovery.recover();
    this.#health.serves();
    return recovered;
  }

  /**
   * Deletes what need not be kept any more; after `recover` that happens from time to time.
   * @returns How many resources that was.
   */
  async sweep(): Promise<number> {
    await this.#deletion.deleteKept();
    return (await this.#sweep(0)).deleted;
  }

  /** Why no upload should be sent here now; nothing when all is well. */
  async unready(): Promise<string[]> {
    await this.#health.probe(this.#catalog);
    return this.#health.reasons({
      isDiskFull: await this.#usage.isDiskFull(),
      isStalled: this.#storage.isStalled ?? false,
    });
  }

  /** The time that has passed for certain, by which things age, in ms since 1970. */
  get certainMs(): number {
    return this.#clock.certainMs;
  }

  /** Bytes that can still be stored; Infinity where nobody knows. */
  async freeBytes(): Promise<number> {
    return await this.#storage.freeBytes?.() ?? Infinity;
  }

  /** Nothing should be sent here any more, as `close` comes soon. */
  drain(): void {
    this.#health.state = "CLOSED";
  }

  /**
   * Lets go of running uploads, so that they can be resumed after a restart, and of everything else.
   * @param answered When those were answered that cannot be resumed; they fail now by default.
   */
  async close(answered?: Promise<unknown>): Promise<void> {
    this.#health.state = "CLOSED";
    this.#upkeep.close();
    const recovered = this.#recovery.close();
    this.#uploads.close();
    this.#admission.close();
    await this.#handover.close(answered);
    await recovered;
    this.#unwatch();
    await this.#cache.close();
    // A disk that takes nothing any more is no reason not to end.
    await this.#clock.keep().catch(() => {});
  }

  /** Deletes what need not be kept, with room for so many more bytes. */
  #sweep(bytes: number): Promise<Swept> {
    const { retentionMs, maxTotalBytes = Infinity } = this.#options;
    return sweep(
      this,
      { retentionMs, maxTotalBytes: maxTotalBytes - bytes },
      this.#clock.certainMs,
    );
  }
}

function refuse(error: StreamError): never {
  throw error;
}
