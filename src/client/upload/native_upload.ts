/**
 * The client's side of an upload to one of our servers (PROTOCOL.md 3): sends within its credit, keeps what is not
 * acknowledged, and goes on after a connection broke.
 * @module
 */
import { createDigest, type RunningDigest } from "../../digest.ts";
import {
  agreedMessageBytes,
  checkOutcome,
  DIGESTS,
  type ErrorCode,
  failureOf,
  isFinal,
  isTransient,
  LIMITS,
  type Message,
  MessageLength,
  type MessageOf,
  newSecret,
  newUuid,
  type Outcome,
  type ResourceMetadata,
  type ResourceStatus,
  StreamError,
  toStreamError,
} from "../../protocol.ts";
import { UploadShell } from "../../upload.ts";
import type { Channel } from "../connection/channel.ts";
import { HttpUploadChannel } from "../connection/http_upload.ts";
import {
  abortWith,
  checkAcknowledged,
  type PushedUpload,
  type PushOptions,
  uploadEndpoint,
} from "./push.ts";
import type { Service } from "../connection/service.ts";
import { SendWindow } from "./send_window.ts";
import {
  type Conversation,
  type Progress,
  SteadyConnection,
} from "../connection/steady_connection.ts";
import { BearerToken } from "../connection/token.ts";
import { Connector } from "../connection/transport.ts";

/** Errors that end this owner for good, but leave the upload to the next one. */
const SURVIVABLE: ReadonlySet<ErrorCode> = new Set([
  ...["BAD_MESSAGE", "UNKNOWN_MESSAGE", "FENCED", "UNAUTHORIZED"] as const,
]);

/** What a server says that does not do what it was asked for. */
const FOR_THE_MOMENT: ReadonlySet<ErrorCode> = new Set([
  ...["LIMIT_REACHED", "NOT_READY", "RATE_LIMITED", "UNAUTHORIZED"] as const,
]);

/** The longest data message is proposed. */
const WISHED = { messageBytes: LIMITS.agreedMessageBytes };

/** Small chunks are gathered for so long after something was sent, in ms: a line by itself goes at once. */
const GATHER_MS = 7;
/** Bytes that are copied before they may be sent: the rest of a long chunk stays where it is. */
const MOST_UNSENT_BYTES = 1024 * 1024;
/** Bytes that are worth a message of their own. */
const GATHER_BYTES = 32 * 1024;

/** A server's answer to the first message of an upload connection. */
type Answer = MessageOf<"ReadyForUpload"> | MessageOf<"UploadAcknowledged">;

/** How an upload stands with its server. */
type State =
  /** Nothing may be sent before the server says where to go on; no channel while there is no connection. */
  | { name: "AGREEING"; channel: Channel | null }
  /** Bytes go out as the credit allows. */
  | { name: "SENDING"; channel: Channel; length: MessageLength }
  /** Everything was sent, and that it was all; the server compares. */
  | { name: "FINISHING"; channel: Channel }
  /** The server had completed it before: what the source still delivers is compared only. */
  | { name: "COMPLETED"; channel: Channel; acknowledged: MessageOf<"UploadAcknowledged"> }
  /** It succeeded or failed. */
  | { name: "OVER"; channel: null };

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

/** The server gives every upload an id of its own: whoever waits for the one that was asked for waits in vain. */
export function takesNoId(base: string): StreamError {
  return new StreamError("WRONG_VERSION", `the server at ${base} takes no id from its clients`);
}

/** One upload, over as many connections as it takes. */
export class NativeUpload extends UploadShell implements PushedUpload {
  readonly #service: Service;
  readonly #connection: SteadyConnection;
  #state: State = { name: "AGREEING", channel: null };
  /** The first message of the next connection. */
  #request: Message;
  /** Whether the id was chosen here, so that another one would do. */
  #hasAnyId = false;
  /** First messages that were sent and not answered: a server may do later what they ask for. */
  #unanswered = 0;
  /** Those that were refused for the moment: nobody does later what they asked for, though something of it may be left. */
  #refused = 0;
  #resumeToken = "";
  #reference = "";
  #stepReference: string | null = null;
  #digest!: RunningDigest;
  #window!: SendWindow;
  #sourceEnded = false;
  readonly #producerEnd: PushOptions["outcome"];
  #outcome: Outcome | undefined;
  #drained: (() => void) | null = null;
  #sentAtMs = -Infinity;
  /** Sends what was gathered. */
  #gathering: ReturnType<typeof setTimeout> | undefined;

