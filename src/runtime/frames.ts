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
import type { Inform, Listener, ListenOptions, Runtime, Upgrade } from "../runtime.ts";
import { isRefused, noRoom, roomForConnections } from "./descriptors.ts";
import { CONNECTION_TIMES, type ConnectionTimes, type SomeTimes } from "./frames/connection.ts";
import { Handshake } from "./frames/handshake.ts";
import { answerEarly, answerTo, writeResponse } from "./frames/http.ts";
import { Pipeline } from "./frames/pipeline.ts";

export type { ConnectionTimes, SomeTimes } from "./frames/connection.ts";

/** Settings of {@link framesRuntime}. */
export interface FramesOptions extends SomeTimes {
  /** The head of a request must be there within this time; 60 s by default. */
  headersWithinMs?: number | undefined;
  /** A connection may wait so long for its next request, in ms; 60 s by default. */
  idleMs?: number | undefined;
  /** A connection whose peer takes nothing of what is sent for so long is dropped, in ms; 60 s by default. */
  takenWithinMs?: number | undefined;
  /** Serves `https:` and `wss:` with this certificate; by default `http:` and `ws:`. */
  tls?: Certificate | undefined;
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

interface Settings extends ConnectionTimes {
  headersWithinMs: number;
  idleMs: number;
  takenWithinMs: number;
  tls: Certificate | null;
}

const DEFAULTS: Settings = {
  ...CONNECTION_TIMES,
  headersWithinMs: 60_000,
  idleMs: 60_000,
  takenWithinMs: 60_000,
  tls: null,
};
/** From this share of the connections on, those that wait for a request make room. */
const CROWDED_SHARE = 0.95;
/** A silent connection is probed after so long, so that one whose peer lost its power ends. */
const TCP_PROBE_AFTER_MS = 60_000;
/** A connection for which there is no room has so long to ask, and to hear that. */
const REFUSED_WITHIN_MS = 5000;
/** How often it is looked for room after there was none. */
const LOOK_AGAIN_MS = 250;
/** A port that is taken while its certificate changes is tried again after so long. */
const LISTEN_AGAIN_MS = 100;
/** How often connections are looked at for {@link FramesOptions.headersWithinMs}. */
const CHECKS_PER_LIMIT = 4;
/** Looks that come so many times too late show that this process stood still. */
const LATE = 3;

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
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const settings: Settings = { ...DEFAULTS, ...Object.fromEntries(given) };
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
    compressesAside: !ON_DENO,
    written: ON_DENO ? written : undefined,
    allowSilence,
    informer: (request) => informers.get(request) ?? null,
  };
}

const ON_DENO = "Deno" in globalThis;
/** Means to send interim responses, by the request that is being answered. */
const informers = new WeakMap<Request, Inform>();
/** Answers that go from us to the socket without anybody between who might keep them, or answer before they are made. */
const answers = new WeakMap<Request, ServerResponse>();

