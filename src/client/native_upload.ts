/**
 * The client's side of an upload (PROTOCOL.md 3): sends within its credit, keeps what is not acknowledged,
 * and goes on after a connection broke.
 * @module
 */
import { createDigest, type RunningDigest } from "../digest.ts";
import { Latest } from "../latest.ts";
import {
  DIGESTS,
  type ErrorCode,
  isFinal,
  LIMITS,
  type Message,
  type MessageOf,
  type ResourceMetadata,
  type ResourceStatus,
  StreamError,
  toStreamError,
  type UploadResult,
} from "../protocol.ts";
import type { Channel, ChannelHandler } from "./channel.ts";
import { HttpUploadChannel } from "./http_upload.ts";
import { isTransient, Retries } from "./retry.ts";
import { initialStatus } from "./status.ts";
import { Connector } from "./transport.ts";
import {
  abortWith,
  mismatchOf,
  type PushedUpload,
  type PushOptions,
  uploadEndpoint,
} from "./upload.ts";

/** Errors that end this owner for good, but leave the upload to the next one. */
const SURVIVABLE: ReadonlySet<ErrorCode> = new Set([
  ...["BAD_MESSAGE", "UNKNOWN_MESSAGE", "FENCED", "UNAUTHORIZED"] as const,
]);

/** A server's answer to the first message of an upload connection. */
type Answer = MessageOf<"ReadyForUpload"> | MessageOf<"UploadAcknowledged">;

/** Where an upload belongs and how its owner proves to be that. */
interface Identity {
  id: string;
  secret: string;
}

/** The server does not speak our extensions. */
export class StepServerError extends StreamError {
  /** @param base HTTP base URL of the server. */
  constructor(base: string) {
    super(
      "BAD_REQUEST",
      `the server at ${base} is a Step server: a push to it needs a stepTransport`,
    );
  }
}

/** One upload, over as many connections as it takes. */
export class ClientUpload implements PushedUpload {
  readonly writable: WritableStream<Uint8Array>;
  readonly done: Promise<UploadResult>;
  readonly #base: string;
  readonly #options: PushOptions;
  readonly #connector: Connector;
  readonly #done = Promise.withResolvers<UploadResult>();
  readonly #status = new Latest<ResourceStatus>(initialStatus());
  readonly #stop = new AbortController();
  #controller!: WritableStreamDefaultController;
  #channel: Channel | null = null;
  /** Whether the server said on this connection where to go on; nothing may be sent before. */
  #ready = false;
  #answer: PromiseWithResolvers<Answer> | null = null;
  #identity!: Identity;
  #reference = "";
  #digest!: RunningDigest;
  /** Pieces that wait for credit, and pieces that were sent and may be needed again. */
  #unsent: Uint8Array[] = [];
  #unacknowledged: Uint8Array[] = [];
  #accepted = 0;
  #sent = 0;
  #acknowledged = 0;
  #limit = 0;
  /** What the server had when this process took the upload over; the source delivers it again. */
  #skip = 0;
  #finishing = false;
  #finishSent = false;
  /** Said before the source was read to its end: the upload was completed earlier. */
  #early: MessageOf<"UploadAcknowledged"> | null = null;
  #failure: StreamError | null = null;
  #over = false;
  #wake: (() => void) | null = null;
  #goodbye: Promise<void> = Promise.resolve();

