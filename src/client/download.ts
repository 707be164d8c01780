/**
 * The client's side of a download (PROTOCOL.md 4).
 * @module
 */
import { Latest } from "../latest.ts";
import {
  DOWNLOAD_PATH,
  type LinePosition,
  type Message,
  type MessageOf,
  type ResourceLocation,
  type ResourceStatus,
  StreamError,
  toStreamError,
} from "../protocol.ts";
import type { Channel } from "./channel.ts";
import { ChunkFeed, type Feed, FollowFeed, Reading } from "./feed.ts";
import { HttpDownloadChannel } from "./http_download.ts";
import { Retries, type RetryOptions } from "./retry.ts";
import { Connector, type TransportOptions } from "./transport.ts";

/** Which bytes to read. */
export interface ReadOptions {
  /** First byte; 0 by default. An offset that is not there yet is waited for. */
  from?: number;
  /** Byte after the last; the end of the resource by default, which is waited for. */
  to?: number;
}

/** Where a window of lines is. */
export interface LineRange {
  /** Index of the first line, from 0. */
  startingLineIndex: number;
  /** Lines of the window that are there. */
  linesCount: number;
  /** First byte of the window. */
  startOffset: number;
  /** Byte after its last. */
  endOffset: number;
}

/** A resource that is open for reading. */
export interface Download {
  /** The newest status. */
  readonly status: ResourceStatus;
  /** Every new status until the last, the newest at once; a slow reader gets the newest only. */
  statuses(): AsyncIterableIterator<ResourceStatus>;
  /**
   * Bytes as they are checkpointed. Ends when the range or the resource does, whether COMPLETED or FAILED: see `status`.
   * One stream of a download can be read at a time; cancelling it closes the download.
   * @param options Which bytes; all by default.
   */
  read(options?: ReadOptions): ReadableStream<Uint8Array>;
  /**
   * Lines as text, each with its line break; those that are there when asked.
   * @param startingLineIndex Index of the first, from 0.
   * @param linesCount At most so many.
   */
  lines(startingLineIndex: number, linesCount: number): AsyncIterableIterator<string>;
  /** Whether the server tells where lines are; a Step server does not. */
  readonly locatesLines: boolean;
  /**
   * Where lines are, as far as they are there; only where `locatesLines`.
   * @param startingLineIndex Index of the first, from 0; negative: counted from the end.
   * @param linesCount At most so many.
   */
  locateLines(startingLineIndex: number, linesCount: number): Promise<LineRange>;
  /** Closes the connection. */
  close(): void;
}

/** How long a server may take for the first status; a Java server says nothing at all of an unknown id. */
const FIRST_STATUS_TIMEOUT_MS = 30_000;
/** Lines of one request to a Step server, whose answers are not bounded. */
const STEP_LINES = 1000;

/** A request that waits for its one answer. */
interface Asked {
  request: Message;
  answer: PromiseWithResolvers<Message>;
}

/** One resource, over as many connections as it takes. */
export class ClientDownload implements Download {
  readonly #location: ResourceLocation;
  readonly #retry: RetryOptions;
  readonly #connector: Connector;
  readonly #stop = new AbortController();
  #channel: Channel | null = null;
  #opened: PromiseWithResolvers<void> | null = null;
  #status: Latest<ResourceStatus> | null = null;
  #reading: Reading | null = null;
  #feed: Feed | null = null;
  #asked: Asked | null = null;
  #failure: StreamError | null = null;

