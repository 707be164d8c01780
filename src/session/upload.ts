/**
 * The server's side of an upload (PROTOCOL.md 3).
 * @module
 */
import { Bell } from "../bell.ts";
import {
  agreedMessageBytes,
  checkSecret,
  closeReason,
  isUuid,
  LIMITS,
  type Message,
  type MessageOf,
  type ResourceStatus,
  StreamError,
  toStreamError,
  type UploadResult,
} from "../protocol.ts";
import {
  AlreadyBegun,
  type Appender,
  Credit,
  type OwnedUpload,
  type Registration,
  type Resources,
} from "../resources.ts";
import type { Connection } from "../runtime.ts";
import { ControlSession, type HeartbeatTimes } from "./control.ts";
import { statusMessage } from "./status_message.ts";

/** Parts and settings of an upload session. */
export interface UploadSessionOptions {
  /** All resources. */
  resources: Resources;
  /** Upload context of the request; null without one. */
  contextId: string | null;
  /** Whether a Step upload makes a context that nobody made; by default it is refused. Native ones always do. */
  makesContexts?: boolean;
  /** Whether it is refused without an upload context; as the server's settings say by default. */
  requiresContext?: boolean;
  /** What the endpoint calls the query parameter of the context; that of PROTOCOL.md 3.1 by default. */
  contextParameter?: string;
  /** Makes the reference that the uploader gets for an id. */
  referenceTo(id: string): string;
  /** Makes the one for Step clients, which a native uploader is told, too; undefined without a port of their own. */
  stepReferenceTo?(id: string): string | undefined;
  /**
   * Whether the uploader may do what its first message says; by default it may.
   * @param id The upload to resume; null for a new one.
   * @throws {StreamError} Why not.
   */
  check?(id: string | null): Promise<void>;
  /**
   * Takes a place among the uploads of the uploader, as long as its connection lasts; any number by default.
   * @returns Gives it back.
   * @throws {StreamError} LIMIT_REACHED.
   */
  takePlace?(): () => void;
  /** The uploader, by each name that counts for shares; nobody in particular by default. */
  clients?: readonly string[];
  /** The heartbeat. */
  heartbeat: HeartbeatTimes;
}

/** An upload that was registered. */
interface Running {
  appender: Appender;
  /** Length of the longest data message. */
  messageBytes: number;
  credit: Credit;
  unwatch: () => void;
}

type State = "NEW" | "REGISTERING" | "RECEIVING" | "FINISHING";

/** So long a server that ends lets an upload say how it ended of which nobody can ask elsewhere, in ms. */
export const LAST_WORD_MS = 1000;

/** Bytes of a Step upload that may wait before its sender is paused. */
const STEP_WINDOW_BYTES = LIMITS.downloadWindowBytes;

/** Receives one upload. */
export class UploadSession extends ControlSession {
  readonly #options: UploadSessionOptions;
  #state: State = "NEW";
  #upload: Running | null = null;
  #givePlaceBack = () => {};
  #resourceId: string | null = null;
  /** A Step upload is one binary message: whether it has ended. */
  #messageEnded = false;
  /** Length of the native message under way, as far as it has come. */
  #messageBytes = 0;
  #lastWord: ReturnType<typeof setTimeout> | undefined;
  readonly #room = new Bell();

  /**
   * @param connection The connection.
   * @param options Parts and settings.
   */
  constructor(connection: Connection, options: UploadSessionOptions) {
    super(connection, options.heartbeat);
    this.#options = options;
  }

  get resourceId(): string | null {
    return this.#resourceId;
  }

