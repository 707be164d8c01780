/**
 * How an upload is registered: what it may be, its record, its log.
 * @module
 */
import type {
  Announcement,
  Catalog,
  Ownership,
  ResourceRecord,
  UploadContext,
} from "../../catalog.ts";
import { chooseDigest, createDigest, DIGEST_VERSION, type RunningDigest } from "../../digest.ts";
import {
  isResourceId,
  newSecret,
  type ResourceMetadata,
  StreamError,
  toStreamError,
} from "../../protocol.ts";
import type { LogWriter } from "../../storage.ts";
import type { QuotaResource } from "../quota.ts";
import type { OpenResource } from "../reading/cache.ts";
import { lifeOf, statusOf } from "../status.ts";
import type { Admission } from "./admission.ts";
import type { Appender } from "./appender.ts";
import { type Handover, isOwner, type OwnedUpload } from "./handover.ts";
import { nothingFlushed } from "./restore.ts";
import { hashSecret } from "./secret.ts";
import type { Uploads, WritingParts } from "./uploads.ts";

/** How an upload is registered. */
export interface Registration {
  /** Id that the uploader chose; a new UUID by default. */
  id?: string;
  /** Secret that the uploader chose with the id; a new one by default. */
  secret?: string;
  /** Metadata that the upload announces. */
  metadata: ResourceMetadata;
  /** Upload context; null without one. */
  contextId: string | null;
  /** Whether it is refused without an upload context; as the server's settings say by default. */
  requiresContext?: boolean;
  /** Whose the upload is. */
  ownedBy: Ownership;
  /** Whether an upload context nobody made yet is made now; otherwise the upload is refused. */
  makeContext: boolean;
  /** Digest algorithms, in the uploader's order of preference. */
  digests: readonly string[];
  /** Announcement of the whole by the uploader; nothing by default. */
  announced?: Announcement;
  /** What a face keeps for its clients; nothing by default. */
  annotation?: string;
  /** Whether it has no bytes and ends at once, and only takes an id: no limit and no closed context keeps that out. */
  isSign?: boolean;
}

/** An upload was registered before by who chose its id and its secret, and never heard the answer: it goes on with it. */
export class AlreadyBegun extends StreamError {
  /** @param id The resource. */
  constructor(readonly id: string) {
    super("CONFLICT", `the upload ${id} was begun before`);
  }
}

/** Announcement of most uploaders. */
const NOTHING: Announcement = { size: null, checksum: null };

/** Parts of the registrar. */
export interface RegistrarParts extends WritingParts {
  /** The uploads that run. */
  uploads: Uploads;
  /** Lets uploads begin. */
  admission: Admission;
  /** Says which uploads are this node's. */
  handover: Handover;
  /** Whether the log of an id is about to be deleted, though its record is gone. */
  isBeingDeleted(id: string): boolean;
}

/** Registers uploads. */
export class Registrar {
  readonly #parts: RegistrarParts;
  readonly #requireContext: boolean;
  #newestMs = 0;
  /** Uploads nobody was told of yet. */
  readonly #registering = new Set<string>();

  /**
   * @param parts What it works with.
   * @param requireContext Whether uploads without an upload context are refused.
   */
  constructor(parts: RegistrarParts, requireContext = false) {
    this.#parts = parts;
    this.#requireContext = requireContext;
  }

  /** A resource was registered, here or on another node: those that follow are newer. */
  registered({ createdAtMs }: ResourceRecord): void {
    this.#newestMs = Math.max(this.#newestMs, createdAtMs);
  }

  /** Whether an upload is being registered here, of which nobody was told yet. */
  isRegistering(id: string): boolean {
    return this.#registering.has(id);
  }

