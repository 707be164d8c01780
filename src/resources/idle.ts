/**
 * Resources that nobody has open any more: their logs stay open for a while, as whoever reads here and there
 * comes again at once, and opening a log costs more than a short read.
 * @module
 */
import type { Resource } from "./resource.ts";

/** Each has one or two files open. */
const MAX_IDLE = 64;
/** They are closed after once to twice this time. */
const IDLE_MS = 5000;

interface Idle {
  resource: Resource;
  createdAtMs: number;
  untilMs: number;
}

/** The ones that were released last. */
export class IdleResources {
  /** Those that will be closed first come first. */
  readonly #idle = new Map<string, Idle>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Keeps a resource for the next who asks.
   * @param resource The resource.
   * @param createdAtMs When it was registered: an id may be used again after a deletion.
   */
  keep(resource: Resource, createdAtMs: number): void {
    const untilMs = performance.now() + IDLE_MS;
    this.#idle.set(resource.id, { resource, createdAtMs, untilMs });
    if (this.#idle.size > MAX_IDLE) this.close(this.#idle.keys().next().value!);
    this.#timer ??= setTimeout(() => this.#closeOld(), IDLE_MS);
  }

  /** Gives a resource away, whose status may be an old one; null if it is not here. */
  take(id: string, createdAtMs: number): Resource | null {
    const idle = this.#idle.get(id);
    if (idle === undefined) return null;
    if (idle.createdAtMs !== createdAtMs) {
      this.close(id);
      return null;
    }
    this.#idle.delete(id);
    return idle.resource;
  }

  /** Closes a resource, if it is here. */
  close(id: string): void {
    // What cannot be closed harms nobody.
    void this.#idle.get(id)?.resource.close().catch(() => {});
    this.#idle.delete(id);
  }

  /** Closes all. */
  async closeAll(): Promise<void> {
    clearTimeout(this.#timer);
    const closing = Array.from(this.#idle.values(), ({ resource }) => resource.close());
    this.#idle.clear();
    await Promise.all(closing);
  }

  #closeOld(): void {
    const nowMs = performance.now();
    for (const [id, { untilMs }] of this.#idle) {
      if (untilMs <= nowMs) this.close(id);
    }
    this.#timer = this.#idle.size === 0 ? undefined : setTimeout(() => this.#closeOld(), IDLE_MS);
  }
}
