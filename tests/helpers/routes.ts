/** The routes of a server, without a server. */
import { loadRuntime } from "../../mod.ts";
import { HttpUploads } from "../../src/session/http_upload.ts";
import { Faces, viewerHome } from "../../src/server/faces.ts";
import { ServerMetrics } from "../../src/server/metrics.ts";
import type { Route } from "../../src/server/route.ts";
import { Router, type RouterOptions } from "../../src/server/router.ts";
import { Shares } from "../../src/server/access/shares.ts";
import { Sessions } from "../../src/server/sessions.ts";
import { HEARTBEAT } from "../../src/session.ts";
import { memoryResources } from "./server.ts";

/** A router of everything, in memory. */
export async function makeRouter(options: Partial<RouterOptions> = {}): Promise<Router> {
  const resources = options.resources ?? memoryResources();
  return new Router({
    faces: new Faces({}, resources).all,
    home: viewerHome,
    runtime: await loadRuntime(),
    resources,
    sessions: new Sessions(1, shares("connections")),
    metrics: new ServerMetrics(),
    httpUploads: new HttpUploads(resources),
    uploadShares: shares("uploads"),
    heartbeat: HEARTBEAT,
    guard: null,
    hosts: null,
    isDraining: () => false,
    failed() {},
    ...options,
  });
}

const shares = (what: string) => new Shares({ what, max: 1000, option: "", refused() {} });

/** All routes. */
export async function allRoutes(): Promise<readonly Route[]> {
  return (await makeRouter()).routes;
}
