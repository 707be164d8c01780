/**
 * Uploads by the process that has the server, without a connection.
 * @module
 */
import { Bell } from "../../bell.ts";
import {
  type DigestAlgorithm,
  isFinal,
  type Outcome,
  type ResourceStatus,
  StreamError,
  toStreamError,
  type UploadResult,
} from "../../protocol.ts";
import type { Appender } from "./appender.ts";

/** Bytes that may wait to be written before `append` makes its caller wait. */
const WINDOW_BYTES = 1024 * 1024;

/** How an upload in process is registered. */
export interface ServerUploadOptions {
  /** Id of the resource; a new UUID by default. */
  id?: string | undefined;
  /** Upload context; made if nobody did. None by default. */
  contextId?: string | undefined;
  /** Algorithm of the digest; the native default when not given. */
  digest?: DigestAlgorithm | undefined;
}

/** What is known of the whole at the end of an upload. */
export interface UploadEnd {
  /** Digest of all bytes in lower-case hexadecimal, to be compared. */
  checksum?: string | undefined;
  /** Number of all bytes, to be compared. */
  size?: number | undefined;
  /** How the producer ended (PROTOCOL.md 1.3). */
  outcome?: Outcome | undefined;
}

/** An upload that runs in the process of the server; it ends with the server, FAILED. */
export interface ServerUpload {
  /** Id of its resource. */
  readonly id: string;
  /** The newest status. */
  readonly status: ResourceStatus;
  /** Appends what is written, completes when it is closed, fails when it is aborted. */
  readonly writable: WritableStream<Uint8Array>;
  /**
   * Appends bytes, after those of earlier calls.
   * @param bytes The bytes, of which it makes a copy.
   * @returns When there is room for more.
   * @throws {StreamError} QUOTA_EXCEEDED, STORAGE_FAILED … once the upload failed; WRONG_STATE once it is over;
   * BAD_REQUEST for what are no bytes.
   */
  append(bytes: Uint8Array): Promise<void>;
  /**
   * Completes the upload: when it resolves everything is on disk.
   * @param end What is to be compared, and told.
   * @throws {StreamError} CHECKSUM_MISMATCH, STORAGE_FAILED, QUOTA_EXCEEDED after the resource was made FAILED.
   */
  complete(end?: UploadEnd): Promise<UploadResult>;
  /**
   * Ends the upload as FAILED; what was appended is kept.
   * @param reason Why; everybody who asks is told.
   */
  fail(reason: string): Promise<void>;
}

/** An upload over the appender that sessions use, too. */
export class HeldUpload implements ServerUpload {
  readonly writable: WritableStream<Uint8Array>;
  readonly #appender: Appender;
  readonly #room = new Bell();
  readonly #unwatch: () => void;
  #failure: StreamError | null = null;

  /** @param appender Where the bytes go. */
  constructor(appender: Appender) {
    this.#appender = appender;
    appender.listen({
      acknowledged: this.#room.ring,
      failed: (error) => {
        this.#failure = error;
        this.#ended();
      },
    });
    this.#unwatch = appender.resource.watch(({ transferStatus }) => {
      if (isFinal(transferStatus)) this.#ended();
    });
    this.writable = new WritableStream({
      write: (bytes) => this.append(bytes),
      close: async () => void await this.complete(),
      abort: (cause) => this.#giveUp(toStreamError(cause ?? "cancelled", "ABORTED")),
    });
  }

  get id(): string {
    return this.#appender.resource.id;
  }

  get status(): ResourceStatus {
    return this.#appender.resource.status;
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (!(bytes instanceof Uint8Array)) {
      throw new StreamError("BAD_REQUEST", "an upload takes bytes: encode texts with TextEncoder");
    }
    this.#check();
    const appender = this.#appender;
    appender.append(bytes);
    const isFull = () => appender.received - appender.acknowledged >= WINDOW_BYTES;
    while (isFull() && !appender.isOver) await this.#room.rung();
    if (this.#failure !== null) throw this.#failure;
  }

  async complete({ checksum, size, outcome }: UploadEnd = {}): Promise<UploadResult> {
    this.#check();
    return await this.#appender.complete(checksum ?? null, size, outcome);
  }

  fail(reason: string): Promise<void> {
    return this.#giveUp(new StreamError("ABORTED", reason));
  }

  #giveUp(error: StreamError): Promise<void> {
    return this.#appender.fail(error);
  }

  #ended(): void {
    this.#unwatch();
    this.#room.ring();
  }

  #check(): void {
    if (this.#failure !== null) throw this.#failure;
    if (!this.#appender.isOver) return;
    const { transferStatus, failure } = this.status;
    throw new StreamError("WRONG_STATE", `the upload is over: ${failure ?? transferStatus}`);
  }
}
