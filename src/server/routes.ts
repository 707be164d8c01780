/**
 * The routes of one listener: what every request passes, and who answers it.
 * @module
 */
import { type Context, Hono } from "hono";
import { StreamError, toStreamError } from "../protocol.ts";
import type { Resources } from "../resources.ts";
import { accessRules, type Guard } from "./access.ts";
import type { AnswerParts } from "./answer.ts";
import { contentRoutes } from "./http/content.ts";
import { eventsRoutes } from "./http/events.ts";
import { headerRules } from "./headers.ts";
import { linesRoutes } from "./http/lines.ts";
import { contextRoutes } from "./http/contexts.ts";
import { listingRoutes } from "./http/listing.ts";
import type { ServerMetrics } from "./metrics.ts";
import { type AccessEntry, Observer, pathForLogs, requestId } from "./observer.ts";
import { operationRoutes } from "./http/operation.ts";
import { problem } from "./problem.ts";
import { References, type ReferenceSettings } from "./references.ts";
import { searchRoutes } from "./http/search.ts";
import { shareRoutes } from "./http/share.ts";
import { type UpgradeParts, upgradeRoutes } from "./websocket/upgrade.ts";
import { type UploadParts, uploadRoutes } from "./http/uploads.ts";

/** What the routes work with. */
export interface RouteParts extends AnswerParts {
  /** All resources. */
  resources: Resources;
  /** Builds references. */
  references: References;
  /** Knows credentials; null for a server that everybody may use. */
  guard: Guard | null;
}

/** Parts and settings of the routes. */
export interface RoutesOptions
  extends Omit<UpgradeParts & UploadParts, "references" | "observer">, ReferenceSettings {
  /** What is measured. */
  metrics: ServerMetrics;
  /** Takes the lines of the access log. */
  accessLog?: (entry: AccessEntry) => void;
  /** Origins, besides the server's own, whose pages may connect; `*` for all. */
  allowOrigins?: readonly string[];
}

/** Answers the requests of one listener. */
export class Routes {
  readonly #options: RoutesOptions;
  /** Everything that is routed. */
  readonly app: Hono;
  readonly #references: References;

  /**
   * Nothing happens before the first request.
   * @param options Parts and settings.
   */
  constructor(options: RoutesOptions) {
    this.#options = options;
    this.app = new Hono().basePath(options.basePath ?? "/");
    const references = this.#references = new References(options);
    const observer = new Observer({ ...options, references });
    const parts = { ...options, references, observer };
    this.app.onError((error, c) => this.#tell(error, c));
    this.app.notFound((c) =>
      this.#tell(new StreamError("NOT_FOUND", `there is no ${c.req.path}`), c)
    );
    this.app.use((c, next) => observer.around(c, next));
    this.app.use((c, next) => {
      this.#checkOrigin(c);
      return next();
    });
    headerRules(this.app, options.allowOrigins ?? []);
    accessRules(this.app, parts);
    upgradeRoutes(this.app, parts);
    listingRoutes(this.app, parts);
    contentRoutes(this.app, parts);
    linesRoutes(this.app, parts);
    searchRoutes(this.app, parts);
    eventsRoutes(this.app, parts);
    shareRoutes(this.app, parts);
    uploadRoutes(this.app, parts);
    contextRoutes(this.app, parts);
    operationRoutes(this.app, parts);
  }

  /** Answers a request. */
  fetch(request: Request, env: unknown): Response | Promise<Response> {
    return this.app.fetch(request, env as object);
  }

  /** Pages of other sites must not reach a server that their reader can reach (RFC 6455, 10.2). */
  #checkOrigin(c: Context): void {
    const origin = c.req.header("origin");
    if (origin === undefined) return;
    const allowed = this.#options.allowOrigins ?? [];
    if (allowed.includes("*") || allowed.includes(origin)) return;
    if (URL.canParse(origin) && new URL(origin).host === this.#references.host(c)) return;
    throw new StreamError(
      "ORIGIN_REFUSED",
      `pages of ${origin} may not connect: see --allow-origin`,
    );
  }

  #tell(thrown: unknown, c: Context): Response {
    const error = toStreamError(thrown);
    this.#options.metrics.refused(error.code);
    if (error.code === "INTERNAL") {
      this.#options.failed(pathForLogs(c.req.path), error.message, requestId(c));
    }
    return problem(c, error);
  }
}