  private constructor(base: string, options: PushOptions) {
    this.#base = base;
    this.#options = options;
    const { contextId, token } = options;
    const trail = { endOffset: 0 };
    this.#connector = new Connector({
      server: base,
      path: uploadEndpoint(contextId),
      token,
      byHttp: (handler) =>
        new HttpUploadChannel({ server: base, token }, contextId, trail, handler),
    }, options);
    this.done = this.#done.promise;
    // Who only looks at `writable` hears of a failure there.
    this.done.catch(() => {});
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
        // The stream itself would wait for a write that waits for credit before it calls `abort`.
        const { signal } = controller;
        signal.addEventListener("abort", () => this.#abandon(signal.reason), { once: true });
      },
      write: (chunk) => this.#write(chunk),
      close: () => this.#close(),
      abort: () => this.#goodbye,
    });
  }

  /** Connects and registers; see `push`. */
  static async start(
    base: string,
    metadata: ResourceMetadata,
    options: PushOptions,
  ): Promise<ClientUpload> {
    const digests = [...options.digests ?? DIGESTS];
    const upload = new ClientUpload(base, options);
    await upload.#begin({ "@": "StartUpload", metadata, digests });
    return upload;
  }

  /** Connects and takes over; see `resumePush`. */
  static async resume(base: string, token: string, options: PushOptions): Promise<ClientUpload> {
    const [id, secret = ""] = token.split(":");
    const upload = new ClientUpload(base, options);
    upload.#identity = { id, secret };
    await upload.#begin({ "@": "ResumeUpload", id, secret });
    upload.#skip = upload.#sent;
    return upload;
  }

  get reference(): string {
    return this.#reference;
  }

  get resumeToken(): string {
    return `${this.#identity.id}:${this.#identity.secret}`;
  }

  get status(): ResourceStatus {
    return this.#status.value;
  }

  statuses(): AsyncIterableIterator<ResourceStatus> {
    return this.#status.values();
  }

  async abort(cause?: unknown): Promise<void> {
    this.#controller.error(this.#abandon(cause));
    await this.#goodbye;
  }

  async #begin(request: Message): Promise<void> {
    const { signal } = this.#options;
    if (signal?.aborted) throw toStreamError(signal.reason, "ABORTED");
    if (signal !== undefined) abortWith(signal, this);
    try {
      // `done` fails when the upload is given up meanwhile.
      await this.#accept(await Promise.race([this.#connect(request), this.done]) as Answer);
    } catch (error) {
      this.#fail(toStreamError(error));
      throw error;
    }
    if (this.#failure !== null) throw this.#failure;
  }

  async #accept(answer: Answer): Promise<void> {
    if (answer["@"] === "UploadAcknowledged") return await this.#acceptEarly(answer);
    const { id = "", secret = "", reference, offset = 0, digest = "md5" } = answer;
    this.#identity = { id, secret };
    this.#reference = reference.uri;
    this.#digest = await createDigest(digest);
    this.#sent = this.#acknowledged = offset;
    this.#limit = answer.limit ?? 0;
    this.#ready = true;
  }

  /** One connection and the server's first answer on it. */
  async #connect(request: Message): Promise<Answer> {
    const answer = this.#answer = Promise.withResolvers<Answer>();
    const handler: ChannelHandler = {
      message: (message) => this.#receive(message),
      data: () => {
        throw new StreamError("BAD_MESSAGE", "the server sent data on an upload connection");
      },
      closed: (reason) => this.#disconnected(reason),
    };
    const channel = await this.#connector.open(handler);
    if (this.#failure !== null) {
      await channel.close("Upload aborted");
      throw this.#failure;
    }
    if (!channel.native) {
      await channel.close("not native");
      throw new StepServerError(this.#base);
    }
    this.#channel = channel;
    channel.send(request);
    return await answer.promise;
  }

  #receive(message: Message): void {
    switch (message["@"]) {
      case "ReadyForUpload":
        this.#answer?.resolve(message);
        this.#answer = null;
        return;
      case "UploadAcknowledged":
        if (this.#answer === null) return this.#finish(message);
        this.#answer.resolve(message);
        this.#answer = null;
        return;
      case "Credit":
        this.#limit = message.limit;
        this.#acknowledge(message.acknowledged);
        return this.#pump();
      case "StatusChanged":
        return this.#status.set(message.resourceStatus as ResourceStatus);
      default:
        throw new StreamError("BAD_MESSAGE", `${message["@"]} does not belong on an upload`);
    }
  }

  async #write(chunk: Uint8Array): Promise<void> {
    this.#digest.update(chunk);
    const known = Math.min(chunk.length, Math.max(0, this.#skip - this.#accepted));
    this.#accepted += chunk.length;
    if (known < chunk.length) this.#unsent.push(chunk.subarray(known));
    if (this.#early !== null && this.#unsent.length > 0) this.#finish(this.#early);
    this.#pump();
    while (this.#unsent.length > 0 && this.#failure === null) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    if (this.#failure !== null) throw this.#failure;
  }

  async #close(): Promise<void> {
    if (this.#accepted < this.#skip) {
      const message = `the server has ${this.#skip} bytes of this upload; the source has ` +
        `${this.#accepted}: it is not the same one`;
      throw this.#abandon(new StreamError("SOURCE_FAILED", message));
    }
    this.#finishing = true;
    if (this.#early !== null) this.#finish(this.#early);
    else this.#pump();
    await this.done;
  }

  /** Sends as far as the credit goes, and what ends the upload after the last byte. */
  #pump(): void {
    if (!this.#ready || this.#channel === null) return;
    while (this.#unsent.length > 0 && this.#sent < this.#limit) {
      const credit = Math.min(LIMITS.dataMessageBytes, this.#limit - this.#sent);
      const [first] = this.#unsent;
      const piece = first.subarray(0, credit);
      if (piece.length === first.length) this.#unsent.shift();
      else this.#unsent[0] = first.subarray(credit);
      this.#channel.sendData(piece);
      this.#unacknowledged.push(piece);
      this.#sent += piece.length;
    }
    if (this.#unsent.length > 0) return;
    this.#signal();
    if (!this.#finishing || this.#finishSent) return;
    this.#finishSent = true;
    const checksum = this.#digest.value();
    this.#channel.send({ "@": "FinishUpload", checksum, size: this.#accepted });
  }

  /** Lets go of what the server has. */
  #acknowledge(byteOffset: number): void {
    let whole = 0;
    for (const piece of this.#unacknowledged) {
      if (this.#acknowledged + piece.length > byteOffset) break;
      this.#acknowledged += piece.length;
      whole++;
    }
    this.#unacknowledged.splice(0, whole);
    const part = byteOffset - this.#acknowledged;
    if (part <= 0 || this.#unacknowledged.length === 0) return;
    this.#unacknowledged[0] = this.#unacknowledged[0].subarray(part);
    this.#acknowledged = byteOffset;
  }

  #disconnected(reason: StreamError): void {
    this.#channel = null;
    this.#ready = false;
    if (this.#answer !== null) {
      this.#answer.reject(reason);
      this.#answer = null;
    } else if (!this.#over) {
      if (!isTransient(reason) && !SURVIVABLE.has(reason.code)) this.#tellFailed(reason);
      this.#reconnect(reason).catch((error) => this.#fail(toStreamError(error)));
    }
  }

  async #reconnect(reason: StreamError): Promise<void> {
    const retries = new Retries(this.#options);
    for (let error = reason; await retries.wait(error, this.#stop.signal);) {
      try {
        const answer = await this.#connect({ "@": "ResumeUpload", ...this.#identity });
        if (answer["@"] === "UploadAcknowledged") return this.#completedMeanwhile(answer);
        return this.#continueAt(answer);
      } catch (thrown) {
        error = reason = toStreamError(thrown);
      }
    }
    this.#fail(reason);
  }

  #continueAt({ offset = 0, limit = 0 }: { offset?: number; limit?: number }): void {
    if (offset < this.#acknowledged) {
      const message = `the server acknowledged ${this.#acknowledged} bytes and now has ${offset}`;
      throw this.#abandon(new StreamError("OFFSET_LOST", message));
    }
    this.#unacknowledged.push(...this.#unsent);
    this.#acknowledge(offset);
    this.#unsent = this.#unacknowledged;
    this.#unacknowledged = [];
    // Another process with our token may have sent more than we were given.
    this.#sent = this.#acknowledged = this.#skip = offset;
    this.#limit = limit;
    this.#ready = true;
    this.#finishSent = false;
    this.#pump();
  }

  /** The upload was completed before we heard of it; a source that is still read must come to the same. */
  #completedMeanwhile(acknowledged: MessageOf<"UploadAcknowledged">): void {
    const { size } = acknowledged;
    if (!this.#finishing) {
      this.#early = acknowledged;
      this.#continueAt({ offset: size, limit: size });
    }
    if (this.#finishing || this.#unsent.length > 0) this.#finish(acknowledged);
  }

  /** The upload was completed before this process heard of it; the source must still be the same. */
  async #acceptEarly(acknowledged: MessageOf<"UploadAcknowledged">): Promise<void> {
    const algorithm = DIGESTS.find((name) => name === acknowledged.digest) ?? "md5";
    this.#reference = `${this.#base}/resources/${this.#identity.id}`;
    this.#digest = await createDigest(algorithm);
    this.#early = acknowledged;
    this.#sent = this.#acknowledged = acknowledged.size;
  }

  #finish(acknowledged: MessageOf<"UploadAcknowledged">): void {
    const { algorithm } = this.#digest;
    const sent = { size: this.#accepted, digest: { algorithm, value: this.#digest.value() } };
    const mismatch = mismatchOf(acknowledged, sent);
    if (mismatch !== null) return this.#fail(mismatch);
    this.#over = true;
    this.#channel?.close("Upload completed");
    this.#status.end();
    this.#done.resolve({ ...sent, numberOfLines: acknowledged.numberOflines ?? null });
  }

  #abandon(cause: unknown): StreamError {
    const error = toStreamError(cause ?? "cancelled", "ABORTED");
    const reason = error.message;
    if (!this.#over) {
      // Once it was finished, the server may have completed it all the same.
      if (this.#ready && !this.#finishSent) this.#tellFailed(new StreamError("ABORTED", reason));
      this.#channel?.send({ "@": "AbortUpload", reason });
      this.#goodbye = this.#channel?.close("Upload aborted") ?? this.#goodbye;
      this.#fail(error);
    }
    return error;
  }

  /** Tells those who read statuses that the upload is FAILED; the server says so when nobody is connected. */
  #tellFailed({ code, message }: StreamError): void {
    const { value } = this.#status;
    if (this.#early !== null || isFinal(value.transferStatus)) return;
    this.#status.set({ ...value, transferStatus: "FAILED", failure: `${code}: ${message}` });
  }

  #fail(error: StreamError): void {
    if (this.#over) return;
    this.#over = true;
    this.#failure = error;
    this.#stop.abort();
    this.#controller.error(error);
    this.#done.reject(error);
    this.#status.end();
    this.#signal();
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
