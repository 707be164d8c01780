/**
 * The router of one listener: the way of every request, and the routes of all faces.
 * @module
 */
import { type Context, Hono } from "hono";
import { getPath } from "hono/utils/url";
import { foldResourceId, isUuid, StreamError, toStreamError } from "../protocol.ts";
import { admit, type Guard } from "./access.ts";
import type { Face, FaceParts } from "./face.ts";
import { headerRules, tellLength } from "./headers.ts";
import { rowOf } from "./access/clients.ts";
import type { KnownHosts } from "./access/hosts.ts";
import {
  type AccessEntry,
  markRoute,
  Observer,
  type ObserverParts,
  pathsForLogs,
  requestId,
} from "./observer.ts";
import { describeRoutes } from "./route/openapi.ts";
import { problem } from "./answer/problem.ts";
import { References, type ReferenceSettings } from "./references.ts";
import { type Route, shapeOf } from "./route.ts";
import { STEPS } from "../turn.ts";

/** The id of a resource, or a name, where paths have one. */
const ID_IN_PATH = /(?<=\/(?:resources|uploads|download|tus)\/)[^/]+(?=\/|$)/;

/** Parts that a listener brings, besides those that are made for it. */
type GivenParts = Omit<FaceParts, "references" | "observer" | "describe" | "failed">;

/** Parts and settings of a router. */
export interface RouterOptions extends GivenParts, ReferenceSettings {
  /** Protocols that the listener speaks. */
  faces: readonly Face[];
  /** Takes the lines of the access log. */
  accessLog?: (entry: AccessEntry) => void;
  /** Whether the server is about to end. */
  isDraining(): boolean;
  /** Hears of faults of the server. */
  failed(path: string, message: string, requestId: string): void;
  /** Origins, besides the server's own, whose pages may connect; `*` for all. */
  allowOrigins?: readonly string[];
  /** Names by which requests may ask; null for any. */
  hosts: KnownHosts | null;
}

/** Answers the requests of one listener. */
export class Router {
  /** Everything that is routed. */
  readonly routes: readonly Route[];
  readonly #options: RouterOptions;
  readonly #app: Hono;
  readonly #parts: FaceParts;
  readonly #pathForLogs: ObserverParts["pathForLogs"];
  #description: Record<string, unknown> | null = null;

  /**
   * Nothing happens before the first request.
   * @param options Parts and settings.
   */
  constructor(options: RouterOptions) {
    this.#options = options;
    const references = new References(options);
    const pathForLogs = (path: string) => this.#pathForLogs(path);
    this.#parts = {
      ...options,
      references,
      observer: new Observer({ ...options, references, pathForLogs }),
      describe: () => this.#description ??= describeRoutes(this.routes),
      failed: (c, message) => this.#fail(c, message),
    };
    this.routes = options.faces.flatMap((face) => face(this.#parts));
    this.#pathForLogs = pathsForLogs(this.routes);
    const base = options.basePath ?? "/";
    const whole = this.routes.filter((route) => restOf(route) !== undefined)
      .map(({ path }) => base.replace(/\/$/, "") + path.split(":")[0]);
    this.#app = new Hono({ getPath: (request) => pathWithFoldedId(request, whole) }).basePath(base);
    this.#app.onError((error, c) => this.#tell(error, c));
    this.#app.notFound((c) =>
      this.#tell(new StreamError("NOT_FOUND", `there is no ${c.req.path}`), c)
    );
    this.#meetAll();
    for (const routes of Map.groupBy(this.routes, ({ path }) => shapeOf(path)).values()) {
      this.#add(routes);
    }
  }

  /** Answers a request. */
  fetch(request: Request, env: unknown): Response | Promise<Response> {
    return this.#app.fetch(request, env as object);
  }

