/**
 * The resources that somebody has open, and what is kept of those that somebody had open just now.
 *
 * All who have a resource open share one {@link Resource}. Whoever reads here and there comes again at once:
 * opening a log costs more than a short read, and reading a row of the catalog a tenth to a fifth of one.
 * @module
 */
import type { Catalog, ResourceRecord } from "../../catalog.ts";
import { isFinal, isNewer, type ResourceStatus, StreamError } from "../../protocol.ts";
import type { FollowedTail, LogReader, Storage, TailListener } from "../../storage.ts";
import { findRecord, notFound } from "../find.ts";
import { annotationAt } from "../intent.ts";
import type { Meter } from "../meter.ts";
import { lifeOf, statusOf } from "../status.ts";
import { type RecentBudget, Resource } from "./resource.ts";

const MAX_FOLLOWERS = 20_000;
/** Memory for the newest bytes of all resources, for followers at their tails. */
const RECENT_BYTES = 32 * 1024 * 1024;
/** Resources of which something is kept; each log has one or two files open. */
const MAX_IDLE = 64;
/** A log that nobody reads is closed after once to twice this time. */
const IDLE_MS = 5000;
/** A record is believed for so long: `stream check --repair` changes finished ones in a process of its own. */
const BELIEVED_MS = 1000;

/** Resources whose deletion is remembered: who read a record before may come with it after. */
const MAX_GONE = 10_000;

/** How often storage and catalog are asked until neither is behind the other, and what they are given between, in ms. */
const ATTEMPTS = 5;
const AGAIN_MS = 100;

/** A record with the newest status, which a running upload has not written to the catalog yet. */
export type ResourceView = ResourceRecord & {
  /** The newest status. */
  status: ResourceStatus;
};

/** A resource that somebody has open, until it is released. */
export class OpenResource implements AsyncDisposable {
  #release: (() => Promise<void>) | null;
  #isHandedOn = false;

  /** Use `Resources.open`. */
  constructor(
    /** The resource, which others may have open, too. */
    readonly resource: Resource,
    release: () => Promise<void>,
  ) {
    this.#release = release;
  }

  /** Gives it back; once is enough. */
  async release(): Promise<void> {
    const release = this.#release;
    this.#release = null;
    await release?.();
  }

  /** Whoever has it now releases it; the end of the scope that opened it does not. */
  handOn(): void {
    this.#isHandedOn = true;
  }

  /** Gives it back, unless it was handed on. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isHandedOn) await this.release();
  }
}

/** A resource that somebody has open. */
interface Held {
  readonly resource: Resource;
  readonly createdAtMs: number;
  /** Whether it was registered just now, so that nobody can have ended it before. */
  readonly isNew: boolean;
  holders: number;
  /** Where its news come from; null once there are none to come. */
  tail: FollowedTail | null;
  /** While it begins to be followed. */
  following: Promise<void> | null;
}

/** Remains of a resource that nobody has open. */
interface Idle {
  /** Its record, if it is finished. */
  record: ResourceRecord | null;
  believedUntilMs: number;
  /** Its log, if somebody read it, and when the resource was registered: an id may be used again. */
  reader: Promise<LogReader> | null;
  createdAtMs: number;
  openUntilMs: number;
}

/** Parts of the cache. */
export interface CacheParts {
  /** Where records are. */
  catalog: Catalog;
  /** Where bytes are. */
  storage: Storage;
  /** Measures what is read. */
  meter: Meter;
  /** The clock, in ms; that of the process by default. */
  now?: () => number;
}

/** Resources that are open, and the newest of those that were. */
export class ResourceCache {
  readonly #parts: CacheParts;
  readonly #now: () => number;
  readonly #maxFollowers: number;
  readonly #held = new Map<string, Held>();
  /** The ones that were used first come first. */
  readonly #idle = new Map<string, Idle>();
  /** When those were registered that were deleted, by their ids; the ones that were deleted first come first. */
  readonly #gone = new Map<string, number>();
  readonly #recentBudget: RecentBudget = { freeBytes: RECENT_BYTES };
  #changes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param parts Records, bytes and a clock.
   * @param maxFollowers Those who may have one resource open at the same time.
   */
  constructor(parts: CacheParts, maxFollowers = MAX_FOLLOWERS) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
    this.#maxFollowers = maxFollowers;
  }

