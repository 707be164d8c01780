/**
 * Connections to one endpoint, one after the other, so that what is said on them goes on when one breaks.
 * @module
 */
import { type Message, StreamError, toStreamError } from "../../protocol.ts";
import type { Channel } from "./channel.ts";
import { Retries, type RetryOptions, STANDS_AFTER_MS } from "./retry.ts";
import type { Connector } from "./transport.ts";

/** How far a speaker has come, with all its connections. */
export interface Progress {
  /** Grows with all that is of use. */
  made: number;
  /** Whether the server has to do something now for it to grow. */
  isWanted: boolean;
}

/** Everything that is said on one connection. */
export interface Conversation {
  /** Takes a message, also before the conversation begins. */
  message(message: Message): void;
  /** Takes data. */
  data(bytes: Uint8Array): void;
  /**
   * Speaks first; resolves when the server agreed to begin, or to go on.
   * @param channel The connection.
   * @param stop Says that nobody waits for that any more.
   */
  begin(channel: Channel, stop: AbortSignal): Promise<void>;
}

/** Listener of a steady connection, who speaks on it. */
export interface Speaker {
  /**
   * A conversation for the next connection.
   * @param isRough Whether the last one was of no use: the way may let no long message pass.
   */
  converse(isRough: boolean): Conversation;
  /** How far it has come. */
  progress(): Progress;
  /** A connection broke on which a conversation had begun; it will be tried again. */
  lost(reason: StreamError): void;
  /** What the end of a connection means, where the speaker knows better than its code. */
  meaning?(reason: StreamError): StreamError;
  /** A connection that broke could not be had again. */
  failed(error: StreamError): void;
}

/** A connection that is made again when it breaks. */
export class SteadyConnection {
  readonly #connector: Connector;
  readonly #options: RetryOptions;
  readonly #speaker: Speaker;
  readonly #stop = new AbortController();
  #open: Channel | null = null;
  #channel: Channel | null = null;
  /** The attempts since a connection was of use. */
  #retries: Retries | null = null;
  /** What had been made when the last connection was lost. */
  #made = 0;
  /** Whether that one was of no use. */
  #isRough = false;

  /**
   * Nothing happens before `connect`.
   * @param connector Opens the connections.
   * @param options How long a connection is tried again.
   * @param speaker Says something on them.
   */
  constructor(connector: Connector, options: RetryOptions, speaker: Speaker) {
    this.#connector = connector;
    this.#options = options;
    this.#speaker = speaker;
  }

  /** Carrier of the conversation; null while there is none. */
  get channel(): Channel | null {
    return this.#channel;
  }

  /**
   * Makes the first connection.
   * @throws {StreamError} Why there is none.
   */
  async connect(): Promise<void> {
    await this.#connectUntil(new Retries(this.#options, true), null);
  }

  /** Tries nothing again from now on. */
  stop(): void {
    this.#stop.abort(new StreamError("ABORTED", "no longer wanted"));
  }

  /** Ends the connection that there is, and all attempts. */
  async close(reason: string): Promise<void> {
    this.stop();
    await this.#open?.close(reason);
  }

  /** @param reason What ended the last connection; null before the first one. */
  async #connectUntil(retries: Retries, reason: StreamError | null): Promise<void> {
    let isRenewed = false;
    for (let error = reason;;) {
      if (error !== null) {
        const renews: boolean = error.code === "UNAUTHORIZED" && !isRenewed;
        if (!await this.#mayTryAgain(retries, error, renews)) throw error;
        isRenewed ||= renews;
      }
      try {
        return await this.#attempt();
      } catch (thrown) {
        error = this.#connector.failed(toStreamError(thrown));
      }
    }
  }

  /** @param renews Whether another token may help. */
  async #mayTryAgain(retries: Retries, error: StreamError, renews: boolean): Promise<boolean> {
    if (this.#stop.signal.aborted) return false;
    if (renews) return await this.#connector.renewToken(this.#stop.signal);
    return await retries.wait(error, this.#stop.signal);
  }

  async #attempt(): Promise<void> {
    const { signal: stop } = this.#stop;
    const conversation = this.#speaker.converse(this.#isRough);
    const broken = Promise.withResolvers<never>();
    // It may break before anybody waits for that.
    broken.promise.catch(() => {});
    let begunAtMs: number | null = null;
    let end = null as StreamError | null;
    const channel = await this.#connector.connect({
      message: (message) => conversation.message(message),
      data: (bytes) => conversation.data(bytes),
      closed: (reason) => {
        end = this.#speaker.meaning?.(reason) ?? reason;
        if (begunAtMs === null) return broken.reject(end);
        this.#lost(end, performance.now() - begunAtMs);
      },
    }, stop);
    this.#open = channel;
    try {
      stop.throwIfAborted();
      await Promise.race([conversation.begin(channel, stop), broken.promise]);
      if (end !== null) throw end;
    } catch (error) {
      this.#open = null;
      await channel.close("not begun");
      throw error;
    }
    begunAtMs = performance.now();
    this.#channel = channel;
  }

  #lost(reason: StreamError, stoodMs: number): void {
    this.#isRough = !this.#wasOfUse(stoodMs);
    if (!this.#isRough) this.#retries = null;
    this.#open = this.#channel = null;
    if (this.#stop.signal.aborted) return;
    this.#speaker.lost(reason);
    this.#connector.failed(reason);
    // What breaks again and again without having been of use is one loss: tried ever more seldom, and not for ever.
    this.#retries ??= new Retries(this.#options);
    this.#connectUntil(this.#retries, reason)
      .then(() => this.#options.onReconnect?.())
      .catch((error) => this.#speaker.failed(toStreamError(error)));
  }

  #wasOfUse(stoodMs: number): boolean {
    const { made, isWanted } = this.#speaker.progress();
    const isMore = made > this.#made;
    this.#made = made;
    return isMore || !isWanted && stoodMs >= STANDS_AFTER_MS;
  }
}
