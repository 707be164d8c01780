/**
 * Events of resources, for those who listen.
 * @module
 */
import type { ResourceMetadata, ResourceStatus, StreamError, TransferStatus } from "../protocol.ts";

/** Event that listeners hear. */
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
  /** Only what happens to uploads of this node, where several share their data. */
  onlyHere?: boolean;
}

interface Listener {
  listener: (event: ResourceEvent) => void;
  filter: EventFilter;
}

/** Tells every listener what it wants to hear, in order. */
export class ResourceEvents {
  readonly #listeners = new Set<Listener>();
  readonly #listenerFailed: (error: unknown) => void;

  /** @param listenerFailed Hears of what listeners throw, which harms nobody else. */
  constructor(listenerFailed: (error: unknown) => void = () => {}) {
    this.#listenerFailed = listenerFailed;
  }

  /**
   * Adds a listener.
   * @returns Ends it.
   */
  listen(listener: (event: ResourceEvent) => void, filter: EventFilter = {}): () => void {
    const entry = { listener, filter };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /**
   * Something happened.
   * @param event What.
   * @param isHere Whether it did on this node.
   */
  emit(event: ResourceEvent, isHere = true): void {
    for (const { listener, filter } of this.#listeners) {
      if (filter.onlyHere === true && !isHere) continue;
      if (filter.contextId !== undefined && filter.contextId !== event.contextId) continue;
      const wanted = filter.transferStatuses;
      if (event.type === "status" && wanted?.includes(event.status.transferStatus) === false) {
        continue;
      }
      try {
        listener(event);
      } catch (error) {
        this.#listenerFailed(error);
      }
    }
  }
}
