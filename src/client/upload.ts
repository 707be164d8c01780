/**
 * The client's side of an upload (PROTOCOL.md 3).
 * @module
 */
import { createDigest, type RunningDigest } from "../digest.ts";
import { Latest } from "../latest.ts";
import {
  CONTEXT_PARAMETER,
  type DigestAlgorithm,
  DIGESTS,
  LIMITS,
  type Message,
  type MessageOf,
  type ResourceMetadata,
  type ResourceStatus,
  StreamError,
  toStreamError,
  type Upload,
  UPLOAD_PATH,
  type UploadResult,
} from "../protocol.ts";
import { Channel } from "./channel.ts";

/** How an upload is made. */
export interface PushOptions {
  /** Upload context to belong to; made if nobody did yet. */
  contextId?: string;
  /** Digest algorithms in order of preference; all that are known by default. */
  digests?: readonly DigestAlgorithm[];
  /** Gives the upload up when it aborts. */
  signal?: AbortSignal;
}

/** What is known when the server is ready. */
interface Start {
  ready: MessageOf<"ReadyForUpload">;
  digest: RunningDigest;
}

/** One upload over one connection. */
export class ClientUpload implements Upload {
  readonly writable: WritableStream<Uint8Array>;
  readonly done: Promise<UploadResult>;
  readonly #done = Promise.withResolvers<UploadResult>();
  readonly #ready = Promise.withResolvers<MessageOf<"ReadyForUpload">>();
  readonly #status = new Latest<ResourceStatus>(initialStatus());
  #channel!: Channel;
  #start!: Start;
  #controller!: WritableStreamDefaultController;
  #sent = 0;
  #limit = 0;
  #acknowledged = 0;
  #failure: StreamError | null = null;
  #wake: (() => void) | null = null;

  private constructor() {
    this.done = this.#done.promise;
    // Who only looks at `writable` hears of a failure there.
    this.done.catch(() => {});
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      write: (chunk) => this.#write(chunk),
      close: () => this.#close(),
      abort: (reason) => void this.#abandon(reason),
    });
  }

  /** Connects and registers; see `push`. */
  static async open(
    base: string,
    metadata: ResourceMetadata,
    options: PushOptions,
  ): Promise<ClientUpload> {
    const { contextId, signal, digests = DIGESTS } = options;
    signal?.throwIfAborted();
    const upload = new ClientUpload();
    const query = contextId === undefined
      ? ""
      : `?${CONTEXT_PARAMETER}=${encodeURIComponent(contextId)}`;
    upload.#channel = await Channel.open(base, UPLOAD_PATH + query, {
      message: (message) => upload.#receive(message),
      data: () => {
        throw new StreamError("BAD_MESSAGE", "the server sent data on an upload connection");
      },
      closed: (reason) => upload.#fail(reason),
    });
    upload.#channel.send({ "@": "StartUpload", metadata, digests: [...digests] });
    const ready = await upload.#ready.promise;
    const digest = await createDigest(ready.digest ?? "md5");
    upload.#start = { ready, digest };
    signal?.addEventListener("abort", () => void upload.abort(signal.reason), { once: true });
    return upload;
  }

  get reference(): string {
    return this.#start.ready.reference.uri;
  }

  get status(): ResourceStatus {
    return this.#status.value;
  }

  /** Bytes the server has taken over. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  statuses(): AsyncIterableIterator<ResourceStatus> {
    return this.#status.values();
  }

  async abort(cause?: unknown): Promise<void> {
    this.#controller.error(this.#abandon(cause));
    await this.done.catch(() => {});
  }

  #receive(message: Message): void {
    switch (message["@"]) {
      case "ReadyForUpload":
        this.#limit = message.limit ?? 0;
        this.#ready.resolve(message);
        return;
      case "Credit":
        this.#limit = message.limit;
        this.#acknowledged = message.acknowledged;
        return this.#signal();
      case "StatusChanged":
        this.#status.set(message.resourceStatus as ResourceStatus);
        this.#acknowledged = Math.max(this.#acknowledged, message.resourceStatus.currentSize);
        return;
      case "UploadAcknowledged":
        return this.#finish(message);
      default:
        throw new StreamError("BAD_MESSAGE", `${message["@"]} does not belong on an upload`);
    }
  }

  /** Sends as fast as the server grants credit. */
  async #write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      while (this.#sent >= this.#limit && this.#failure === null) {
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
      if (this.#failure !== null) throw this.#failure;
      const credit = Math.min(LIMITS.dataMessageBytes, this.#limit - this.#sent);
      const piece = chunk.subarray(at, at + credit);
      this.#start.digest.update(piece);
      this.#channel.sendData(piece);
      this.#sent += piece.length;
      at += piece.length;
    }
  }

  async #close(): Promise<void> {
    const checksum = this.#start.digest.value();
    this.#channel.send({ "@": "FinishUpload", checksum, size: this.#sent });
    await this.done;
  }

  #finish({ size, checksum, numberOflines }: MessageOf<"UploadAcknowledged">): void {
    const { algorithm } = this.#start.digest;
    const value = this.#start.digest.value();
    if (size !== this.#sent || checksum !== value) {
      const message = `the server acknowledged ${size} bytes with ${algorithm} ${checksum}; ` +
        `${this.#sent} bytes with ${value} were sent`;
      return this.#fail(new StreamError("CHECKSUM_MISMATCH", message));
    }
    this.#channel.close("Upload completed");
    this.#status.end();
    const digest = { algorithm, value };
    this.#done.resolve({ size, numberOfLines: numberOflines ?? null, digest });
  }

  #abandon(cause: unknown): StreamError {
    const reason = cause instanceof Error ? cause.message : String(cause ?? "cancelled");
    const error = cause instanceof StreamError
      ? cause
      : new StreamError("ABORTED", reason, { cause });
    if (this.#failure === null) {
      this.#channel.send({ "@": "AbortUpload", reason });
      this.#channel.close("Upload aborted");
      this.#fail(error);
    }
    return error;
  }

  #fail(error: StreamError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#controller.error(error);
    this.#ready.reject(error);
    this.#done.reject(error);
    this.#status.end();
    this.#signal();
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = null;
  }
}

function initialStatus(): ResourceStatus {
  return {
    transferStatus: "INITIATED",
    currentSize: 0,
    numberOfLines: null,
    durableSize: 0,
    epoch: 0,
    sequence: 0,
    failure: null,
  };
}

/** Kept apart so that a caller sees only what every upload offers. */
export async function openUpload(
  base: string,
  metadata: ResourceMetadata,
  options: PushOptions,
): Promise<Upload> {
  try {
    return await ClientUpload.open(base, metadata, options);
  } catch (error) {
    throw toStreamError(error, "ABORTED");
  }
}
