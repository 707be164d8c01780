/**
 * Metrics and health, for those who run a server (docs/operation.md).
 * @module
 */
import type { Context } from "hono";
import { METRICS_TYPE } from "../../metrics.ts";
import { StreamError } from "../../protocol.ts";
import type { FaceParts } from "../face.ts";
import { unlimited } from "../access/reach.ts";
import { answerOf, PLAIN_TEXT, type Route, route } from "../route.ts";

/** The path that tells whether uploads can be sent here. */
export const READY_PATH = "/readyz";

/** Routes of operation. */
export function healthRoutes({ resources, metrics }: FaceParts): Route[] {
  const probe = {
    method: "GET",
    section: "6",
    access: "everybody",
    parameters: {},
    answers: { 200: answerOf("ok", PLAIN_TEXT) },
  } as const;
  return [
    route({
      ...probe,
      name: "getMetrics",
      path: "/metrics",
      summary: "Metrics, as Prometheus reads them",
      access: { scope: "admin", reach: unlimited },
      errors: [],
      handle: async (c) => c.body(await metrics.text(), 200, { "content-type": METRICS_TYPE }),
    }),
    route({
      ...probe,
      name: "getHealth",
      path: "/healthz",
      summary: "Tells that the process answers",
      errors: [],
      handle: ok,
    }),
    route({
      ...probe,
      name: "getReadiness",
      path: READY_PATH,
      summary: "Tells whether uploads can be sent here, or the reasons why not",
      errors: ["NOT_READY"],
      async handle(c) {
        const reasons = await resources.unready();
        if (reasons.length > 0) throw new StreamError("NOT_READY", reasons.join("; "));
        return ok(c);
      },
    }),
  ];
}

function ok(c: Context): Response {
  return c.text("ok\n", 200, { "cache-control": "no-store" });
}
