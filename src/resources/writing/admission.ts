/**
 * How many uploads may run at the same time.
 * @module
 */
import { StreamError } from "../../protocol.ts";

const MAX_UPLOADS = 1000;

/** Lets uploads begin until there are enough of them, or the server is shut down. */
export class Admission {
  readonly #running: () => number;
  /** Uploads that are being registered or taken over. */
  #starting = 0;
  #closed = false;

  /**
   * @param running Counts the uploads that run.
   * @param maxUploads Uploads that may run at the same time.
   */
  constructor(running: () => number, readonly maxUploads: number = MAX_UPLOADS) {
    this.#running = running;
  }

  /**
   * Runs a step that starts an upload; it counts as one from now on.
   * @throws {StreamError} LIMIT_REACHED, SHUTDOWN; what the step throws.
   */
  async admit<T>(step: () => Promise<T>): Promise<T> {
    this.checkOpen();
    if (this.#running() + this.#starting >= this.maxUploads) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${this.maxUploads} uploads are running already: try again later`,
      );
    }
    this.#starting++;
    try {
      return await step();
    } finally {
      this.#starting--;
    }
  }

  /**
   * Tells whether uploads may begin at all.
   * @throws {StreamError} SHUTDOWN.
   */
  checkOpen(): void {
    if (this.#closed) throw new StreamError("SHUTDOWN", "the server is shutting down");
  }

  /** Lets nobody in any more. */
  close(): void {
    this.#closed = true;
  }
}
