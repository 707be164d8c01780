/**
 * The client's side of a download (PROTOCOL.md 4).
 * @module
 */
import { Latest } from "../latest.ts";
import { passing, type StatusFilter } from "../upload.ts";
import {
  checkLife,
  DOWNLOAD_PATH,
  LIMITS,
  type LinePosition,
  type Message,
  type MessageOf,
  type ResourceStatus,
  StreamError,
  toStreamError,
} from "../protocol.ts";
import type { Channel } from "./connection/channel.ts";
import type { CancelOptions, Located } from "./target.ts";
import { ChunkFeed, type Feed, FollowFeed, Reading } from "./feed.ts";
import { HttpDownloadChannel } from "./connection/http_download.ts";
import type { RetryOptions } from "./connection/retry.ts";
import {
  type Conversation,
  type Progress,
  SteadyConnection,
} from "./connection/steady_connection.ts";
import { BearerToken } from "./connection/token.ts";
import { Connector, type TransportOptions } from "./connection/transport.ts";

/** Which bytes to read. */
export interface ReadOptions {
  /** First byte; 0 by default. An offset that is not there yet is waited for. */
  from?: number | undefined;
  /** Byte after the last; the end of the resource by default, which is waited for. */
  to?: number | undefined;
}

/** Which bytes a download reads, and whose their memory is. */
export interface DownloadReadOptions extends ReadOptions {
  /**
   * Whether each chunk is valid until the next one is asked for only: its memory is used again then, which takes less
   * memory and processor time. False by default: each has its own.
   */
  reuseBuffer?: boolean | undefined;
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
  /**
   * Every new status until the download is closed, also behind COMPLETED or FAILED, the newest at once; a slow reader
   * gets the newest only.
   * @param filter Which ones; all by default.
   */
  statuses(filter?: StatusFilter): AsyncIterableIterator<ResourceStatus>;
  /** Settles when the download is closed: with null by `close` or a cancelled stream, else with the error that ended it. */
  readonly closed: Promise<StreamError | null>;
  /**
   * Bytes as they are checkpointed. Ends when the range or the resource does, whether COMPLETED or FAILED: see `status`.
   * One stream of a download can be read at a time; cancelling it closes the download.
   * @param options Which bytes, all by default, and whose their memory is.
   * @throws {StreamError} BAD_REQUEST for an offset that is no whole number from 0 on; nothing is closed then.
   */
  read(options?: DownloadReadOptions): ReadableStream<Uint8Array<ArrayBuffer>>;
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

/** How long a server may take for the first status, in ms. */
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
  readonly #id: string;
  readonly #connection: SteadyConnection;
  #status: Latest<ResourceStatus> | null = null;
  #reading: Reading | null = null;
  #feed: Feed | null = null;
  #asked: Asked | null = null;
  /** Messages that came after a connection had begun. */
  #heard = 0;
  /** What ended it, as readers hear it: the reason of a signal as it is. */
  #failure: { error: unknown } | null = null;
  readonly #closed = Promise.withResolvers<StreamError | null>();
  #unwatch: () => void = () => {};
  /** The newest status when the connection broke. */
  #seen: Pick<ResourceStatus, "epoch" | "currentSize"> = { epoch: 0, currentSize: 0 };

