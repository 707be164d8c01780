/**
 * Serving on Bun: `Bun.serve` and its WebSocket handlers.
 * @module
 */
import { setImmediate as turn } from "node:timers/promises";
import { Allowance } from "../allowance.ts";
import { giveBack } from "../byte_queue.ts";
import type { Listener, ListenOptions, Runtime, Session, Upgrade } from "../runtime.ts";
import { StreamError } from "../protocol.ts";
import { isRefused, noRoom, roomForConnections } from "./descriptors.ts";
import { SOCKET_BUFFER_BYTES, WholeMessageConnection } from "./whole.ts";

/** The part of Bun's server that is used here (https://bun.sh/docs/api/websockets). */
interface BunServer {
  readonly port: number;
  upgrade(request: Request, options: { headers?: HeadersInit; data: Data }): boolean;
  requestIP(request: Request): { address: string } | null;
  timeout(request: Request, seconds: number): void;
  closeIdleConnections(): void;
  stop(closeActiveConnections?: boolean): Promise<void>;
}

interface BunSocket {
  readonly data: Data;
  readonly readyState: number;
  send(message: string | Uint8Array): number;
  getBufferedAmount(): number;
  cork(step: () => void): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

/** What travels with a socket from the upgrade to its handlers. */
interface Data {
  upgrade: Upgrade;
  connection?: BunConnection;
  session?: Session;
  heartbeats?: Allowance;
}

interface BunGlobal {
  readonly version: string;
  serve(options: Record<string, unknown>): BunServer;
}

/** Silence after which a peer is given up, in s. */
const IDLE_TIMEOUT_S = 60;
/** Bun drops a connection that is silent for so long at the soonest, in s. */
const SHORTEST_TIMEOUT_S = 1;
/** How often it is looked for descriptors: without any Bun spends all its time on connections it cannot accept. */
const LOOK_MS = 100;
/** Pings and pongs that a peer may send at once, and the time after which one more is allowed. */
const HEARTBEATS = 200;
const HEARTBEAT_EVERY_MS = 50;
/** The largest message accepted; sessions set their own, smaller limits. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** What `Bun.serve` takes as its `websocket` option, as far as it is used here. */
export interface BunWebSocketHandlers {
  /** Silence after which a peer is given up, in s. */
  idleTimeout: number;
  /** Whether Bun pings. */
  sendPings: boolean;
  /** The largest message accepted, in bytes. */
  maxPayloadLength: number;
  /** Whether messages are compressed. */
  perMessageDeflate: boolean;
  /** Bytes that may wait in a socket before Bun drops messages. */
  backpressureLimit: number;
  /** A connection was opened. */
  open(socket: unknown): void;
  /** A message came. */
  message(socket: unknown, message: string | Uint8Array): void;
  /** A socket has room again. */
  drain(socket: unknown): void;
  /** A ping came; Bun has answered it. */
  ping(socket: unknown): void;
  /** A pong came. */
  pong(socket: unknown): void;
  /** A connection is gone. */
  close(socket: unknown, code: number, reason: string): void;
}

/**
 * Handlers that `Bun.serve` needs as its `websocket` option, for apps that call it themselves.
 *
 * @example
 * ```ts
 * import { bunWebSocketHandlers, type StreamServer } from "@stream/live/server";
 *
 * // Bun.serve(options(logs))
 * function options(logs: StreamServer) {
 *   return {
 *     fetch: (request: Request, bun: unknown) => logs.fetch(request, bun),
 *     websocket: bunWebSocketHandlers,
 *   };
 * }
 * ```
 */
export const bunWebSocketHandlers: BunWebSocketHandlers = {
  // Native sessions have a heartbeat of their own; for others the runtime pings and gives up.
  idleTimeout: IDLE_TIMEOUT_S,
  sendPings: true,
  maxPayloadLength: MAX_MESSAGE_BYTES,
  perMessageDeflate: false,
  // Twice what `send` lets in, so that Bun never drops a message.
  backpressureLimit: 2 * (SOCKET_BUFFER_BYTES + MAX_MESSAGE_BYTES),
  open(socket: BunSocket): void {
    const { data } = socket;
    data.connection = new BunConnection(socket, data.upgrade);
    data.session = data.upgrade.open(data.connection);
  },
  message({ data }: BunSocket, message: string | Uint8Array): void {
    if (typeof message === "string") return data.session?.text(message);
    void data.session?.data(message, true);
    giveBack(message);
  },
  drain({ data }: BunSocket): void {
    data.connection?.drained();
  },
  ping: countHeartbeat,
  pong: countHeartbeat,
  close({ data }: BunSocket, code: number, reason: string): void {
    data.connection?.drained();
    data.session?.closed(code, reason);
    data.session = undefined;
  },
};

/** Drops a peer that sends hardly anything else than pings: there is no way to read it slowly. */
function countHeartbeat(socket: BunSocket): void {
  const { data } = socket;
  data.heartbeats ??= new Allowance(HEARTBEATS, HEARTBEAT_EVERY_MS);
  if (data.heartbeats.take() > 0) socket.terminate();
}

/** Settings of {@link bunRuntime}. */
export interface BunOptions {
  /** A connection may wait so long for its next request, or take nothing of an answer, in s; 60 by default. */
  idleS?: number;
}

/**
 * Bun that writes a chunk of a body, or copies it, before it asks for the next: known of these versions
 * (tests/http/downloads_test.ts). New memory for each took more processor time than all else of a download.
 */
const COPIES_BODIES = /^1\.4\./;
/** Requests whose answers go from us to the socket without anybody between who might keep a chunk. */
const direct = new WeakSet<Request>();

/** The adapter for Bun. */
export function bunRuntime({ idleS = IDLE_TIMEOUT_S }: BunOptions = {}): Runtime {
  return {
    // deno-lint-ignore require-await -- a port that is taken must reject, not throw
    listen: async (options) => new Port(options, idleS),
    upgrade,
    remoteAddress,
    copiesBody: (request) => direct.has(request),
    compressesAside: true,
    async hungUp({ signal }) {
      // What came together with the end of the content is looked at before the next turn.
      await turn();
      return signal.aborted;
    },
    allowSilence(request, env, silence) {
      const seconds = { any: 0, some: idleS, none: SHORTEST_TIMEOUT_S }[silence];
      serverIn(env)?.timeout?.(request, seconds);
    },
  };
}

/** A port, and what listens on it at present: nobody while there is no descriptor left. */
class Port implements Listener {
  readonly port: number;
  readonly #options: ListenOptions;
  readonly #idleS: number;
  /** The newest listens; connections of the others go on. */
  readonly #servers: BunServer[] = [];
  readonly #look: ReturnType<typeof setInterval>;
  readonly #copiesBodies = COPIES_BODIES.test(bun().version);
  #listens = true;

