/**
 * The life cycle of resources: registered, appended to, completed or failed, read, listed, deleted.
 *
 * Knows storage and catalog by their interfaces only, and nothing of connections.
 * @module
 */
import type { Catalog, ResourceQuery, ResourceRecord, UploadContext } from "./catalog.ts";
import { chooseDigest, createDigest } from "./digest.ts";
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
} from "./protocol.ts";
import { Appender } from "./resources/appender.ts";
import { CreditPool } from "./resources/credit.ts";
import { type RecentBudget, Resource } from "./resources/resource.ts";
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
export interface ResourcesOptions {
  /** Where bytes are. */
  storage: Storage;
  /** Where records are. */
  catalog: Catalog;
  /** Who decides what may be stored; everything may without one. */
  quota?: QuotaPolicy;
  /** Shortest time between two checkpoints of one resource under load, in ms; 50 by default. */
  checkpointIntervalMs?: number;
  /** Whether uploads without an upload context are refused; false by default. */
  requireContext?: boolean;
  /** Largest size of one resource in bytes; 1 TiB by default, which is also the most. */
  maxResourceBytes?: number;
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
  /** Whether an upload context nobody made yet is made now; otherwise it counts as none. */
  makeContext: boolean;
  /** Digest algorithms, in the uploader's order of preference. */
  digests: readonly string[];
}

