/**
 * When to try again after a connection broke, and when not to.
 * @module
 */
import { isTransient, type StreamError, toStreamError } from "../../protocol.ts";
import { startTimer } from "../../timer.ts";
import { NoServerError, RefusedError } from "./http.ts";

/** How long a lost connection is tried again, unless the caller says otherwise, in ms. */
export const RETRY_FOR_MS = 600_000;
/** The same for a first connection, in ms: a server that starts at the same time is waited for, a wrong address is not. */
const FIRST_RETRY_FOR_MS = 5000;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 10_000;

/** A connection on which there was nothing to do was there when it stood for so long, in ms. */
export const STANDS_AFTER_MS = 1000;

/** How a connection that broke is taken up again. */
export interface RetryOptions {
  /**
   * How long a connection is tried again, in ms; 0 for never. By default 600 000, and 5000 for a first one, unless
   * the server says that it is not ready.
   */
  retryForMs?: number | undefined;
  /** Called before each further attempt, with what went wrong and the time until it, in ms. */
  onRetry?: ((error: StreamError, delayMs: number) => void) | undefined;
  /** Called when a connection that was lost stands again. */
  onReconnect?: (() => void) | undefined;
}

/** One series of attempts, until a connection stands. */
export class Retries {
  readonly #options: RetryOptions;
  readonly #isFirst: boolean;
  readonly #beganAtMs = performance.now();
  /** Whether there is a server: one was connected, or asked to be given time. */
  #isThere: boolean;
  #delayMs = FIRST_DELAY_MS;

  /**
   * @param options How long, and who is told.
   * @param isFirst Whether there was no connection before: then an address where something else answers is a wrong one.
   */
  constructor(options: RetryOptions, isFirst = false) {
    this.#options = options;
    this.#isFirst = isFirst;
    this.#isThere = !isFirst;
  }

  /**
   * Waits before the next attempt: exponentially longer, with jitter, so that a thousand clients of a
   * restarted server do not come at once. A server that says when to come is not asked earlier, except for a last time
   * when the time is over.
   * @param error What went wrong.
   * @param stop Ends the wait.
   * @returns False when there is to be no further attempt.
   */
  async wait(error: StreamError, stop: AbortSignal): Promise<boolean> {
    this.#isThere ||= error.code === "NOT_READY";
    const leftMs = this.#leftMs();
    if (this.#isFirst && error instanceof NoServerError) return false;
    if (!isTransient(error) || leftMs <= 0 || stop.aborted) return false;
    const jitteredMs = Math.round(this.#delayMs * (0.5 + Math.random() / 2));
    const delayMs = Math.min(Math.max(jitteredMs, retryAfterMs(error)), Math.ceil(leftMs));
    this.#delayMs = Math.min(this.#delayMs * 2, LONGEST_DELAY_MS);
    this.#options.onRetry?.(error, delayMs);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const stopTimer = startTimer(delayMs, () => resolve(undefined));
    stop.addEventListener("abort", resolve);
    await promise;
    stopTimer();
    stop.removeEventListener("abort", resolve);
    return !stop.aborted;
  }

  #leftMs(): number {
    const { retryForMs = this.#isThere ? RETRY_FOR_MS : FIRST_RETRY_FOR_MS } = this.#options;
    return this.#beganAtMs + retryForMs - performance.now();
  }
}

/** How a question is asked again. */
export interface RetryingOptions extends RetryOptions {
  /** Whether the server has answered before: then it is asked as long as after a connection that was lost. */
  isThere?: boolean | undefined;
  /** Gives it up. */
  signal?: AbortSignal | undefined;
}

/**
 * Asks until there is an answer, as connections are made again: for a server that starts, or is away for a moment.
 *
 * @param ask Asks once.
 * @param options How long it is asked again, who is told, signal.
 * @returns The answer.
 * @throws What the last attempt failed of; the signal's reason.
 *
 * @example
 * ```ts
 * import { getResource, retrying } from "@stream/live/client";
 *
 * async function sizeOf(reference: string) {
 *   const { currentSize } = await retrying(() => getResource(reference), { retryForMs: 60_000 });
 *   return currentSize;
 * }
 * ```
 */
export async function retrying<T>(
  ask: () => Promise<T>,
  { isThere = false, signal = new AbortController().signal, ...options }: RetryingOptions = {},
): Promise<T> {
  const retries = new Retries(options, !isThere);
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (await retries.wait(toStreamError(error), signal)) continue;
      signal.throwIfAborted();
      throw error;
    }
  }
}

/** Time that a server wants to have before the next request (RFC 9110, 10.2.3), in ms; 0 where it does not say. */
function retryAfterMs(error: StreamError): number {
  if (!(error instanceof RefusedError)) return 0;
  const [text, date] = ["retry-after", "date"].map((name) => error.headers.get(name) ?? "");
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // By the clock of whoever says so: the one here may be hours off.
  const [atMs, nowMs] = [text, date].map((each) => Date.parse(each));
  return Math.max(0, atMs - (Number.isNaN(nowMs) ? Date.now() : nowMs)) || 0;
}
