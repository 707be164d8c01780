/**
 * The server's side of a download: status at every checkpoint, chunks, lines, and following (PROTOCOL.md 4).
 * @module
 */
import { Bell } from "../bell.ts";
import {
  checkLife,
  checkStart,
  encodeMessage,
  followedMessageBytes,
  isFinal,
  LIMITS,
  type Message,
  MessageLength,
  type MessageOf,
  type ResourceStatus,
  StreamError,
} from "../protocol.ts";
import {
  isLost,
  lendRange,
  locateLines,
  offsetLost,
  type OpenResource,
  readLinePage,
  type Resource,
  type Resources,
} from "../resources.ts";
import type { Connection } from "../runtime.ts";
import { STEPS } from "../turn.ts";
import { ControlSession, type HeartbeatTimes } from "./control.ts";
import { statusMessage } from "./status_message.ts";

/** Parts and settings of a download session. */
export interface DownloadSessionOptions {
  /** All resources. */
  resources: Resources;
  /** The resource asked for. */
  id: string;
  /** The one life of it that the reader may read (PROTOCOL.md 1.4); any by default. */
  life?: string;
  /** The heartbeat. */
  heartbeat: HeartbeatTimes;
  /** Name of the client, in whose row its pieces wait for their turn; by default that of nobody. */
  client?: string;
}

/** Requests of a native and of a base connection that may be there at once. */
const NATIVE_REQUESTS = 2;
const BASE_REQUESTS = 64;

/** Lines are held as bytes, as text, as a message and in the socket. */
const LINES_COPIES = 4;

/** A follower that consumed so much is read more for at once, … */
const PROVEN_BYTES = 1024 * 1024;
/** … and one whose connection took more than sockets do of anything (`tcp_wmem`), as readers of short ranges do. */
const TAKEN_BYTES = 4 * 1024 * 1024;
/** So few cost nobody a turn: lines that were just written are sent at once, whoever else waits. */
const FEW_BYTES = 16 * 1024;

type Request = MessageOf<"RequestChunk" | "RequestLines" | "LocateLines" | "Follow">;

/** Where a follower stands. */
interface Following {
  /** Where it began. */
  from: number;
  /** The next byte to send. */
  next: number;
  /** Where it ends; Infinity for the end of the resource. */
  end: number;
  /** Bytes before this offset left the follower's buffer. */
  consumed: number;
  /** Bytes that may be sent and not yet consumed. */
  window: number;
  /** How long data messages are. */
  length: MessageLength;
}

/** Serves one reader. */
export class DownloadSession extends ControlSession {
  readonly #options: DownloadSessionOptions;
  #opened: OpenResource | null = null;
  #unwatch = () => {};
  /** The newest status, while it could not be sent yet. */
  #unsent: ResourceStatus | null = null;
  /** Set while a request is being answered. */
  #answering = false;
  #answers: Promise<void> = Promise.resolve();
  /** The request that is being answered, and those that wait. */
  readonly #requests: Request[] = [];
  #following: Following | null = null;
  /** Bytes for followers for which the connection had room. */
  #takenBytes = 0;
  readonly #progressed = new Bell();

  /**
   * @param connection The connection.
   * @param options Parts and settings.
   */
  constructor(connection: Connection, options: DownloadSessionOptions) {
    super(connection, options.heartbeat);
    this.#options = options;
    this.#openResource().catch((error) => this.fail(error));
  }

  get resourceId(): string {
    return this.#options.id;
  }

  protected handle(message: Message): void {
    switch (message["@"]) {
      case "RequestChunk":
      case "RequestLines":
        return this.#accept(message);
      case "Follow":
      case "LocateLines":
        if (this.native) return this.#accept(message);
        break;
      case "Consumed":
        if (this.native) return this.#consumed(message.offset);
    }
    throw new StreamError(
      "WRONG_STATE",
      `${message["@"]} does not belong on a download connection`,
    );
  }

  protected receive(): void {
    throw new StreamError("WRONG_STATE", "binary data does not belong on a download connection");
  }

  protected ended(): void {
    this.#unwatch();
    this.#progressed.ring();
    const opened = this.#opened;
    if (opened === null) return;
    // An answer that is under way may read on; what it opens again must be closed, too.
    void this.#answers.then(() => opened.release()).catch(() => {});
  }

  async #openResource(): Promise<void> {
    const { resources, id, life } = this.#options;
    const opened = await resources.open(id);
    if (this.over) return await opened.release();
    this.#opened = opened;
    const { resource } = opened;
    checkLife(resource.status, life);
    this.#unsent = resource.status;
    this.#unwatch = resource.watch((status) => this.#changed(status));
    if (this.#requests.length === 0) this.#sendStatus();
    else this.#answerRequests();
  }

