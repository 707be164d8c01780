/**
 * Upload contexts over HTTP: made, listed, shown and closed (PROTOCOL.md 6.8).
 * @module
 */
import type { Hono } from "hono";
import { CONTEXTS_PATH, toStreamError } from "../../protocol.ts";
import type { UploadContext } from "../../resources.ts";
import { cursorOf, limitOf, page } from "./paging.ts";
import type { RouteParts } from "../routes.ts";

/** Adds the routes. */
export function contextRoutes(app: Hono, { resources }: RouteParts): void {
  const one = `${CONTEXTS_PATH}/:id`;
  app.get(CONTEXTS_PATH, async (c) => {
    const limit = limitOf(c);
    const after = cursorOf(c, (id) => id !== "");
    const found = await resources.listContexts({ limit: limit + 1, after });
    return c.json(page(c, found, limit).map(shown));
  });
  app.put(one, async (c) => {
    const id = c.req.param("id");
    const status = await isKnown(() => resources.getContext(id)) ? 200 : 201;
    return c.json(shown(await resources.createContext(id)), status);
  });
  app.get(one, async (c) => {
    return c.json(shown(await resources.getContext(c.req.param("id"))));
  });
  app.delete(one, async (c) => {
    return c.json(shown(await resources.closeContext(c.req.param("id"))));
  });
}

function shown({ id, createdAtMs, closedAtMs }: UploadContext): Record<string, unknown> {
  return { id, createdAt: time(createdAtMs), closedAt: closedAtMs && time(closedAtMs) };
}

function time(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

async function isKnown(find: () => Promise<UploadContext>): Promise<boolean> {
  try {
    await find();
    return true;
  } catch (error) {
    if (toStreamError(error).code === "CONTEXT_UNKNOWN") return false;
    throw error;
  }
}
