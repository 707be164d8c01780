/**
 * What upload and download sessions share: control messages, errors before a close, and the heartbeat.
 *
 * Sessions are state machines over a {@link Connection}; they know neither sockets nor HTTP.
 * @module
 */
import {
  checkMessage,
  closeCode,
  closeReason,
  encodeMessage,
  ERRORS,
  LIMITS,
  type Message,
  MovedError,
  type NamedMessage,
  parseMessage,
  StreamError,
  SUBPROTOCOL,
  toStreamError,
} from "../protocol.ts";
import { Allowance } from "../allowance.ts";
import type { Connection, Session } from "../runtime.ts";
import { endsWithin, LONGEST_TIMER_MS } from "../timer.ts";

/** Times of the heartbeat (PROTOCOL.md 2.3). */
export interface HeartbeatTimes {
  /** A ping is sent after so long a silence, in ms. */
  pingAfterMs: number;
  /** The peer is given up after so long a silence, in ms. */
  deadAfterMs: number;
}

/** Messages that ask for nothing: so many at once, and one more each time. */
const IDLE_MESSAGES = 200;
const IDLE_MESSAGE_EVERY_MS = 50;

/** Beats that come so many times too late show that this process stood still: it was stopped, or its machine slept. */
const LATE = 3;

/** How long a peer may take for its side of the closing handshake. */
const CLOSE_TIMEOUT_MS = 5000;
/** How long a close waits for what has to be recorded before. */
const RECORD_MS = 1000;

/** The default times of the heartbeat. */
export const HEARTBEAT: HeartbeatTimes = { pingAfterMs: 25_000, deadAfterMs: 60_000 };

/** Messages of the host's own by their name, and what is done with them. */
export type OwnMessages = ReadonlyMap<string, (message: NamedMessage) => void>;

/** One side of one connection. */
export abstract class ControlSession implements Session {
  /** Whether the peer speaks our extensions. */
  protected readonly native: boolean;
  #over = false;
  #error: StreamError | null = null;
  #heardAtMs = performance.now();
  #beatAtMs = performance.now();
  #pings = 0;
  readonly #heartbeat: ReturnType<typeof setInterval> | undefined;
  #closeTimer: ReturnType<typeof setTimeout> | undefined;
  #hosts: OwnMessages | null = null;
  readonly #idleMessages = new Allowance(IDLE_MESSAGES, IDLE_MESSAGE_EVERY_MS);

  /**
   * @param connection The connection.
   * @param times The heartbeat.
   */
  constructor(protected readonly connection: Connection, times: HeartbeatTimes) {
    this.native = connection.subprotocol === SUBPROTOCOL;
    if (this.native) {
      const tickMs = Math.min(times.pingAfterMs / 2, times.deadAfterMs / 2, LONGEST_TIMER_MS);
      this.#heartbeat = setInterval(() => this.#beat(times, tickMs), tickMs);
    }
  }

  /** Id of the resource that it is about; null while there is none. */
  abstract get resourceId(): string | null;

  /** Takes messages of the host's own, too. */
  accept(messages: OwnMessages): void {
    this.#hosts = messages;
  }

