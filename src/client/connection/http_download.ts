/**
 * A download by HTTP requests, in the words of a WebSocket connection (PROTOCOL.md 6.9).
 *
 * Statuses come as server-sent events beside the bytes; a byte is handed over when a status shows it.
 * @module
 */
import {
  checkLife,
  checkStart,
  isFinal,
  isNewer,
  LIMITS,
  type LinePosition,
  type Message,
  type MessageOf,
  RESOURCES_PATH,
  type ResourceStatus,
  StreamError,
  toStreamError,
} from "../../protocol.ts";
import type { Channel, ChannelHandler } from "./channel.ts";
import { eventsIn, eventsOf } from "./server_sent_events.ts";
import { noServer, parseJson, type Recipient } from "./http.ts";
import { HttpRequests, SILENT_AFTER_MS } from "./requests.ts";
import { statusIn } from "./status.ts";
import type { BearerToken } from "./token.ts";
import { endsWithin } from "../../timer.ts";

/** Last position of a range that follows content while it grows (RFC 8673). */
const FOLLOWING_LAST = Number.MAX_SAFE_INTEGER;
/** A status that is late, because a proxy holds events back, is asked for, in ms. */
const STATUS_WITHIN_MS = 250;

/** Bytes that are read ahead; as many again waits in the sockets and in `fetch`. */
const READ_AHEAD_BYTES = 2 * 1024 * 1024;

/** A resource that is being followed. */
interface Following {
  /** Next byte to hand over. */
  next: number;
  /** Byte after the last one wanted. */
  readonly end: number;
  /** Bytes before this left the buffer. */
  consumed: number;
  /** Bytes that may be in the buffer. */
  readonly window: number;
}

/** One resource that is open for reading. */
export class HttpDownloadChannel implements Channel {
  readonly native = true;
  readonly #requests: HttpRequests;
  readonly #path: string;
  readonly #handler: ChannelHandler;
  readonly #watch: ReturnType<typeof setInterval>;
  #newest: ResourceStatus | null = null;
  #following: Following | null = null;
  /** How many wait for the server to say something. */
  #listening = 0;
  #heardAtMs = 0;
  #changed: PromiseWithResolvers<void> = Promise.withResolvers<void>();
  #over = false;

  private constructor(recipient: Recipient, id: string, handler: ChannelHandler) {
    this.#requests = new HttpRequests(recipient);
    this.#path = `${RESOURCES_PATH}/${id}`;
    this.#handler = handler;
    this.#watch = setInterval(() => this.#checkSilence(), SILENT_AFTER_MS / 6);
  }

  /**
   * Asks for the status, and hears of every further one.
   * @param location The resource, and the servers that have it.
   * @param token Bearer token to present.
   * @param handler Hears what arrives.
   * @param stop Gives the attempt up.
   * @throws {StreamError} UNREACHABLE, NOT_FOUND, or another reason of the server.
   */
  static async connect(
    { service, id, access }: Omit<Recipient, "token"> & { id: string },
    token: BearerToken,
    handler: ChannelHandler,
    stop: AbortSignal,
  ): Promise<HttpDownloadChannel> {
    const channel = new HttpDownloadChannel({ service, token, access }, id, handler);
    const finish = () => channel.#finish();
    stop.addEventListener("abort", finish);
    if (stop.aborted) finish();
    try {
      await channel.#askStatus();
    } catch (error) {
      finish();
      throw error;
    } finally {
      stop.removeEventListener("abort", finish);
    }
    if (!channel.#isFinished) channel.#run(channel.#hearStatuses());
    return channel;
  }

  send(message: Message): void {
    switch (message["@"]) {
      case "Follow":
        return this.#run(this.#follow(message));
      case "Consumed":
        if (this.#following !== null) this.#following.consumed = message.offset;
        return this.#signal();
      case "RequestLines":
        return this.#run(this.#requestLines(message));
      case "LocateLines":
        return this.#run(this.#locateLines(message));
    }
  }

  /** A follower sends no data. */
  sendData(): void {}

  close(): Promise<void> {
    this.#finish();
    return Promise.resolve();
  }

  get #status(): ResourceStatus {
    return this.#newest!;
  }

  get #isFinished(): boolean {
    return isFinal(this.#status.transferStatus);
  }

  async #askStatus(): Promise<void> {
    const { text } = await this.#requests.ask(this.#path);
    this.#setStatus(statusIn(text));
  }

