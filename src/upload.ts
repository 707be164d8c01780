/**
 * An upload as its source sees it, and the shell that all kinds of uploads share.
 * @module
 */
import { Latest } from "./latest.ts";
import {
  type ResourceStatus,
  StreamError,
  toStreamError,
  type TransferStatus,
  type UploadResult,
} from "./protocol.ts";

/** Which statuses to hear of; all without a filter. */
export interface StatusFilter {
  /** Only those with one of these, e.g. `["COMPLETED", "FAILED"]` for the end. */
  transferStatuses?: readonly TransferStatus[] | undefined;
}

/** An upload that runs: to a server, into a directory, or nowhere. */
export interface Upload {
  /** Where the resource can be followed, from now on. */
  readonly reference: string;
  /** The newest status. */
  readonly status: ResourceStatus;
  /** Takes the bytes; the memory of a chunk may be used again when its write is over. Closing it completes the upload. */
  readonly writable: WritableStream<Uint8Array>;
  /** Settles when the upload was acknowledged with the matching digest, or failed. */
  readonly done: Promise<UploadResult>;
  /**
   * Every new status until the last, the newest at once; a slow reader gets the newest only.
   * @param filter Which ones; all by default.
   */
  statuses(filter?: StatusFilter): AsyncIterableIterator<ResourceStatus>;
  /**
   * Gives the upload up: the resource becomes FAILED and keeps what arrived.
   * @param cause Why; others are told.
   */
  abort(cause?: unknown): Promise<void>;
}

/** The status of an upload before anything was heard of it. */
export const INITIAL_STATUS: ResourceStatus = Object.freeze({
  transferStatus: "INITIATED",
  currentSize: 0,
  numberOfLines: null,
  durableSize: 0,
  epoch: 0,
  sequence: 0,
  life: "",
  failure: null,
});

/** Shell of an upload: its stream, its statuses and its one end; a subclass moves the bytes. */
export abstract class UploadShell implements Upload {
  readonly writable: WritableStream<Uint8Array>;
  readonly done: Promise<UploadResult>;
  readonly #done = Promise.withResolvers<UploadResult>();
  readonly #status: Latest<ResourceStatus>;
  #controller!: WritableStreamDefaultController;
  #goodbye: Promise<void> | null = null;
  #failure: StreamError | null = null;
  #isOver = false;

  /** @param status The first status. */
  constructor(status: ResourceStatus = INITIAL_STATUS) {
    this.#status = new Latest(status);
    this.done = this.#done.promise;
    // A source that only looks at `writable` hears of a failure there.
    this.done.catch(() => {});
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
        // The stream itself would wait for a write that waits for its turn before it calls `abort`.
        const { signal } = controller;
        const giveUp = () => void this.#giveUp(signal.reason);
        // Node (22) does not bear that its stream is failed before the signal was heard by all.
        signal.addEventListener("abort", () => queueMicrotask(giveUp), { once: true });
      },
      write: (chunk) => this.#take(chunk),
      close: () => this.finish(),
      abort: (reason) => this.#giveUp(reason),
    });
  }

  abstract get reference(): string;

  get status(): ResourceStatus {
    return this.#status.value;
  }

  statuses(filter?: StatusFilter): AsyncIterableIterator<ResourceStatus> {
    return this.#status.values(passing(filter));
  }

  async abort(cause?: unknown): Promise<void> {
    await this.#giveUp(cause ?? "cancelled");
  }

  /** Takes a chunk; resolves when there is room for the next. */
  protected abstract write(chunk: Uint8Array): Promise<void>;

  /** Hears that there are no more chunks; resolves when the upload is over. */
  protected abstract finish(): Promise<void>;

  /** Ends the upload with what its source gave it up for; resolves when everybody was told. */
  protected abstract giveUp(reason: StreamError): Promise<void>;

  /** Why the upload failed; null as long as it did not. */
  protected get failure(): StreamError | null {
    return this.#failure;
  }

  /** Whether the upload succeeded or failed. */
  protected get isOver(): boolean {
    return this.#isOver;
  }

  /** Changes the status. */
  protected tell(change: Partial<ResourceStatus>): void {
    this.#status.set({ ...this.#status.value, ...change });
  }

  /** Ends the upload well. */
  protected succeed(result: UploadResult): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#status.end();
    this.#done.resolve(result);
  }

  /** Ends the upload with an error, which its source hears. */
  protected fail(error: StreamError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#failure = error;
    this.#controller.error(error);
    this.#done.reject(error);
    this.#status.end();
  }

  /** A stream whose `write` throws calls nobody else. */
  async #take(chunk: Uint8Array): Promise<void> {
    try {
      checkBytes(chunk);
      await this.write(chunk);
    } catch (error) {
      void this.#giveUp(error);
      throw error;
    }
  }

  #giveUp(cause: unknown): Promise<void> {
    const error = toStreamError(cause, "ABORTED");
    if (!this.#isOver) this.#goodbye ??= this.giveUp(error);
    this.#controller.error(error);
    return this.#goodbye ?? Promise.resolve();
  }
}

/**
 * Checks what a source without types wrote.
 * @throws {StreamError} BAD_REQUEST.
 */
function checkBytes(chunk: unknown): void {
  // One of another realm is no `instanceof`.
  if (Object.prototype.toString.call(chunk) === "[object Uint8Array]") return;
  throw new StreamError("BAD_REQUEST", `a chunk of an upload is a Uint8Array, no ${typeof chunk}`);
}

/** Tells which statuses pass a filter. */
export function passing(
  { transferStatuses }: StatusFilter = {},
): (status: ResourceStatus) => boolean {
  return ({ transferStatus }) => transferStatuses?.includes(transferStatus) ?? true;
}