  private constructor(
    { location, service }: Omit<Located, "token">,
    options: RetryOptions & TransportOptions,
    token: BearerToken,
  ) {
    const { id, access, endpoint } = location;
    const query = access === undefined ? "" : `?access=${access}`;
    this.#id = id;
    const connector = new Connector({
      service,
      path: endpoint ?? `${DOWNLOAD_PATH}/${id}${query}`,
      token,
      byHttp: (handler, stop) =>
        HttpDownloadChannel.connect({ service, id, access }, token, handler, stop),
    }, options);
    this.#connection = new SteadyConnection(connector, options, {
      converse: (isRough) => this.#converse(isRough),
      progress: () => this.#progress(),
      lost: () => this.#lost(),
      failed: (error) => this.#fail(error),
    });
  }

  /** Connects; see `open`. */
  static async connect(
    located: Located,
    options: RetryOptions & TransportOptions & CancelOptions,
  ): Promise<ClientDownload> {
    const download = new ClientDownload(located, options, new BearerToken(located.token));
    await Promise.race([download.#connection.connect(), download.#watch(options.signal)]);
    return download;
  }

  /** Closes it with a signal; fails then. A signal may outlive many downloads. */
  #watch(signal: AbortSignal | undefined): Promise<never> {
    return new Promise((_, reject) => {
      if (signal === undefined) return;
      const abort = () => {
        void this.#connection.close("Client Session closed");
        const { reason } = signal;
        this.#fail(toStreamError(reason, "ABORTED"), reason);
        reject(reason);
      };
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort);
      this.#unwatch = () => signal.removeEventListener("abort", abort);
    });
  }

  get status(): ResourceStatus {
    return this.#status!.value;
  }

  statuses(filter?: StatusFilter): AsyncIterableIterator<ResourceStatus> {
    return this.#status!.values(passing(filter));
  }

  get closed(): Promise<StreamError | null> {
    return this.#closed.promise;
  }

  read(
    { from = 0, to, reuseBuffer = false }: DownloadReadOptions = {},
  ): ReadableStream<Uint8Array<ArrayBuffer>> {
    checkOffsets({ from, to });
    this.#checkIdle();
    const reading = new Reading(from, to ?? null, reuseBuffer);
    this.#reading = reading;
    const { channel } = this.#connection;
    if (channel !== null) this.#feed = this.#startFeed(channel, reading, null);
    return new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull: (controller) => this.#pull(reading, controller),
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  async *lines(
    startingLineIndex: number,
    linesCount: number,
  ): AsyncGenerator<string, void, void> {
    checkOffsets({ startingLineIndex, linesCount });
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
    return this.#connection.channel?.native ?? true;
  }

  async locateLines(startingLineIndex: number, linesCount: number): Promise<LineRange> {
    checkOffsets({ linesCount });
    if (!Number.isSafeInteger(startingLineIndex)) {
      throw new StreamError(
        "BAD_REQUEST",
        `startingLineIndex is ${startingLineIndex}: it is a whole number`,
      );
    }
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
    void this.#connection.close("Client Session closed");
    this.#closed.resolve(null);
    this.#fail(new StreamError("ABORTED", "the download was closed"));
  }

  /** One connection: the server's first status, and what comes after. */
  #converse(isRough: boolean): Conversation {
    const first = Promise.withResolvers<void>();
    let hasBegun = false;
    return {
      message: (message) => {
        this.#receive(message);
        if (hasBegun) this.#heard++;
        if (message["@"] === "StatusChanged") first.resolve();
      },
      data: (bytes) => {
        this.#receiveData(bytes);
        this.#heard++;
      },
      begin: async (channel, stop) => {
        const late = () => this.#nothingSaid(channel);
        await within(FIRST_STATUS_TIMEOUT_MS, first.promise, late, stop);
        hasBegun = true;
        this.#goOn(channel, isRough);
      },
    };
  }

  #progress(): Progress {
    const received = this.#reading?.received ?? Infinity;
    const isWanted = this.#asked !== null || received < this.status.currentSize;
    return { made: this.#heard, isWanted };
  }

  /** A Java server says nothing at all of an unknown id. */
  #nothingSaid({ native }: Channel): StreamError {
    const message = `the server says nothing of resource ${this.#id}`;
    return new StreamError(native ? "PEER_SILENT" : "NOT_FOUND", message);
  }

  #lost(): void {
    this.#feed?.stop();
    this.#feed = null;
    this.#seen = this.status;
  }

  /** Asks again for what was not answered on the last connection. */
  #goOn(channel: Channel, isRough: boolean): void {
    const reading = this.#reading;
    if (reading?.ended === false) {
      // Bytes that wait are asked for again: a reader that stalls must not hold a window of every connection.
      reading.restart();
      // Bytes that were only waited for were not seen, and cannot be lost.
      const { epoch, currentSize } = this.#seen;
      const seenEpoch = reading.received <= currentSize ? epoch : null;
      this.#feed = this.#startFeed(channel, reading, seenEpoch, isRough);
    }
    if (this.#asked !== null) channel.send(this.#asked.request);
  }

  #startFeed(
    channel: Channel,
    reading: Reading,
    epoch: number | null,
    isRough: boolean = false,
  ): Feed {
    const send = (message: Message) => channel.send(message);
    const messageBytes = isRough ? LIMITS.shortMessageBytes : LIMITS.agreedMessageBytes;
    return channel.native
      ? new FollowFeed(reading, send, { epoch, life: this.status.life, messageBytes })
      : new ChunkFeed(reading, send, () => this.status, (error) => this.#fail(error));
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
    // The same id may be another resource after a broken connection.
    checkLife(status, this.#status?.value.life);
    if (this.#status === null) this.#status = new Latest(status);
    else this.#status.set(status);
    this.#feed?.arrived();
  }

  #receiveData(bytes: Uint8Array): void {
    if (this.#reading === null) throw new StreamError("BAD_MESSAGE", "data came unasked");
    this.#reading.push(bytes);
    this.#feed?.arrived();
  }

  /** Hands the next chunk over, when there is one. */
  async #pull(reading: Reading, controller: ReadableStreamDefaultController): Promise<void> {
    while (reading.isEmpty && !reading.ended && this.#failure === null) {
      await reading.changed();
    }
    if (!reading.isEmpty) {
      controller.enqueue(reading.next());
      this.#feed?.consumed();
      return;
    }
    this.#feed?.stop();
    this.#reading = this.#feed = null;
    if (reading.ended) controller.close();
    else controller.error(this.#failure!.error);
  }

  async #request<Answer extends Message>(request: Message): Promise<Answer> {
    this.#checkIdle();
    const answer = Promise.withResolvers<Message>();
    this.#asked = { request, answer };
    this.#connection.channel?.send(request);
    return await answer.promise as Answer;
  }

  #checkIdle(): void {
    if (this.#failure !== null) throw this.#failure.error;
    if (this.#reading !== null || this.#asked !== null) {
      throw new StreamError("WRONG_STATE", "this download is busy: open another one");
    }
  }

  #fail(error: StreamError, reason: unknown = error): void {
    this.#unwatch();
    this.#failure ??= { error: reason };
    this.#closed.resolve(error);
    this.#connection.stop();
    this.#feed?.stop();
    this.#asked?.answer.reject(reason);
    this.#asked = null;
    this.#status?.end();
    this.#reading?.wake();
  }
}

