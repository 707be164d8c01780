/**
 * The client's side of an upload to a Step server (PROTOCOL.md 3.4): one message in fragments, on one connection.
 * @module
 */
import { createDigest, type RunningDigest } from "../digest.ts";
import { Latest } from "../latest.ts";
import {
  decodeMessage,
  encodeMessage,
  ERRORS,
  type Message,
  type MessageOf,
  type ResourceMetadata,
  type ResourceStatus,
  StreamError,
  toStreamError,
  type UploadResult,
  wsBase,
} from "../protocol.ts";
import { closeError } from "./channel.ts";
import { initialStatus } from "./status.ts";
import type { StepConnection, StepTransport } from "./step_transport.ts";
import {
  abortWith,
  mismatchOf,
  type PushedUpload,
  type PushOptions,
  uploadEndpoint,
} from "./upload.ts";

const NOTHING = new Uint8Array(0);

/** One upload to a Step server; its status tells what was sent, as the server says nothing until the end. */
export class StepUpload implements PushedUpload {
  readonly writable: WritableStream<Uint8Array>;
  readonly done: Promise<UploadResult>;
  readonly resumeToken = "";
  readonly #digest: RunningDigest;
  readonly #ready = Promise.withResolvers<MessageOf<"ReadyForUpload">>();
  readonly #done = Promise.withResolvers<UploadResult>();
  readonly #status = new Latest<ResourceStatus>(initialStatus());
  #controller!: WritableStreamDefaultController;
  #connection!: StepConnection;
  #reference = "";
  #sent = 0;
  #finishing = false;
  #over = false;

  private constructor(digest: RunningDigest) {
    this.#digest = digest;
    this.done = this.#done.promise;
    // Who only looks at `writable` hears of a failure there.
    this.done.catch(() => {});
    this.#ready.promise.catch(() => {});
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      write: (chunk) => this.#write(chunk),
      close: () => this.#close(),
      abort: (reason) => void this.#abandon(reason),
    });
  }

  /**
   * Connects and registers; see `push`.
   * @param base HTTP base URL of the server.
   * @param metadata What the upload announces.
   * @param options Upload context, signal.
   * @param transport Makes the connection.
   */
  static async start(
    base: string,
    metadata: ResourceMetadata,
    { contextId, signal }: PushOptions,
    transport: StepTransport,
  ): Promise<StepUpload> {
    const upload = new StepUpload(await createDigest("md5"));
    if (signal?.aborted) throw toStreamError(signal.reason, "ABORTED");
    const url = wsBase(base) + uploadEndpoint(contextId);
    upload.#connection = await transport(url, {
      text: (text) => upload.#receive(decodeMessage(text)),
      data: () => {
        throw new StreamError("BAD_MESSAGE", "the server sent data on an upload connection");
      },
      closed: (code, reason) => upload.#fail(closeError(code, reason, false)),
    });
    if (signal !== undefined) abortWith(signal, upload);
    if (signal?.aborted) void upload.abort(signal.reason);
    else upload.#say({ "@": "StartUpload", metadata });
    upload.#reference = (await upload.#ready.promise).reference.uri;
    return upload;
  }

  get reference(): string {
    return this.#reference;
  }

  get status(): ResourceStatus {
    return this.#status.value;
  }

  statuses(): AsyncIterableIterator<ResourceStatus> {
    return this.#status.values();
  }

  async abort(cause?: unknown): Promise<void> {
    this.#controller.error(this.#abandon(cause));
    await this.done.catch(() => {});
  }

  #say(message: Message): void {
    void this.#connection.send(encodeMessage(message));
  }

  #receive(message: Message): void {
    if (message["@"] === "ReadyForUpload") this.#ready.resolve(message);
    else if (message["@"] === "UploadAcknowledged" && this.#finishing) this.#finish(message);
    else throw new StreamError("BAD_MESSAGE", `${message["@"]} does not belong on an upload`);
  }

  async #write(chunk: Uint8Array): Promise<void> {
    this.#digest.update(chunk);
    await this.#connection.sendPart(chunk, false);
    this.#sent += chunk.length;
    if (!this.#over) this.#tell({ transferStatus: "IN_PROGRESS", currentSize: this.#sent });
  }

  async #close(): Promise<void> {
    this.#finishing = true;
    await this.#connection.sendPart(NOTHING, true);
    this.#say({ "@": "FinishUpload", checksum: this.#digest.value() });
    await this.done;
  }

  #finish(acknowledged: MessageOf<"UploadAcknowledged">): void {
    const { algorithm } = this.#digest;
    const sent = { size: this.#sent, digest: { algorithm, value: this.#digest.value() } };
    const mismatch = mismatchOf(acknowledged, sent);
    if (mismatch !== null) return this.#fail(mismatch);
    if (this.#over) return;
    this.#over = true;
    this.#connection.close(1000, "Upload completed");
    const numberOfLines = acknowledged.numberOflines ?? null;
    this.#tell({ transferStatus: "COMPLETED", currentSize: sent.size, numberOfLines });
    this.#status.end();
    this.#done.resolve({ ...sent, numberOfLines });
  }

  #abandon(cause: unknown): StreamError {
    const error = toStreamError(cause ?? "cancelled", "ABORTED");
    if (this.#over) return error;
    // Java's clients end the message, too, before they say that it is not all.
    if (this.#reference !== "" && !this.#finishing) void this.#connection.sendPart(NOTHING, true);
    this.#connection.close(ERRORS.ABORTED.close, error.message);
    this.#fail(error);
    return error;
  }

  #fail(thrown: unknown): void {
    if (this.#over) return;
    this.#over = true;
    const error = toStreamError(thrown);
    this.#ready.reject(error);
    this.#controller.error(error);
    this.#done.reject(error);
    this.#status.end();
  }

  #tell(status: Partial<ResourceStatus>): void {
    this.#status.set({ ...this.#status.value, ...status });
  }
}
