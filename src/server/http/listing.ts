/**
 * What there is: resources listed, shown and deleted over HTTP (PROTOCOL.md 6).
 * @module
 */
import type { Context, Hono } from "hono";
import {
  isResourceId,
  RESOURCES_PATH,
  StreamError,
  TRANSFER_STATUSES,
  type TransferStatus,
} from "../../protocol.ts";
import { grantOf } from "../access.ts";
import { cursorOf, limitOf, page } from "./paging.ts";
import type { RouteParts } from "../routes.ts";

/** Adds the routes. */
export function listingRoutes(app: Hono, parts: RouteParts): void {
  const { resources, references } = parts;
  app.get(RESOURCES_PATH, (c) => list(c, parts));
  app.get(`${RESOURCES_PATH}/:id`, async (c) => {
    const record = await resources.get(c.req.param("id"));
    return c.json(references.info(record, references.base(c)));
  });
  app.delete(`${RESOURCES_PATH}/:id`, async (c) => {
    await resources.delete(c.req.param("id"));
    return c.body(null, 204);
  });
}

async function list(c: Context, { resources, references }: RouteParts): Promise<Response> {
  const limit = limitOf(c);
  const found = await resources.list({
    limit: limit + 1,
    contextId: grantOf(c)?.contextId ?? c.req.query("context"),
    transferStatuses: statusesOf(c.req.queries("status")),
    after: cursorOf(c, isResourceId),
  });
  const base = references.base(c);
  return c.json(page(c, found, limit).map((record) => references.info(record, base)));
}

function statusesOf(names: string[] | undefined): TransferStatus[] | undefined {
  const wrong = names?.find((name) => !TRANSFER_STATUSES.includes(name as TransferStatus));
  if (wrong === undefined) return names as TransferStatus[] | undefined;
  throw new StreamError(
    "BAD_REQUEST",
    `status=${wrong} is none of ${TRANSFER_STATUSES.join(", ")}`,
  );
}
