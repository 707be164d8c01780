/**
 * The server: Hono routes over {@link Resources}, WebSocket upgrades into sessions, one error mapper.
 * @module
 */
import type { Access } from "./access.ts";
import { MovedError, StreamError } from "./protocol.ts";
import { Resources, type ResourcesOptions, type ServerResources } from "./resources.ts";
import type { Listener, Runtime } from "./runtime.ts";
import { Guard } from "./server/access.ts";
import type { StepContexts } from "./server/face.ts";
import { type FaceOptions, Faces, viewerHome } from "./server/faces.ts";
import { checkHost, type HostOptions } from "./server/host.ts";
import { KnownHosts } from "./server/access/hosts.ts";
import { type HostGauge, ServerMetrics } from "./server/metrics.ts";
import type { AccessEntry } from "./server/observer.ts";
import type { StepPort } from "./server/references.ts";
import { Router, type RouterOptions } from "./server/router.ts";
import { Sessions } from "./server/sessions.ts";
import { clientAt } from "./server/access/clients.ts";
import { Shares } from "./server/access/shares.ts";
import { HEARTBEAT, type HeartbeatTimes, HttpUploads } from "./session.ts";

export type { Access, Authenticator, Grant, Links, Scope } from "./access.ts";
export type {
  ContextAttributes,
  DeleteOptions,
  Durability,
  EventFilter,
  EventSubject,
  Happening,
  Meter,
  NodeOptions,
  QuotaOptions,
  QuotaPolicy,
  QuotaResource,
  QuotaSubject,
  ResourceEvent,
  ResourcesOptions,
  ResourceView,
  RetentionOptions,
  ServerReadOptions,
  ServerResources,
  ServerUpload,
  ServerUploadOptions,
  UploadEnd,
  UploadOptions,
  UsageLimits,
} from "./resources.ts";
export type { NamedMessage } from "./protocol.ts";
export type { StepContexts } from "./server/face.ts";
export type { FaceOptions } from "./server/faces.ts";
export type { EndpointOptions, HostOptions, HostSession, SessionHooks } from "./server/host.ts";
export type { ConnectionKind, SessionEnd } from "./server/sessions.ts";
export type { HostGauge } from "./server/metrics.ts";
export type { AccessEntry } from "./server/observer.ts";
export type { HeartbeatTimes } from "./session.ts";

/** Receives what a server has to say about its work. */
export interface ServerLog {
  /** Something worth knowing happened. */
  info(event: string, fields: Record<string, unknown>): void;
  /** Something failed that should not have. */
  error(event: string, fields: Record<string, unknown>): void;
}

/** Parts and settings of a server; those of {@link ResourcesOptions} too. */
export interface ServerOptions
  extends Omit<ResourcesOptions, "meter" | "requireContext">, FaceOptions, HostOptions {
  /** The adapter of the runtime; see `loadRuntime`. */
  runtime: Runtime;
  /** Base of the references that uploads get, e.g. `https://logs.example.org`; by default the Host of each request. */
  baseUrl?: string | undefined;
  /** Path below which the routes are, e.g. `/logs`, in a server that has others; `/` by default. */
  basePath?: string | undefined;
  /** Builds the reference for an id instead, from the base that would be used. */
  referenceTo?: ((id: string, baseUrl: string) => string) | undefined;
  /** Origins, besides the server's own, whose pages may connect; `*` for all. */
  allowOrigins?: readonly string[] | undefined;
  /**
   * Names, besides its own, by which the server may be asked, e.g. `logs.lan`; `*` for all. A listener without `access`
   * knows loopback, its interface and the bases, and refuses all others (PROTOCOL.md 2.6). Where these are given,
   * requests by `fetch` are checked, too; without them that is the business of the app around.
   */
  allowHosts?: readonly string[] | undefined;
  /**
   * Whether every request comes through one proxy, whose `X-Forwarded-Proto`, `-Host` and `-For` headers tell
   * the truth; false by default: then they are ignored.
   */
  trustProxy?: boolean | undefined;
  /** Upload contexts that Step uploads may name: `known` ones (the default), or any: what nobody made they `make`. */
  stepContexts?: StepContexts | undefined;
  /** Decides who may do what; everybody may do everything by default. */
  access?: Access | undefined;
  /** WebSocket connections at the same time; 20 000 by default. */
  maxConnections?: number | undefined;
  /** Connections of one token, and of one address that is not loopback; half of `maxConnections` by default. */
  maxClientConnections?: number | undefined;
  /** Uploads at the same time of one token, and of one address that is not loopback; half of `maxUploads` by default. */
  maxClientUploads?: number | undefined;
  /** An upload by HTTP without a byte for so long is given up, in ms; a day by default. */
  uploadSilenceMs?: number | undefined;
  /** Whether people with a browser are shown resources, at `/` and `/view/ID`; true by default. */
  viewer?: boolean | undefined;
  /** What `GET /metrics` tells besides; nothing by default. */
  gauges?: readonly HostGauge[] | undefined;
  /** Times of the heartbeat; {@link HEARTBEAT} by default. */
  heartbeat?: HeartbeatTimes | undefined;
  /** Where the server says what it does; nowhere by default. */
  log?: ServerLog | undefined;
  /** Takes the access log: every finished request and WebSocket connection; there is none by default. */
  accessLog?: ((entry: AccessEntry) => void) | undefined;
}

