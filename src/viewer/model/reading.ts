/**
 * Lines that are wanted and cannot be read: why, and when they are asked for again.
 * @module
 */
import type { StreamError } from "../../client.ts";
import { type LostLink, lostLink } from "./link.ts";

/** They are read again after the first pause, then ever more seldom, in ms. */
const FIRST_PAUSE_MS = 1000, LONGEST_PAUSE_MS = 10_000;

/** Whether lines can be read. */
export class Reading {
  /** Why they cannot; null while they can. */
  unread: LostLink | null = null;
  readonly #retry: () => boolean;
  readonly #changed: () => void;
  #pauseMs = FIRST_PAUSE_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param retry Reads what is wanted; tells whether anything is.
   * @param changed Hears of every change.
   */
  constructor(retry: () => boolean, changed: () => void) {
    this.#retry = retry;
    this.#changed = changed;
  }

  /** They did not come. */
  failed(error: StreamError): void {
    this.stop();
    this.unread = lostLink(error, this.#pauseMs);
    this.#timer = setTimeout(() => this.again(), this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    this.#changed();
  }

  /** Something shows that they may be there. */
  again(): void {
    if (this.unread !== null && !this.#retry()) this.succeeded();
  }

  /** Nothing is wanted that does not come. */
  succeeded(): void {
    this.stop();
    this.unread = null;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#changed();
  }

  /** They are not asked for by themselves any more. */
  stop(): void {
    clearTimeout(this.#timer);
  }
}
