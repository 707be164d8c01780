/**
 * What follows from records that change, on this node or on another.
 * @module
 */
import type { RecordChange, ResourceRecord } from "../catalog.ts";
import { isFinal } from "../protocol.ts";
import type { Deletion } from "./deletion.ts";
import type { ResourceEvents } from "./events.ts";
import type { ResourceCache } from "./reading/cache.ts";
import { statusOf } from "./status.ts";
import type { Usage } from "./usage.ts";
import type { Handover } from "./writing/handover.ts";
import type { Registrar } from "./writing/registration.ts";

/** Who has to hear of it. */
export interface ChangeParts {
  /** Counts what is stored. */
  usage: Usage;
  /** The resources that somebody has open. */
  cache: ResourceCache;
  /** The uploads of this node. */
  handover: Handover;
  /** Deletions that are under way. */
  deletion: Deletion;
  /** Registrations that are. */
  registrar: Registrar;
  /** Told of what happens elsewhere; what this node does it tells itself. */
  events: ResourceEvents;
}

/** Hears of every change of a record. */
export class RecordChanges {
  readonly #parts: ChangeParts;

  /** @param parts Who has to hear of it. */
  constructor(parts: ChangeParts) {
    this.#parts = parts;
  }

  /** A record changed. */
  heard(change: RecordChange): void {
    const { usage, registrar } = this.#parts;
    const { was, is } = change;
    usage.changed(change);
    if (is === null) return this.#deleted(was!);
    registrar.registered(is);
    if (!this.#isElsewhere(is)) return;
    const { id, contextId, metadata } = is;
    if (was === null) this.#tell({ type: "created", id, contextId, metadata });
    else if (showsMore(is, was)) this.#tellStatus(is);
  }

  /** A change that was left aside while this node was changing the same record: an end that nobody here told is told. */
  heardLate(is: ResourceRecord): void {
    const known = this.#parts.cache.find(is.id)?.status;
    if (!this.#isElsewhere(is) || !isFinal(is.transferStatus)) return;
    const isNews = known?.life === statusOf(is).life && !isFinal(known.transferStatus);
    if (isNews) this.#tellStatus(is);
  }

  #deleted(was: ResourceRecord): void {
    const { cache, handover, deletion, registrar } = this.#parts;
    const { id, contextId, createdAtMs } = was;
    void cache.deleted(id, createdAtMs);
    handover.deleted(was);
    deletion.deleted(was);
    // A registration that was taken back was never told of.
    if (!registrar.isRegistering(id)) this.#parts.events.emit({ type: "deleted", id, contextId });
  }

  /** Whether another node, or nobody, says what becomes of a resource; those who have it open here are told then. */
  #isElsewhere(is: ResourceRecord): boolean {
    const { cache, handover } = this.#parts;
    handover.changed(is);
    if (handover.isOurWord(is)) return false;
    cache.changed(is);
    return true;
  }

  #tellStatus(is: ResourceRecord): void {
    this.#tell({ type: "status", id: is.id, contextId: is.contextId, status: statusOf(is) });
  }

  #tell(event: Parameters<ResourceEvents["emit"]>[0]): void {
    this.#parts.events.emit(event, false);
  }
}

/** Whether a record shows another status than before; a claim or a renewed lease alone does not. */
function showsMore(is: ResourceRecord, was: ResourceRecord): boolean {
  return is.transferStatus !== was.transferStatus || is.size !== was.size ||
    is.lines !== was.lines || is.durableSize !== was.durableSize;
}