/** Where a server listens. */
export interface ListenerOptions {
  /** Interface; 127.0.0.1 by default. */
  hostname?: string | undefined;
  /** Port; 8090 by default, 0 for a free one. */
  port?: number | undefined;
  /** Another adapter than the server's own, for this port only. */
  runtime?: Runtime | undefined;
  /** Base of the references that uploads on this port get. */
  baseUrl?: string | undefined;
  /** Whether this is the port for Step clients, whose references others show, too; false by default. */
  forStep?: boolean | undefined;
}

/** A server that answers requests inside another one, or listens by itself. */
export interface StreamServer {
  /** Its resources. */
  readonly resources: ServerResources;
  /**
   * Answers a request: `app.all("/logs/*", (c) => server.fetch(c.req.raw, c.env))` in a Hono app, with `basePath: "/logs"`.
   * On Bun, `Bun.serve` needs `websocket: bunWebSocketHandlers`, and `env` is its server.
   * @param request The request.
   * @param env What the runtime gave with it.
   */
  fetch(request: Request, env?: unknown): Response | Promise<Response>;
  /**
   * Brings what an earlier process left in order; `listen` does this, a server that is only mounted needs it
   * before its first request. One of several nodes (`leaseMs`) goes on with the uploads when this has resolved.
   */
  recover(): Promise<void>;
  /**
   * Recovers, then listens; may be called for several ports.
   * @param options Where.
   * @returns The port.
   * @throws {StreamError} WRONG_STATE after `close`.
   */
  listen(options?: ListenerOptions): Promise<{ port: number }>;
  /**
   * Says that it is not ready any more, to those who ask whether to send it something (`GET /readyz`), and closes each
   * connection with its next answer; `close` follows.
   */
  drain(): void;
  /**
   * Closes every session, makes running uploads FAILED, or leaves those that can be resumed to be so, and stops listening.
   * @param goesOnAt HTTP base URLs of others of the same service, which native clients are told with 1012: they go on
   * there, or here again; without it this server is the service, and closes with 1001.
   */
  close(goesOnAt?: readonly string[]): Promise<void>;
}

const MAX_CONNECTIONS = 20_000;
/** Connections on a port that may wait for a request, or hear that there is no room, besides those that count. */
const SPARE_CONNECTIONS = 100;

/**
 * Makes a server out of parts.
 *
 * @param options Parts and settings.
 * @returns The server; it does nothing before `listen` or before its routes are called.
 *
 * @example
 * ```ts
 * import { createServer, loadRuntime, MemoryCatalog, MemoryStorage } from "@stream/live";
 *
 * const server = createServer({
 *   runtime: await loadRuntime(),
 *   storage: new MemoryStorage(),
 *   catalog: new MemoryCatalog(),
 * });
 * const { port } = await server.listen({ port: 0 });
 * console.log(`http://127.0.0.1:${port}`);
 * await server.close();
 * ```
 */
export function createServer(options: ServerOptions): StreamServer {
  return new Server(options);
}

class Server implements StreamServer {
  readonly resources: Resources;
  readonly #options: ServerOptions;
  readonly #sessions: Sessions;
  readonly #metrics = new ServerMetrics();
  readonly #guard: Guard | null;
  readonly #httpUploads: HttpUploads;
  readonly #faces: Faces;
  readonly #connectionShares: Shares;
  readonly #uploadShares: Shares;
  readonly #router: Router;
  readonly #listeners: Listener[] = [];
  #stepPort: StepPort | null = null;
  #recovered: Promise<void> | null = null;
  #isDraining = false;
  #isClosed = false;

