/**
 * For how long this node owns the uploads it appends to.
 * @module
 */
import type { Owner, ResourceRecord } from "../../catalog.ts";

/** One of several nodes that share storage and catalog. */
export interface NodeOptions {
  /** Id of this node, which no other one has; a node that starts again has the same. `node` by default. */
  nodeId?: string;
  /**
   * How long an upload is this node's without a renewal, in ms; Infinity by default, for a node that is alone: then
   * nothing is renewed, and what it left unfinished waits for it.
   */
  leaseMs?: number;
  /** Whether this node now does what only one of all nodes does, which is retention; it always does by default. */
  isOnDuty?: () => boolean;
  /** The time, in ms since 1970; that of the machine by default. */
  clock?: () => number;
}

/** Says which uploads are this node's, and until when. */
export class Lease {
  /** Id of this node. */
  readonly node: string;
  /** How long an upload is its own without a renewal, in ms. */
  readonly ms: number;
  readonly #clock: () => number;

  /** @param options The node. */
  constructor({ nodeId = "node", leaseMs = Infinity, clock = Date.now }: NodeOptions) {
    this.node = nodeId;
    this.ms = leaseMs;
    this.#clock = clock;
  }

  /**
   * This node, from now on.
   * @param waitMs How much longer than a lease, for an upload that nothing renews while it waits for its uploader.
   */
  owner(waitMs = 0): Owner {
    const owner = { node: this.node, untilMs: this.#clock() + this.ms + waitMs };
    return waitMs > 0 ? { ...owner, waits: true } : owner;
  }

  /** Whether this node may take an unfinished upload over without being asked to. */
  mayTake({ owner }: ResourceRecord): boolean {
    return owner === null || owner.node === this.node || owner.untilMs <= this.#clock();
  }

  /** Whether it is time to renew what an owner has, which is when a third of a lease is gone. */
  isDue(owner: Owner | null): boolean {
    return owner !== null && owner.untilMs - this.#clock() < this.ms * 2 / 3;
  }
}
