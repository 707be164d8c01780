/**
 * The carrier of a connection: a WebSocket, or HTTP requests where something on the way lets no WebSocket pass.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import {
  type Channel,
  type ChannelHandler,
  UpgradeRefusedError,
  WebSocketChannel,
} from "./channel.ts";
import { NoServerError } from "./http.ts";
import type { Service } from "./service.ts";
import type { BearerToken } from "./token.ts";

/** How long a WebSocket may take to open, and the server then for its first word, before HTTP is tried. */
const FALLBACK_AFTER_MS = 3000;

/** A WebSocket, HTTP requests, or whichever of the two gets through. */
export type Transport = "auto" | "ws" | "http";

/** All of them. */
export const TRANSPORTS: readonly Transport[] = ["auto", "ws", "http"];

/** Choice of the carrier of connections to a server. */
export interface TransportOptions {
  /** `auto` by default: a WebSocket, or HTTP requests where none can be opened. */
  transport?: Transport | undefined;
  /** Called once when `auto` goes over to HTTP, with the reason. */
  onFallback?: ((reason: StreamError) => void) | undefined;
}

/** Where connections go, as each transport names it. */
export interface Destination {
  /** The servers, of which any will do. */
  service: Service;
  /** Path and query of the WebSocket endpoint. */
  path: string;
  /** Bearer token to present. */
  token: BearerToken;
  /** Connects by HTTP requests; a signal gives that up. */
  byHttp(handler: ChannelHandler, stop: AbortSignal): Channel | Promise<Channel>;
}

/** Opens the connections of one upload or download. */
export class Connector {
  readonly #destination: Destination;
  readonly #onFallback: TransportOptions["onFallback"];
  #transport: Transport;
  #presented: string | undefined;
  /** Server of the last connection. */
  #server = "";

  /** Nothing happens before the first connection. */
  constructor(destination: Destination, { transport = "auto", onFallback }: TransportOptions) {
    this.#destination = destination;
    this.#onFallback = onFallback;
    this.#transport = transport;
  }

  /**
   * Connects.
   * @param handler Hears what arrives.
   * @param stop Gives the attempt up.
   * @throws {StreamError} UNREACHABLE, or the server's reason to refuse.
   */
  async connect(handler: ChannelHandler, stop: AbortSignal): Promise<Channel> {
    const { token } = this.#destination;
    this.#presented = await token.value(stop);
    const channel = await this.#connect(handler, stop);
    this.#presented = await token.value(stop);
    return channel;
  }

  async #connect(handler: ChannelHandler, stop: AbortSignal): Promise<Channel> {
    const { service, path, token, byHttp } = this.#destination;
    const server = this.#server = service.server;
    if (this.#transport === "ws") {
      return await WebSocketChannel.connect(server, path, handler, token, stop);
    }
    if (this.#transport === "http") return await byHttp(handler, stop);
    let reason: StreamError;
    try {
      const channel = await WebSocketChannel.connect(
        server,
        path,
        handler,
        token,
        stop,
        FALLBACK_AFTER_MS,
      );
      if (!channel.native || await channel.speaks(FALLBACK_AFTER_MS)) return channel;
      void channel.close("no answer");
      reason = new StreamError("UNREACHABLE", `nothing comes through a WebSocket to ${server}`);
    } catch (error) {
      if (!(error instanceof UpgradeRefusedError)) throw error;
      reason = error;
    }
    const channel = await byHttp(handler, stop);
    this.#transport = "http";
    try {
      this.#onFallback?.(reason);
    } catch (error) {
      await channel.close("not wanted");
      throw error;
    }
    return channel;
  }

  /**
   * The last connection failed: the next one goes to another server, where there is one that may do better.
   * @returns What that means for the next one.
   */
  failed(error: StreamError): StreamError {
    const { service } = this.#destination;
    const meant = service.meant(this.#server, error);
    service.leave(this.#server, meant);
    // One of several that is none of ours is like one that is away.
    const isAway = meant instanceof NoServerError && service.count > 1;
    return isAway ? new StreamError("UNREACHABLE", meant.message, { cause: meant }) : meant;
  }

  /**
   * Asks for another token, as the server does not take the one of the last connection.
   * @param stop Gives that up.
   * @returns Whether there is another one; false when it was tried already by a request.
   */
  async renewToken(stop: AbortSignal): Promise<boolean> {
    const { token } = this.#destination;
    const presented = this.#presented;
    return await token.value(stop) === presented && await token.renew(presented, stop);
  }
}
