/**
 * How long who needs the engine waits for it, and where that ends.
 * @module
 */

/** Who waits for so long is told of at /readyz, in ms. */
const STRAIN_MS = 1000;

/** A stream took nothing for as long as somebody wanted to wait; what was sent there may be stored still. */
export class Stalled extends Error {}

/** Patience of all who wait for the engine. */
export class Patience {
  readonly #waiting = new Set<{ sinceMs: number }>();
  readonly #end = new AbortController();

  /** @param ms For how long an engine that takes nothing is waited for, in ms. */
  constructor(readonly ms: number) {}

  /** Ends all waiting. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Whether somebody has waited for longer than usual. */
  get isStrained(): boolean {
    const longMs = performance.now() - STRAIN_MS;
    return [...this.#waiting].some(({ sinceMs }) => sinceMs < longMs);
  }

  /** Somebody has to wait, until this is disposed of. */
  wait(): Disposable {
    const wait = { sinceMs: performance.now() };
    this.#waiting.add(wait);
    return { [Symbol.dispose]: () => this.#waiting.delete(wait) };
  }

  /** Nobody waits any more. */
  end(): void {
    this.#end.abort();
  }
}

/** Until when a connection is given to answer. */
export class Deadline {
  #atMs: number;

  /** @param ms For how long, in ms. */
  constructor(private readonly ms: number) {
    this.#atMs = performance.now() + ms;
  }

  /** What is left of it, in ms. */
  get leftMs(): number {
    return this.#atMs - performance.now();
  }

  /** Another connection has all of it again. */
  restart(): void {
    this.#atMs = performance.now() + this.ms;
  }
}

/** Gives an answer up that does not come. */
export async function within<T>(limitMs: number, answer: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("no leader answers")), limitMs);
  try {
    return await Promise.race([answer, promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits, unless it is all over. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => resolve();
  const timer = setTimeout(end, ms);
  signal.addEventListener("abort", end);
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", end);
}
