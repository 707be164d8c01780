/**
 * The resources of an upload context, all of them told over one connection.
 * @module
 */
import {
  type ContextEvent,
  contextEvents,
  type ResourceInfo,
  type ResourceStatus,
  StreamError,
} from "../../client.ts";
import { isFinal, isNewer, toStreamError } from "../../protocol.ts";
import type { Link } from "./log.ts";
import type { OnRetry } from "./source.ts";

/** A resource of a context, as far as it was told. */
export type Member = Pick<ResourceInfo, "id" | "filename" | "mimeType" | "supportsLineAccess"> & {
  status: ResourceStatus | null;
};

/** One context. */
export class ContextFeed {
  readonly #server: string;
  readonly #contextId: string;
  readonly #token: string | undefined;
  readonly #changed: () => void;
  readonly #followers = new Map<string, Set<() => void>>();
  readonly #retried = new Set<OnRetry>();
  #stop = new AbortController();
  members = new Map<string, Member>();
  refused: { filename: string; code: string; message: string }[] = [];
  link: Link = { state: "connecting" };
  problem: StreamError | null = null;

  constructor(
    server: string,
    contextId: string,
    token: string | undefined,
    changed: () => void,
  ) {
    this.#server = server;
    this.#contextId = contextId;
    this.#token = token;
    this.#changed = changed;
  }

  /** Listens until `close`. */
  async open(): Promise<void> {
    this.#stop.abort();
    const { signal } = this.#stop = new AbortController();
    const onRetry: OnRetry = (error, delayMs) => {
      this.link = { state: "lost", reason: error.message, retryAtMs: Date.now() + delayMs };
      for (const retried of this.#retried) retried(error, delayMs);
      this.#changed();
    };
    const options = { token: this.#token, signal, onRetry, retryForMs: Infinity };
    try {
      for await (const event of contextEvents(this.#server, this.#contextId, options)) {
        this.link = { state: "live" };
        this.#take(event);
        this.#changed();
      }
    } catch (error) {
      if (signal.aborted) return;
      this.problem = toStreamError(error);
      this.link = { state: "ended" };
      this.#changed();
    }
  }

  /** Stops listening while nobody looks. */
  sleep(): void {
    this.#stop.abort();
    this.link = { state: "asleep" };
  }

  /** Statuses of one resource, from the connection of all. */
  async *statuses(
    id: string,
    signal: AbortSignal,
    onRetry: OnRetry,
  ): AsyncGenerator<ResourceStatus, void, void> {
    let wake = () => {};
    const follower = () => wake();
    const followers = this.#followers.get(id) ?? new Set();
    this.#followers.set(id, followers.add(follower));
    this.#retried.add(onRetry);
    signal.addEventListener("abort", follower);
    try {
      for (let told: ResourceStatus | null = null; !signal.aborted;) {
        const member = this.members.get(id);
        if (member === undefined && told !== null) {
          throw new StreamError("DELETED", "the resource was deleted");
        }
        const status = member?.status ?? null;
        if (status !== null && isNewer(status, told)) {
          told = status;
          yield status;
          if (isFinal(status.transferStatus)) return;
        } else await new Promise<void>((resolve) => wake = resolve);
      }
    } finally {
      followers.delete(follower);
      this.#retried.delete(onRetry);
    }
  }

  #take(event: ContextEvent): void {
    switch (event.type) {
      case "resource": {
        const { id, filename, mimeType, supportsLineAccess } = event.resource;
        this.members.set(id, {
          id,
          filename,
          mimeType,
          supportsLineAccess,
          status: event.resource,
        });
        return this.#wake(id);
      }
      case "created": {
        const { id, filename, mimeType, supportsLineAccess } = event.resource;
        if (this.members.has(id)) return;
        this.members.set(id, { id, filename, mimeType, supportsLineAccess, status: null });
        return this.#wake(id);
      }
      case "status": {
        const member = this.members.get(event.id);
        if (member === undefined || !isNewer(event.status, member.status)) return;
        this.members.set(event.id, { ...member, status: event.status });
        return this.#wake(event.id);
      }
      case "refused":
        this.refused = [...this.refused, event.upload].slice(-100);
        return;
      case "deleted":
        this.members.delete(event.id);
        return this.#wake(event.id);
    }
  }

  #wake(id: string): void {
    for (const follower of this.#followers.get(id) ?? []) follower();
  }
}
