/**
 * All sessions of a server: how many there may be, and their end.
 * @module
 */
import { StreamError } from "../protocol.ts";
import type { Connection, Session } from "../runtime.ts";
import type { ControlSession } from "../session.ts";

/** Makes the session of a connection. */
export type Open = (connection: Connection) => ControlSession;

/** How long a shutdown waits for the peers' side of the closing handshake. */
const CLOSE_TIMEOUT_MS = 2000;

/** What is open and can be ended: a session, or a response that streams. */
export interface Ending {
  /** Ends it before its time. */
  fail(error: StreamError): void;
}

/** The sessions and streaming responses whose connections are not gone yet. */
export class Sessions {
  readonly #max: number;
  readonly #open = new Set<Ending>();
  #allGone: (() => void) | null = null;

  /**
   * Begins without any.
   * @param max How many there may be at the same time.
   */
  constructor(max: number) {
    this.#max = max;
  }

  /** @throws {StreamError} LIMIT_REACHED when there may be no more. */
  checkRoom(): void {
    if (this.#open.size < this.#max) return;
    throw new StreamError("LIMIT_REACHED", `${this.#max} connections are open: try again later`);
  }

  /**
   * Counts a session until its connection is gone.
   * @param session The session.
   * @param gone Called then.
   */
  track(session: ControlSession, gone: () => void): Session {
    this.add(session);
    return {
      text: (message) => session.text(message),
      data: (bytes, final) => session.data(bytes, final),
      closed: (code, reason) => {
        gone();
        this.remove(session);
        session.closed(code, reason);
      },
    };
  }

  /** Counts what is open until it is removed. */
  add(open: Ending): void {
    this.#open.add(open);
  }

  /** Counts what is gone no more. */
  remove(gone: Ending): void {
    this.#open.delete(gone);
    if (this.#open.size === 0) this.#allGone?.();
  }

  /**
   * Ends all of them.
   * @returns When their connections are gone, or have had the time for it.
   */
  async close(): Promise<void> {
    if (this.#open.size === 0) return;
    const gone = new Promise<void>((resolve) => this.#allGone = resolve);
    const shutdown = new StreamError("SHUTDOWN", "the server was shut down");
    for (const session of this.#open) session.fail(shutdown);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_TIMEOUT_MS));
    await Promise.race([gone, timeout]);
    clearTimeout(timer);
  }
}
