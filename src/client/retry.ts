/**
 * When to try again after a connection broke, and when not to.
 * @module
 */
import type { ErrorCode, StreamError } from "../protocol.ts";

/** Longest time that a lost connection is tried again, unless the caller says otherwise. */
export const RETRY_FOR_MS = 600_000;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 10_000;

/** Errors that may pass by themselves; all others would come again. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set([
  "INTERRUPTED",
  "LIMIT_REACHED",
  "PEER_SILENT",
  "SHUTDOWN",
  "UNREACHABLE",
]);

/** Tells whether what failed with an error could go on later. */
export function isTransient({ code }: StreamError): boolean {
  return TRANSIENT.has(code);
}

/** How a connection that broke is taken up again. */
export interface RetryOptions {
  /** How long a lost connection is tried again, in ms; 600 000 by default, 0 for never. */
  retryForMs?: number;
  /** Called before each further attempt, with what went wrong and the time until it, in ms. */
  onRetry?: (error: StreamError, delayMs: number) => void;
  /** Called when a connection that was lost stands again. */
  onReconnect?: () => void;
}

/** One series of attempts, from a break until the connection stands again. */
export class Retries {
  readonly #options: RetryOptions;
  readonly #endsAtMs: number;
  #delayMs = FIRST_DELAY_MS;

  /** @param options How long, and who is told. */
  constructor(options: RetryOptions) {
    this.#options = options;
    this.#endsAtMs = performance.now() + (options.retryForMs ?? RETRY_FOR_MS);
  }

  /**
   * Waits before the next attempt: exponentially longer, with jitter, so that a thousand clients of a
   * restarted server do not come at once.
   * @param error What went wrong.
   * @param stop Ends the wait.
   * @returns False when there is to be no further attempt.
   */
  async wait(error: StreamError, stop: AbortSignal): Promise<boolean> {
    if (!isTransient(error) || performance.now() >= this.#endsAtMs || stop.aborted) {
      return false;
    }
    const delayMs = Math.round(this.#delayMs * (0.5 + Math.random() / 2));
    this.#delayMs = Math.min(this.#delayMs * 2, LONGEST_DELAY_MS);
    this.#options.onRetry?.(error, delayMs);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const timer = setTimeout(resolve, delayMs);
    stop.addEventListener("abort", resolve);
    await promise;
    clearTimeout(timer);
    stop.removeEventListener("abort", resolve);
    return !stop.aborted;
  }

  /** Tells that the connection stands again. */
  succeeded(): void {
    this.#options.onReconnect?.();
  }
}
