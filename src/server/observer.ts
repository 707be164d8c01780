/**
 * Every request as those see it who run a server: an id, a count, a line in the access log.
 * @module
 */
import type { Context, Next } from "hono";
import { countBytes } from "./answer/counted.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { References } from "./references.ts";
import type { Route } from "./route.ts";
import type { SessionEnd } from "./sessions.ts";

/** One finished request, or one finished WebSocket connection. */
export interface AccessEntry {
  /** Method of the request; `WEBSOCKET` for a connection. */
  method: string;
  /** Path without query and without secrets. */
  path: string;
  /** Status of the answer; of a connection the code it was closed with. */
  status: number;
  /** Bytes sent in the body, or in messages. */
  bytes: number;
  /** Bytes received in messages; only of a connection. */
  receivedBytes?: number;
  /** From the request to the end of the answer, in ms. */
  ms: number;
  /** Where the request came from; null where nobody knows. */
  remote: string | null;
  /** Id of the request. */
  requestId: string;
  /** The client's name for itself. */
  userAgent: string | null;
  /** Code of the error it ended with; only of a connection. */
  error?: string;
}

/** Parts of an observer. */
export interface ObserverParts {
  /** Counts requests. */
  metrics: ServerMetrics;
  /** Knows where a request comes from. */
  references: References;
  /** A path as it may be logged. */
  pathForLogs(path: string): string;
  /** Takes the lines of the access log; there is none by default. */
  accessLog?: (entry: AccessEntry) => void;
  /** Whether the server is about to end. */
  isDraining(): boolean;
}

/** Ids that others made are taken over if they are of these characters and no longer than this. */
const REQUEST_ID = /^[\w.~-]{1,128}$/;
/** Longer ones are cut: they are logged. */
const USER_AGENT_CHARS = 256;

const requestIds = new WeakMap<Request, string>();
/** Requests whose answers are streamed. */
const streamed = new WeakSet<Request>();

/** The id of a request: what a proxy in front calls it, or one of our own. */
export function requestId(c: Context): string {
  const { raw } = c.req;
  let id = requestIds.get(raw);
  if (id === undefined) {
    const given = c.req.header("x-request-id");
    id = given !== undefined && REQUEST_ID.test(given) ? given : crypto.randomUUID();
    requestIds.set(raw, id);
  }
  return id;
}

/** Tells the observer that the body of an answer is made as it is taken. */
export function markStreamed(c: Context): void {
  streamed.add(c.req.raw);
}

function isStreamed(c: Context): boolean {
  return streamed.has(c.req.raw);
}

/** Tells the observer which path of a route a request is for. */
export function markRoute(c: Context, path: string): void {
  c.set("route", path);
}

/** What separates the parts of a path, and what a client may take for that, which then fits no route. */
const SEPARATOR = String.raw`(?:[/\\]|%(?:25)*(?:2f|5c))`;
/** A query that was taken for a part of the path, as addresses are that somebody encoded as a whole: links have their secret there. */
const ENCODED_QUERY = /(%(?:25)*3f).+/is;

/**
 * Leaves out of paths what is secret in them, and all that follows it, whether a request fits the route or not.
 * @param routes The routes.
 * @returns A path as it may be logged.
 */
export function pathsForLogs(routes: readonly Route[]): (path: string) => string {
  const beginnings = new Set(
    routes.flatMap(({ path, parameters }) =>
      Object.values(parameters).filter(({ isSecret }) => isSecret)
        .map(({ name }) => path.split(`:${name}`)[0].replace(/:\w+/g, ".*?"))
    ),
  );
  const secrets = [...beginnings].map((beginning) =>
    new RegExp(`(${beginning.replaceAll("/", SEPARATOR)}).+`, "is")
  );
  return (path) =>
    [...secrets, ENCODED_QUERY].reduce((path, secret) => path.replace(secret, "$1…"), path);
}

/** Observes the requests of one listener. */
export class Observer {
  readonly #parts: ObserverParts;
  readonly #upgrades = new WeakSet<Request>();

  /** @param parts Who is told. */
  constructor(parts: ObserverParts) {
    this.#parts = parts;
  }

  /** The middleware around all others. */
  async around(c: Context, next: Next): Promise<void> {
    const startedAtMs = performance.now();
    await next();
    if (this.#upgrades.has(c.req.raw)) return;
    c.res.headers.set("x-request-id", requestId(c));
    // A client that asks again on this connection might ask at the moment when it is closed.
    if (this.#parts.isDraining()) c.res.headers.set("connection", "close");
    this.#parts.metrics.answered(c.req.method, routeOf(c), c.res.status);
    const { accessLog } = this.#parts;
    if (accessLog === undefined) return;
    const { method } = c.req;
    const { status } = c.res;
    const entry = this.#entry(c);
    const ended = (bytes: number) => {
      const ms = Math.round(performance.now() - startedAtMs);
      accessLog({ method, status, bytes, ms, ...entry });
    };
    // Hono drops the body later.
    if (method === "HEAD") return ended(0);
    const response = await countBytes(c.res, isStreamed(c), ended);
    // Hono would merge the old headers into the new ones.
    c.res = undefined;
    c.res = response;
  }

  /** Hears of the end of the connection that a request becomes. */
  session(c: Context): (end: SessionEnd) => void {
    const { metrics, accessLog } = this.#parts;
    const entry = this.#entry(c);
    return (end) => {
      metrics.closed(end);
      const { closeCode: status, sentBytes: bytes, receivedBytes, ms } = end;
      const error = end.error === null ? {} : { error: end.error.code };
      accessLog?.({ method: "WEBSOCKET", status, bytes, receivedBytes, ms, ...entry, ...error });
    };
  }

  /** A request became a connection: what is answered to it is the runtime's. */
  upgraded(c: Context): void {
    this.#upgrades.add(c.req.raw);
  }

  #entry(c: Context): Pick<AccessEntry, "path" | "remote" | "requestId" | "userAgent"> {
    return {
      path: this.#parts.pathForLogs(c.req.path),
      remote: this.#parts.references.remoteAddress(c),
      requestId: requestId(c),
      userAgent: c.req.header("user-agent")?.slice(0, USER_AGENT_CHARS) ?? null,
    };
  }
}

/** The path of the route that a request is for; `none` if there is none. */
function routeOf(c: Context): string {
  return c.get("route") ?? "none";
}