  constructor(options: ServerOptions) {
    checkHost(options);
    this.#options = options;
    const requireContext = options.requireContext === true;
    this.resources = new Resources({ ...options, requireContext, meter: this.#metrics });
    const { maxConnections = MAX_CONNECTIONS } = options;
    this.#connectionShares = new Shares({
      what: "connections",
      max: maxConnections,
      maxPerClient: options.maxClientConnections,
      option: "--max-client-connections",
      refused: () => this.#metrics.shareRefused("connections"),
    });
    this.#sessions = new Sessions(maxConnections, this.#connectionShares);
    this.#uploadShares = new Shares({
      what: "uploads",
      max: this.resources.maxUploads,
      maxPerClient: options.maxClientUploads,
      option: "--max-client-uploads",
      refused: () => this.#metrics.shareRefused("uploads"),
    });
    this.#metrics.observe(this.resources, this.#sessions, this.#uploadShares, options.gauges);
    this.#guard = options.access === undefined ? null : new Guard(options.access);
    this.#httpUploads = new HttpUploads(this.resources, options.uploadSilenceMs);
    this.#faces = new Faces(options, this.resources);
    const { runtime, baseUrl, allowHosts } = options;
    const hosts = allowHosts === undefined ? null : this.#hosts("localhost");
    this.#router = this.#makeRouter({ runtime, baseUrl, hosts });
  }

  fetch(request: Request, env?: unknown): Response | Promise<Response> {
    return this.#router.fetch(request, env);
  }

  recover(): Promise<void> {
    this.#recovered ??= this.#recover();
    return this.#recovered;
  }

  async listen(options: ListenerOptions = {}): Promise<{ port: number }> {
    await this.recover();
    const { hostname = "127.0.0.1", port = 8090, runtime, baseUrl, forStep = false } = options;
    const router = this.#makeRouter({
      runtime: runtime ?? this.#options.runtime,
      baseUrl: runtime === undefined ? baseUrl ?? this.#options.baseUrl : baseUrl,
      hosts: this.#hosts(hostname, baseUrl),
    });
    this.#checkOpen();
    const listener = await (runtime ?? this.#options.runtime).listen({
      hostname,
      port,
      maxConnections: (this.#options.maxConnections ?? MAX_CONNECTIONS) + SPARE_CONNECTIONS,
      share: { max: this.#connectionShares.maxPerClient + SPARE_CONNECTIONS, clientAt },
      fetch: (request, env) => router.fetchInTurn(request, env),
    });
    // Nobody else closes it when the server was closed meanwhile.
    if (this.#isClosed) await listener.close();
    this.#checkOpen();
    this.#listeners.push(listener);
    if (forStep) this.#stepPort = { port: listener.port, baseUrl };
    return { port: listener.port };
  }

  drain(): void {
    this.#isDraining = true;
    this.resources.drain();
  }

  async close(goesOnAt?: readonly string[]): Promise<void> {
    this.#isDraining = this.#isClosed = true;
    // Uploads are handed over first: whoever comes meanwhile is better off elsewhere than with a refusal.
    for (const listener of this.#listeners) listener.refuse();
    this.#faces.close();
    const message = "the server was shut down";
    const shutdown = goesOnAt === undefined
      ? new StreamError("SHUTDOWN", message)
      : new MovedError(message, goesOnAt);
    const answered = this.#httpUploads.close(shutdown);
    await Promise.all([
      this.#sessions.close(shutdown),
      answered,
      this.resources.close(answered),
    ]);
    await Promise.all(this.#listeners.map((listener) => listener.close()));
  }

  #checkOpen(): void {
    if (this.#isClosed) {
      throw new StreamError("WRONG_STATE", "the server was closed: make another one");
    }
  }

  async #recover(): Promise<void> {
    await this.resources.start();
    const recovering = this.#recoverUploads();
    // What fails for one of several nodes is tried again.
    if (this.resources.isOneOfSeveral) void recovering.catch(() => {});
    else await recovering;
    this.#faces.start();
  }

  async #recoverUploads(): Promise<void> {
    const startedAtMs = performance.now();
    const unfinished = await this.resources.recover();
    const tookMs = Math.round(performance.now() - startedAtMs);
    this.#options.log?.info("recovered", { unfinished, tookMs });
  }

  /** Names of a listener that wants no credentials, or is told its names. */
  #hosts(hostname: string, ...baseUrls: (string | undefined)[]): KnownHosts | null {
    const { access, allowHosts, baseUrl } = this.#options;
    if (access !== undefined && allowHosts === undefined) return null;
    return new KnownHosts({
      hostname,
      baseUrls: [baseUrl, ...baseUrls],
      allowHosts: allowHosts ?? [],
    });
  }

  #makeRouter(own: Pick<RouterOptions, "runtime" | "baseUrl" | "hosts">): Router {
    const { heartbeat = HEARTBEAT, log } = this.#options;
    return new Router({
      ...this.#options,
      ...own,
      faces: this.#faces.all,
      stepPort: () => this.#stepPort,
      isDraining: () => this.#isDraining,
      home: this.#options.viewer === false ? null : viewerHome,
      resources: this.resources,
      sessions: this.#sessions,
      metrics: this.#metrics,
      httpUploads: this.#httpUploads,
      uploadShares: this.#uploadShares,
      heartbeat,
      guard: this.#guard,
      failed: (path, message, requestId) =>
        log?.error("request failed", { path, message, requestId }),
    });
  }
}
