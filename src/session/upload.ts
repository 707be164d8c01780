/**
 * The server's side of an upload (PROTOCOL.md 3).
 * @module
 */
import {
  LIMITS,
  type Message,
  type MessageOf,
  type ResourceStatus,
  StreamError,
  toStreamError,
} from "../protocol.ts";
import type { Resources } from "../resources.ts";
import type { Appender } from "../resources/appender.ts";
import { Credit } from "../resources/credit.ts";
import type { Connection } from "../runtime.ts";
import { ControlSession, type HeartbeatTimes } from "../session.ts";

/** What an upload session needs. */
export interface UploadSessionOptions {
  /** All resources. */
  resources: Resources;
  /** Upload context of the request; null without one. */
  contextId: string | null;
  /** Makes the reference that the uploader gets for an id. */
  referenceTo(id: string): string;
  /** The heartbeat. */
  heartbeat: HeartbeatTimes;
}

/** An upload that was registered. */
interface Running {
  appender: Appender;
  credit: Credit;
  unwatch: () => void;
}

type State = "NEW" | "REGISTERING" | "RECEIVING" | "FINISHING";

/** Bytes of a base upload that may wait before its sender is paused. */
const BASE_WINDOW_BYTES = LIMITS.downloadWindowBytes;

/** Receives one upload. */
export class UploadSession extends ControlSession {
  readonly #options: UploadSessionOptions;
  #state: State = "NEW";
  #upload: Running | null = null;
  /** A base upload is one binary message: whether it has ended. */
  #messageEnded = false;
  #room: { promise: Promise<void>; resolve: () => void } | null = null;

  /**
   * @param connection The connection.
   * @param options Parts and settings.
   */
  constructor(connection: Connection, options: UploadSessionOptions) {
    super(connection, options.heartbeat);
    this.#options = options;
  }

  protected handle(message: Message): void {
    switch (message["@"]) {
      case "StartUpload":
        this.#expect("NEW", message["@"]);
        this.#state = "REGISTERING";
        this.#start(message).catch((error) => this.fail(error));
        return;
      case "FinishUpload":
        this.#expect("RECEIVING", message["@"]);
        this.#state = "FINISHING";
        this.#finishUpload(message).catch((error) => this.fail(error));
        return;
      case "AbortUpload":
        throw new StreamError("ABORTED", message.reason);
      default:
        throw new StreamError(
          "WRONG_STATE",
          `${message["@"]} does not belong on an upload connection`,
        );
    }
  }

  protected receive(bytes: Uint8Array, final: boolean): void | Promise<void> {
    this.#expect("RECEIVING", "binary data");
    const { appender, credit } = this.#upload!;
    if (this.native) {
      if (bytes.length > LIMITS.dataMessageBytes) {
        throw new StreamError(
          "MESSAGE_TOO_LARGE",
          `a data message of ${bytes.length} bytes is above ${LIMITS.dataMessageBytes}`,
        );
      }
      if (appender.received + bytes.length > credit.limit) {
        throw new StreamError(
          "CREDIT_EXCEEDED",
          `byte ${appender.received + bytes.length} was sent with credit up to ${credit.limit}`,
        );
      }
      appender.append(bytes);
      return;
    }
    if (this.#messageEnded) {
      throw new StreamError("WRONG_STATE", "the upload's one binary message has ended already");
    }
    this.#messageEnded = final;
    appender.append(bytes);
    return this.#roomForMore(appender);
  }

  protected ended(error: StreamError | null, reason: string): void {
    this.#room?.resolve();
    if (this.#upload === null) return;
    const { appender, credit, unwatch } = this.#upload;
    unwatch();
    credit.release();
    // A completion that is under way has every byte and the digest: it need not fail for a lost goodbye.
    if (this.#state === "FINISHING" && error === null) return;
    const cause = error ?? new StreamError(
      "INTERRUPTED",
      reason === "" ? "the connection of the uploader broke" : `the uploader closed: ${reason}`,
    );
    void appender.fail(cause);
  }

  #expect(state: State, what: string): void {
    if (this.#state === state) return;
    throw new StreamError("WRONG_STATE", `${what} came while the upload was ${this.#state}`);
  }

  async #start({ metadata, digests }: MessageOf<"StartUpload">): Promise<void> {
    const { resources, contextId, referenceTo } = this.#options;
    const appender = await resources.register({
      metadata,
      contextId,
      makeContext: this.native,
      digests: this.native ? digests ?? [] : [],
    });
    if (this.over) {
      await appender.fail(new StreamError("INTERRUPTED", "the uploader left before it was ready"));
      return;
    }
    this.#upload = this.#run(appender);
    this.#state = "RECEIVING";
    const { id } = appender.resource;
    const reference = { uri: referenceTo(id) };
    if (!this.native) return await this.send({ "@": "ReadyForUpload", reference });
    await this.send({
      "@": "ReadyForUpload",
      reference,
      id,
      epoch: appender.epoch,
      offset: appender.received,
      limit: this.#upload.credit.limit,
      digest: appender.digestAlgorithm,
    });
  }

  #run(appender: Appender): Running {
    const { creditPool } = this.#options.resources;
    const credit = new Credit(creditPool, appender.received, performance.now());
    appender.writeAfterBytes = credit.windowBytes / 4;
    appender.listen({
      written: (byteOffset) => this.#written(byteOffset),
      failed: (error) => this.fail(error),
    });
    const unwatch = this.native
      ? appender.resource.watch((status) => this.#announce(status))
      : () => {};
    return { appender, credit, unwatch };
  }

  #announce(resourceStatus: ResourceStatus): void {
    if (!this.over) void this.send({ "@": "StatusChanged", resourceStatus });
  }

  /** Bytes left memory: who waited for room may send on. */
  #written(byteOffset: number): void {
    const { credit, appender } = this.#upload!;
    this.#room?.resolve();
    this.#room = null;
    if (!this.native || this.over || !credit.advance(byteOffset, performance.now())) return;
    appender.writeAfterBytes = credit.windowBytes / 4;
    void this.send({ "@": "Credit", limit: credit.limit, acknowledged: byteOffset });
  }

  #roomForMore(appender: Appender): Promise<void> | void {
    if (appender.received - appender.written < BASE_WINDOW_BYTES) return;
    this.#room ??= Promise.withResolvers<void>();
    return this.#room.promise;
  }

  async #finishUpload({ checksum, size }: MessageOf<"FinishUpload">): Promise<void> {
    const result = await this.#upload!.appender.complete(checksum, size)
      .catch((error) => Promise.reject(toStreamError(error)));
    await this.send({
      "@": "UploadAcknowledged",
      size: result.size,
      numberOflines: result.numberOfLines,
      checksum: result.digest.value,
    });
    // The upload is over; the client closes.
    this.#upload?.unwatch();
    this.#upload?.credit.release();
    this.#upload = null;
  }
}