  /** Answers a request when its client has its turn. */
  fetchInTurn(request: Request, env: unknown): Response | Promise<Response> {
    const turn = STEPS.wait(() => rowOf(request, env, this.#parts.references));
    return turn === null ? this.fetch(request, env) : turn.then(() => this.fetch(request, env));
  }

  /** Adds what every request passes. */
  #meetAll(): void {
    const { observer, references } = this.#parts;
    const { hosts } = this.#options;
    this.#app.use((c, next) => observer.around(c, () => tellLength(c, next)));
    this.#app.use((c, next) => {
      hosts?.check(references.namedHosts(c));
      this.#checkOrigin(c);
      return next();
    });
    headerRules(this.#app, this.#options.allowOrigins ?? []);
  }

  /** Adds the routes of one path; what it may be asked is no secret, as the document tells it to everybody. */
  #add(routes: Route[]): void {
    const methods = new Set(routes.map(({ method }) => method as string)).add("OPTIONS");
    if (methods.has("GET")) methods.add("HEAD");
    const allow = [...methods].toSorted().join(", ");
    for (const route of routes) {
      this.#app.on(route.method, pathsOf(route), (c: Context) => {
        markRoute(c, route.path);
        if (route.method === "OPTIONS") c.header("allow", allow);
        const { guard } = this.#parts;
        return guard === null ? route.handle(c) : this.#admit(c, route, guard);
      });
    }
    const [{ path }] = routes;
    for (const pattern of new Set(routes.flatMap(pathsOf))) {
      this.#app.all(pattern, (c) => {
        markRoute(c, path);
        c.header("allow", allow);
        if (c.req.method === "OPTIONS") return c.body(null, 204);
        throw new StreamError("METHOD_NOT_ALLOWED", `${path} takes ${allow}, not ${c.req.method}`);
      });
    }
  }

  async #admit(c: Context, route: Route, guard: Guard): Promise<Response> {
    await admit(c, route.access, guard, this.#parts);
    return await route.handle(c);
  }

  /** Pages of other sites must not reach a server that their reader can reach (RFC 6455, 10.2). */
  #checkOrigin(c: Context): void {
    const origin = c.req.header("origin");
    if (origin === undefined) return;
    const allowed = this.#options.allowOrigins ?? [];
    if (allowed.includes("*") || allowed.includes(origin)) return;
    if (isOwnOrigin(origin, c, this.#parts.references)) return;
    throw new StreamError(
      "ORIGIN_REFUSED",
      `pages of ${origin} may not connect: see --allow-origin`,
    );
  }

  #tell(thrown: unknown, c: Context): Response {
    const error = toStreamError(thrown);
    this.#options.metrics.refused(error.code);
    if (error.code === "INTERNAL") this.#fail(c, error.message);
    return problem(c, error);
  }

  #fail(c: Context, message: string): void {
    this.#options.failed(this.#pathForLogs(c.req.path), message, requestId(c));
  }
}

/** Whether a page is of the host that was asked; one that came without TLS anybody on its way may have written. */
function isOwnOrigin(origin: string, c: Context, references: References): boolean {
  if (!URL.canParse(origin)) return false;
  const { host, protocol } = new URL(origin);
  return host === references.host(c) &&
    (protocol === "https:" || references.protocol(c) !== "https:");
}

/** The paths of a route as patterns of hono. */
function pathsOf(route: Route): string[] {
  const { path, alias } = route;
  const pattern = restOf(route) === undefined ? path : `${path}{.+}`;
  return alias === undefined ? [pattern] : [pattern, alias];
}

/** The parameter that is the rest of its path. */
function restOf({ parameters }: Route) {
  return Object.values(parameters).find(({ isRest }) => isRest);
}

/**
 * Path of a request; an id may be written in upper case, a name stays as it is.
 * @param whole Beginnings of paths that are names to their end.
 */
function pathWithFoldedId(request: Request, whole: readonly string[]): string {
  const path = getPath(request);
  if (whole.some((beginning) => path.startsWith(beginning))) return path;
  return path.replace(ID_IN_PATH, (text) => {
    const folded = foldResourceId(text);
    return request.method !== "PUT" || isUuid(folded) ? folded : text;
  });
}
