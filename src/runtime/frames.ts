/**
 * Serving WebSocket at frame level over `node:http`, on Deno and on Bun: messages are handed over as they
 * arrive and sent in fragments, so that they can be of any length, and peers that send too fast are slowed down.
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { StreamError } from "../protocol.ts";
import type { Listener, ListenOptions, Runtime, Upgrade } from "../runtime.ts";
import { CONNECTION_TIMES, type ConnectionTimes } from "./frames/connection.ts";
import { Handshake } from "./frames/handshake.ts";
import { answerTo, writeResponse } from "./frames/http.ts";

export type { ConnectionTimes } from "./frames/connection.ts";

/** Settings of {@link framesRuntime}. */
export interface FramesOptions extends Partial<ConnectionTimes> {
  /** The head of a request must be there within this time; 60 s by default. */
  headersWithinMs?: number;
  /** TCP connections at the same time; 12 000 by default. */
  maxSockets?: number;
  /** Serves `https:` and `wss:` with this certificate; by default `http:` and `ws:`. */
  tls?: Certificate;
}

/** A certificate and its private key, in PEM. */
export interface Certificate {
  /** The certificate, and behind it those between it and the authority. */
  cert: string;
  /** The private key. */
  key: string;
}

/** The adapter that sees frames. */
export interface FramesRuntime extends Runtime {
  /**
   * Serves new connections with another certificate, on every port; those that are open go on.
   * @param tls The certificate.
   * @throws {StreamError} BAD_REQUEST for one that is broken or does not fit its key: the old one stays.
   */
  reload(tls: Certificate): Promise<void>;
}

type Fetch = ListenOptions["fetch"];

type Settings = Required<Omit<FramesOptions, "tls">> & { tls: Certificate | null };

const DEFAULTS: Settings = {
  ...CONNECTION_TIMES,
  headersWithinMs: 60_000,
  // Fewer than the system allows: a listener of Deno never accepts again once descriptors ran out.
  maxSockets: 12_000,
  tls: null,
};
/** A port that is taken while its certificate changes is tried again after so long. */
const LISTEN_AGAIN_MS = 100;
/** How often connections are looked at for {@link FramesOptions.headersWithinMs}. */
const CHECKS_PER_LIMIT = 4;

/**
 * The adapter that sees frames, for either runtime.
 *
 * @param options Times; the defaults suit a server that Java clients talk to.
 * @returns The adapter.
 *
 * @example
 * ```ts
 * import { createServer, framesRuntime, MemoryCatalog, MemoryStorage } from "@stream/live";
 *
 * const server = createServer({
 *   runtime: framesRuntime(),
 *   storage: new MemoryStorage(),
 *   catalog: new MemoryCatalog(),
 * });
 * const { port } = await server.listen({ port: 0 });
 * console.log(`http://127.0.0.1:${port}`);
 * await server.close();
 * ```
 */
export function framesRuntime(options: FramesOptions = {}): FramesRuntime {
  const settings = { ...DEFAULTS, ...options };
  if (settings.tls !== null) checkCertificate(settings.tls);
  const ports = new Set<Port>();
  let reloaded: Promise<unknown> = Promise.resolve();
  return {
    async listen(where) {
      const port = new Port(where, settings, () => ports.delete(port));
      await port.open();
      ports.add(port);
      return port;
    },
    async reload(tls) {
      checkCertificate(tls);
      settings.tls = tls;
      // One after the other: a port that is being opened cannot be closed.
      reloaded = reloaded.then(() => Promise.all(Array.from(ports, (port) => port.reopen())));
      await reloaded;
    },
    upgrade,
    remoteAddress,
  };
}

/** @throws {StreamError} BAD_REQUEST. */
function checkCertificate({ cert, key }: Certificate): void {
  let fits: boolean;
  try {
    fits = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    const reason = (error as Error).message;
    throw new StreamError("BAD_REQUEST", `the certificate or its key cannot be read: ${reason}`);
  }
  if (!fits) throw new StreamError("BAD_REQUEST", "the certificate does not belong to the key");
}

/** A port, and the server that listens on it at present. */
class Port implements Listener {
  readonly #where: ListenOptions;
  readonly #settings: Settings;
  readonly #closed: () => void;
  /** Upgraded ones are no server's any more: it would neither wait for them nor end them. */
  readonly #sockets = new Set<Socket>();
  readonly #servers = new Set<Server>();
  #port: number;
  #isClosed = false;

  constructor(where: ListenOptions, settings: Settings, closed: () => void) {
    this.#where = where;
    this.#settings = settings;
    this.#closed = closed;
    this.#port = where.port;
  }

  get port(): number {
    return this.#port;
  }

  async open(): Promise<void> {
    const server = this.#makeServer();
    await new Promise<void>((resolve, reject) => {
      // Later ones, where the system has no socket left, end nothing.
      server.on("error", reject);
      server.listen(this.#port, this.#where.hostname, resolve);
    });
    this.#servers.add(server);
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Listens anew: not every runtime can give a listening server another certificate. */
  async reopen(): Promise<void> {
    for (const server of this.#servers) {
      server.close(() => this.#servers.delete(server));
      server.closeIdleConnections();
    }
    while (!this.#isClosed) {
      try {
        return await this.open();
      } catch {
        await new Promise((resolve) => setTimeout(resolve, LISTEN_AGAIN_MS));
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closed();
    await Promise.all(Array.from(this.#servers, (server) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      for (const socket of this.#sockets) socket.destroy();
      return closed;
    }));
  }

  #makeServer(): Server {
    const { headersWithinMs, maxSockets, tls } = this.#settings;
    const options = {
      // A live upload is one request, however long it takes.
      requestTimeout: 0,
      headersTimeout: headersWithinMs,
      connectionsCheckingInterval: headersWithinMs / CHECKS_PER_LIMIT,
    };
    const server = tls === null
      ? createServer(options)
      : createSecureServer({ ...options, ...tls });
    server.maxConnections = maxSockets;
    const { fetch } = this.#where;
    server.on("request", (message, out) => void serve(message, out, fetch));
    server.on("upgrade", (message, socket: Socket, head) => {
      // Nobody listens before the answer: what comes meanwhile waits.
      socket.pause();
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
      // That says the same as an error.
      socket.on("error", () => {});
      void shakeHands(message, new Handshake(socket, head, this.#settings), fetch);
    });
    return server;
  }
}

async function serve(message: IncomingMessage, out: ServerResponse, fetch: Fetch): Promise<void> {
  const left = new AbortController();
  out.once("close", () => left.abort());
  const response = await answerTo(
    message,
    (request) => fetch(request, message.socket),
    left.signal,
  );
  await writeResponse(response, out);
}

async function shakeHands(
  message: IncomingMessage,
  handshake: Handshake,
  fetch: Fetch,
): Promise<void> {
  const response = await answerTo(message, (request) => fetch(request, handshake));
  if (!handshake.accepted) await handshake.refuse(message, response);
}

function upgrade(request: Request, env: unknown, upgrade: Upgrade): Response {
  if (env instanceof Handshake) return env.accept(request, upgrade);
  throw new StreamError("BAD_REQUEST", "this is no WebSocket upgrade request");
}

function remoteAddress(_request: Request, env: unknown): string | null {
  return (env as { remoteAddress?: string } | null)?.remoteAddress ?? null;
}