  /** Sends a message of the host's own; resolves when there is room for the next. */
  say(message: NamedMessage): Promise<void> {
    if (this.#over) return Promise.resolve();
    return this.connection.send(JSON.stringify(message));
  }

  /** Whether the connection is closed or closing. */
  protected get over(): boolean {
    return this.#over;
  }

  /** Why this side ended the connection; null if it did not. */
  get error(): StreamError | null {
    return this.#error;
  }

  /** A control message that is neither a heartbeat nor malformed. */
  protected abstract handle(message: Message): void;

  /** Bytes as they arrive. */
  protected abstract receive(bytes: Uint8Array, final: boolean): void | Promise<void>;

  /**
   * The connection is gone; `error` says why if this side ended it.
   * @returns When what that means is recorded: who was told the end finds it wherever it asks.
   */
  protected abstract ended(error: StreamError | null, reason: string): void | Promise<void>;

  /** Takes a text message in. */
  text(message: string): void {
    if (this.#over) return;
    this.#heardAtMs = performance.now();
    try {
      checkLength(message);
      this.#dispatch(message);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Takes bytes in. */
  data(bytes: Uint8Array, final: boolean): void | Promise<void> {
    if (this.#over) return;
    this.#heardAtMs = performance.now();
    try {
      return this.receive(bytes, final);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Hears that the connection is gone. */
  closed(_code: number, reason: string): void {
    clearTimeout(this.#closeTimer);
    if (this.#over) return;
    this.#finish(null);
    void this.ended(null, reason);
  }

  /** Ends the connection because of an error and tells the peer which (PROTOCOL.md 5). */
  fail(thrown: unknown): void {
    if (this.#over) return;
    const error = toStreamError(thrown);
    this.#finish(error);
    const told = this.#tell(error);
    void this.#close(error, told, this.ended(error, error.message));
  }

  /** Sends a control message. */
  protected send(message: Message): Promise<void> {
    return this.connection.send(encodeMessage(message));
  }

  /**
   * Counts a message that asks for nothing: heartbeats, what is unknown, what says nothing new.
   * @throws {StreamError} RATE_LIMITED for a peer that sends hardly anything else.
   */
  protected countIdle(): void {
    if (this.#idleMessages.take() === 0) return;
    throw new StreamError("RATE_LIMITED", `more than ${IDLE_MESSAGES} messages asked for nothing`);
  }

  #dispatch(text: string): void {
    const named = parseMessage(text);
    const own = this.#hosts?.get(named["@"]);
    if (own !== undefined) return own(named);
    let message: Message;
    try {
      message = checkMessage(named);
    } catch (error) {
      const { code, message } = error as StreamError;
      if (!this.native || code !== "UNKNOWN_MESSAGE") throw error;
      this.countIdle();
      // A newer peer may know more than we do: it is told, and goes on.
      void this.send({ "@": "Error", code, message });
      return;
    }
    if (message["@"] === "Ping" || message["@"] === "Pong") this.countIdle();
    if (this.native && message["@"] === "Ping") void this.send({ "@": "Pong", id: message.id });
    else if (!this.native || message["@"] !== "Pong") this.handle(message);
  }

  #beat({ pingAfterMs, deadAfterMs }: HeartbeatTimes, tickMs: number): void {
    const nowMs = performance.now();
    // Nobody can be heard by a process that stood still.
    if (nowMs - this.#beatAtMs > LATE * tickMs) this.#heardAtMs = nowMs;
    this.#beatAtMs = nowMs;
    const silentMs = nowMs - this.#heardAtMs;
    if (silentMs >= deadAfterMs) {
      const error = new StreamError(
        "PEER_SILENT",
        `nothing was heard for ${Math.round(silentMs / 1000)} s`,
      );
      this.#finish(error);
      this.connection.terminate();
      void this.ended(error, error.message);
    } else if (silentMs >= pingAfterMs) void this.send({ "@": "Ping", id: ++this.#pings });
  }

  /** Tells the error, and drops a peer that takes neither that nor the close. */
  async #tell(error: StreamError): Promise<void> {
    this.#closeTimer = setTimeout(() => this.connection.terminate(), CLOSE_TIMEOUT_MS);
    if (!this.native) return;
    const { code, message } = error;
    const servers = error instanceof MovedError ? [...error.servers] : undefined;
    await this.send({ "@": "Error", code, message, servers });
  }

  /** Closes when the error was told, as a close would overtake messages that wait for room, and what it means recorded. */
  async #close(
    error: StreamError,
    told: Promise<void>,
    recorded: void | Promise<void>,
  ): Promise<void> {
    await told;
    if (recorded !== undefined) await endsWithin(RECORD_MS, recorded);
    const code = this.native ? closeCode(error) : ERRORS[error.code].close;
    this.connection.close(code, this.reasonFor(error));
  }

  /** What the close frame says of an error. */
  protected reasonFor(error: StreamError): string {
    return closeReason(error);
  }

  #finish(error: StreamError | null): void {
    this.#over = true;
    this.#error = error;
    clearInterval(this.#heartbeat);
  }
}

const encoder = new TextEncoder();

function checkLength(message: string): void {
  const max = LIMITS.controlMessageBytes;
  // A character has three bytes at most, so that short messages need not be measured.
  if (message.length * 3 <= max) return;
  if (message.length <= max && encoder.encode(message).length <= max) return;
  throw new StreamError("MESSAGE_TOO_LARGE", `a control message is above ${max} bytes`);
}