  private constructor(service: Service, request: Message, options: PushOptions) {
    super();
    this.#service = service;
    this.#request = request;
    const { contextId, outcome } = options;
    this.#producerEnd = outcome;
    const token = new BearerToken(options.token);
    const trail = { endOffset: 0 };
    const connector = new Connector({
      service,
      path: uploadEndpoint(contextId),
      token,
      byHttp: (handler) => new HttpUploadChannel({ service, token }, contextId, trail, handler),
    }, options);
    this.#connection = new SteadyConnection(connector, options, {
      converse: (isRough) => this.#converse(isRough),
      progress: () => this.#progress(),
      lost: (reason) => this.#lost(reason),
      meaning: (reason) => this.#meaning(reason),
      failed: (error) => this.fail(error),
    });
  }

  /** Connects and registers; see `push`. */
  static async register(
    service: Service,
    metadata: ResourceMetadata,
    options: PushOptions,
  ): Promise<NativeUpload> {
    const digests = [...options.digests ?? DIGESTS];
    // Who gets no answer asks again for the same upload.
    const chosen = { id: options.id ?? newUuid(), secret: newSecret() };
    const request: Message = { "@": "StartUpload", metadata, digests, ...chosen };
    const upload = new NativeUpload(service, request, options);
    upload.#hasAnyId = options.id === undefined;
    await upload.#begin(options.signal);
    return upload;
  }

  /** Connects and takes over; see `resumePush`. */
  static async resume(
    service: Service,
    token: string,
    options: PushOptions,
  ): Promise<NativeUpload> {
    const [id, secret = ""] = token.split(":");
    const request: Message = { "@": "ResumeUpload", id, secret };
    const upload = new NativeUpload(service, request, options);
    upload.#identify(id, secret, `${service.server}/resources/${id}`);
    await upload.#begin(options.signal);
    return upload;
  }

  get reference(): string {
    return this.#reference;
  }

  get stepReference(): string | null {
    return this.#stepReference;
  }

  get resumeToken(): string {
    return this.#resumeToken;
  }

  protected async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; at += MOST_UNSENT_BYTES) {
      await this.#writePart(chunk.subarray(at, at + MOST_UNSENT_BYTES));
    }
  }

  async #writePart(part: Uint8Array): Promise<void> {
    this.#digest.update(part);
    this.#window.accept(part);
    if (this.#gathers()) return;
    this.#pump();
    while (!this.#window.isDrained && this.failure === null) {
      await new Promise<void>((resolve) => this.#drained = resolve);
    }
    if (this.failure !== null) throw this.failure;
  }

  /** Whether what was accepted goes a little later, with what comes until then. */
  #gathers(): boolean {
    const sinceMs = performance.now() - this.#sentAtMs;
    if (this.#state.name !== "SENDING" || sinceMs >= GATHER_MS) return false;
    if (this.#window.unsentBytes >= GATHER_BYTES) return false;
    this.#gathering ??= setTimeout(() => this.#pump(), GATHER_MS - sinceMs);
    return true;
  }

  protected async finish(): Promise<void> {
    try {
      this.#window.checkWhole();
    } catch (error) {
      // Not given up: with the right source it can go on.
      this.fail(toStreamError(error));
      throw error;
    }
    // It may be given up while its producer says nothing.
    await Promise.race([this.#askOutcome(), this.done]);
    this.#sourceEnded = true;
    this.#pump();
    await this.done;
  }

  async #askOutcome(): Promise<void> {
    try {
      const outcome = await this.#producerEnd?.();
      if (outcome !== undefined) this.#outcome = checkOutcome(outcome);
    } catch (error) {
      void this.abort(error);
      throw error;
    }
  }

  protected async giveUp(error: StreamError): Promise<void> {
    // What was written is sent before.
    if (this.#state.name === "SENDING") this.#pump();
    const { name, channel } = this.#state;
    const reason = error.message;
    // Once it was finished, the server may have completed it all the same.
    if (name === "SENDING") this.#tellFailed(new StreamError("ABORTED", reason));
    channel?.send({ "@": "AbortUpload", reason });
    const goodbye = channel?.close("Upload aborted");
    this.#state = { name: "OVER", channel: null };
    this.fail(error);
    await goodbye;
  }

  protected override fail(error: StreamError): void {
    super.fail(error);
    void this.#state.channel?.close("Upload failed");
    this.#state = { name: "OVER", channel: null };
    this.#connection.stop();
    clearTimeout(this.#gathering);
    this.#signal();
  }

  async #begin(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) throw toStreamError(signal.reason, "ABORTED");
    if (signal !== undefined) abortWith(signal, this);
    try {
      // `done` fails when the upload is given up meanwhile.
      await Promise.race([this.#connection.connect(), this.done]);
    } catch (error) {
      this.fail(toStreamError(error));
      throw error;
    }
    if (this.failure !== null) throw this.failure;
  }

  #identify(id: string, secret: string, reference: string): void {
    this.#resumeToken = `${id}:${secret}`;
    this.#reference = reference;
    this.#request = { "@": "ResumeUpload", id, secret };
  }

  /** One connection: our first message, the server's answer, and what comes after. */
  #converse(isRough: boolean): Conversation {
    const answer = Promise.withResolvers<Answer>();
    let isAnswered = false;
    return {
      message: (message) => {
        if (isAnswered || !isAnswer(message)) return this.#receive(message);
        isAnswered = true;
        answer.resolve(message);
      },
      data: () => {
        throw new StreamError("BAD_MESSAGE", "the server sent data on an upload connection");
      },
      begin: async (channel) => {
        if (!channel.native) throw new StepServerError(this.#service.server);
        this.#state = { name: "AGREEING", channel };
        channel.send(isRough ? this.#request : { ...this.#request, ...WISHED });
        this.#unanswered++;
        const answered = await answer.promise;
        this.#unanswered--;
        await this.#agree(channel, answered, isRough);
      },
    };
  }

  #progress(): Progress {
    const { acknowledged, accepted } = this.#window;
    return { made: acknowledged, isWanted: acknowledged < accepted || this.#sourceEnded };
  }

  async #agree(channel: Channel, answer: Answer, isRough: boolean): Promise<void> {
    const isReady = answer["@"] === "ReadyForUpload";
    if (isReady) {
      this.#checkId(answer);
      this.#identify(answer.id ?? "", answer.secret ?? "", answer.reference.uri);
      this.#stepReference = answer.stepReference ?? null;
    }
    const { offset = 0, limit = 0 } = isReady ? answer : { offset: answer.size };
    if (this.#window === undefined) {
      this.#digest = await createDigest(
        DIGESTS.find((name) => name === answer.digest) ?? "md5",
      );
      this.#window = new SendWindow(offset, limit);
    } else if (isReady || !this.#sourceEnded) this.#continueAt(offset, limit);
    if (this.isOver) return;
    const messageBytes = isRough
      ? LIMITS.shortMessageBytes
      : agreedMessageBytes(isReady ? answer.messageBytes : undefined);
    this.#state = isReady
      ? { name: "SENDING", channel, length: new MessageLength(messageBytes) }
      : { name: "COMPLETED", channel, acknowledged: answer };
    this.#pump();
  }

  /** An older server leaves the id out that was asked for, and gives one of its own. */
  #checkId({ id }: MessageOf<"ReadyForUpload">): void {
    const request = this.#request;
    if (request["@"] !== "StartUpload" || this.#hasAnyId || id === request.id) return;
    const error = takesNoId(this.#service.server);
    void this.abort(error);
    throw error;
  }

  #continueAt(byteOffset: number, limit: number): void {
    try {
      this.#window.continueAt(byteOffset, limit);
    } catch (error) {
      void this.abort(error);
      throw error;
    }
  }

  #receive(message: Message): void {
    switch (message["@"]) {
      case "UploadAcknowledged":
        return this.#acknowledged(message);
      case "Credit":
        this.#window.grant(message.limit, message.acknowledged);
        if (this.#state.name === "SENDING") this.#state.length.acknowledged(message.acknowledged);
        return this.#pump();
      case "StatusChanged":
        return this.tell(message.resourceStatus as ResourceStatus);
      default:
        throw new StreamError("BAD_MESSAGE", `${message["@"]} does not belong on an upload`);
    }
  }

  /** Does what the state has to do next: sends, finishes, or compares with what is completed. */
  #pump(): void {
    const state = this.#state;
    if (state.name === "COMPLETED") {
      if (this.#sourceEnded || !this.#window.isDrained) this.#acknowledged(state.acknowledged);
      return;
    }
    if (state.name !== "SENDING") return;
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    const { channel, length } = state;
    for (;;) {
      const piece = this.#window.next(length.bytes);
      if (piece === null) break;
      channel.sendData(piece);
      this.#sentAtMs = performance.now();
      length.sent(this.#window.sent);
    }
    if (!this.#window.isDrained) return;
    this.#signal();
    if (!this.#sourceEnded) return;
    this.#state = { name: "FINISHING", channel };
    const checksum = this.#digest.value();
    channel.send({
      "@": "FinishUpload",
      checksum,
      size: this.#window.accepted,
      outcome: this.#outcome,
    });
  }

  /** Takes an acknowledgement; what the source delivered must come to the same. */
  #acknowledged(acknowledged: MessageOf<"UploadAcknowledged">): void {
    if (this.isOver) return;
    const { algorithm } = this.#digest;
    const digest = { algorithm, value: this.#digest.value() };
    const sent = { size: this.#window.accepted, digest };
    try {
      checkAcknowledged(acknowledged, sent);
    } catch (error) {
      return this.fail(toStreamError(error));
    }
    void this.#state.channel?.close("Upload completed");
    this.#connection.stop();
    this.#state = { name: "OVER", channel: null };
    this.succeed({ ...sent, numberOfLines: acknowledged.numberOflines ?? null });
  }

  /** What stands in the way may be an earlier attempt of ours, which a server got to only now; each can be so once. */
  #meaning(reason: StreamError): StreamError {
    const { code } = reason;
    const isAnswer = this.#state.name === "AGREEING" && this.#state.channel !== null;
    if (isAnswer && FOR_THE_MOMENT.has(code)) {
      this.#unanswered--;
      this.#refused++;
    }
    if (code === "FENCED" && this.#unanswered > 0) this.#unanswered--;
    else if (code === "CONFLICT" && this.#unanswered + this.#refused > 1 && this.#hasAnyId) {
      this.#beginAnew();
    } else return reason;
    return new StreamError("INTERRUPTED", "an earlier attempt stood in the way of this one");
  }

  /** A server may have made the log of an earlier attempt and not the record, or know of no chosen secrets. */
  #beginAnew(): void {
    this.#unanswered = this.#refused = 0;
    this.#request = { ...this.#request, id: newUuid(), secret: newSecret() } as Message;
  }

  #lost(reason: StreamError): void {
    if (this.#state.name === "OVER") return;
    if (!isTransient(reason) && !SURVIVABLE.has(reason.code)) this.#tellFailed(reason);
    this.#state = { name: "AGREEING", channel: null };
  }

  /** Tells readers of statuses that the upload is FAILED; the server says so when nobody is connected. */
  #tellFailed(reason: StreamError): void {
    if (this.#state.name === "COMPLETED" || isFinal(this.status.transferStatus)) return;
    this.tell({ transferStatus: "FAILED", failure: failureOf(reason) });
  }

  #signal(): void {
    this.#drained?.();
    this.#drained = null;
  }
}

function isAnswer(message: Message): message is Answer {
  return message["@"] === "ReadyForUpload" || message["@"] === "UploadAcknowledged";
}
