/**
 * Flushes beside what goes on, so that the end of an upload has little to wait for: 1 GiB that nobody has flushed before
 * takes a disk as long as all its appends.
 * @module
 */

/** So much may be written before a flush begins; one of so much is over in 30 ms on a fast disk. */
const EVERY_BYTES = 32 * 1024 * 1024;

/** Whether an upload of this process flushes: a second one would hold up who else needs the threads of the runtime. */
let isBusy = false;

/** The flushes of one log. */
export class FlushAhead {
  readonly #flush: () => Promise<void>;
  #flushedTo: number;
  #running: Promise<void> | null = null;

  /**
   * @param byteOffset Where the log ends.
   * @param flush Brings everything that was written to disk; it tells of its failure itself, and does not throw.
   */
  constructor(byteOffset: number, flush: () => Promise<void>) {
    this.#flushedTo = byteOffset;
    this.#flush = flush;
  }

  /** Hears where the log ends, and begins a flush when it is time. */
  written(byteOffset: number): void {
    if (isBusy || byteOffset - this.#flushedTo < EVERY_BYTES) return;
    isBusy = true;
    this.#flushedTo = byteOffset;
    this.#running = this.#flush().finally(() => {
      isBusy = false;
      this.#running = null;
    });
  }

  /** Waits for the flush that runs. */
  async settled(): Promise<void> {
    await this.#running;
  }
}