  constructor(options: ListenOptions, idleS: number) {
    this.#options = options;
    this.#idleS = idleS;
    this.port = this.#serve(options.port).port;
    this.#look = setInterval(() => this.#watchDescriptors(), LOOK_MS);
  }

  refuse(): void {
    clearInterval(this.#look);
    if (this.#listens) void this.#servers.at(-1)!.stop();
    this.#listens = false;
  }

  async close(): Promise<void> {
    clearInterval(this.#look);
    await Promise.all(this.#servers.map((server) => server.stop(true)));
  }

  #serve(port: number): BunServer {
    const server = bun().serve({
      hostname: this.#options.hostname,
      port,
      idleTimeout: this.#idleS,
      // Uploads have a limit of their own.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch: (request: Request, server: BunServer) => this.#answer(request, server),
      websocket: bunWebSocketHandlers,
    });
    this.#servers.push(server);
    return server;
  }

  #answer(request: Request, server: BunServer): Response | Promise<Response> {
    const { method, headers } = request;
    if (isRefused(method, () => this.#makeRoom())) return noRoom();
    const named = withHost(request);
    if (named === null) return new Response("the Host is no name of a host\n", { status: 400 });
    if (this.#copiesBodies) direct.add(named);
    if (method === "GET" || method === "HEAD") return this.#options.fetch(named, server);
    // Bun takes what stands behind the content for another request, and answers that before this one.
    if (headers.has("trailer")) return new Response("trailers are not taken\n", NO_TRAILERS);
    return this.#receive(request, named, server);
  }

  /** Uploads have a limit of their own for silence. */
  async #receive(request: Request, named: Request, server: BunServer): Promise<Response> {
    server.timeout(request, 0);
    try {
      return await this.#options.fetch(named, server);
    } finally {
      server.timeout(request, this.#idleS);
    }
  }

  #makeRoom(): void {
    for (const server of this.#servers) server.closeIdleConnections();
  }

  #watchDescriptors(): void {
    const room = roomForConnections();
    if (room === "none" && this.#listens) {
      this.#makeRoom();
      this.#listens = false;
      void this.#servers.at(-1)!.stop();
    } else if (room === "enough" && !this.#listens) this.#listenAgain();
    else if (!this.#listens) this.#makeRoom();
  }

  #listenAgain(): void {
    try {
      this.#serve(this.port);
      this.#listens = true;
    } catch { /* The port is not free yet: the next look tries again. */ }
  }
}

const NO_TRAILERS: ResponseInit = { status: 400, headers: { connection: "close" } };

function bun(): BunGlobal {
  return (globalThis as unknown as { Bun: BunGlobal }).Bun;
}

/** Bun tells no whole URL where there is no Host (HTTP/1.0), and one that is none for a Host that is none. */
function withHost(request: Request): Request | null {
  const { url } = request;
  if (url.startsWith("/")) return new Request(`http://localhost${url}`, request);
  return URL.canParse(url) ? request : null;
}

function upgrade(request: Request, env: unknown, upgrade: Upgrade): Response {
  const { subprotocol } = upgrade;
  const server = serverIn(env);
  // Without this header Bun agrees to the first subprotocol that was offered; an empty one is left out.
  const headers = { "Sec-WebSocket-Protocol": subprotocol };
  if (!server.upgrade(request, { headers, data: { upgrade } })) {
    throw new StreamError("BAD_REQUEST", "this is no WebSocket upgrade request");
  }
  // Bun has answered already; what is returned here reaches nobody.
  return new Response(null);
}

function remoteAddress(request: Request, env: unknown): string | null {
  return serverIn(env)?.requestIP?.(request)?.address ?? null;
}

/** An app that embeds the routes may hand Bun's server over as Hono's own adapter wants it. */
function serverIn(env: unknown): BunServer {
  return (env as { server?: BunServer } | null)?.server ?? env as BunServer;
}

/** When so much waits in all sockets together, each may have little. */
const CROWDED_BYTES = 32 * 1024 * 1024;
const LITTLE_BYTES = 64 * 1024;

/** What waits in all sockets, as far as it was seen. */
let waitingBytes = 0;

class BunConnection extends WholeMessageConnection {
  readonly subprotocol: string;
  protected override readonly client: string | null;
  protected override readonly copies = true;
  /** What was last seen to wait in this socket. */
  #seenBytes = 0;
  #wake: (() => void) | null = null;
  #room: Promise<void> | null = null;

  constructor(private readonly socket: BunSocket, { subprotocol, client = null }: Upgrade) {
    super();
    this.subprotocol = subprotocol;
    this.client = client;
  }

  protected get gone(): boolean {
    return this.socket.readyState !== WebSocket.OPEN;
  }

  protected get bufferedBytes(): number {
    return this.socket.getBufferedAmount();
  }

  protected override get mostBufferedBytes(): number {
    return waitingBytes > CROWDED_BYTES ? LITTLE_BYTES : super.mostBufferedBytes;
  }

  protected put(message: string | Uint8Array): void {
    this.socket.send(message);
    this.#look();
  }

  #look(): void {
    const bytes = this.gone ? 0 : this.bufferedBytes;
    waitingBytes += bytes - this.#seenBytes;
    this.#seenBytes = bytes;
  }

  protected override together(step: () => void): void {
    this.socket.cork(step);
  }

  protected room(): Promise<void> {
    this.#room ??= new Promise((resolve) => this.#wake = resolve);
    return this.#room;
  }

  close(code: number, reason: string): void {
    if (!this.gone) this.socket.close(code, reason);
  }

  terminate(): void {
    this.socket.terminate();
  }

  /** The socket has room again, or is gone. */
  drained(): void {
    this.#look();
    this.#wake?.();
    this.#wake = this.#room = null;
  }
}
