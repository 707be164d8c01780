/**
 * The seam to the runtime: listening, upgrading, and connections that sessions can rely on.
 * @module
 */

/** One WebSocket connection as sessions know it. */
export interface Connection {
  /** The subprotocol both ends agreed on; empty without one. */
  readonly subprotocol: string;
  /**
   * Sends one message; resolves when the transport has room for the next, and the memory of this one may be used for
   * something else. Sends of one connection keep their order.
   * After the connection closed it resolves at once: the session hears of that through `closed`.
   */
  send(message: string | Uint8Array): Promise<void>;
  /**
   * Sends messages together, in one system call where the transport can do that.
   * @returns False when there is no room for them at once: nothing was sent.
   */
  sendNow(...messages: (string | Uint8Array)[]): boolean;
  /**
   * Sends exactly one binary message.
   * @param byteCount Its length.
   * @param chunks Its bytes in order; the memory of each may be used again when the next is asked for.
   * @throws {StreamError} MESSAGE_TOO_LARGE when the transport cannot send so long a message.
   */
  sendChunks(byteCount: number, chunks: AsyncIterable<Uint8Array>): Promise<void>;
  /**
   * Sends one long text, made when there is room for it among what is sent and not yet taken, all connections together.
   * @param costBytes What it takes in memory, at most.
   * @param make Makes it.
   */
  sendLong(costBytes: number, make: () => Promise<string>): Promise<void>;
  /** Begins the closing handshake. */
  close(code: number, reason: string): void;
  /** Drops a peer that does not answer any more. */
  terminate(): void;
}

/** What a connection drives. Calls never overlap, and none comes after `closed`. */
export interface Session {
  /** A whole text message. */
  text(message: string): void;
  /**
   * Bytes of a binary message as they arrive; transports that only see whole messages deliver them in one piece.
   * @param bytes The bytes, until it returns: their memory is used again.
   * @param final Whether the message ends with them.
   * @returns When the session can take more; transports that can, stop receiving until then.
   */
  data(bytes: Uint8Array, final: boolean): void | Promise<void>;
  /** The connection is gone, once. */
  closed(code: number, reason: string): void;
}

/** How a request becomes a connection. */
export interface Upgrade {
  /** The subprotocol to agree on; empty for none. */
  subprotocol: string;
  /** Name of the client whose connection it is, which has a share of what all use together; null for none. */
  client?: string | null;
  /** Makes the session; called when the connection is open. */
  open(connection: Connection): Session;
}

/** A server that accepts connections. */
export interface Listener {
  /** The port it listens on. */
  readonly port: number;
  /** Takes no new connection, where the runtime can: whoever comes goes elsewhere. What is open goes on. */
  refuse(): void;
  /** Stops accepting and ends what is open. */
  close(): Promise<void>;
}

/** Connections that one client may have on a port. */
export interface ConnectionShare {
  /** How many. */
  max: number;
  /** Name of the client at an address; null for one that has no share. */
  clientAt(address: string): string | null;
}

/** Where to listen and what to answer. */
export interface ListenOptions {
  /** Address or name of the interface. */
  hostname: string;
  /** Port; 0 for a free one. */
  port: number;
  /** Connections at the same time, those that wait for a request included; the adapter's own bound by default. */
  maxConnections?: number;
  /** Bounds what one client has of these, in adapters that hear of connections before their first request. */
  share?: ConnectionShare;
  /**
   * Answers a request.
   * @param request The request.
   * @param env What `upgrade` and `remoteAddress` want of the runtime.
   */
  fetch(request: Request, env: unknown): Response | Promise<Response>;
}

/**
 * Sends an interim response.
 * @param status Its status: 1xx.
 * @param fields Its fields, by their names.
 */
export type Inform = (status: number, fields: Record<string, string>) => void;

/** A JavaScript runtime that can serve. */
export interface Runtime {
  /** Listens; resolves when connections are accepted. */
  listen(options: ListenOptions): Promise<Listener>;
  /** Answers an upgrade request and opens a session on the connection. */
  upgrade(request: Request, env: unknown, upgrade: Upgrade): Response;
  /** The address that a request came from: a peer's, or a proxy's; null where nobody knows. */
  remoteAddress(request: Request, env: unknown): string | null;
  /**
   * Tells how long the connection of a request may be silent from now on; without it the adapter decides alone.
   * @param request The request.
   * @param env What came with it.
   * @param silence Any, where nobody knows when there is more to send; some, as between requests; none drops it.
   */
  allowSilence?(request: Request, env: unknown, silence: "any" | "some" | "none"): void;
  /**
   * Tells whether the runtime took what stands behind the content of a request for another request, answered that and
   * hung up; to be asked at the end of content whose length nobody told. Without it none does.
   * @param request The request.
   */
  hungUp?(request: Request): Promise<boolean>;
  /**
   * Tells whether the memory of a chunk of an answer's body may be used again when the next one is asked for; without
   * it a chunk belongs to whoever took it.
   * @param request The request.
   */
  copiesBody?(request: Request): boolean;
  /**
   * The moment when all of an answer has left the process, so that its memory may be used again.
   * @param request The request.
   * @returns Never resolves for an answer that breaks off; null, or no method, where nobody can tell.
   */
  written?(request: Request): Promise<unknown> | null;
  /** Whether streams are compressed on another thread than the one that serves; by default they are not. */
  readonly compressesAside?: boolean;
  /**
   * The means to send interim responses before the answer; missing where the adapter has none.
   * @param request The request.
   * @returns Sends one; null where its client would not understand it.
   */
  informer?(request: Request): Inform | null;
}