  /**
   * Registers an upload whose metadata are checked.
   * @param id Its id.
   * @param registration What it is.
   * @throws {AlreadyBegun} When who chose id and secret did so before.
   * @throws {StreamError} CONTEXT_REQUIRED, CONTEXT_UNKNOWN, CONTEXT_CLOSED; BAD_METADATA, CONFLICT for a chosen id;
   * QUOTA_EXCEEDED, SHUTDOWN, STORAGE_FAILED.
   */
  async register(id: string, registration: Registration): Promise<OwnedUpload> {
    try {
      return await this.#register(id, registration);
    } catch (error) {
      const isTaken = toStreamError(error).code === "CONFLICT";
      if (isTaken && await this.#isBegun(id, registration.secret)) throw new AlreadyBegun(id);
      throw error;
    }
  }

  async #register(id: string, registration: Registration): Promise<OwnedUpload> {
    const { quota, usage, events } = this.#parts;
    const { metadata, digests, ownedBy, announced, isSign = false } = registration;
    if (registration.id !== undefined) await this.#checkFree(id);
    const contextId = await this.#context(registration);
    const subject = { id, metadata, contextId };
    if (typeof announced?.size === "number") {
      await quota.checkGrowth(subject, announced.size);
      usage.checkWhole(contextId, announced.size);
    }
    if (!isSign) {
      await usage.take(contextId, 0);
      await quota.checkRegistration(subject);
    }
    const digest = await createDigest(chooseDigest(digests));
    const secret = ownedBy === "SECRET" ? registration.secret ?? newSecret() : null;
    const secretHash = secret === null ? null : await hashSecret(secret);
    const record = this.#newRecord(subject, digest, secretHash, registration);
    const appender = await this.#parts.handover.take(
      id,
      () => this.#create(record, digest, isSign),
    );
    events.emit({ type: "created", ...subject });
    return { appender, secret };
  }

  /** Makes log and record of a new upload, or neither. */
  async #create(
    record: ResourceRecord,
    digest: RunningDigest,
    isSign: boolean,
  ): Promise<Appender> {
    const { storage, catalog, uploads } = this.#parts;
    const { id } = record;
    const writer = await this.#createLog(record);
    this.#registering.add(id);
    try {
      await catalog.create(record);
      const open = await this.#openNew(record, isSign);
      const upload = { open, record, status: statusOf(record), writer };
      const { flushed } = record.digestState!;
      return uploads.start(upload, { running: digest, doubtfulFrom: null, flushed });
    } catch (error) {
      await writer.close();
      // What cannot be deleted now is in nobody's way.
      await storage.delete(id, lifeOf(record)).catch(() => {});
      throw error;
    } finally {
      this.#registering.delete(id);
    }
  }

  /** Makes the log; what somebody has left who was cut off has no record, and is replaced. */
  async #createLog(record: ResourceRecord): Promise<LogWriter> {
    const { storage, catalog, isBeingDeleted } = this.#parts;
    const { id, epoch, metadata: { supportsLineAccess: lineAccess } } = record;
    const create = () => storage.create(id, { lineAccess, epoch, life: lifeOf(record) });
    try {
      return await create();
    } catch (error) {
      const isTaken = toStreamError(error).code === "CONFLICT";
      if (!isTaken || isBeingDeleted(id) || !await isFree(catalog, id)) throw error;
      if (!await storage.deleteLeft?.(id)) throw error;
      return await create();
    }
  }

  /** Opens the resource of a new record, or takes the record back. */
  async #openNew(record: ResourceRecord, isSign: boolean): Promise<OpenResource> {
    const { catalog, cache, admission } = this.#parts;
    const { contextId } = record;
    try {
      admission.checkOpen();
      // Who closes a context finds everything that is in it then.
      if (contextId !== null && !isSign) {
        checkTakes(await catalog.getContext(contextId), contextId);
      }
      return await cache.hold(record, true);
    } catch (error) {
      await catalog.delete(record.id, record.createdAtMs);
      throw error;
    }
  }

  #newRecord(
    subject: QuotaResource,
    digest: RunningDigest,
    secretHash: string | null,
    { announced = NOTHING, annotation, ownedBy }: Registration,
  ): ResourceRecord {
    const nowMs = this.#nextTimeMs();
    return {
      ...subject,
      createdAtMs: nowMs,
      transferStatus: "INITIATED",
      size: 0,
      durableSize: 0,
      lines: subject.metadata.supportsLineAccess ? 0 : null,
      epoch: 1,
      sequence: 0,
      failure: null,
      digest: null,
      digestState: {
        algorithm: digest.algorithm,
        byteOffset: 0,
        state: digest.save(),
        version: DIGEST_VERSION,
        boot: this.#parts.storage.boot ?? null,
        doubtfulFrom: null,
        flushed: nothingFlushed(this.#parts.storage, digest),
      },
      secretHash,
      announced,
      ownedBy,
      ...(annotation === undefined ? {} : { annotation }),
      owner: this.#parts.lease.owner(),
      updatedAtMs: this.#parts.clock.nowMs,
      // A change that was meant for an earlier life of the id knows a lower one.
      revision: nowMs,
    };
  }

  /** The time, later than any before, so that lists keep the order of registration. */
  #nextTimeMs(): number {
    this.#newestMs = Math.max(this.#parts.clock.wallMs, this.#newestMs + 1);
    return this.#newestMs;
  }

  /**
   * Tells that an id which an uploader chose can be used.
   * @throws {StreamError} CONFLICT when it is taken; an id that only storage has, storage refuses.
   */
  async #checkFree(id: string): Promise<void> {
    const { cache, catalog } = this.#parts;
    if (!isResourceId(id)) {
      throw new StreamError("BAD_METADATA", `${JSON.stringify(id)} is no resource id`);
    }
    // Those who follow a deleted resource have it open until they let go of it.
    if (cache.find(id)?.deleted === false || await catalog.get(id) !== null) {
      throw new StreamError("CONFLICT", `there is a resource ${id} already`);
    }
  }

  /** Tells whether the resource that has an id is theirs who know this secret. */
  async #isBegun(id: string, secret: string | undefined): Promise<boolean> {
    if (secret === undefined) return false;
    const record = await this.#parts.catalog.get(id);
    return record !== null && await isOwner(record, secret);
  }

  /** The upload context a registration belongs to; null for none. */
  async #context(registration: Registration): Promise<string | null> {
    const { contextId, makeContext, requiresContext = this.#requireContext, isSign = false } =
      registration;
    if (contextId === null) {
      if (!requiresContext) return null;
      throw new StreamError(
        "CONTEXT_REQUIRED",
        "this server wants an upload context with every upload: stream push --context ID",
      );
    }
    if (!isSign) checkTakes(await this.#findContext(contextId, makeContext), contextId);
    return contextId;
  }

  async #findContext(contextId: string, makes: boolean): Promise<UploadContext | null> {
    const { contexts } = this.#parts;
    return makes ? await contexts.make(contextId) : await contexts.find(contextId);
  }
}

/** Whether an id has no record; then nobody makes one any more of a log that was there before. */
async function isFree(catalog: Catalog, id: string): Promise<boolean> {
  return await catalog.touch?.(id) ?? await catalog.get(id) === null;
}

/** @throws {StreamError} CONTEXT_UNKNOWN, CONTEXT_CLOSED. */
function checkTakes(context: UploadContext | null, id: string): void {
  // Without its context an upload would lose the limits of it.
  if (context === null) throw unknownContext(id);
  if (context.closedAtMs === null) return;
  throw new StreamError(
    "CONTEXT_CLOSED",
    `the upload context ${id} was closed: it takes no more uploads`,
  );
}

/** There is no such upload context. */
export function unknownContext(id: string): StreamError {
  return new StreamError("CONTEXT_UNKNOWN", `there is no upload context ${JSON.stringify(id)}`);
}
