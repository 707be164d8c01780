/** Several nodes in one process: each with its own instance of storage and catalog, over the same logs and records. */
import { setImmediate, setTimeout } from "node:timers";
import { MemoryCatalog, MemoryRecords } from "../../src/catalog/memory.ts";
import { Resources, type ResourcesOptions } from "../../src/resources.ts";
import { MemoryLogs, MemoryStorage } from "../../src/storage/memory.ts";

/** Longer than any test. */
export const LEASE_MS = 3_600_000;

/** What nodes share, and a clock for their leases. */
export class Cluster implements AsyncDisposable {
  readonly logs: MemoryLogs;
  readonly records: MemoryRecords;
  /** The time of all nodes, in ms since 1970. */
  nowMs = 1_700_000_000_000;
  readonly #nodes: Resources[] = [];

  /** @param deliver Hands news to the nodes, in order; in a later turn by default. */
  constructor(deliver: (tell: () => void) => void = (tell) => void setImmediate(tell)) {
    this.logs = new MemoryLogs(deliver);
    this.records = new MemoryRecords(deliver);
  }

  /** Parts and settings of one more node. */
  options(nodeId: string): ResourcesOptions {
    return {
      storage: new MemoryStorage(this.logs),
      catalog: new MemoryCatalog(this.records),
      nodeId,
      leaseMs: LEASE_MS,
      clock: () => this.nowMs,
      checkpointIntervalMs: 1,
    };
  }

  /** One more node. */
  node(nodeId: string, given: Partial<ResourcesOptions> = {}): Resources {
    const node = new Resources({ ...this.options(nodeId), ...given });
    this.#nodes.push(node);
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes) await node.close();
  }
}

/** Delivers in order, each after a time of its own. */
export function sluggish(delayMs: () => number): (tell: () => void) => void {
  const waiting: (() => void)[] = [];
  let running = false;
  const next = () => {
    waiting.shift()?.();
    running = waiting.length > 0;
    if (running) setTimeout(next, delayMs());
  };
  return (tell) => {
    waiting.push(tell);
    if (!running) setTimeout(next, delayMs());
    running = true;
  };
}
