/**
 * The client's end of one native connection: messages in and out, errors, heartbeat.
 * @module
 */
import {
  decodeMessage,
  encodeMessage,
  type ErrorCode,
  ERRORS,
  type Message,
  type MessageOf,
  MovedError,
  RESTART_CLOSE,
  StreamError,
  SUBPROTOCOL,
  TOKEN_SUBPROTOCOL,
  toStreamError,
  wsBase,
} from "../../protocol.ts";
import { ForeignRefusalError, knownCode, NoServerError, RefusedError, request } from "./http.ts";
import { Service } from "./service.ts";
import type { BearerToken } from "./token.ts";
import { endsWithin } from "../../timer.ts";

/** A ping is sent after so long a silence (PROTOCOL.md 2.3). */
const PING_AFTER_MS = 20_000;
/** The server is given up after so long a silence. */
const DEAD_AFTER_MS = 60_000;
/** How long opening a connection may take. */
const CONNECT_TIMEOUT_MS = 20_000;
/** How long a goodbye waits for the server's. */
export const CLOSE_TIMEOUT_MS = 2000;

/** Listener of a channel. */
export interface ChannelHandler {
  /** A control message; never a heartbeat, never an error. */
  message(message: Message): void;
  /** A data message. */
  data(bytes: Uint8Array): void;
  /** The connection is gone, once; the reason says why. */
  closed(reason: StreamError): void;
}

/** One open connection to a server, whatever carries it. */
export interface Channel {
  /** Whether the server speaks our extensions; otherwise it is a Step server. */
  readonly native: boolean;
  /** Sends a control message. */
  send(message: Message): void;
  /** Sends a data message, whose bytes stay as they are until the server has acknowledged them. */
  sendData(bytes: Uint8Array): void;
  /**
   * Ends the connection in good order; the handler hears nothing more.
   * @returns Resolves when the server has everything that was sent, or does not answer: a process that
   * exits earlier may take its last messages with it.
   */
  close(reason: string): Promise<void>;
}

/** Something on the way lets no WebSocket pass, or the server takes none. */
export class UpgradeRefusedError extends NoServerError {
  /** @param base HTTP base URL of the server. */
  constructor(base: string) {
    super(`the server at ${base} refused the WebSocket connection`);
  }
}

/** How an attempt to open a connection ended. */
type Opening = "open" | "refused" | "late";

/** A connection by WebSocket. */
export class WebSocketChannel implements Channel {
  readonly #socket: WebSocket;
  readonly #handler: ChannelHandler;
  readonly #heartbeat: ReturnType<typeof setInterval>;
  #heardAtMs = performance.now();
  #pings = 0;
  #failure: StreamError | null = null;
  #over = false;
  #isHeard = false;
  /** Whether the server has to record an end, and closes when it has. */
  #isAborting = false;
  #firstWord: ((isHeard: boolean) => void) | null = null;
  #closing: Promise<void> | null = null;

