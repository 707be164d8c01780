/**
 * How a program connects to Step servers, whose uploads no WebSocket API of a platform can send (PROTOCOL.md 3.4).
 * @module
 */

/** Listener of a {@link StepConnection}. */
export interface StepHandler {
  /** A whole text message. */
  text(message: string): void;
  /** Bytes of a binary message. */
  data(bytes: Uint8Array, final: boolean): void;
  /** The connection is gone, once. */
  closed(code: number, reason: string): void;
}

/** A WebSocket connection on which a message can be sent while it is made, as no WebSocket API of a platform can. */
export interface StepConnection {
  /** Sends a whole text message. */
  send(text: string): Promise<void>;
  /**
   * Sends a part of one binary message at once; resolves when there is room for the next, and the memory of this one may
   * be used for something else.
   */
  sendPart(bytes: Uint8Array, final: boolean): Promise<void>;
  /** Begins the closing handshake, after what was sent before. */
  close(code: number, reason: string): void;
}

/**
 * Connects to a Step server; `connectFrames` is one, for Deno and Bun.
 *
 * @param url Address of the endpoint, `ws:` or `wss:`.
 * @param handler Hears what arrives.
 * @returns The connection; it offered no subprotocol.
 * @throws {StreamError} UNREACHABLE.
 */
export type StepTransport = (url: string, handler: StepHandler) => Promise<StepConnection>;