  private constructor(
    location: ResourceLocation,
    options: RetryOptions & TransportOptions,
    token: string | undefined,
  ) {
    const { server, id, access } = location;
    const query = access === undefined ? "" : `?access=${access}`;
    this.#location = location;
    this.#retry = options;
    this.#connector = new Connector({
      server,
      path: `${DOWNLOAD_PATH}/${id}${query}`,
      token,
      byHttp: (handler) => HttpDownloadChannel.open(location, token, handler),
    }, options);
  }

  /** Connects; see `open`. */
  static async open(
    location: ResourceLocation,
    options: RetryOptions & TransportOptions,
    token?: string,
  ): Promise<ClientDownload> {
    const download = new ClientDownload(location, options, token);
    await download.#connect();
    return download;
  }

  get status(): ResourceStatus {
    return this.#status!.value;
  }

  statuses(): AsyncIterableIterator<ResourceStatus> {
    return this.#status!.values();
  }

  read({ from = 0, to }: ReadOptions = {}): ReadableStream<Uint8Array> {
    this.#checkIdle();
    const reading = new Reading(from, to ?? null);
    this.#reading = reading;
    this.#feed = this.#startFeed(reading, null);
    return new ReadableStream<Uint8Array>({
      pull: (controller) => this.#pull(reading, controller),
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  async *lines(
    startingLineIndex: number,
    linesCount: number,
  ): AsyncGenerator<string, void, void> {
    const end = startingLineIndex + linesCount;
    let position: LinePosition | null = { lineIndex: startingLineIndex, byteOffset: 0 };
    let piece = "";
    while (position !== null && position.lineIndex < end) {
      const page: MessageOf<"Lines"> = await this.#request(this.#lineRequest(position, end));
      const [first = "", ...others] = page.lines;
      const lines = [piece + first, ...others];
      position = page.next === undefined ? nextStepPage(position, page.lines.length) : page.next;
      piece = position !== null && position.byteOffset > 0 ? lines.pop()! : "";
      // Cheaper than `yield*`, which waits for each element of an array.
      for (const line of lines) if (line !== "") yield line;
    }
  }

  /** A Step server answers a request beyond its lines with a close. */
  #lineRequest({ lineIndex, byteOffset }: LinePosition, end: number): Message {
    if (this.locatesLines) {
      return {
        "@": "RequestLines",
        startingLineIndex: lineIndex,
        linesCount: end - lineIndex,
        startingByteOffset: byteOffset,
      };
    }
    const available = Math.max(0, (this.status.numberOfLines ?? 0) - lineIndex);
    const linesCount = Math.min(end - lineIndex, available, STEP_LINES);
    return { "@": "RequestLines", startingLineIndex: lineIndex, linesCount };
  }

  get locatesLines(): boolean {
    return this.#channel?.native ?? true;
  }

  async locateLines(startingLineIndex: number, linesCount: number): Promise<LineRange> {
    const located: MessageOf<"LinesLocated"> = await this.#request({
      "@": "LocateLines",
      startingLineIndex,
      linesCount,
    });
    const { startOffset, endOffset } = located;
    return {
      startingLineIndex: located.startingLineIndex,
      linesCount: located.linesCount,
      startOffset,
      endOffset,
    };
  }

  close(): void {
    this.#channel?.close("Client Session closed");
    this.#fail(new StreamError("ABORTED", "the download was closed"));
  }

  async #connect(): Promise<void> {
    const { id } = this.#location;
    const opened = this.#opened = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      opened.reject(new StreamError("NOT_FOUND", `the server says nothing of resource ${id}`));
      this.#channel?.close("no status");
    }, FIRST_STATUS_TIMEOUT_MS);
    try {
      this.#channel = await this.#connector.open({
        message: (message) => this.#receive(message),
        data: (bytes) => this.#receiveData(bytes),
        closed: (reason) => this.#disconnected(reason),
      });
      if (this.#failure !== null) {
        this.#channel.close("Client Session closed");
        throw this.#failure;
      }
      await opened.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  #disconnected(reason: StreamError): void {
    this.#channel = null;
    this.#feed?.stop();
    this.#feed = null;
    if (this.#opened !== null) {
      this.#opened.reject(reason);
      this.#opened = null;
    } else if (this.#failure === null) {
      this.#reconnect(reason).catch((error) => this.#fail(toStreamError(error)));
    }
  }

  /** Connects again and asks again for what was not answered. */
  async #reconnect(reason: StreamError): Promise<void> {
    const retries = new Retries(this.#retry);
    const { epoch, currentSize } = this.status;
    for (let error = reason; await retries.wait(error, this.#stop.signal);) {
      try {
        await this.#connect();
        const reading = this.#reading;
        if (reading?.ended === false) {
          // What waits is asked for again: a reader that stalls must not hold a window of every connection.
          reading.restart();
          // What was only waited for was not seen, and cannot be lost.
          this.#feed = this.#startFeed(reading, reading.received <= currentSize ? epoch : null);
        }
        if (this.#asked !== null) this.#channel?.send(this.#asked.request);
        return retries.succeeded();
      } catch (thrown) {
        error = reason = toStreamError(thrown);
      }
    }
    this.#fail(reason);
  }

  #startFeed(reading: Reading, epoch: number | null): Feed | null {
    const channel = this.#channel;
    if (channel === null) return null;
    const send = (message: Message) => channel.send(message);
    return channel.native
      ? new FollowFeed(reading, send, epoch)
      : new ChunkFeed(reading, send, () => this.status);
  }

  #receive(message: Message): void {
    switch (message["@"]) {
      case "StatusChanged":
        return this.#setStatus(message.resourceStatus as ResourceStatus);
      case "FollowEnd":
        return this.#reading?.end();
      case "Lines":
      case "LinesLocated":
        this.#asked?.answer.resolve(message);
        this.#asked = null;
        return;
      default:
        throw new StreamError("BAD_MESSAGE", `${message["@"]} does not belong on a download`);
    }
  }

  #setStatus(status: ResourceStatus): void {
    if (this.#status === null) this.#status = new Latest(status);
    else this.#status.set(status);
    this.#opened?.resolve();
    this.#opened = null;
    this.#feed?.arrived();
  }

  #receiveData(bytes: Uint8Array): void {
    if (this.#reading === null) throw new StreamError("BAD_MESSAGE", "data came unasked");
    this.#reading.push(bytes);
    this.#feed?.arrived();
  }

  /** Hands the next chunk over, when there is one. */
  async #pull(reading: Reading, controller: ReadableStreamDefaultController): Promise<void> {
    while (reading.buffer.length === 0 && !reading.ended && this.#failure === null) {
      await reading.changed();
    }
    const bytes = reading.buffer.shift();
    if (bytes !== undefined) {
      controller.enqueue(bytes);
      reading.consumed += bytes.length;
      this.#feed?.consumed();
      return;
    }
    this.#feed?.stop();
    this.#reading = this.#feed = null;
    if (reading.ended) controller.close();
    else controller.error(this.#failure);
  }

  async #request<Answer extends Message>(request: Message): Promise<Answer> {
    this.#checkIdle();
    const answer = Promise.withResolvers<Message>();
    this.#asked = { request, answer };
    this.#channel?.send(request);
    return await answer.promise as Answer;
  }

  #checkIdle(): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#reading !== null || this.#asked !== null) {
      throw new StreamError("WRONG_STATE", "this download is busy: open another one");
    }
  }

  #fail(error: StreamError): void {
    this.#failure ??= error;
    this.#stop.abort();
    this.#feed?.stop();
    this.#asked?.answer.reject(error);
    this.#asked = null;
    this.#status?.end();
    this.#reading?.wake();
  }
}

/** A Step server does not say where the next page begins; an empty one is the last. */
function nextStepPage({ lineIndex }: LinePosition, linesCount: number): LinePosition | null {
  return linesCount === 0 ? null : { lineIndex: lineIndex + linesCount, byteOffset: 0 };
}
