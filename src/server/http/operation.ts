/**
 * What those who run a server ask it: metrics, health, and the description of its routes.
 * @module
 */
import type { Context, Hono } from "hono";
import { METRICS_TYPE } from "../../metrics.ts";
import { StreamError } from "../../protocol.ts";
import type { ServerMetrics } from "../metrics.ts";
import { OPENAPI } from "../openapi.ts";
import type { RouteParts } from "../routes.ts";

/** What these routes need besides what all routes do. */
export interface OperationParts extends RouteParts {
  /** What is measured. */
  metrics: ServerMetrics;
}

/** Adds the routes. */
export function operationRoutes(app: Hono, parts: OperationParts): void {
  const { resources, references, metrics } = parts;
  app.get(
    "/metrics",
    async (c) => c.body(await metrics.text(), 200, { "content-type": METRICS_TYPE }),
  );
  app.get("/healthz", (c) => ok(c));
  app.get("/readyz", async (c) => {
    const reasons = await resources.unready();
    if (reasons.length > 0) throw new StreamError("NOT_READY", reasons.join("; "));
    return ok(c);
  });
  app.get("/openapi.json", (c) => c.json({ ...OPENAPI, servers: [{ url: references.base(c) }] }));
}

function ok(c: Context): Response {
  return c.text("ok\n", 200, { "cache-control": "no-store" });
}
