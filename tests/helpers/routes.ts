/** What a server answers to, without a server. */
import { loadRuntime } from "../../mod.ts";
import { HttpUploads } from "../../src/session/request.ts";
import { ServerMetrics } from "../../src/server/metrics.ts";
import { Routes } from "../../src/server/routes.ts";
import { Sessions } from "../../src/server/sessions.ts";
import { HEARTBEAT } from "../../src/session.ts";
import { memoryResources } from "./server.ts";

/** Methods and paths of all handlers, those for pages of other origins, too. */
export async function allRoutes(): Promise<{ method: string; path: string }[]> {
  const resources = memoryResources();
  const { app } = new Routes({
    runtime: await loadRuntime(),
    resources,
    sessions: new Sessions(1),
    metrics: new ServerMetrics(),
    httpUploads: new HttpUploads(resources),
    heartbeat: HEARTBEAT,
    allowOrigins: ["*"],
    guard: null,
    failed() {},
  });
  await resources.close();
  return app.routes;
}
