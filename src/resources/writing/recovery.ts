/**
 * Uploads that a node left unfinished: by this one before it started, by another whose lease ran out.
 * @module
 */
import type { Catalog, ResourceQuery, ResourceRecord } from "../../catalog.ts";
import { isFinal, StreamError, toStreamError } from "../../protocol.ts";
import { LONGEST_TIMER_MS } from "../../timer.ts";
import type { ResourceCache } from "../reading/cache.ts";
import { lifeOf } from "../status.ts";
import type { Handover } from "./handover.ts";
import type { Lease } from "./lease.ts";

/** Records looked at together. */
const PAGE = 100;

/** Uploads taken over at the same time: most of it is waiting for the disk or for other machines. */
const AT_ONCE = 16;

/** A catalog that is so much behind hears of no renewals, in ms. */
const DEAF_MS = 5000;

/** How often a takeover is tried again whose record changed meanwhile. */
const ATTEMPTS = 5;

/** Parts of recovery. */
export interface RecoveryParts {
  /** Where records are. */
  catalog: Catalog;
  /** The resources that somebody has open. */
  cache: ResourceCache;
  /** Says whose an upload is. */
  lease: Lease;
  /** Takes them over. */
  handover: Handover;
}

/** Brings uploads whose owners are gone in line with their logs. */
export class Recovery {
  readonly #parts: RecoveryParts;
  #rounds: ReturnType<typeof setInterval> | undefined;
  #running: Promise<number> | null = null;
  #closed = false;
  /** When nothing was heard of other nodes, at the latest. */
  #deafAtMs = -Infinity;

  /** @param parts What it works with. */
  constructor(parts: RecoveryParts) {
    this.#parts = parts;
  }

  /**
   * Takes over every unfinished upload that is this node's, or nobody's any more, and runs neither here nor elsewhere;
   * their uploaders may come back meanwhile.
   * @returns How many there were.
   */
  recover(): Promise<number> {
    return this.#running ??= this.#recoverAll().finally(() => this.#running = null);
  }

  async #recoverAll(): Promise<number> {
    this.#parts.lease.beginRound();
    let recovered = 0;
    let after: ResourceQuery["after"];
    for (;;) {
      const records = await this.#parts.catalog.list({
        transferStatuses: ["INITIATED", "IN_PROGRESS"],
        limit: PAGE,
        after,
      });
      const waiting = records.values();
      const recoverNext = async () => {
        for (const record of waiting) {
          if (this.#closed) await this.#leave(record);
          else if (await this.#recoverOne(record)) recovered++;
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, recoverNext));
      if (records.length < PAGE) return recovered;
      after = records[records.length - 1];
    }
  }

  /** Looks for leases that ran out, again and again; those of a node that is alone do not. */
  start(): void {
    const { lease } = this.#parts;
    if (lease.ms === Infinity) return;
    const round = () => {
      // Who cannot be heard may live: owners have a whole lease from then on to say so.
      if (this.#isDeaf()) this.#deafAtMs = performance.now();
      if (performance.now() - this.#deafAtMs < lease.ms) return;
      // What fails now is tried again then.
      void this.recover().catch(() => {});
    };
    this.#rounds ??= setInterval(round, Math.min(lease.ms / 3, LONGEST_TIMER_MS));
  }

  /** Takes nothing over any more; what it has not come to is left to others. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#rounds);
    await this.#running?.catch(() => {});
  }

  #isDeaf(): boolean {
    return (this.#parts.catalog.lagMs ?? 0) > DEAF_MS;
  }

  /** What is anybody's without an owner is held to be in line with its log, which this need not be. */
  async #leave(record: ResourceRecord): Promise<void> {
    const { handover } = this.#parts;
    if (record.ownedBy === "ANYBODY" || handover.isOurs(record.id)) return;
    await handover.disown(record);
  }

  async #recoverOne(record: ResourceRecord): Promise<boolean> {
    const { catalog, handover, lease, cache } = this.#parts;
    const { id, ownedBy, owner } = record;
    // Whoever had it last has left it in line with its log.
    if (ownedBy === "ANYBODY" && owner === null) return false;
    if (handover.isOurs(id) || !lease.mayTake(record)) return false;
    // An end that the catalog refused is told to it again (`uploads.ts`).
    const known = cache.find(id)?.status.transferStatus;
    if (known !== undefined && isFinal(known)) return false;
    return await handover.take(id, async () => {
      // Its uploader may just have come back.
      if (handover.isHeld(id)) return false;
      // What lists say of an owner need not be all.
      const now = owner === null || owner.node === lease.node ? record : await catalog.get(id);
      if (now === null || isFinal(now.transferStatus) || !lease.mayTake(now)) return false;
      return await this.#adopt(now);
    });
  }

  /** Takes an upload over, unless somebody else does. */
  async #adopt(found: ResourceRecord): Promise<boolean> {
    const { catalog, handover, cache, lease } = this.#parts;
    let record: ResourceRecord | null = found;
    for (let attempts = 1; attempts <= ATTEMPTS; attempts++) {
      try {
        await handover.adopt(record, abandoned());
        return true;
      } catch (error) {
        const lost = toStreamError(error);
        if (lost.code === "NOT_FOUND") await handover.lose(record.id, lifeOf(record), lost);
        // What cannot be opened now may be when its owner is back, or when the window is over.
        else if (lost.code !== "CONFLICT" && lost.code !== "FENCED") {
          if (record.ownedBy !== "ANYBODY") {
            handover.wait(cache.holdUnreached(record), record.epoch, null, abandoned());
          }
        } else {
          // Its last owner may just have written what it had; another node may have been faster.
          record = await catalog.get(record.id);
          if (record === null || isFinal(record.transferStatus)) return false;
          if (lease.mayTake(record)) continue;
          return false;
        }
        return true;
      }
    }
    return false;
  }
}

function abandoned(): StreamError {
  return new StreamError(
    "INTERRUPTED",
    "the server ended while this was being uploaded, and the uploader did not come back",
  );
}
