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
} from "../protocol.ts";
import { grantOf } from "./access.ts";
import type { RouteParts } from "./routes.ts";

const PAGE_RESOURCES = 100;
const MAX_PAGE_RESOURCES = 1000;

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
  const limit = limitOf(c.req.query("limit"));
  const records = await resources.list({
    limit: limit + 1,
    contextId: grantOf(c)?.contextId ?? c.req.query("context"),
    transferStatuses: statusesOf(c.req.queries("status")),
    after: cursorOf(c.req.query("after")),
  });
  if (records.length > limit) {
    records.pop();
    const { createdAtMs, id } = records[limit - 1];
    const next = new URL(c.req.url);
    next.searchParams.set("after", `${createdAtMs}_${id}`);
    c.header("link", `<${next.pathname}${next.search}>; rel="next"`);
  }
  const base = references.base(c);
  return c.json(records.map((record) => references.info(record, base)));
}
function limitOf(text: string | undefined): number {
  if (text === undefined) return PAGE_RESOURCES;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit > 0 && limit <= MAX_PAGE_RESOURCES) return limit;
  throw new StreamError(
    "BAD_REQUEST",
    `limit=${text} is not a number from 1 to ${MAX_PAGE_RESOURCES}`,
  );
}

/** Where a page begins; the resource it names may be gone by now. */
function cursorOf(text: string | undefined): { createdAtMs: number; id: string } | undefined {
  if (text === undefined) return undefined;
  const [createdAtMs, id = ""] = text.split("_");
  if (/^\d+$/.test(createdAtMs) && isResourceId(id)) {
    return { createdAtMs: Number(createdAtMs), id };
  }
  throw new StreamError("BAD_REQUEST", `after=${text} is not what a link to a next page has`);
}

function statusesOf(names: string[] | undefined): TransferStatus[] | undefined {
  const wrong = names?.find((name) => !TRANSFER_STATUSES.includes(name as TransferStatus));
  if (wrong === undefined) return names as TransferStatus[] | undefined;
  throw new StreamError(
    "BAD_REQUEST",
    `status=${wrong} is none of ${TRANSFER_STATUSES.join(", ")}`,
  );
}
