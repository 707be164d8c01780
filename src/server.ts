/**
 * The server: Hono routes over {@link Resources}, WebSocket upgrades into sessions, one error mapper.
 * @module
 */
import { type Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import {
  CONTEXT_PARAMETER,
  DOWNLOAD_PATH,
  ERRORS,
  httpBase,
  isResourceId,
  type ResourceInfo,
  RESOURCES_PATH,
  StreamError,
  SUBPROTOCOL,
  toStreamError,
  TRANSFER_STATUSES,
  type TransferStatus,
  UPLOAD_PATH,
  wsBase,
} from "./protocol.ts";
import {
  Resources,
  type ResourcesOptions,
  type ResourceView,
  type ServerResources,
} from "./resources.ts";
import type { Connection, Listener, Runtime, Session } from "./runtime.ts";
import { type ControlSession, HEARTBEAT, type HeartbeatTimes } from "./session.ts";
import { DownloadSession } from "./session/download.ts";
import { UploadSession } from "./session/upload.ts";

export type {
  EventFilter,
  QuotaPolicy,
  QuotaSubject,
  ResourceEvent,
  ResourcesOptions,
  ResourceView,
  ServerResources,
} from "./resources.ts";
export type { HeartbeatTimes } from "./session.ts";

/** Receives what a server has to say about its work. */
export interface ServerLog {
  /** Something worth knowing happened. */
  info(event: string, fields: Record<string, unknown>): void;
  /** Something failed that should not have. */
  error(event: string, fields: Record<string, unknown>): void;
}

/** Parts and settings of a server; those of {@link ResourcesOptions} too. */
export interface ServerOptions extends ResourcesOptions {
  /** The adapter of the runtime; see `loadRuntime`. */
  runtime: Runtime;
  /** Base of the references that uploads get, e.g. `https://logs.example.org`; by default the Host of each request. */
  baseUrl?: string;
  /** Path below which the routes are, e.g. `/logs`, in a server that has others; `/` by default. */
  basePath?: string;
  /** Builds the reference for an id instead, from the base that would be used. */
  referenceTo?: (id: string, baseUrl: string) => string;
  /** Origins, besides the server's own, whose pages may connect; `*` for all. */
  allowOrigins?: readonly string[];
  /** WebSocket connections at the same time; 20 000 by default. */
  maxConnections?: number;
  /** Times of the heartbeat; {@link HEARTBEAT} by default. */
  heartbeat?: HeartbeatTimes;
  /** Where the server says what it does; nowhere by default. */
  log?: ServerLog;
}

/** A server that answers requests inside another one, or listens by itself. */
export interface StreamServer {
  /** What it holds. */
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
   * before its first request.
   */
  recover(): Promise<void>;
  /**
   * Recovers, then listens.
   * @param options Interface (127.0.0.1 by default) and port (8090 by default, 0 for a free one).
   * @returns The port.
   */
  listen(options?: { hostname?: string; port?: number }): Promise<{ port: number }>;
  /** Closes every session with 1001, makes running uploads FAILED and stops listening. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 20_000;
const PAGE_RESOURCES = 100;
const MAX_PAGE_RESOURCES = 1000;
/** How long a shutdown waits for the peers' side of the closing handshake. */
const CLOSE_TIMEOUT_MS = 2000;

/** A session with what the server must know to end it. */
type Open = (connection: Connection) => ControlSession;

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
  readonly #app: Hono;
  readonly #options: ServerOptions;
  readonly #sessions = new Set<ControlSession>();
  #listener: Listener | null = null;
  #allGone: (() => void) | null = null;

  constructor(options: ServerOptions) {
    if (options.baseUrl !== undefined) httpBase(options.baseUrl);
    this.#options = options;
    this.resources = new Resources(options);
    this.#app = new Hono().basePath(options.basePath ?? "/");
    this.#route();
  }

  fetch(request: Request, env?: unknown): Response | Promise<Response> {
    return this.#app.fetch(request, env as object);
  }

  async recover(): Promise<void> {
    const startedAtMs = performance.now();
    const unfinished = await this.resources.recover();
    const tookMs = Math.round(performance.now() - startedAtMs);
    this.#options.log?.info("recovered", { unfinished, tookMs });
  }

  async listen({ hostname = "127.0.0.1", port = 8090 } = {}): Promise<{ port: number }> {
    await this.recover();
    const fetch = (request: Request, env: unknown) => this.fetch(request, env);
    this.#listener = await this.#options.runtime.listen({ hostname, port, fetch });
    return { port: this.#listener.port };
  }

  async close(): Promise<void> {
    const shutdown = new StreamError("SHUTDOWN", "the server was shut down");
    const gone = this.#sessions.size === 0
      ? Promise.resolve()
      : new Promise<void>((resolve) => this.#allGone = resolve);
    for (const session of this.#sessions) session.fail(shutdown);
    await this.resources.close();
    await within(CLOSE_TIMEOUT_MS, gone);
    await this.#listener?.close();
  }

  #route(): void {
    const app = this.#app;
    app.onError((error, c) => this.#errorResponse(error, c));
    app.notFound((c) =>
      this.#errorResponse(new StreamError("NOT_FOUND", `there is no ${c.req.path}`), c)
    );
    app.use((c, next) => {
      this.#checkOrigin(c);
      return next();
    });
    app.get(UPLOAD_PATH, (c) => this.#openUpload(c));
    app.get(`${DOWNLOAD_PATH}/:id`, (c) => this.#openDownload(c));
    app.get(RESOURCES_PATH, (c) => this.#list(c));
    app.get(`${RESOURCES_PATH}/:id`, (c) => this.#show(c));
    app.delete(`${RESOURCES_PATH}/:id`, async (c) => {
      await this.resources.delete(c.req.param("id"));
      return c.body(null, 204);
    });
  }

  #openUpload(c: Context): Response {
    const baseUrl = this.#baseUrl(c, UPLOAD_PATH);
    return this.#upgrade(c, (connection) =>
      new UploadSession(connection, {
        resources: this.resources,
        contextId: c.req.query(CONTEXT_PARAMETER) || null,
        referenceTo: (id) => this.#reference(id, baseUrl),
        heartbeat: this.#options.heartbeat ?? HEARTBEAT,
      }));
  }

  #openDownload(c: Context): Response {
    return this.#upgrade(c, (connection) =>
      new DownloadSession(connection, {
        resources: this.resources,
        id: c.req.param("id") ?? "",
        heartbeat: this.#options.heartbeat ?? HEARTBEAT,
      }));
  }

  #upgrade(c: Context, open: Open): Response {
    const { req } = c;
    const maxConnections = this.#options.maxConnections ?? MAX_CONNECTIONS;
    if (this.#sessions.size >= maxConnections) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${maxConnections} connections are open: try again later`,
      );
    }
    if (req.header("upgrade")?.toLowerCase() !== "websocket") {
      throw new StreamError(
        "BAD_REQUEST",
        `${req.path} is a WebSocket endpoint: send an upgrade request`,
      );
    }
    const offered = req.header("sec-websocket-protocol")?.split(",").map((name) => name.trim()) ??
      [];
    return this.#options.runtime.upgrade(req.raw, c.env, {
      subprotocol: offered.includes(SUBPROTOCOL) ? SUBPROTOCOL : "",
      open: (connection) => this.#track(open(connection)),
    });
  }

  /** A session that the server can end, until its connection is gone. */
  #track(session: ControlSession): Session {
    this.#sessions.add(session);
    return {
      text: (message) => session.text(message),
      data: (bytes, final) => session.data(bytes, final),
      closed: (code, reason) => {
        this.#sessions.delete(session);
        session.closed(code, reason);
        if (this.#sessions.size === 0) this.#allGone?.();
      },
    };
  }

  /** Pages of other sites must not reach a server that their reader can reach (RFC 6455, 10.2). */
  #checkOrigin(c: Context): void {
    const origin = c.req.header("origin");
    if (origin === undefined) return;
    const allowed = this.#options.allowOrigins ?? [];
    if (allowed.includes("*") || allowed.includes(origin)) return;
    if (URL.canParse(origin) && new URL(origin).host === c.req.header("host")) return;
    throw new StreamError(
      "ORIGIN_REFUSED",
      `pages of ${origin} may not connect: see --allow-origin`,
    );
  }

  async #list(c: Context): Promise<Response> {
    const limit = limitOf(c.req.query("limit"));
    const records = await this.resources.list({
      limit: limit + 1,
      contextId: c.req.query("context"),
      transferStatuses: statusesOf(c.req.queries("status")),
      after: cursorOf(c.req.query("after")),
    });
    if (records.length > limit) {
      records.pop();
      const { createdAtMs, id } = records[limit - 1];
      const next = new URL(c.req.url);
      next.searchParams.set("after", `${createdAtMs}_${id}`);
      c.header("link", `<${next.pathname}${next.search}>; rel="next"`);
    }
    const baseUrl = this.#baseUrl(c, RESOURCES_PATH);
    return c.json(records.map((record) => this.#info(record, baseUrl)));
  }

  async #show(c: Context): Promise<Response> {
    const id = c.req.param("id") ?? "";
    const baseUrl = this.#baseUrl(c, RESOURCES_PATH);
    return c.json(this.#info(await this.resources.get(id), baseUrl));
  }

  #info(record: ResourceView, baseUrl: string): ResourceInfo {
    return {
      id: record.id,
      ...record.metadata,
      ...record.status,
      contextId: record.contextId,
      digest: record.digest,
      reference: this.#reference(record.id, baseUrl),
      createdAt: new Date(record.createdAtMs).toISOString(),
      updatedAt: new Date(record.updatedAtMs).toISOString(),
    };
  }

  /** Where the routes are mounted, as the client of this request sees it. */
  #baseUrl(c: Context, route: string): string {
    if (this.#options.baseUrl !== undefined) return httpBase(this.#options.baseUrl);
    const { protocol, pathname, host } = new URL(c.req.url);
    const prefix = pathname.slice(0, pathname.lastIndexOf(route));
    return httpBase(`${protocol}//${c.req.header("host") ?? host}${prefix}`);
  }

  #reference(id: string, baseUrl: string): string {
    return this.#options.referenceTo?.(id, baseUrl) ?? `${wsBase(baseUrl)}${DOWNLOAD_PATH}/${id}`;
  }

  /** Errors as RFC 9457 has them, with our code. */
  #errorResponse(thrown: unknown, c: Context): Response {
    const { code, message } = toStreamError(thrown);
    if (code === "INTERNAL") {
      this.#options.log?.error("request failed", { path: c.req.path, message });
    }
    const status = ERRORS[code].http as ContentfulStatusCode;
    c.header("content-type", "application/problem+json");
    return c.body(JSON.stringify({ title: code, status, detail: message, code }), status);
  }
}