  /**
   * The record of a resource with its newest status; that of a finished one as it was within the last second.
   * @throws {StreamError} NOT_FOUND.
   */
  async get(id: string): Promise<ResourceView> {
    const view = await this.#look(id);
    const { status } = view;
    let record: ResourceRecord = view;
    // It ended meanwhile: its digest only its record knows.
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      if (!isFinal(status.transferStatus) || isFinal(record.transferStatus)) break;
      if (attempts > 0) await pause();
      record = await this.#record(id);
      // Its id is used again.
      if (lifeOf(record) !== status.life) return await this.get(id);
    }
    return viewOf(record, status);
  }

  async #look(id: string): Promise<ResourceView> {
    for (let attempts = 1;; attempts++) {
      const record = await this.#record(id);
      const view = this.#known(record);
      if (isFinal(view.status.transferStatus)) return view;
      const newest = await this.#newest(id);
      const known = this.#known(record);
      // The id was used again meanwhile, or who told of it is behind: what one says is nothing of the other.
      if (newest !== null && newest.life !== known.status.life) {
        if (attempts === ATTEMPTS) return known;
        await pause();
        continue;
      }
      if (newest !== null && !isNewer(known.status, newest)) return viewOf(record, newest);
      // Who told of it was away, and is behind: somebody else may answer the next time.
      const isBehind = newest !== null && isNewer(statusOf(record), newest);
      if (!isBehind || attempts === ATTEMPTS) return known;
      await pause();
    }
  }

  /** A record with the newest status that was heard here; where others write, who hears nothing any more is behind it. */
  #known(record: ResourceRecord): ResourceView {
    const view = this.view(record);
    const recorded = statusOf(record);
    const isBehind = this.#parts.storage.newest !== undefined && isNewer(recorded, view.status);
    return isBehind ? viewOf(record, recorded) : view;
  }

  /** The newest status of an upload that runs: its record may be a second older. Null where nothing newer is known. */
  async #newest(id: string): Promise<ResourceStatus | null> {
    const { storage } = this.#parts;
    if (storage.newest !== undefined) return await storage.newest(id);
    const held = this.#held.get(id);
    if (held !== undefined) {
      if (!held.resource.deleted) await this.#followed(held);
      return null;
    }
    const tail = await storage.follow(id, DEAF);
    tail.close();
    return tail.status;
  }

  /**
   * Opens a resource.
   * @param id Its id.
   * @param record What the catalog said just now; asked for by default.
   * @throws {StreamError} NOT_FOUND, LIMIT_REACHED.
   */
  async open(id: string, record?: ResourceRecord): Promise<OpenResource> {
    let held = this.#held.get(id);
    const isOther = held?.createdAtMs !== (record ?? held)?.createdAtMs;
    if (held === undefined || held.resource.deleted || isOther) {
      // Somebody else may have opened it while the catalog was asked.
      held = this.#hold(record ?? await findRecord(this.#parts.catalog, id));
    }
    if (held.resource.deleted) throw notFound(id);
    if (held.holders >= this.#maxFollowers) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${this.#maxFollowers} have resource ${id} open: try again later`,
      );
    }
    return await this.#handle(held);
  }

  /**
   * Opens a resource for its upload; no limit keeps it out.
   * @param record Its record.
   * @param isNew Whether that was made just now.
   */
  hold(record: ResourceRecord, isNew = false): Promise<OpenResource> {
    return this.#handle(this.#hold(record, isNew));
  }

  /** Opens a resource like `hold`, even where its tail cannot be followed now; see `reach`. */
  holdUnreached(record: ResourceRecord): OpenResource {
    return this.#handOut(this.#hold(record));
  }

  /** Follows the tail of a resource that is open, unless it is followed. */
  async reach(id: string): Promise<void> {
    const held = this.#held.get(id);
    if (held !== undefined) await this.#followed(held);
  }

  /** The resource, if somebody has it open. */
  find(id: string): Resource | undefined {
    return this.#held.get(id)?.resource;
  }

  /** A record with the newest status. */
  view(record: ResourceRecord): ResourceView {
    const held = this.#held.get(record.id);
    const isHeld = held?.createdAtMs === record.createdAtMs;
    return viewOf(record, isHeld ? held!.resource.status : statusOf(record));
  }

  /** A record was changed by another node: its end is told here, too, and nothing older is believed. */
  changed(record: ResourceRecord): void {
    this.forget(record.id);
    const held = this.#held.get(record.id);
    // Until then the tail knows better.
    if (held?.createdAtMs !== record.createdAtMs || !isFinal(record.transferStatus)) return;
    if (!isFinal(held.resource.status.transferStatus)) held.resource.publish(statusOf(record));
    endTail(held);
  }

  /** Believes nothing of a record that was read before. */
  forget(id: string): void {
    this.#changes++;
    const idle = this.#idle.get(id);
    if (idle !== undefined) idle.record = null;
  }

  /**
   * A resource was deleted: tells those who have it open, and keeps nothing of it.
   * @param id Its id.
   * @param createdAtMs When it was registered: its id may have been used again before this node heard of it.
   */
  async deleted(id: string, createdAtMs: number): Promise<void> {
    this.#changes++;
    this.#gone.delete(id);
    this.#gone.set(id, createdAtMs);
    if (this.#gone.size > MAX_GONE) this.#gone.delete(this.#gone.keys().next().value!);
    const held = this.#held.get(id);
    if (held?.createdAtMs === createdAtMs) end(held);
    await this.#drop(id);
  }

  /** Closes every resource, whoever has it open. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    const closing = Array.from(this.#held.values(), (held) => {
      endTail(held);
      return held.resource.close();
    });
    this.#held.clear();
    await Promise.all([...closing, ...Array.from(this.#idle.keys(), (id) => this.#drop(id))]);
  }

  async #record(id: string): Promise<ResourceRecord> {
    const idle = this.#idle.get(id);
    if (idle?.record && this.#now() < idle.believedUntilMs) return idle.record;
    const changes = this.#changes;
    const record = await findRecord(this.#parts.catalog, id);
    // What was changed or deleted meanwhile is not what was read.
    if (isFinal(record.transferStatus) && changes === this.#changes) {
      this.#keep(id, { record, believedUntilMs: this.#now() + BELIEVED_MS });
    }
    return record;
  }

  async #handle(held: Held): Promise<OpenResource> {
    const opened = this.#handOut(held);
    try {
      // Of what is finished there is no news.
      if (held.tail === null && !isFinal(held.resource.status.transferStatus)) {
        await this.#followed(held);
      }
      if (held.resource.deleted) throw notFound(held.resource.id);
    } catch (error) {
      await opened.release();
      throw error;
    }
    return opened;
  }

  #handOut(held: Held): OpenResource {
    held.holders++;
    return new OpenResource(held.resource, () => this.#release(held));
  }

  /** Waits until the tail of a resource is followed. */
  #followed(held: Held): Promise<void> {
    if (held.tail !== null) return Promise.resolve();
    return held.following ??= this.#follow(held).finally(() => held.following = null);
  }

  /** Follows the tail of a resource, from the newest status on. */
  async #follow(held: Held): Promise<void> {
    const { resource } = held;
    const { storage, catalog } = this.#parts;
    const tail = await storage.follow(resource.id, {
      life: resource.status.life,
      appended: (byteOffset, blocks) => resource.remember(byteOffset, blocks),
      told: (status) => {
        resource.publish(status);
        if (isFinal(status.transferStatus)) endTail(held);
      },
    });
    const isOfLife = tail.status?.life === resource.status.life;
    // What ended before that may be told nowhere but in the record.
    const asksRecord = !isOfLife && !held.isNew;
    const record = asksRecord ? await catalog.get(resource.id) : null;
    // Its deletion may have been told before anybody had it open here.
    if (asksRecord && record?.createdAtMs !== held.createdAtMs) end(held);
    const status = isOfLife ? tail.status : record && statusOf(record);
    if (status !== null) resource.publish(status);
    const isOver = isFinal(resource.status.transferStatus) || resource.deleted;
    if (isOver || held.holders === 0) tail.close();
    else held.tail = tail;
  }

  #hold(record: ResourceRecord, isNew = false): Held {
    const { id, metadata, createdAtMs } = record;
    if (this.#gone.get(id) === createdAtMs) throw notFound(id);
    let held = this.#held.get(id);
    // An id may be used again while some still have the old resource open, and before this node hears of it.
    if (held !== undefined && held.createdAtMs < createdAtMs) end(held);
    if (held === undefined || held.resource.deleted && held.createdAtMs !== createdAtMs) {
      const { storage, meter } = this.#parts;
      const reader = this.#take(id, createdAtMs);
      const budget = this.#recentBudget;
      const resource = new Resource(id, metadata, statusOf(record), storage, budget, meter, reader);
      held = { resource, createdAtMs, isNew, holders: 0, tail: null, following: null };
      this.#held.set(id, held);
    }
    if (held.createdAtMs !== createdAtMs) throw notFound(id);
    return held;
  }

  async #release(held: Held): Promise<void> {
    const { resource, createdAtMs } = held;
    if (--held.holders > 0) return;
    endTail(held);
    const isCurrent = this.#held.get(resource.id) === held;
    if (isCurrent) this.#held.delete(resource.id);
    if (!isCurrent || resource.deleted) return await resource.close();
    const reader = resource.leave();
    if (reader === null) return;
    this.#keep(resource.id, { reader, createdAtMs, openUntilMs: performance.now() + IDLE_MS });
    this.#timer ??= setTimeout(() => this.#closeOld(), IDLE_MS);
  }

  /** Keeps something of a resource, besides what is kept of it already. */
  #keep(id: string, known: Partial<Idle>): void {
    const idle = this.#idle.get(id) ??
      { record: null, believedUntilMs: 0, reader: null, createdAtMs: 0, openUntilMs: 0 };
    if (known.reader && idle.reader) void closeQuietly(idle.reader);
    this.#idle.delete(id);
    this.#idle.set(id, Object.assign(idle, known));
    if (this.#idle.size > MAX_IDLE) void this.#drop(this.#idle.keys().next().value!);
  }

  /** Gives a log away; null if it is not here. */
  #take(id: string, createdAtMs: number): Promise<LogReader> | null {
    const idle = this.#idle.get(id);
    if (idle === undefined || idle.createdAtMs !== createdAtMs) return null;
    const { reader } = idle;
    idle.reader = null;
    return reader;
  }

  async #drop(id: string): Promise<void> {
    const idle = this.#idle.get(id);
    this.#idle.delete(id);
    if (idle?.reader) await closeQuietly(idle.reader);
  }

  #closeOld(): void {
    const nowMs = performance.now();
    let left = false;
    for (const [id, { reader, openUntilMs }] of this.#idle) {
      if (openUntilMs <= nowMs) void this.#drop(id);
      else left ||= reader !== null;
    }
    this.#timer = left ? setTimeout(() => this.#closeOld(), IDLE_MS) : undefined;
  }
}

/** For a look at the newest status only. */
const DEAF: TailListener = { appended() {}, told() {} };

/** A record as its log has it at a status. */
function viewOf(record: ResourceRecord, status: ResourceStatus): ResourceView {
  if (!record.intent) return { ...record, status };
  return { ...record, annotation: annotationAt(record, status.currentSize), status };
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
}

/** Its resource is deleted: tells those who have it open. */
function end(held: Held): void {
  if (held.resource.deleted) return;
  endTail(held);
  held.resource.markDeleted();
}

/** No news are to come. */
function endTail(held: Held): void {
  held.tail?.close();
  held.tail = null;
}

async function closeQuietly(reader: Promise<LogReader>): Promise<void> {
  try {
    await (await reader).close();
  } catch { /* What cannot be closed harms nobody. */ }
}
