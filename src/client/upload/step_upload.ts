/**
 * The client's side of an upload to a Step server (PROTOCOL.md 3.4): one message in fragments, on one connection.
 * @module
 */
import { createDigest, type RunningDigest } from "../../digest.ts";
import {
  decodeMessage,
  encodeMessage,
  ERRORS,
  type Message,
  type MessageOf,
  type ResourceMetadata,
  StreamError,
  toStreamError,
  wsBase,
} from "../../protocol.ts";
import { UploadShell } from "../../upload.ts";
import { closeError } from "../connection/channel.ts";
import {
  abortWith,
  checkAcknowledged,
  type PushedUpload,
  type PushOptions,
  uploadEndpoint,
} from "./push.ts";
import type { StepConnection, StepTransport } from "./step_transport.ts";

const NOTHING = new Uint8Array(0);

/** One upload to a Step server; its status tells what was sent, as the server says nothing until the end. */
export class StepUpload extends UploadShell implements PushedUpload {
  readonly resumeToken = "";
  readonly stepReference = null;
  readonly #digest: RunningDigest;
  readonly #ready = Promise.withResolvers<MessageOf<"ReadyForUpload">>();
  #connection!: StepConnection;
  #reference = "";
  #sent = 0;
  #finishing = false;

  private constructor(digest: RunningDigest) {
    super();
    this.#digest = digest;
    this.#ready.promise.catch(() => {});
  }

  /**
   * Connects and registers; see `push`.
   * @param base HTTP base URL of the server.
   * @param metadata What the upload announces.
   * @param options Upload context, signal.
   * @param transport Makes the connection.
   */
  static async register(
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
      closed: (code, reason) => upload.fail(closeError(code, reason, false)),
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

  #say(message: Message): void {
    this.#connection.send(encodeMessage(message)).catch((error) => this.fail(toStreamError(error)));
  }

  #receive(message: Message): void {
    if (message["@"] === "ReadyForUpload") this.#ready.resolve(message);
    else if (message["@"] === "UploadAcknowledged" && this.#finishing) this.#acknowledged(message);
    else throw new StreamError("BAD_MESSAGE", `${message["@"]} does not belong on an upload`);
  }

  protected async write(chunk: Uint8Array): Promise<void> {
    this.#digest.update(chunk);
    await this.#connection.sendPart(chunk, false);
    this.#sent += chunk.length;
    if (!this.isOver) this.tell({ transferStatus: "IN_PROGRESS", currentSize: this.#sent });
  }

  protected async finish(): Promise<void> {
    this.#finishing = true;
    await this.#connection.sendPart(NOTHING, true);
    this.#say({ "@": "FinishUpload", checksum: this.#digest.value() });
    await this.done;
  }

  protected giveUp(error: StreamError): Promise<void> {
    // Java's clients end the message, too, before they say that it is not all.
    if (this.#reference !== "" && !this.#finishing) {
      this.#connection.sendPart(NOTHING, true).catch(() => {});
    }
    this.#connection.close(ERRORS.ABORTED.close, error.message);
    this.fail(error);
    return Promise.resolve();
  }

  protected override fail(error: StreamError): void {
    super.fail(error);
    this.#ready.reject(error);
  }

  #acknowledged(acknowledged: MessageOf<"UploadAcknowledged">): void {
    if (this.isOver) return;
    const { algorithm } = this.#digest;
    const sent = { size: this.#sent, digest: { algorithm, value: this.#digest.value() } };
    try {
      checkAcknowledged(acknowledged, sent);
    } catch (error) {
      return this.fail(toStreamError(error));
    }
    this.#connection.close(1000, "Upload completed");
    const numberOfLines = acknowledged.numberOflines ?? null;
    this.tell({ transferStatus: "COMPLETED", currentSize: sent.size, numberOfLines });
    this.succeed({ ...sent, numberOfLines });
  }
}