  override fail(thrown: unknown): void {
    const isServersEnd = toStreamError(thrown).code === "SHUTDOWN";
    if (this.#state !== "FINISHING" || !isServersEnd) return super.fail(thrown);
    // It will be COMPLETED, which a Step client could not ask for at another server.
    this.#lastWord ??= setTimeout(() => super.fail(thrown), LAST_WORD_MS);
  }

  protected override reasonFor(error: StreamError): string {
    return closeReason(error, this.#options.contextParameter);
  }

  protected handle(message: Message): void {
    switch (message["@"]) {
      case "StartUpload":
        this.#expect("NEW", message["@"]);
        this.#state = "REGISTERING";
        this.#start(message).catch((error) => this.fail(error));
        return;
      case "ResumeUpload":
        if (!this.native) break;
        this.#expect("NEW", message["@"]);
        this.#state = "REGISTERING";
        this.#resume(message).catch((error) => this.fail(error));
        return;
      case "FinishUpload":
        this.#expect("RECEIVING", message["@"]);
        this.#state = "FINISHING";
        this.#finishUpload(message).catch((error) => this.fail(error));
        return;
      case "AbortUpload":
        if (!this.native) break;
        throw new StreamError("ABORTED", message.reason);
    }
    throw new StreamError("WRONG_STATE", `${message["@"]} does not belong on an upload connection`);
  }

  protected receive(bytes: Uint8Array, final: boolean): void | Promise<void> {
    this.#expect("RECEIVING", "binary data");
    const { appender, credit, messageBytes } = this.#upload!;
    if (this.native) {
      this.#messageBytes += bytes.length;
      if (this.#messageBytes > messageBytes) {
        throw new StreamError(
          "MESSAGE_TOO_LARGE",
          `a data message of ${this.#messageBytes} bytes is above ${messageBytes}`,
        );
      }
      if (final) this.#messageBytes = 0;
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

  protected ended(error: StreamError | null, reason: string): void | Promise<void> {
    clearTimeout(this.#lastWord);
    this.#room.ring();
    this.#givePlaceBack();
    if (this.#upload === null) return;
    const { appender, credit, unwatch } = this.#upload;
    unwatch();
    credit.release();
    // A completion that is under way has every byte and the digest: it need not fail for a lost goodbye.
    if (this.#state === "FINISHING" && error === null) return;
    return this.#options.resources.interrupt(appender, error ?? disconnected(reason));
  }

  #expect(state: State, what: string): void {
    if (this.#state === state) return;
    throw new StreamError("WRONG_STATE", `${what} came while the upload was ${this.#state}`);
  }

  async #start(request: MessageOf<"StartUpload">): Promise<void> {
    const { resources, contextId, requiresContext, makesContexts = false, check } = this.#options;
    const { metadata, digests, messageBytes } = request;
    const { supportsLineAccess } = metadata;
    if (this.native && supportsLineAccess === undefined) {
      throw new StreamError("BAD_MESSAGE", 'property "supportsLineAccess" of metadata is missing');
    }
    const chosen = this.native ? chosenIn(request) : {};
    await check?.(null);
    this.#takePlace();
    const registration: Registration = {
      ...chosen,
      metadata: { ...metadata, supportsLineAccess: supportsLineAccess ?? false },
      contextId,
      requiresContext,
      makeContext: this.native || makesContexts,
      ownedBy: this.native ? "SECRET" : "CONNECTION",
      digests: this.native ? digests ?? [] : [],
    };
    try {
      await this.#ready(await resources.register(registration), messageBytes);
    } catch (error) {
      if (!(error instanceof AlreadyBegun)) throw error;
      await this.#takeOver(error.id, chosen.secret!, messageBytes);
    }
  }

  async #resume({ id, secret, messageBytes }: MessageOf<"ResumeUpload">): Promise<void> {
    this.#takePlace();
    await this.#takeOver(id, secret, messageBytes);
  }

  async #takeOver(id: string, secret: string, messageBytes?: number): Promise<void> {
    const { resources, check } = this.#options;
    await check?.(id);
    // Who is gone takes nothing from the connection that came after.
    if (this.over) return;
    const resumed = await resources.resume(id, secret);
    if (!("completed" in resumed)) return await this.#ready(resumed, messageBytes);
    this.#state = "FINISHING";
    if (!this.over) await this.#sendAcknowledgement(resumed.completed);
  }

  #takePlace(): void {
    const give = this.#options.takePlace?.() ?? (() => {});
    if (this.over) give();
    else this.#givePlaceBack = give;
  }

  /** @param wishedBytes Longest data message that the uploader would send; it may know of none but the usual. */
  async #ready({ appender, secret }: OwnedUpload, wishedBytes?: number): Promise<void> {
    if (this.over) {
      return await this.#options.resources.interrupt(appender, this.error ?? disconnected(""));
    }
    const messageBytes = agreedMessageBytes(wishedBytes);
    this.#upload = this.#run(appender, messageBytes);
    this.#state = "RECEIVING";
    const { id } = appender.resource;
    this.#resourceId = id;
    const reference = { uri: this.#options.referenceTo(id) };
    if (!this.native) return await this.send({ "@": "ReadyForUpload", reference });
    await this.send({
      "@": "ReadyForUpload",
      reference,
      id,
      secret: secret ?? undefined,
      epoch: appender.epoch,
      offset: appender.received,
      limit: this.#upload.credit.limit,
      digest: appender.digestAlgorithm,
      stepReference: this.#options.stepReferenceTo?.(id),
      messageBytes: wishedBytes === undefined ? undefined : messageBytes,
    });
  }

  #run(appender: Appender, messageBytes: number): Running {
    const { creditPool } = this.#options.resources;
    const credit = new Credit(creditPool, appender.received, performance.now());
    appender.writeAfterBytes = credit.writeAfterBytes;
    appender.listen({
      acknowledged: (byteOffset) => this.#acknowledged(byteOffset),
      failed: (error) => this.fail(error),
    }, this.#options.clients);
    const unwatch = this.native
      ? appender.resource.watch((status) => this.#announce(status, appender.epoch))
      : () => {};
    return { appender, messageBytes, credit, unwatch };
  }

  /** Tells the uploader of what it sent itself; what the next owner does is not its own any more. */
  #announce(resourceStatus: ResourceStatus, epoch: number): void {
    if (this.over || resourceStatus.epoch !== epoch) return;
    const text = statusMessage(resourceStatus, this.native);
    if (!this.connection.sendNow(text)) void this.connection.send(text);
  }

  /** Bytes left memory: a sender that waited for room goes on. */
  #acknowledged(byteOffset: number): void {
    const { credit, appender } = this.#upload!;
    this.#room.ring();
    if (!this.native || this.over) return;
    const isUsedUp = appender.received >= credit.limit;
    if (!credit.advance(byteOffset, performance.now(), isUsedUp)) return;
    appender.writeAfterBytes = credit.writeAfterBytes;
    void this.send({ "@": "Credit", limit: credit.limit, acknowledged: byteOffset });
  }

  #roomForMore(appender: Appender): Promise<void> | void {
    if (appender.received - appender.acknowledged < STEP_WINDOW_BYTES) return;
    return this.#room.rung();
  }

  async #finishUpload({ checksum, size, outcome }: MessageOf<"FinishUpload">): Promise<void> {
    const { appender } = this.#upload!;
    await this.#sendAcknowledgement(await appender.complete(checksum, size, outcome));
    // The upload is over; the client closes.
    this.#upload?.unwatch();
    this.#upload?.credit.release();
    this.#upload = null;
  }

  async #sendAcknowledgement({ size, numberOfLines, digest }: UploadResult): Promise<void> {
    await this.send({
      "@": "UploadAcknowledged",
      size,
      numberOflines: numberOfLines,
      checksum: digest.value,
      digest: this.native ? digest.algorithm : undefined,
    });
  }
}

function disconnected(reason: string): StreamError {
  return new StreamError(
    "INTERRUPTED",
    reason === "" ? "the connection of the uploader broke" : `the uploader closed: ${reason}`,
  );
}

/**
 * What an uploader chose itself.
 * @throws {StreamError} BAD_REQUEST.
 */
function chosenIn(
  { id, secret }: MessageOf<"StartUpload">,
): { id?: string; secret?: string } {
  if (id !== undefined && !isUuid(id)) {
    throw new StreamError("BAD_REQUEST", `the id ${id.slice(0, 80)} is no UUID in lower case`);
  }
  if (secret !== undefined) checkSecret(secret, id);
  return { id, secret };
}