const DEFAULTS = {
  checkpointIntervalMs: 50,
  maxUploads: 1000,
  receiveBudgetBytes: 128 * 1024 * 1024,
  /** Memory for the newest bytes of all resources, for followers at their tails. */
  recentBytes: 32 * 1024 * 1024,
};

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
  readonly #listeners = new Set<Listener>();
  readonly #recentBudget: RecentBudget = { freeBytes: DEFAULTS.recentBytes };
  readonly #maxUploads: number;
  #registering = 0;
  #closed = false;

  /** Budget of received bytes that wait to be written. */
  readonly creditPool: CreditPool;

  /** @param options Parts and limits. */
  constructor(options: ResourcesOptions) {
    this.#options = options;
    this.#catalog = options.catalog;
    this.#storage = options.storage;
    this.#maxUploads = options.maxUploads ?? DEFAULTS.maxUploads;
    const budgetBytes = options.receiveBudgetBytes ?? DEFAULTS.receiveBudgetBytes;
    const reservedBytes = this.#maxUploads * LIMITS.minUploadWindowBytes;
    this.creditPool = new CreditPool(Math.max(0, budgetBytes - reservedBytes));
  }

  get uploads(): number {
    return this.#uploads.size;
  }

  /**
   * Registers an upload; the resource can be followed from now on.
   * @throws {StreamError} BAD_METADATA, CONTEXT_REQUIRED, CONTEXT_UNKNOWN, QUOTA_EXCEEDED, LIMIT_REACHED, STORAGE_FAILED.
   */
  async register(registration: Registration): Promise<Appender> {
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
   * Opens a resource; whoever does so calls `release` with it once.
   * @throws {StreamError} NOT_FOUND.
   */
  async open(id: string): Promise<Resource> {
    const held = this.#held.get(id) ?? await this.#load(id);
    if (held.resource.deleted) throw notFound(id);
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
    if (this.#uploads.has(id) || !isFinal(record.status.transferStatus)) {
      throw new StreamError("WRONG_STATE", `resource ${id} is still being uploaded`);
    }
    await this.#catalog.delete(id);
    await this.#storage.delete(id);
    const held = this.#held.get(id);
    held?.resource.markDeleted();
    this.#emit({ type: "deleted", id, contextId: record.contextId });
  }

  createContext(id: string): Promise<UploadContext> {
    return this.#catalog.createContext(checkContextId(id));
  }

  listen(listener: (event: ResourceEvent) => void, filter: EventFilter = {}): () => void {
    const entry = { listener, filter };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Makes every upload that an earlier process left unfinished FAILED, with all that its log holds. */
  async recover(): Promise<number> {
    let recovered = 0;
    for (;;) {
      const records = await this.#catalog.list({
        transferStatuses: ["INITIATED", "IN_PROGRESS"],
        limit: 100,
      });
      if (records.length === 0) return recovered;
      for (const record of records) await this.#recoverOne(record);
      recovered += records.length;
    }
  }

  /** Ends running uploads as FAILED and releases everything but storage and catalog. */
  async close(): Promise<void> {
    this.#closed = true;
    const shutdown = new StreamError("SHUTDOWN", "the server was shut down");
    await Promise.all([...this.#uploads.values()].map((upload) => upload.fail(shutdown)));
    await Promise.all([...this.#held.values()].map(({ resource }) => resource.close()));
    this.#held.clear();
  }

  async #register(registration: Registration): Promise<Appender> {
    const metadata = checkMetadata(registration.metadata);
    this.#checkCapacity();
    const contextId = await this.#context(registration);
    const id = crypto.randomUUID();
    const subject = { id, metadata, contextId };
    await this.#checkQuota(() => this.#options.quota?.checkRegistration?.(subject));
    const digest = await createDigest(chooseDigest(registration.digests));
    const record = newRecord(subject);
    const writer = await this.#storage.create(id, logOptions(record));
    try {
      await this.#catalog.create(record);
    } catch (error) {
      await writer.close();
      await this.#storage.delete(id);
      throw error;
    }
    const resource = this.#hold(record).resource;
    const appender = new Appender(resource, {
      writer,
      catalog: this.#catalog,
      record,
      digest,
      checkpointIntervalMs: this.#options.checkpointIntervalMs ?? DEFAULTS.checkpointIntervalMs,
      checkGrowth: (size) => this.#checkGrowth(subject, size),
      published: (status) => this.#emit({ type: "status", id, contextId, status }),
      ended: () => {
        this.#uploads.delete(id);
        return this.release(resource);
      },
    });
    this.#uploads.set(id, appender);
    this.#emit({ type: "created", ...subject });
    return appender;
  }

  #checkCapacity(): void {
    if (this.#closed) throw new StreamError("SHUTDOWN", "the server is shutting down");
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
        "this server wants an upload context with every upload",
      );
    }
    if (makeContext) return (await this.createContext(contextId)).id;
    if (await this.#catalog.getContext(contextId) !== null) return contextId;
    if (!required) return null;
    throw new StreamError("CONTEXT_UNKNOWN", `there is no upload context ${contextId}`);
  }

  async #checkGrowth(subject: QuotaSubject, size: number): Promise<void> {
    const maxBytes = this.#options.maxResourceBytes ?? LIMITS.resourceBytes;
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
    const epoch = record.epoch + 1;
    const failure = "INTERRUPTED: the server ended while this was being uploaded";
    let { size, lines } = record;
    try {
      const writer = await this.#storage.recover(record.id, { ...logOptions(record), epoch });
      size = writer.size;
      lines = await finishLog(writer, record.metadata.supportsLineAccess);
    } catch (error) {
      if (toStreamError(error).code !== "NOT_FOUND") throw error;
      size = 0;
      lines = record.metadata.supportsLineAccess ? 0 : null;
    }
    await this.#catalog.update(record.id, record.revision, {
      transferStatus: "FAILED",
      size,
      lines,
      epoch,
      sequence: 0,
      failure,
      digestState: null,
      secretHash: null,
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
      listener(event);
    }
  }
}

async function finishLog(writer: LogWriter, lineAccess: boolean): Promise<number | null> {
  try {
    await writer.sync();
    return lineAccess ? writer.lines : null;
  } finally {
    await writer.close();
  }
}

function logOptions(record: ResourceRecord): { lineAccess: boolean; epoch: number } {
  return { lineAccess: record.metadata.supportsLineAccess, epoch: record.epoch };
}

function newRecord({ id, metadata, contextId }: QuotaSubject): ResourceRecord {
  const nowMs = Date.now();
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
    digestState: null,
    secretHash: null,
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

function notFound(id: string): StreamError {
  const shown = id.length > 80 ? `${id.slice(0, 80)}…` : id;
  return new StreamError("NOT_FOUND", `there is no resource ${JSON.stringify(shown)}`);
}
