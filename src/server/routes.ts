/**
 * The routes of one listener: requests become sessions or JSON, errors become RFC 9457.
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
} from "../protocol.ts";
import type { Resources, ResourceView } from "../resources.ts";
import type { Runtime } from "../runtime.ts";
import type { HeartbeatTimes } from "../session.ts";
import { DownloadSession } from "../session/download.ts";
import { UploadSession } from "../session/upload.ts";
import type { Open, Sessions } from "./sessions.ts";

/** Parts and settings of the routes. */
export interface RoutesOptions {
  /** What upgrades the connections of these routes. */
  runtime: Runtime;
  /** All resources. */
  resources: Resources;
  /** All sessions. */
  sessions: Sessions;
  /** The heartbeat of the sessions. */
  heartbeat: HeartbeatTimes;
  /** Base of references; the Host of each request by default. */
  baseUrl?: string;
  /** Path below which the routes are; `/` by default. */
  basePath?: string;
  /** Builds the reference for an id instead, from the base that would be used. */
  referenceTo?: (id: string, baseUrl: string) => string;
  /** Origins, besides the server's own, whose pages may connect; `*` for all. */
  allowOrigins?: readonly string[];
  /** Hears of faults of the server. */
  failed(path: string, message: string): void;
}

const PAGE_RESOURCES = 100;
const MAX_PAGE_RESOURCES = 1000;

/** Answers the requests of one listener. */
export class Routes {
  readonly #options: RoutesOptions;
  readonly #app: Hono;

  /**
   * Nothing happens before the first request.
   * @param options Parts and settings.
   */
  constructor(options: RoutesOptions) {
    if (options.baseUrl !== undefined) httpBase(options.baseUrl);
    this.#options = options;
    this.#app = new Hono().basePath(options.basePath ?? "/");
    this.#route();
  }

  /** Answers a request. */
  fetch(request: Request, env: unknown): Response | Promise<Response> {
    return this.#app.fetch(request, env as object);
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
      await this.#options.resources.delete(c.req.param("id"));
      return c.body(null, 204);
    });
  }

  #openUpload(c: Context): Response {
    const baseUrl = this.#baseUrl(c, UPLOAD_PATH);
    return this.#upgrade(c, (connection) =>
      new UploadSession(connection, {
        resources: this.#options.resources,
        contextId: c.req.query(CONTEXT_PARAMETER) || null,
        referenceTo: (id) => this.#reference(id, baseUrl),
        heartbeat: this.#options.heartbeat,
      }));
  }

  #openDownload(c: Context): Response {
    return this.#upgrade(c, (connection) =>
      new DownloadSession(connection, {
        resources: this.#options.resources,
        id: c.req.param("id") ?? "",
        heartbeat: this.#options.heartbeat,
      }));
  }

  #upgrade(c: Context, open: Open): Response {
    const { req } = c;
    const { runtime, sessions } = this.#options;
    sessions.checkRoom();
    if (req.header("upgrade")?.toLowerCase() !== "websocket") {
      throw new StreamError(
        "BAD_REQUEST",
        `${req.path} is a WebSocket endpoint: send an upgrade request`,
      );
    }
    const offered = req.header("sec-websocket-protocol")?.split(",").map((name) => name.trim()) ??
      [];
    return runtime.upgrade(req.raw, c.env, {
      subprotocol: offered.includes(SUBPROTOCOL) ? SUBPROTOCOL : "",
      open: (connection) => sessions.track(open(connection)),
    });
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
    const records = await this.#options.resources.list({
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
    return c.json(this.#info(await this.#options.resources.get(id), baseUrl));
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
    if (code === "INTERNAL") this.#options.failed(c.req.path, message);
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