/**
 * Checks what counts from 0, before a server is asked.
 * @throws {StreamError} BAD_REQUEST that names the argument.
 */
export function checkOffsets(values: Record<string, number | undefined>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || Number.isSafeInteger(value) && value >= 0) continue;
    throw new StreamError("BAD_REQUEST", `${name} is ${value}: it counts from 0, in whole numbers`);
  }
}

/** A Step server does not say where the next page begins; an empty one is the last. */
function nextStepPage({ lineIndex }: LinePosition, linesCount: number): LinePosition | null {
  return linesCount === 0 ? null : { lineIndex: lineIndex + linesCount, byteOffset: 0 };
}

/**
 * Waits for a promise, unless that takes too long.
 * @param limitMs How long it may take, in ms.
 * @param promise The promise.
 * @param late The error if it takes longer.
 * @param stop Ends the wait with its reason.
 */
async function within<T>(
  limitMs: number,
  promise: Promise<T>,
  late: () => StreamError,
  stop: AbortSignal,
): Promise<T> {
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(() => limit.reject(late()), limitMs);
  const abort = () => limit.reject(stop.reason);
  stop.addEventListener("abort", abort);
  try {
    return await Promise.race([promise, limit.promise]);
  } finally {
    clearTimeout(timer);
    stop.removeEventListener("abort", abort);
  }
}
