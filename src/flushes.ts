/**
 * Flushes of this process: however slow the disk is, a thread of the runtime is left for everybody else.
 * @module
 */
import { availableParallelism } from "node:os";
import process from "node:process";

/** From such a one on, in ms, whoever opens or reads a file would wait behind it. */
const SLOW_MS = 20;

/** Threads for what waits for a disk: Bun has as many as processors, two at least; of Deno's none is waited for. */
const THREADS = "Deno" in globalThis
  ? Infinity
  : Math.max(2, Number(process.env.UV_THREADPOOL_SIZE) || availableParallelism());

/** Lets as many flushes run side by side as there are threads; where they are slow, all of these but one. */
export class Flushes {
  readonly #threads: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #areSlow = false;

  /** @param threads Threads of the runtime. */
  constructor(threads: number) {
    this.#threads = threads;
  }

  /** Flushes, after those that came before if need be. */
  async run(flush: () => Promise<void>): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      this.#beginSome();
    });
    const startedAtMs = performance.now();
    try {
      await flush();
    } finally {
      this.#areSlow = performance.now() - startedAtMs >= SLOW_MS;
      this.#running--;
      this.#beginSome();
    }
  }

  #beginSome(): void {
    const most = this.#threads - (this.#areSlow ? 1 : 0);
    while (this.#waiting.length > 0 && this.#running < most) {
      this.#running++;
      this.#waiting.shift()!();
    }
  }
}

/** The flushes of this process. */
export const FLUSHES: Flushes = new Flushes(THREADS);
