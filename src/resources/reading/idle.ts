/**
 * Logs that nobody reads any more: they stay open for a while, as whoever reads here and there comes again at
 * once, and opening a log costs more than a short read.
 * @module
 */
import type { LogReader } from "../../storage.ts";

/** Each has one or two files open. */
const MAX_IDLE = 64;
/** They are closed after once to twice this time. */
const IDLE_MS = 5000;

interface Idle {
  reader: Promise<LogReader>;
  createdAtMs: number;
  untilMs: number;
}

/** The ones that were read last. */
export class IdleReaders {
  /** Those that are closed next come first. */
  readonly #idle = new Map<string, Idle>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Keeps a log for the next who asks.
   * @param id Id of the resource.
   * @param createdAtMs When it was registered: an id may be used again after a deletion.
   * @param reader The log.
   */
  keep(id: string, createdAtMs: number, reader: Promise<LogReader>): void {
    void this.close(id);
    this.#idle.set(id, { reader, createdAtMs, untilMs: performance.now() + IDLE_MS });
    if (this.#idle.size > MAX_IDLE) void this.close(this.#idle.keys().next().value!);
    this.#timer ??= setTimeout(() => this.#closeOld(), IDLE_MS);
  }

  /** Gives a log away; null if it is not here. */
  take(id: string, createdAtMs: number): Promise<LogReader> | null {
    const idle = this.#idle.get(id);
    if (idle === undefined || idle.createdAtMs !== createdAtMs) return null;
    this.#idle.delete(id);
    return idle.reader;
  }

  /** Closes a log, if it is here. */
  async close(id: string): Promise<void> {
    const idle = this.#idle.get(id);
    this.#idle.delete(id);
    try {
      await (await idle?.reader)?.close();
    } catch { /* What cannot be closed harms nobody. */ }
  }

  /** Closes all. */
  async closeAll(): Promise<void> {
    clearTimeout(this.#timer);
    await Promise.all(Array.from(this.#idle.keys(), (id) => this.close(id)));
  }

  #closeOld(): void {
    const nowMs = performance.now();
    for (const [id, { untilMs }] of this.#idle) {
      if (untilMs <= nowMs) void this.close(id);
    }
    this.#timer = this.#idle.size === 0 ? undefined : setTimeout(() => this.#closeOld(), IDLE_MS);
  }
}
