/**
 * The opening handshake (RFC 6455, 4.2).
 * @module
 */
import { createHash } from "node:crypto";
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { StreamError } from "../../protocol.ts";
import type { Upgrade } from "../../runtime.ts";
import { type ConnectionTimes, FrameConnection } from "./connection.ts";
import { writeResponse } from "./http.ts";

const VERSION = "13";
/** RFC 6455, 1.3. */
const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** 16 bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{22}==$/;

/** A socket on which the peer waits for the answer to its upgrade request. */
export class Handshake {
  readonly #socket: Socket;
  readonly #head: Uint8Array;
  readonly #times: ConnectionTimes;
  #accepted = false;

  /**
   * @param socket The socket.
   * @param head What came together with the request.
   * @param times Times of the connection it may become.
   */
  constructor(socket: Socket, head: Uint8Array, times: ConnectionTimes) {
    this.#socket = socket;
    this.#head = new Uint8Array(head);
    this.#times = times;
  }

  /** Whether the socket has become a connection. */
  get accepted(): boolean {
    return this.#accepted;
  }

  /** The address of the peer. */
  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }

  /**
   * Answers the request with 101 and opens a session, or says why not.
   * @param request The upgrade request.
   * @param upgrade What it becomes.
   * @returns A refusal of the version; where the request was accepted, nothing anybody sees.
   * @throws {StreamError} BAD_REQUEST.
   */
  accept(request: Request, upgrade: Upgrade): Response {
    const { headers, method } = request;
    const key = headers.get("sec-websocket-key") ?? "";
    if (method !== "GET" || headers.get("upgrade")?.toLowerCase() !== "websocket") {
      throw new StreamError("BAD_REQUEST", "this is no WebSocket upgrade request");
    }
    if (headers.get("sec-websocket-version") !== VERSION) {
      return wrongVersion();
    }
    if (!KEY.test(key)) {
      throw new StreamError("BAD_REQUEST", "the Sec-WebSocket-Key is no 16 bytes in base64");
    }
    this.#accepted = true;
    if (!this.#socket.destroyed) this.#open(key, upgrade);
    return new Response(null);
  }

  /**
   * Writes another answer than 101 and hangs up.
   * @param message The request.
   * @param response The answer.
   */
  async refuse(message: IncomingMessage, response: Response): Promise<void> {
    const out = new ServerResponse(message);
    out.shouldKeepAlive = false;
    out.assignSocket(this.#socket);
    // A server does this for the responses that it makes itself.
    this.#socket.on("drain", () => out.emit("drain"));
    await writeResponse(response, out);
    const timer = setTimeout(() => this.#socket.destroy(), this.#times.closeWithinMs);
    this.#socket.once("close", () => clearTimeout(timer));
    this.#socket.resume().end();
  }

  #open(key: string, { subprotocol, client = null, open }: Upgrade): void {
    const protocol = subprotocol === "" ? "" : `Sec-WebSocket-Protocol: ${subprotocol}\r\n`;
    this.#socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Accept: ${acceptOf(key)}\r\n${protocol}\r\n`,
    );
    const connection = new FrameConnection(this.#socket, {
      role: "server",
      subprotocol,
      client,
      keepAlive: subprotocol === "",
      times: this.#times,
    });
    try {
      connection.start(open(connection), this.#head);
    } catch (error) {
      connection.terminate();
      throw error;
    }
  }
}

/**
 * What a server answers to a key.
 * @param key The Sec-WebSocket-Key of the request.
 * @returns The Sec-WebSocket-Accept.
 */
export function acceptOf(key: string): string {
  return createHash("sha1").update(key + ACCEPT_SUFFIX).digest("base64");
}

function wrongVersion(): Response {
  const headers = { "Sec-WebSocket-Version": VERSION, "Upgrade": "websocket" };
  return new Response(`the version of WebSocket must be ${VERSION}\n`, { status: 426, headers });
}
