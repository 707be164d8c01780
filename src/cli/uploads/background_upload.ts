/**
 * Uploads that run beside something more important, such as a build.
 * @module
 */
import type { PushedUpload, UploadResult } from "../../client.ts";
import { StreamError, toStreamError } from "../../protocol.ts";

/** Interval of looking whether the upload goes on. */
const LOOK_EVERY_MS = 200;
/** The producer waits so long for a server that takes nothing, when all that may be kept is kept. */
const HELD_MS = 1000;
/** The end waits so long for a server that takes nothing. */
export const FINISH_MS = 10_000;
/** The end waits so long for a server that was never there. */
export const BEGIN_MS = 2000;

/** What is uploaded, and how. */
export interface BackgroundUploadOptions {
  /** Name of the resource. */
  filename: string;
  /** The bytes. */
  bytes: ReadableStream<Uint8Array>;
  /** Begins the upload. */
  begin(signal: AbortSignal): Promise<PushedUpload>;
  /** Told when the upload stands. */
  begun(upload: PushedUpload): void;
  /** Whether an attempt to reach the server failed, and none succeeded since. */
  isAway(): boolean;
  /** How long the producer has been waiting by now, in ms. */
  heldMs(): number;
  /** Whether the upload is given up rather than hold the producer; if not, everybody waits. */
  bestEffort: boolean;
}

/** One upload. */
export class BackgroundUpload {
  /** Settles when there is nothing more to be done: null when the upload is COMPLETED, or why it is not. */
  readonly over: Promise<StreamError | null>;
  readonly #options: BackgroundUploadOptions;
  readonly #stop = new AbortController();
  #upload: PushedUpload | null = null;
  #result: UploadResult | null = null;
  #isEnding = false;
  #seen = "";
  /** How long nothing new was seen, and that since there are no more bytes: in looks, as the server is not silent while we do not run. */
  #silentMs = 0;
  #silentAtEndMs = 0;

  /** @param options What is uploaded, and how. */
  constructor(options: BackgroundUploadOptions) {
    this.#options = options;
    this.over = this.#run();
  }

  /** Name of the resource. */
  get filename(): string {
    return this.#options.filename;
  }

  /** Where it can be followed; null when it never stood. */
  get reference(): string | null {
    return this.#upload?.reference ?? null;
  }

  /** What the server acknowledged; null when it did not. */
  get result(): UploadResult | null {
    return this.#result;
  }

  /** Tells that there will be no more bytes than those that were read. */
  ends(): void {
    this.#isEnding = true;
  }

  /** Gives it up. */
  giveUp(reason: StreamError): void {
    this.#stop.abort(reason);
  }

  async #run(): Promise<StreamError | null> {
    const { bytes, begin, begun, bestEffort } = this.#options;
    const timer = bestEffort ? setInterval(() => this.#look(), LOOK_EVERY_MS) : undefined;
    try {
      const upload = this.#upload = await begin(this.#stop.signal);
      begun(upload);
      await bytes.pipeTo(upload.writable, { signal: this.#stop.signal });
      this.#result = await upload.done;
      return null;
    } catch (error) {
      if (!bytes.locked) await bytes.cancel(error).catch(() => {});
      return toStreamError(error);
    } finally {
      clearInterval(timer);
    }
  }

  /** Gives up what nobody should wait for. */
  #look(): void {
    const { epoch = 0, sequence = -1 } = this.#upload?.status ?? {};
    if (this.#seen !== `${epoch}.${sequence}`) {
      this.#seen = `${epoch}.${sequence}`;
      this.#silentMs = this.#silentAtEndMs = 0;
    } else {
      this.#silentMs += LOOK_EVERY_MS;
      if (this.#isEnding) this.#silentAtEndMs += LOOK_EVERY_MS;
    }
    if (Math.min(this.#options.heldMs(), this.#silentMs) > HELD_MS) {
      this.giveUp(new StreamError("ABORTED", "the server takes nothing, and no more can be kept"));
    }
    const limitMs = this.#upload === null && this.#options.isAway() ? BEGIN_MS : FINISH_MS;
    if (this.#silentAtEndMs > limitMs) {
      this.giveUp(
        new StreamError("ABORTED", `the server took nothing for ${limitMs / 1000} s at the end`),
      );
    }
  }
}
