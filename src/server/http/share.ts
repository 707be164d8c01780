/**
 * Links that let others read one resource for a while (PROTOCOL.md 8.3).
 * @module
 */
import type { Context, Hono } from "hono";
import { RESOURCES_PATH, StreamError } from "../../protocol.ts";
import { grantOf } from "../access.ts";
import { numberIn } from "./query.ts";
import type { RouteParts } from "../routes.ts";

const EXPIRES_S = 3600;
/** A week: whoever is to read longer gets a token. */
const MAX_EXPIRES_S = 7 * 24 * 3600;

/** Adds the route. */
export function shareRoutes(app: Hono, { resources, references, guard }: RouteParts): void {
  app.post(`${RESOURCES_PATH}/:id/share`, async (c) => {
    const { id } = await resources.get(c.req.param("id"));
    const expiresAtMs = expiryOf(c);
    if (guard === null) {
      const message = "this server wants no tokens: whoever reaches it can read by the reference";
      throw new StreamError("WRONG_STATE", message);
    }
    const access = await guard.access.links.create(id, expiresAtMs);
    const base = references.base(c);
    return c.json({
      url: `${references.url(id, base)}/content?access=${access}`,
      reference: `${references.reference(id, base)}?access=${access}`,
      expiresAt: new Date(expiresAtMs).toISOString(),
    }, 201);
  });
}

/** No later than what the asker was granted, in ms since 1970, whole seconds. */
function expiryOf(c: Context): number {
  const seconds = numberIn(c, "expires", { min: 1, max: MAX_EXPIRES_S }) ?? EXPIRES_S;
  const latestMs = grantOf(c)?.expiresAtMs ?? Infinity;
  return Math.floor(Math.min(Date.now() + seconds * 1000, latestMs) / 1000) * 1000;
}
