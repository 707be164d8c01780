/**
 * For how long this node owns the uploads it appends to.
 * @module
 */
import type { Owner, ResourceRecord } from "../../catalog.ts";

/** One of several nodes that share storage and catalog. */
export interface NodeOptions {
  /** Id of this node, which no other one has; a node that starts again has the same. `node` by default. */
  nodeId?: string | undefined;
  /**
   * How long an upload is this node's without a renewal, in ms; Infinity by default, for a node that is alone: then
   * nothing is renewed, and what it left unfinished waits for it.
   */
  leaseMs?: number | undefined;
  /** Whether this node now does what only one of all nodes does, which is retention; it always does by default. */
  isOnDuty?: (() => boolean) | undefined;
  /** The time, in ms since 1970; that of the machine by default. */
  clock?: (() => number) | undefined;
}

/** An upload of another node, as it was looked at. */
interface Seen {
  /** Revision of its record: whatever its owner does makes another one. */
  revision: number;
  /** Since when it is known, by the clock here. */
  sinceMs: number;
  /** Whether it waits for its uploader, as far as somebody said. */
  waits: boolean;
}

/**
 * Says which uploads are this node's, and until when.
 *
 * The clocks of two nodes have nothing to do with one another: an upload of another node has run out when its record did
 * not change for a lease, by the clock of the node that looks.
 */
export class Lease {
  /** Id of this node. */
  readonly node: string;
  /** How long an upload is its own without a renewal, in ms. */
  readonly ms: number;
  readonly #waitMs: number;
  readonly #wall: () => number;
  readonly #clock: () => number;
  /** Uploads of others that were looked at in this round, and in the one before. */
  #seen = new Map<string, Seen>();
  #before = new Map<string, Seen>();

  /**
   * @param options The node.
   * @param waitMs How much longer an upload is a node's that waits for its uploader there: nothing renews it.
   */
  constructor({ nodeId = "node", leaseMs = Infinity, clock }: NodeOptions, waitMs: number) {
    this.node = nodeId;
    this.ms = leaseMs;
    this.#waitMs = waitMs;
    this.#wall = clock ?? Date.now;
    this.#clock = clock ?? (() => performance.now());
  }

  /** The time by which leases run out, in ms; nobody sets it. */
  get nowMs(): number {
    return this.#clock();
  }

  /**
   * This node, from now on.
   * @param waits Whether the upload waits for its uploader.
   */
  owner(waits = false): Owner {
    const untilMs = this.#wall() + this.ms + (waits ? this.#waitMs : 0);
    return { node: this.node, untilMs, ...(waits ? { waits } : {}) };
  }

  /** Begins to look at all uploads: what is not looked at again is forgotten. */
  beginRound(): void {
    this.#before = this.#seen;
    this.#seen = new Map();
  }

  /** Whether this node may take an unfinished upload over without being asked to. */
  mayTake({ id, revision, owner }: ResourceRecord): boolean {
    if (owner === null || owner.node === this.node) return true;
    const before = this.#seen.get(id) ?? this.#before.get(id);
    const isSame = before?.revision === revision;
    const sinceMs = isSame ? before.sinceMs : this.nowMs;
    const waits = owner.waits ?? (isSame && before.waits);
    this.#seen.set(id, { revision, sinceMs, waits });
    return this.nowMs - sinceMs >= this.ms + (waits ? this.#waitMs : 0);
  }

  /** Whether it is time to renew what was renewed last at a time, which is when a third of a lease is gone. */
  isDue(renewedAtMs: number): boolean {
    return this.nowMs - renewedAtMs > this.ms / 3;
  }
}
