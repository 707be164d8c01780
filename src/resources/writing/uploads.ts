/**
 * The uploads that this node appends to.
 * @module
 */
import type { Catalog, ResourceRecord } from "../../catalog.ts";
import type { ResourceStatus } from "../../protocol.ts";
import type { LogWriter, Storage } from "../../storage.ts";
import { LONGEST_TIMER_MS } from "../../timer.ts";
import type { Contexts } from "../contexts.ts";
import type { ResourceEvents } from "../events.ts";
import type { Health } from "../health.ts";
import type { Meter } from "../meter.ts";
import type { Quota } from "../quota.ts";
import type { OpenResource, ResourceCache } from "../reading/cache.ts";
import type { SteadyClock } from "../steady_clock.ts";
import type { UploadAccount, Usage } from "../usage.ts";
import { Appender } from "./appender.ts";
import type { Durability } from "./owned_log.ts";
import type { Lease } from "./lease.ts";
import { AffordableInterval, SHARE } from "./pace.ts";
import type { LogDigest } from "./restore.ts";

/** How uploads run. */
export interface UploadOptions {
  /**
   * Shortest time between two checkpoints of one resource under load, in ms; by default what checkpoints cost at the
   * moment, from 5 to 50.
   */
  checkpointIntervalMs?: number | undefined;
  /** Accident that an acknowledged byte survives: `os` the end of the server's process, `disk` that of its machine. */
  durability?: Durability | undefined;
  /** How long an interrupted upload can be resumed before it is FAILED, in ms; 60 000 by default. */
  resumeWindowMs?: number | undefined;
  /** Uploads at the same time; 1000 by default. */
  maxUploads?: number | undefined;
}

/** Time between two attempts to have the catalog know of ends that it refused. */
const RECORD_AGAIN_MS = 500;

/** Parts of the writing wing. */
export interface WritingParts {
  /** Where bytes are. */
  storage: Storage;
  /** Where records are. */
  catalog: Catalog;
  /** For how long uploads are this node's. */
  lease: Lease;
  /** Upload contexts. */
  contexts: Contexts;
  /** The time by which resources age. */
  clock: SteadyClock;
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

/** An upload whose log is open for this node to append to. */
export interface OpenUpload {
  /** The resource. */
  open: OpenResource;
  /** Its record. */
  record: ResourceRecord;
  /** Its newest status. */
  status: ResourceStatus;
  /** Its log. */
  writer: LogWriter;
}

/** An upload that runs. */
export interface RunningUpload {
  /** Appends to it. */
  appender: Appender;
  /** The resource. */
  open: OpenResource;
  /** Count of its bytes. */
  account: UploadAccount;
}

/** Appenders by the id of their resource. */
export class Uploads {
  readonly #parts: WritingParts;
  readonly #options: UploadOptions;
  readonly #running = new Map<string, RunningUpload>();
  readonly #interval: AffordableInterval;
  readonly #unrecorded = new Set<RunningUpload>();
  #renewals: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;
  #recording: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param parts What appenders work with.
   * @param options How uploads run.
   */
  constructor(parts: WritingParts, options: UploadOptions) {
    this.#parts = parts;
    this.#options = options;
    const waits = parts.storage.isStalled !== undefined;
    this.#interval = new AffordableInterval(waits ? SHARE.OF_WAITING : SHARE.OF_WORK);
  }

  /** How many run. */
  get count(): number {
    return this.#running.size;
  }

  /** The upload of a resource, if it runs here. */
  find(id: string): RunningUpload | undefined {
    return this.#running.get(id);
  }

  /** All that run. */
  all(): RunningUpload[] {
    return [...this.#running.values()];
  }

  /** Whether a record tells the end of an upload late, of which everybody was told here. */
  isToldLate({ id, epoch }: ResourceRecord): boolean {
    for (const { appender } of this.#unrecorded) {
      if (appender.resource.id === id && appender.epoch === epoch) return true;
    }
    return false;
  }

  /**
   * Appends to a log from now on.
   * @param upload The log.
   * @param digest The digest of what it holds.
   */
  start({ open, record, status, writer }: OpenUpload, digest: LogDigest): Appender {
    const { storage, catalog, lease, clock, quota, usage, events, meter, health } = this.#parts;
    const { durability = "os", checkpointIntervalMs } = this.#options;
    const { id, metadata, contextId } = record;
    const subject = { id, metadata, contextId };
    const account = usage.openAccount(record);
    const appender: Appender = new Appender(open.resource, {
      writer,
      catalog,
      record,
      status,
      lease,
      clock,
      digest,
      boot: storage.boot ?? null,
      durability,
      checkpointInterval: checkpointIntervalMs ?? this.#interval,
      uploadCount: () => this.count,
      meter,
      stored: (error) => health.stored(error),
      checkGrowth: async (size) => {
        await quota.checkGrowth(subject, size);
        await account.grow(size, appender.announced.size);
      },
      published: (status) => events.emit({ type: "status", id, contextId, status }),
      ended: async (end, size) => {
        // Where its id is used again there may be another upload by now.
        this.#forget(id, appender);
        if (end !== "UNRECORDED") return await close(upload);
        account.settle(size);
        this.#unrecorded.add(upload);
        this.#recordLater();
      },
    });
    const upload: RunningUpload = { appender, open, account };
    this.#running.set(id, upload);
    this.#startRenewing();
    return appender;
  }

  /** An upload that was detached waits for its next owner. */
  detached(id: string, { account, appender }: RunningUpload): void {
    if (appender.isRecorded) account.close();
    else account.leave();
    this.#forget(id, appender);
  }

  /** Renews nothing any more, and has nothing recorded. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#renewals);
    clearTimeout(this.#recording);
  }

  #forget(id: string, appender: Appender): void {
    if (this.#running.get(id)?.appender === appender) this.#running.delete(id);
  }

  /** Ends that the catalog refused are told again, until it takes them; a process that ends before leaves them to recovery. */
  #recordLater(): void {
    if (this.#isClosed || this.#unrecorded.size === 0) return;
    this.#recording ??= setTimeout(() => void this.#record(), RECORD_AGAIN_MS);
  }

  async #record(): Promise<void> {
    for (const upload of this.#unrecorded) {
      await upload.appender.recordEnd();
      // The others would be refused, too.
      if (!upload.appender.isRecorded) break;
      this.#unrecorded.delete(upload);
      await close(upload);
    }
    this.#recording = undefined;
    this.#recordLater();
  }

  /** Leases that do not run out cost nothing. */
  #startRenewing(): void {
    const { lease } = this.#parts;
    if (lease.ms === Infinity) return;
    this.#renewals ??= setInterval(
      () => void this.#renew(),
      Math.min(lease.ms / 4, LONGEST_TIMER_MS),
    );
  }

  /** One after the other; those that append all the time have renewed theirs already. */
  async #renew(): Promise<void> {
    for (const { appender } of this.all()) await appender.renew();
  }
}

/** From now on the record counts. */
async function close({ account, open }: RunningUpload): Promise<void> {
  account.close();
  await open.release();
}
