/**
 * A face: a protocol that the server speaks, with its routes.
 * @module
 */
import type { Context } from "hono";
import type { Resources } from "../resources.ts";
import type { Runtime } from "../runtime.ts";
import type { HttpUploads } from "../session.ts";
import type { Guard } from "./access.ts";
import type { AnswerParts } from "./answer.ts";
import type { HostOptions } from "./host.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { Observer } from "./observer.ts";
import type { Route } from "./route.ts";
import type { Shares } from "./access/shares.ts";

/** Upload contexts that Step uploads may name: those that were made, or any, which are made then. */
export type StepContexts = "known" | "make";

/** Parts of a server that its faces work with. */
export interface FaceParts extends AnswerParts, HostOptions {
  /** Upgrades connections. */
  runtime: Runtime;
  /** All resources. */
  resources: Resources;
  /** Uploads by HTTP that are open. */
  httpUploads: HttpUploads;
  /** Uploads that each client runs. */
  uploadShares: Shares;
  /** Whether Step uploads make contexts that nobody made, or are refused; refused by default. */
  stepContexts?: StepContexts;
  /** Knows credentials; null for a server that everybody may use. */
  guard: Guard | null;
  /** Counts and measures. */
  metrics: ServerMetrics;
  /** Hears of the ends of sessions. */
  observer: Observer;
  /** Answers a browser that asks for `/`; null for a server without the viewer. */
  home: ((c: Context) => Response | Promise<Response>) | null;
  /** All routes of the listener as an OpenAPI document, without `servers`. */
  describe(): Record<string, unknown>;
}

/** Brings the routes of a protocol. */
export type Face = (parts: FaceParts) => Route[];
