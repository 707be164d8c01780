/**
 * Events of resources, for those who listen.
 * @module
 */
import type { ContextAttributes } from "../catalog.ts";
import type { ResourceMetadata, ResourceStatus, StreamError, TransferStatus } from "../protocol.ts";
import type { Contexts } from "./contexts.ts";

/** Resource that something happened to. */
export interface EventSubject {
  /** Id of the resource; of a refused one the id that it would have got. */
  id: string;
  /** Upload context; null without one. */
  contextId: string | null;
}

/** Happening to a resource: registered, a new status, refused, deleted. */
export type Happening =
  & EventSubject
  & (
    | { type: "created"; metadata: ResourceMetadata }
    | { type: "status"; status: ResourceStatus }
    | { type: "refused"; metadata: ResourceMetadata; error: StreamError }
    | { type: "deleted" }
  );

/** Event that listeners hear. */
export type ResourceEvent = Happening & {
  /** Attributes of the upload context; none without one. */
  attributes: ContextAttributes;
};

/** Which events a listener wants; all without a filter. */
export interface EventFilter {
  /** Only those of one resource: its registration or refusal, every size, its end. */
  id?: string | undefined;
  /** Only those of one upload context. */
  contextId?: string | undefined;
  /** Of the status events, only those with one of these. */
  transferStatuses?: readonly TransferStatus[] | undefined;
  /** Only what happens to uploads of this node, where several share their data. */
  onlyHere?: boolean | undefined;
}

interface Listener {
  listener: (event: ResourceEvent) => void;
  filter: EventFilter;
}

/** Tells every listener what it wants to hear, in order. */
export class ResourceEvents {
  readonly #listeners = new Set<Listener>();
  readonly #contexts: Contexts;
  readonly #listenerFailed: (error: unknown) => void;
  /** Settles when earlier events were told, while there are some whose attributes are looked up. */
  #telling: Promise<void> | null = null;

  /**
   * @param contexts Know the attributes.
   * @param listenerFailed Hears of what listeners throw, which harms nobody else.
   */
  constructor(contexts: Contexts, listenerFailed: (error: unknown) => void = () => {}) {
    this.#contexts = contexts;
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
   * Tells that something happened: at once, unless attributes must be looked up first, for it or for an earlier one.
   * @param happening What.
   * @param isHere Whether it did on this node.
   */
  emit(happening: Happening, isHere = true): void {
    if (this.#listeners.size === 0) return;
    const attributes = this.#contexts.recall(happening.contextId);
    if (this.#telling === null && attributes !== undefined) {
      return this.#tell({ ...happening, attributes }, isHere);
    }
    const telling = (this.#telling ?? Promise.resolve())
      .then(() => this.#contexts.attributes(happening.contextId))
      .catch((error) => {
        this.#listenerFailed(error);
        return {};
      })
      .then((attributes) => {
        if (this.#telling === telling) this.#telling = null;
        this.#tell({ ...happening, attributes }, isHere);
      });
    this.#telling = telling;
  }

  #tell(event: ResourceEvent, isHere: boolean): void {
    for (const { listener, filter } of this.#listeners) {
      if (filter.onlyHere === true && !isHere) continue;
      if (filter.id !== undefined && filter.id !== event.id) continue;
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
