/**
 * Links that let others read one resource for a while (PROTOCOL.md 8.3).
 * @module
 */
import type { Context } from "hono";
import { StreamError } from "../../protocol.ts";
import { grantOf } from "../access.ts";
import type { FaceParts } from "../face.ts";
import { json } from "../answer/json.ts";
import { inQuery, integer } from "../route/parameters.ts";
import { ofResource } from "../access/reach.ts";
import { answerOf, jsonOf, type Route, route } from "../route.ts";
import { ADDRESS, object, orNull, type Schema, TIME } from "../route/schemas.ts";
import { ONE, resourceId } from "./listing.ts";

const EXPIRES_S = 3600;
/** A week: whoever is to read longer gets a token. */
const MAX_EXPIRES_S = 7 * 24 * 3600;

const SHARE: Schema = {
  title: "Share",
  ...object({ url: ADDRESS, reference: ADDRESS, view: orNull(ADDRESS), expiresAt: TIME }),
};

/** The route that makes links. */
export function shareRoutes({ resources, references, guard }: FaceParts): Route[] {
  return [route({
    name: "shareResource",
    method: "POST",
    path: `${ONE}/share`,
    section: "8.3",
    summary: "Makes links that expire",
    access: { scope: "read", reach: ofResource, links: false },
    parameters: {
      id: resourceId,
      expires: inQuery(
        "expires",
        "when they do, in s from now",
        integer(1, MAX_EXPIRES_S),
        EXPIRES_S,
      ),
    },
    answers: { 201: answerOf("the links", jsonOf(SHARE)) },
    errors: ["NOT_FOUND", "WRONG_STATE"],
    async handle(c, { id: asked, expires }) {
      const { id, status } = await resources.get(asked);
      const expiresAtMs = expiryIn(c, expires);
      if (guard === null) {
        const message = "this server wants no tokens: whoever reaches it can read by the reference";
        throw new StreamError("WRONG_STATE", message);
      }
      const access = await guard.access.links.create(id, expiresAtMs, status.life);
      const base = references.base(c);
      const view = references.view(id, base);
      return json(c, {
        url: `${references.url(id, base)}/content?access=${access}`,
        reference: `${references.reference(id, base)}?access=${access}`,
        view: view && `${view}?access=${access}`,
        expiresAt: new Date(expiresAtMs).toISOString(),
      }, 201);
    },
  })];
}

/** No later than what the asker was granted, in ms since 1970, whole seconds. */
function expiryIn(c: Context, seconds: number): number {
  const latestMs = grantOf(c)?.expiresAtMs ?? Infinity;
  return Math.floor(Math.min(Date.now() + seconds * 1000, latestMs) / 1000) * 1000;
}