  async #hearStatuses(): Promise<void> {
    const asking = { headers: { accept: "text/event-stream" } };
    await this.#requests.stream(`${this.#path}/events`, asking, async (response) => {
      const body = eventsIn(response);
      this.#listening++;
      for await (const { type, data } of eventsOf(body, () => this.#heard())) {
        if (type === "status") this.#setStatus(statusIn(data));
        if (type === "deleted") throw deleted();
      }
    });
    this.#listening--;
    if (!this.#isFinished) throw broken();
  }

  #setStatus(status: ResourceStatus): void {
    this.#heard();
    checkLife(status, this.#newest?.life);
    if (!isNewer(status, this.#newest)) return;
    this.#newest = status;
    this.#tell({ "@": "StatusChanged", resourceStatus: status });
    this.#signal();
  }

  async #follow({ from, to, epoch, life, window }: MessageOf<"Follow">): Promise<void> {
    const following = {
      next: from,
      end: to ?? Infinity,
      consumed: from,
      window: Math.min(window, READ_AHEAD_BYTES),
    };
    if (following.end < from) {
      throw new StreamError("BAD_REQUEST", `a range from ${from} to ${to} runs backwards`);
    }
    checkLife(this.#status, life);
    checkStart(this.#status, from, epoch ?? null);
    this.#following = following;
    while (following.next < following.end && !this.#over) {
      if (!this.#isFinished) await this.#readLive(following);
      else if (following.next < this.#status.currentSize) await this.#readRest(following);
      else break;
    }
    if (this.#over) return;
    checkStart(this.#status, following.next, null);
    this.#following = null;
    this.#tell({ "@": "FollowEnd", offset: following.next });
  }

  /** Reads while the transfer runs. How the answer ends does not matter: the status says what is missing. */
  async #readLive(following: Following): Promise<void> {
    let failure = broken();
    try {
      await this.#read(following, FOLLOWING_LAST);
    } catch (error) {
      failure = toStreamError(error);
    }
    if (this.#over || following.next >= following.end) return;
    await this.#checkThere();
    if (!this.#isFinished) throw failure;
  }

  /** Reads what is there of a transfer that is over. */
  async #readRest(following: Following): Promise<void> {
    const end = Math.min(following.end, this.#status.currentSize);
    try {
      await this.#read(following, end - 1);
    } catch (error) {
      if (!this.#over) await this.#checkThere();
      throw error;
    }
    if (following.next < end) throw broken();
  }

  /** @throws {StreamError} DELETED when the resource is gone. */
  async #checkThere(): Promise<void> {
    try {
      await this.#askStatus();
    } catch (thrown) {
      const error = toStreamError(thrown);
      throw error.code === "NOT_FOUND" ? deleted() : error;
    }
  }

  async #read(following: Following, last: number): Promise<void> {
    const first = following.next;
    const asking = { headers: { range: `bytes=${first}-${last}` } };
    await this.#requests.stream(
      `${this.#path}/content`,
      asking,
      async ({ status, headers, body }) => {
        this.#checkOurs(headers);
        if (status !== 206 && first > 0) {
          const message = "something on the way to the server drops the Range of requests";
          throw new StreamError("INTERNAL", message);
        }
        const reader = body!.getReader();
        while (following.next < following.end) {
          await this.#room(following);
          const { done, value } = await this.#listen(() => reader.read());
          if (done || this.#over) return;
          await this.#hand(following, value.subarray(0, following.end - following.next));
        }
      },
    );
  }

  /** Tells content of the resource from that of another life, and from what somebody on the way says instead. */
  #checkOurs(headers: Headers): void {
    const life = headers.get("stream-life") ?? undefined;
    if (life === undefined && this.#status.life) throw noServer();
    checkLife({ life }, this.#status.life);
  }

  /** Waits until the buffer can take more. */
  async #room(following: Following): Promise<void> {
    while (following.next - following.consumed >= following.window && !this.#over) {
      await this.#changed.promise;
    }
  }

  /** Hands bytes over as soon as a status shows them: what was seen can be told from what was lost. */
  async #hand(following: Following, bytes: Uint8Array): Promise<void> {
    const end = following.next + bytes.length;
    while (this.#status.currentSize < end && !this.#over) await this.#statusWithin();
    for (let at = 0; at < bytes.length && !this.#over; at += LIMITS.dataMessageBytes) {
      const piece = bytes.subarray(at, at + LIMITS.dataMessageBytes);
      following.next += piece.length;
      this.#handler.data(piece);
    }
  }

  async #statusWithin(): Promise<void> {
    if (!await endsWithin(STATUS_WITHIN_MS, this.#changed.promise)) await this.#askStatus();
  }

  async #requestLines(request: MessageOf<"RequestLines">): Promise<void> {
    const { startingLineIndex, linesCount, startingByteOffset = 0 } = request;
    const count = Math.min(linesCount, LIMITS.linesAnswerCount);
    const page = await this.#askLines<{ linesCount: number; lines: string[]; next: LinePosition }>({
      start: startingLineIndex,
      count,
      offset: startingByteOffset,
    });
    const hasMore = count < linesCount && page.linesCount === count;
    const after = hasMore ? { lineIndex: startingLineIndex + count, byteOffset: 0 } : null;
    const next = page.next ?? after;
    const { lines } = page;
    this.#tell({ "@": "Lines", lines, startingLineIndex, startingByteOffset, next });
  }

  async #locateLines({ startingLineIndex, linesCount }: MessageOf<"LocateLines">): Promise<void> {
    const query = { start: startingLineIndex, count: linesCount, locate: true };
    const window = await this.#askLines<Omit<MessageOf<"LinesLocated">, "@">>(query);
    this.#tell({ "@": "LinesLocated", ...window });
  }

  async #askLines<T>(query: Record<string, number | boolean>): Promise<T> {
    const parameters = Object.entries(query).map(([name, value]) => `${name}=${value}`);
    const path = `${this.#path}/lines?${parameters.join("&")}`;
    const asking = { headers: { accept: "application/json" } };
    const { text, headers } = await this.#requests.ask(path, asking);
    this.#checkOurs(headers);
    return parseJson<T>(text);
  }

  /** Has the connection end with what goes wrong. */
  #run(task: Promise<void>): void {
    task.catch((error) => {
      if (this.#over) return;
      this.#finish();
      this.#handler.closed(toStreamError(error));
    });
  }

  async #listen<T>(next: () => Promise<T>): Promise<T> {
    this.#listening++;
    try {
      return await next();
    } finally {
      this.#listening--;
      this.#heard();
    }
  }

  #heard(): void {
    this.#heardAtMs = performance.now();
  }

  #checkSilence(): void {
    if (this.#listening === 0 || performance.now() - this.#heardAtMs < SILENT_AFTER_MS) return;
    const message = `the server said nothing for ${SILENT_AFTER_MS / 1000} s`;
    this.#run(Promise.reject(new StreamError("PEER_SILENT", message)));
  }

  #tell(message: Message): void {
    if (!this.#over) this.#handler.message(message);
  }

  #finish(): void {
    this.#over = true;
    clearInterval(this.#watch);
    this.#requests.stop();
    this.#signal();
  }

  #signal(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

function broken(): StreamError {
  return new StreamError("INTERRUPTED", "the connection to the server broke");
}

function deleted(): StreamError {
  return new StreamError("DELETED", "the resource was deleted");
}