function written(request: Request): Promise<unknown> | null {
  const out = answers.get(request);
  return out === undefined ? null : new Promise((resolve) => out.once("finish", resolve));
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
  /** All connections, and how much of what was sent to each its peer has not taken. */
  readonly #open = new Map<Socket, Untaken>();
  /** Connections by the address of their peer whose TLS handshake is not over; Bun tells of none. */
  readonly #shaking = new Map<string, Socket>();
  /** Connections that each client has, where clients have a share. */
  readonly #clients = new Map<string, number>();
  /** Those for whom there is no room: they may ask, to be told so. */
  readonly #refused = new WeakSet<Socket>();
  readonly #sweep: ReturnType<typeof setInterval>;
  #sweptAtMs = performance.now();
  #lookAgain: ReturnType<typeof setInterval> | undefined;
  #port: number;
  #isClosed = false;

  constructor(where: ListenOptions, settings: Settings, closed: () => void) {
    this.#where = where;
    this.#settings = settings;
    this.#closed = closed;
    this.#port = where.port;
    const everyMs = settings.takenWithinMs / CHECKS_PER_LIMIT;
    this.#sweep = setInterval(() => this.#dropStalled(), everyMs);
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

  refuse(): void {
    this.#isClosed = true;
    for (const server of this.#servers) server.close();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#sweep);
    clearInterval(this.#lookAgain);
    this.#closed();
    await Promise.all(Array.from(this.#servers, (server) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      for (const socket of [...this.#sockets, ...this.#shaking.values()]) socket.destroy();
      return closed;
    }));
  }

  #makeServer(): Server {
    const { headersWithinMs, idleMs, tls } = this.#settings;
    const options = {
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_PROBE_AFTER_MS,
      keepAliveTimeout: idleMs,
      // A live upload is one request, however long it takes.
      requestTimeout: 0,
      headersTimeout: headersWithinMs,
      connectionsCheckingInterval: headersWithinMs / CHECKS_PER_LIMIT,
      // Java's HttpClient and `curl --http2` offer h2c with every request: its content would reach nobody.
      shouldUpgradeCallback: asksForWebSocket,
    };
    const server = tls === null
      ? createServer(options)
      : createSecureServer({ ...options, ...tls, handshakeTimeout: headersWithinMs });
    const { fetch } = this.#where;
    if (tls === null) server.on("connection", (socket: Socket) => this.#accept(socket));
    else {
      server.on("connection", (socket: Socket) => this.#awaitHandshake(socket));
      server.on("secureConnection", (socket: Socket) => {
        this.#accept(socket, this.#shaking.delete(addressOf(socket)));
      });
    }
    const pipelines = new WeakMap<Socket, Pipeline>();
    server.on("request", (message, out) => {
      const { socket } = message;
      if (!pipelines.has(socket)) pipelines.set(socket, new Pipeline(socket));
      pipelines.get(socket)!.add(
        out,
        () =>
          this.#refuses(message)
            ? writeResponse(noRoom(), out)
            : serve(message, out, fetch, this.#settings.closeWithinMs),
      );
    });
    server.on("upgrade", (message, socket: Socket, head) => {
      // Nobody listens before the answer: what comes meanwhile waits.
      socket.pause();
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
      // That says the same as an error.
      socket.on("error", () => {});
      const handshake = new Handshake(socket, head, this.#settings);
      if (this.#refuses(message)) void handshake.refuse(message, noRoom());
      else if (!asksForWebSocket(message) && hasContent(message)) {
        void handshake.refuse(message, contentOutOfReach());
      } else void shakeHands(message, handshake, fetch);
    });
    return server;
  }

  /** Counts a connection that may never say who it is. */
  #awaitHandshake(socket: Socket): void {
    const address = addressOf(socket);
    this.#shaking.set(address, socket);
    socket.once("close", () => this.#shaking.delete(address));
    const hasShare = this.#countClient(socket);
    if (!hasShare || this.#count > (this.#where.maxConnections ?? Infinity)) socket.destroy();
  }

  get #count(): number {
    return this.#open.size + this.#shaking.size;
  }

  /**
   * Counts a connection; those that wait for a request make room for others.
   * @param socket The connection.
   * @param isClientCounted Whether its client was charged for it when its handshake began.
   */
  #accept(socket: Socket, isClientCounted = false): void {
    this.#open.set(socket, { bytes: 0, sinceMs: 0 });
    socket.once("close", () => this.#open.delete(socket));
    const { maxConnections = Infinity } = this.#where;
    const hasShare = isClientCounted || this.#countClient(socket);
    const room = roomForConnections();
    if (room !== "enough" || this.#count > maxConnections * CROWDED_SHARE) {
      // Later: until its first request was seen, the new one counts as idle, too.
      setImmediate(() => this.#makeRoom());
    }
    if (room !== "none" && this.#count <= maxConnections && hasShare) return;
    if (room === "none") {
      this.#expectRoom();
      return void socket.destroy();
    }
    this.#refused.add(socket);
    const timer = setTimeout(() => socket.destroy(), REFUSED_WITHIN_MS);
    socket.once("close", () => clearTimeout(timer));
  }

  /** Counts a connection of its client until it is closed; false when that has its share. */
  #countClient(socket: Socket): boolean {
    const { share } = this.#where;
    const client = share?.clientAt(socket.remoteAddress ?? "") ?? null;
    if (client === null) return true;
    const count = (this.#clients.get(client) ?? 0) + 1;
    this.#clients.set(client, count);
    socket.once("close", () => {
      const left = this.#clients.get(client)! - 1;
      if (left > 0) this.#clients.set(client, left);
      else this.#clients.delete(client);
    });
    return count <= share!.max;
  }

  #refuses({ method = "", socket }: IncomingMessage): boolean {
    return this.#refused.has(socket) || isRefused(method, () => this.#makeRoom());
  }

  #makeRoom(): void {
    for (const server of this.#servers) server.closeIdleConnections();
  }

  /** Listens anew when there is room again: a listener of Deno accepts nothing any more once descriptors ran out. */
  #expectRoom(): void {
    this.#lookAgain ??= setInterval(() => {
      if (roomForConnections() !== "enough") return this.#makeRoom();
      clearInterval(this.#lookAgain);
      this.#lookAgain = undefined;
      void this.reopen();
    }, LOOK_AGAIN_MS);
  }

  /** Drops peers that take nothing although something waits for them, whatever they send meanwhile. */
  #dropStalled(): void {
    const nowMs = performance.now();
    // Nobody could take anything from a process that was stopped.
    const stoodStill =
      nowMs - this.#sweptAtMs > LATE * this.#settings.takenWithinMs / CHECKS_PER_LIMIT;
    this.#sweptAtMs = nowMs;
    for (const [socket, untaken] of this.#open) {
      if (stoodStill) untaken.sinceMs = nowMs;
      if (socket.writableLength === 0 || socket.writableLength !== untaken.bytes) {
        this.#open.set(socket, { bytes: socket.writableLength, sinceMs: nowMs });
      } else if (nowMs - untaken.sinceMs >= this.#settings.takenWithinMs) socket.destroy();
    }
    // Descriptors that ran out between two connections show here, too.
    if (roomForConnections() === "none") this.#expectRoom();
  }
}

function asksForWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === "GET" && headers.upgrade?.toLowerCase() === "websocket";
}

function hasContent({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** Node before 22.21 and 24.9 stops reading behind such a head. */
function contentOutOfReach(): Response {
  return new Response("content is not taken with an Upgrade here\n", { status: 400 });
}

function addressOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}

/** What waits for a peer, and since when it is the same. */
interface Untaken {
  bytes: number;
  sinceMs: number;
}

async function serve(
  message: IncomingMessage,
  out: ServerResponse,
  fetch: Fetch,
  closeWithinMs: number,
): Promise<void> {
  const left = new AbortController();
  // A reason is made with a trace of its stack: not for answers that ended as they should.
  out.once("close", () => {
    if (!out.writableFinished) left.abort();
  });
  const response = await answerTo(
    message,
    (request) => {
      const inform = informerOf(message, out);
      if (inform !== null) informers.set(request, inform);
      answers.set(request, out);
      return fetch(request, message.socket);
    },
    left.signal,
  );
  // Who is gone already says so no second time.
  if (left.signal.aborted) await response.body?.cancel().catch(() => {});
  else if (message.complete || response.ok) await writeResponse(response, out);
  else await answerEarly(message, response, out, closeWithinMs);
}

/** What Deno, Bun and newer versions of Node have beyond the types of this one. */
interface Informing {
  writeInformation?(status: number, fields: Record<string, string>): void;
}

/** HTTP/1.0 knows no interim responses, and Node only since version 26. */
function informerOf(message: IncomingMessage, out: ServerResponse & Informing): Inform | null {
  if (message.httpVersion !== "1.1" || out.writeInformation === undefined) return null;
  return (status, fields) => {
    if (!out.headersSent && !out.destroyed) out.writeInformation!(status, fields);
  };
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

function allowSilence(_request: Request, env: unknown, silence: "any" | "some" | "none"): void {
  if (silence === "none") (env as Partial<Socket> | null)?.destroy?.();
}

function remoteAddress(_request: Request, env: unknown): string | null {
  return (env as { remoteAddress?: string } | null)?.remoteAddress ?? null;
}
