/**
 * All uploads of a process, which end together.
 * @module
 */
import { StreamError, toStreamError, type UploadResult } from "../../protocol.ts";
import type { Upload } from "../../upload.ts";

/**
 * Uploads that end together, well or not, e.g. all of a process that is asked to stop.
 *
 * @example
 * ```ts
 * import { discardUpload, UploadGroup } from "@stream/live";
 *
 * const uploads = new UploadGroup();
 * const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
 * const upload = uploads.add(await discardUpload(metadata));
 * const log = new ReadableStream<Uint8Array>({
 *   start(controller) {
 *     controller.enqueue(new TextEncoder().encode("begun\n"));
 *     uploads.stopping.addEventListener("abort", () => controller.close());
 *   },
 * });
 * void log.pipeTo(upload.writable);
 * const [{ status }] = await uploads.close();
 * console.log(status, (await upload.done).size); // fulfilled 6
 * ```
 */
export class UploadGroup implements AsyncDisposable {
  readonly #running = new Set<Upload>();
  readonly #stopping = new AbortController();
  /** Why no upload is taken any more, and what later ones are given up for. */
  #aborted: StreamError | null = null;

  /** Aborts when the uploads are to end: for the `stop` of growing files, and for other sources. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Uploads that run. */
  get size(): number {
    return this.#running.size;
  }

  /**
   * Takes an upload in until it is over; one that comes after `abort` is given up at once.
   * @param upload The upload.
   * @returns The same.
   */
  add<Kind extends Upload>(upload: Kind): Kind {
    this.#running.add(upload);
    const over = () => void this.#running.delete(upload);
    upload.done.then(over, over);
    if (this.#aborted !== null) void upload.abort(this.#aborted);
    return upload;
  }

  /**
   * Asks all sources to stop, and waits until what they had is uploaded.
   * @param withinMs Uploads that run longer are given up, in ms; all are waited for by default.
   * @returns How each upload ended that ran.
   */
  async close(withinMs?: number): Promise<PromiseSettledResult<UploadResult>[]> {
    this.#stopping.abort(new StreamError("ABORTED", "all uploads are being ended"));
    const ends = Promise.allSettled(Array.from(this.#running, ({ done }) => done));
    if (withinMs === undefined) return await ends;
    const late = new StreamError("ABORTED", `the upload did not end within ${withinMs} ms`);
    const timer = setTimeout(() => void this.abort(late), withinMs);
    try {
      return await ends;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Gives all uploads up, and every later one: their resources become FAILED and keep what arrived.
   * @param cause Why; others are told.
   */
  async abort(cause: unknown = "cancelled"): Promise<void> {
    const error = this.#aborted ??= toStreamError(cause, "ABORTED");
    this.#stopping.abort(error);
    await Promise.all(Array.from(this.#running, (upload) => upload.abort(error)));
  }

  /** Ends all uploads well. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