  private constructor(socket: WebSocket, handler: ChannelHandler) {
    this.#socket = socket;
    this.#handler = handler;
    this.#heartbeat = setInterval(() => this.#beat(), PING_AFTER_MS / 2);
    // Listening before it is open, as the first message may come together with the handshake.
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  /**
   * Connects.
   * @param base HTTP base URL of the server.
   * @param path Path and query of the endpoint.
   * @param handler Hears what arrives.
   * @param token Bearer token to present.
   * @param stop Gives the attempt up.
   * @param withinMs How long that may take, in ms.
   * @throws {StreamError} UNREACHABLE, or the server's reason to refuse; {@link UpgradeRefusedError} where a server
   * is there and takes no WebSocket; the reason of the signal.
   */
  static async connect(
    base: string,
    path: string,
    handler: ChannelHandler,
    token: BearerToken,
    stop: AbortSignal,
    withinMs: number = CONNECT_TIMEOUT_MS,
  ): Promise<WebSocketChannel> {
    const url = wsBase(base) + path;
    const channel = new WebSocketChannel(
      new WebSocket(url, await protocolsWith(token, stop)),
      handler,
    );
    const first = await channel.#opens(withinMs, stop);
    if (first === "open") return channel;
    stop.throwIfAborted();
    // Most WebSocket clients refuse a server that answers no subprotocol, as Step servers do: those are asked for none.
    const native = await isNative(base, path, token, stop);
    if (native && first === "late") throw new UpgradeRefusedError(base);
    const protocols = native ? await protocolsWith(token, stop) : [];
    const second = new WebSocketChannel(new WebSocket(url, protocols), handler);
    if (await second.#opens(native ? withinMs : CONNECT_TIMEOUT_MS, stop) === "open") return second;
    stop.throwIfAborted();
    throw new UpgradeRefusedError(base);
  }

  /**
   * Waits for the first word of a server that speaks our extensions; until then no end is told to the handler.
   * @param withinMs How long that may take, in ms.
   * @returns False when it says nothing: something on the way opens connections and lets nothing pass.
   */
  async speaks(withinMs: number): Promise<boolean> {
    if (this.#over || this.#isHeard) return true;
    this.send({ "@": "Ping", id: ++this.#pings });
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#firstWord = resolve;
    const timer = setTimeout(() => resolve(false), withinMs);
    const isHeard = await promise;
    clearTimeout(timer);
    this.#firstWord = null;
    return isHeard;
  }

  /** Waits until the connection stands. */
  #opens(withinMs: number, stop: AbortSignal): Promise<Opening> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      const settle = (opening: Opening) => {
        clearTimeout(timer);
        stop.removeEventListener("abort", late);
        socket.onopen = socket.onerror = null;
        socket.onclose = ({ code, reason }) => this.#closed(code, reason);
        if (opening !== "open") this.close("not opened");
        resolve(opening);
      };
      const late = () => settle("late");
      const timer = setTimeout(late, withinMs);
      stop.addEventListener("abort", late);
      socket.onopen = () => settle("open");
      socket.onerror = () => settle("refused");
      socket.onclose = () => settle("refused");
      if (stop.aborted) late();
    });
  }

  get native(): boolean {
    return this.#socket.protocol === SUBPROTOCOL;
  }

  send(message: Message): void {
    if (!this.#isOpen()) return;
    this.#isAborting ||= message["@"] === "AbortUpload";
    this.#socket.send(encodeMessage(message));
  }

  sendData(bytes: Uint8Array): void {
    if (this.#isOpen()) this.#socket.send(bytes as Uint8Array<ArrayBuffer>);
  }

  close(reason: string): Promise<void> {
    return this.#closing ??= this.#close(reason);
  }

  async #close(reason: string): Promise<void> {
    this.#finish();
    const { readyState } = this.#socket;
    // Nothing was sent that could be lost, and Node (22) tells no end of one that was not open yet.
    if (readyState === WebSocket.CONNECTING) return this.#socket.close();
    if (readyState === WebSocket.CLOSED) return;
    const closed = new Promise<void>((resolve) => this.#socket.onclose = () => resolve());
    if (!this.#isAborting) this.#socket.close(1000, reason);
    if (!await endsWithin(CLOSE_TIMEOUT_MS, closed)) this.#socket.close(1000, reason);
  }

  #isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  #receive(data: string | ArrayBuffer): void {
    if (this.#over) return;
    this.#heardAtMs = performance.now();
    this.#isHeard = true;
    this.#firstWord?.(true);
    try {
      if (typeof data === "string") this.#dispatch(data);
      else this.#handler.data(new Uint8Array(data));
    } catch (thrown) {
      const error = toStreamError(thrown);
      // A newer server may say more than we know, and so may the host of one.
      if (error.code === "UNKNOWN_MESSAGE" && this.native) return;
      this.#failure ??= error;
      this.#socket.close(1000, "malformed message");
    }
  }

  #dispatch(text: string): void {
    const message = decodeMessage(text);
    switch (message["@"]) {
      case "Ping":
        return this.send({ "@": "Pong", id: message.id });
      case "Pong":
        return;
      case "Error":
        // That one ends nothing: the server did not know a message that a newer client may send.
        if (message.code === "UNKNOWN_MESSAGE") return;
        this.#failure = errorOf(message);
        return;
      default:
        this.#handler.message(message);
    }
  }

  #beat(): void {
    if (!this.native) return;
    const silentMs = performance.now() - this.#heardAtMs;
    if (silentMs >= DEAD_AFTER_MS) {
      const seconds = Math.round(silentMs / 1000);
      this.#failure = new StreamError("PEER_SILENT", `the server said nothing for ${seconds} s`);
      this.#socket.close();
      this.#closed(1006, "");
    } else if (silentMs >= PING_AFTER_MS) this.send({ "@": "Ping", id: ++this.#pings });
  }

  #closed(code: number, reason: string): void {
    if (this.#over) return;
    this.#finish();
    // A server says why it closes; what stands between does not.
    if (this.#firstWord !== null && code === 1006) return this.#firstWord(false);
    this.#firstWord?.(true);
    this.#handler.closed(this.#failure ?? closeError(code, reason, this.native));
  }

  #finish(): void {
    this.#over = true;
    clearInterval(this.#heartbeat);
  }
}

/** Subprotocols that are offered; a browser can present a token nowhere else. */
async function protocolsWith(token: BearerToken, stop: AbortSignal): Promise<string[]> {
  const value = await token.value(stop);
  return value === undefined ? [SUBPROTOCOL] : [SUBPROTOCOL, TOKEN_SUBPROTOCOL + value];
}

/**
 * A WebSocket hides why it was refused; the same request without an upgrade is told.
 * @returns Whether the server is one of ours; it may only just have come back.
 * @throws {StreamError} What the server refused it for; the reason of the signal.
 */
async function isNative(
  base: string,
  path: string,
  token: BearerToken,
  stop: AbortSignal,
): Promise<boolean> {
  try {
    const asking = { cancel: stop, followsRedirects: false };
    return await request({ service: Service.at(base), token }, path, asking, () => false);
  } catch (error) {
    stop.throwIfAborted();
    if ((error as StreamError).code === "BAD_REQUEST") return true;
    const isForeign = error instanceof ForeignRefusalError;
    if (isForeign || error instanceof RefusedError && error.status === 500) return false;
    throw error;
  }
}

function errorOf({ code, message, servers }: MessageOf<"Error">): StreamError {
  const known = knownCode(code);
  const hasMoved = known === "SHUTDOWN" && servers !== undefined;
  return hasMoved ? new MovedError(message, servers) : new StreamError(known, message);
}

/** Meaning of a close without an Error message; a native server sends one for everything it means. */
export function closeError(code: number, reason: string, native: boolean): StreamError {
  const message = `the connection to the server broke${reason === "" ? "" : `: ${reason}`}`;
  if (code === ERRORS.SHUTDOWN.close || code === RESTART_CLOSE) {
    return new StreamError("SHUTDOWN", message);
  }
  if (native) return new StreamError("INTERRUPTED", message);
  const [, name = "", text = ""] = /^(\w+): (.*)$/s.exec(reason) ?? [];
  if (Object.hasOwn(ERRORS, name)) return new StreamError(name as ErrorCode, text);
  if (name === "QuotaExceededException") return new StreamError("QUOTA_EXCEEDED", text);
  if (reason.startsWith("Missing parameter")) return new StreamError("CONTEXT_REQUIRED", reason);
  // Every other code of a server's own was meant: the same would happen again.
  const isMeant = code === 1002 || code === 1003 || code >= 1007;
  return new StreamError(isMeant ? "INTERNAL" : "INTERRUPTED", message);
}
