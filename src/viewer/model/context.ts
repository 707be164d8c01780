/**
 * The resources of an upload context, all of them told over one connection.
 * @module
 */
import {
  type ContextEvent,
  contextEvents,
  listResources,
  type ResourceInfo,
  type ResourceStatus,
  StreamError,
} from "../../client.ts";
import { isFinal, isNewer, toStreamError } from "../../protocol.ts";
import { type Link, lostLink } from "./link.ts";
import type { OnRetry } from "./source.ts";

/** A resource of a context, as far as it was told. */
export type Member = Pick<ResourceInfo, "id" | "filename" | "mimeType" | "supportsLineAccess"> & {
  status: ResourceStatus | null;
};

/** What a follower of one resource hears. */
type News = "status" | "deleted" | "connected";

/** One context. */
export class ContextFeed {
  readonly #server: string;
  readonly #contextId: string;
  readonly #token: string | undefined;
  readonly #changed: () => void;
  readonly #followers = new Map<string, Set<(news: News) => void>>();
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
      this.link = lostLink(error, delayMs);
      for (const retried of this.#retried) retried(error, delayMs);
      this.#changed();
    };
    const options = {
      token: this.#token,
      signal,
      onRetry,
      onOpen: () => this.#opened(signal),
      retryForMs: Infinity,
    };
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

  #opened(signal: AbortSignal): void {
    this.link = { state: "live" };
    for (const id of this.#followers.keys()) this.#tell(id, "connected");
    // The next connection brings another chance.
    if (this.members.size > 0) this.#dropDeleted(signal).catch(() => {});
  }

  /** What is there is told anew on each connection, of what was deleted since the one before nothing. */
  async #dropDeleted(signal: AbortSignal): Promise<void> {
    const gone = new Set(this.members.keys());
    const options = { contextId: this.#contextId, token: this.#token, signal };
    for await (const { id } of listResources(this.#server, options)) gone.delete(id);
    for (const id of gone) this.#drop(id);
    this.#changed();
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
    const heard = new Set<News>();
    const follower = (news: News) => {
      heard.add(news);
      wake();
    };
    const followers = this.#followers.get(id) ?? new Set();
    this.#followers.set(id, followers.add(follower));
    this.#retried.add(onRetry);
    signal.addEventListener("abort", () => wake());
    try {
      for (let told: ResourceStatus | null = null; !signal.aborted;) {
        if (heard.has("deleted")) throw new StreamError("DELETED", "the resource was deleted");
        // Who was told that the connection is lost is told when it is not any more.
        const isBack = heard.delete("connected");
        const status = this.members.get(id)?.status ?? null;
        if (status !== null && (isBack || isNews(status, told))) {
          told = status;
          yield status;
          if (isFinal(status.transferStatus)) return;
        } else await new Promise<void>((resolve) => wake = resolve);
      }
    } finally {
      followers.delete(follower);
      if (followers.size === 0) this.#followers.delete(id);
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
        return this.#tell(id, "status");
      }
      case "created": {
        const { id, filename, mimeType, supportsLineAccess } = event.resource;
        if (this.members.has(id)) return;
        this.members.set(id, { id, filename, mimeType, supportsLineAccess, status: null });
        return this.#tell(id, "status");
      }
      case "status": {
        const member = this.members.get(event.id);
        if (member === undefined || !isNewer(event.status, member.status)) return;
        this.members.set(event.id, { ...member, status: event.status });
        return this.#tell(event.id, "status");
      }
      case "refused":
        this.refused = [...this.refused, event.upload].slice(-100);
        return;
      case "deleted":
        return this.#drop(event.id);
    }
  }

  #drop(id: string): void {
    this.members.delete(id);
    this.#tell(id, "deleted");
  }

  #tell(id: string, news: News): void {
    for (const follower of this.#followers.get(id) ?? []) follower(news);
  }
}

/** Tells whether a status is not known yet: it may be of another life of the id. */
function isNews(status: ResourceStatus, told: ResourceStatus | null): boolean {
  return status.life !== told?.life || isNewer(status, told);
}