function limitOf(text: string | undefined): number {
  if (text === undefined) return PAGE_RESOURCES;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit > 0 && limit <= MAX_PAGE_RESOURCES) return limit;
  throw new StreamError(
    "BAD_REQUEST",
    `limit=${text} is not a number from 1 to ${MAX_PAGE_RESOURCES}`,
  );
}

/** Where a page begins; the resource it names may be gone by now. */
function cursorOf(text: string | undefined): { createdAtMs: number; id: string } | undefined {
  if (text === undefined) return undefined;
  const [createdAtMs, id = ""] = text.split("_");
  if (/^\d+$/.test(createdAtMs) && isResourceId(id)) {
    return { createdAtMs: Number(createdAtMs), id };
  }
  throw new StreamError("BAD_REQUEST", `after=${text} is not what a link to a next page has`);
}

function statusesOf(names: string[] | undefined): TransferStatus[] | undefined {
  const wrong = names?.find((name) => !TRANSFER_STATUSES.includes(name as TransferStatus));
  if (wrong === undefined) return names as TransferStatus[] | undefined;
  throw new StreamError(
    "BAD_REQUEST",
    `status=${wrong} is none of ${TRANSFER_STATUSES.join(", ")}`,
  );
}

async function within(timeoutMs: number, promise: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<void>((resolve) => timer = setTimeout(resolve, timeoutMs));
  await Promise.race([promise, timeout]);
  clearTimeout(timer);
}