  /** One request is answered at a time; one more may wait, and some of a base client, which may not know that. */
  #accept(request: Request): void {
    const most = this.native ? NATIVE_REQUESTS : BASE_REQUESTS;
    if (this.#requests.length === most) {
      throw new StreamError(
        "WRONG_STATE",
        `${request["@"]} came while one request was answered and ${most - 1} waited`,
      );
    }
    this.#requests.push(request);
    if (this.#opened !== null && !this.#answering) this.#answerRequests();
  }

  #answerRequests(): void {
    this.#answers = this.#answerAll().catch((error) => this.fail(error));
  }

  async #answerAll(): Promise<void> {
    this.#answering = true;
    this.#sendStatus();
    while (this.#requests.length > 0 && !this.over) {
      await this.#answer(this.#requests[0]);
      this.#requests.shift();
      this.#sendStatus();
    }
    this.#answering = false;
  }

  #answer(request: Request): Promise<void> {
    switch (request["@"]) {
      case "RequestChunk":
        return this.#sendChunk(request);
      case "RequestLines":
        return this.#sendLines(request);
      case "LocateLines":
        return this.#locateLines(request);
      case "Follow":
        return this.#follow(request);
    }
  }

  #changed(status: ResourceStatus): void {
    if (this.#resource.deleted) {
      return this.fail(new StreamError("DELETED", `resource ${this.#resource.id} was deleted`));
    }
    this.#unsent = status;
    if (this.#following === null) {
      if (!this.#answering) this.#sendStatus();
    } else if (isLost(this.#following, status)) {
      this.fail(offsetLost(this.#following.next, status));
    } else if (!this.#pushNewest(this.#following, status)) this.#progressed.ring();
  }

  /** Sends the newest status, once. */
  #sendStatus(): void {
    if (this.#unsent === null || this.over) return;
    const text = statusMessage(this.#unsent, this.native);
    this.#unsent = null;
    void this.connection.send(text);
  }

  async #sendChunk({ startOffset, endOffset }: MessageOf<"RequestChunk">): Promise<void> {
    const { currentSize } = this.#resource.status;
    if (startOffset > endOffset || endOffset > currentSize) {
      throw new StreamError(
        "RANGE_NOT_AVAILABLE",
        `bytes ${startOffset} to ${endOffset} are not all there: ${currentSize} can be read`,
      );
    }
    const byteCount = endOffset - startOffset;
    if (byteCount <= LIMITS.dataMessageBytes && await this.#sendPiece(startOffset, byteCount)) {
      return;
    }
    await this.connection.sendChunks(
      byteCount,
      lendRange(this.#resource, startOffset, endOffset),
    );
  }

  /** Sends a chunk without a copy, unless it is read in several pieces. */
  async #sendPiece(startOffset: number, byteCount: number): Promise<boolean> {
    let sent = false;
    await this.#resource.lend(startOffset, byteCount, async (bytes) => {
      sent = bytes.length === byteCount;
      if (sent) await this.connection.send(bytes);
    });
    return sent;
  }

  async #sendLines(request: MessageOf<"RequestLines">): Promise<void> {
    const { startingLineIndex, linesCount, startingByteOffset = 0 } = request;
    const resource = this.#resource;
    const available = resource.status.numberOfLines;
    if (available !== null && startingLineIndex + linesCount > available && !this.native) {
      throw new StreamError(
        "LINES_NOT_AVAILABLE",
        `lines ${startingLineIndex} to ${
          startingLineIndex + linesCount
        } are not all there: ${available} can be read`,
      );
    }
    if (this.native) {
      const page = await readLinePage(
        resource,
        { lineIndex: startingLineIndex, byteOffset: startingByteOffset },
        {
          linesCount,
          pageBytes: LIMITS.linesAnswerBytes,
          pageLines: LIMITS.linesAnswerCount,
        },
      );
      await this.send({ "@": "Lines", ...page, startingLineIndex, startingByteOffset });
    } else await this.#sendWholeLines(startingLineIndex, linesCount);
  }

  /** All lines in one message, as the base protocol knows no pages. */
  async #sendWholeLines(lineIndex: number, linesCount: number): Promise<void> {
    const resource = this.#resource;
    const { startOffset, endOffset } = await locateLines(resource, lineIndex, linesCount);
    const byteCount = endOffset - startOffset;
    if (byteCount > LIMITS.wholeChunkBytes) {
      throw new StreamError(
        "MESSAGE_TOO_LARGE",
        `${linesCount} lines are above ${LIMITS.wholeChunkBytes} bytes: ask for fewer`,
      );
    }
    const make = async () => {
      const limits = { linesCount, pageBytes: LIMITS.wholeChunkBytes, pageLines: Infinity };
      const { lines } = await readLinePage(resource, { lineIndex, byteOffset: 0 }, limits);
      return encodeMessage({ "@": "Lines", lines });
    };
    if (byteCount <= LIMITS.linesAnswerBytes) await this.connection.send(await make());
    else await this.connection.sendLong(byteCount * LINES_COPIES, make);
  }

  /** Where lines are, as far as they are there; a negative start counts from the end. */
  async #locateLines(request: MessageOf<"LocateLines">): Promise<void> {
    const { startingLineIndex, linesCount } = request;
    const window = await locateLines(this.#resource, startingLineIndex, linesCount);
    await this.send({ "@": "LinesLocated", ...window });
  }

  async #follow(request: MessageOf<"Follow">): Promise<void> {
    const { from, to, epoch, life, window, messageBytes } = request;
    const { status } = this.#resource;
    if (window < LIMITS.minDownloadWindowBytes) {
      throw new StreamError(
        "BAD_REQUEST",
        `a window of ${window} bytes is below ${LIMITS.minDownloadWindowBytes}`,
      );
    }
    checkLife(status, life);
    checkStart(status, from, epoch ?? null);
    const end = to ?? Infinity;
    if (end < from) {
      throw new StreamError("BAD_REQUEST", `a range from ${from} to ${end} runs backwards`);
    }
    const following = {
      from,
      next: from,
      end,
      consumed: from,
      window: Math.min(window, LIMITS.downloadWindowBytes),
      length: new MessageLength(followedMessageBytes(messageBytes)),
    };
    this.#following = following;
    const { meter } = this.#options.resources;
    const leave = meter.follows(() => this.#resource.status.currentSize - following.next);
    await this.#push(following).finally(leave);
    this.#following = null;
    if (!this.over) await this.send({ "@": "FollowEnd", offset: following.next });
  }

  /** Sends what can be read, as fast as it is consumed, until the end. */
  async #push(following: Following): Promise<void> {
    const resource = this.#resource;
    while (!this.over) {
      this.#sendStatus();
      const { status } = resource;
      const available = Math.min(status.currentSize, following.end);
      const credit = following.consumed + following.window - following.next;
      const byteCount = Math.min(available - following.next, credit);
      if (byteCount > 0) await this.#sendBytes(following, byteCount);
      else if (following.next >= following.end) return;
      else if (isFinal(status.transferStatus) && following.next >= status.currentSize) {
        return checkStart(status, following.next, null);
      } else await this.#progressed.rung();
    }
  }

  /**
   * Sends a checkpoint at once to a follower that waits for it: to wake its loop costs more than that.
   * @returns False when it is for the loop.
   */
  #pushNewest(following: Following, status: ResourceStatus): boolean {
    const { next, end, consumed, window, length } = following;
    const byteCount = status.currentSize - next;
    const most = Math.min(length.bytes, end - next - 1, consumed + window - next);
    if (!this.#progressed.isAwaited || isFinal(status.transferStatus)) return false;
    if (byteCount <= 0 || byteCount > most) return false;
    const bytes = this.#resource.recall(next, byteCount);
    if (bytes === null || !this.connection.sendNow(statusMessage(status, this.native), bytes)) {
      return false;
    }
    this.#unsent = null;
    following.next += byteCount;
    length.sent(following.next);
    return true;
  }

  async #sendBytes(following: Following, byteCount: number): Promise<void> {
    // Of a follower that takes nothing hardly anything is held, and nobody waits for that.
    const isProven = following.consumed - following.from >= PROVEN_BYTES ||
      this.#takenBytes >= TAKEN_BYTES;
    if (!isProven && byteCount > FEW_BYTES) await STEPS.wait(() => this.#options.client ?? "");
    const mostBytes = isProven ? byteCount : Math.min(byteCount, LIMITS.dataMessageBytes);
    await this.#resource.lend(following.next, mostBytes, async (bytes) => {
      const { length } = following;
      for (let at = 0; at < bytes.length && !this.over;) {
        const piece = bytes.subarray(at, at += length.bytes);
        length.sent(following.next += piece.length);
        await this.connection.send(piece);
        this.#takenBytes += piece.length;
      }
    });
  }

  #consumed(byteOffset: number): void {
    const following = this.#following;
    // A report may cross the end of the range it belongs to.
    if (following === null) return;
    if (byteOffset > following.next || byteOffset < following.consumed) {
      throw new StreamError(
        "BAD_REQUEST",
        `offset ${byteOffset} was reported as consumed; ${following.consumed} to ${following.next} is in flight`,
      );
    }
    if (byteOffset === following.consumed) return this.countIdle();
    following.consumed = byteOffset;
    following.length.acknowledged(byteOffset);
    this.#progressed.ring();
  }

  /** The resource; requests are answered only while it is open. */
  get #resource(): Resource {
    return this.#opened!.resource;
  }
}
