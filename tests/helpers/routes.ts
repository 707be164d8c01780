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
    sessions: new Sessions(1),
    metrics: new ServerMetrics(),
    httpUploads: new HttpUploads(resources),
    uploadShares: new Shares({ what: "uploads", max: 1000, option: "", refused() {} }),
    heartbeat: HEARTBEAT,
    guard: null,
    hosts: null,
    failed() {},
    ...options,
  });
}

/** All routes. */
export async function allRoutes(): Promise<readonly Route[]> {
  return (await makeRouter()).routes;
}
