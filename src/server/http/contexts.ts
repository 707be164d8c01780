/**
 * Upload contexts over HTTP: made, listed, shown and closed (PROTOCOL.md 6.8).
 * @module
 */
import { CONTEXTS_PATH, toStreamError } from "../../protocol.ts";
import type { UploadContext } from "../../resources.ts";
import type { FaceParts } from "../face.ts";
import { json } from "../answer/json.ts";
import { inPath } from "../route/parameters.ts";
import { ofContext, unlimited } from "../access/reach.ts";
import { answerOf, jsonOf, type Route, route } from "../route.ts";
import { array, object, orNull, type Schema, TEXT, TIME } from "../route/schemas.ts";
import { cursor, limit, page } from "./paging.ts";

const CONTEXT: Schema = {
  title: "Context",
  ...object({ id: TEXT, createdAt: TIME, closedAt: orNull(TIME) }),
};

/** The path of one upload context. */
export const ONE_CONTEXT = `${CONTEXTS_PATH}/:id`;

/** The upload context that a path names. */
export const contextId = inPath("id", "id of an upload context");

/** Routes of the upload contexts. */
export function contextRoutes({ resources }: FaceParts): Route[] {
  const one = { path: ONE_CONTEXT, section: "6.8", parameters: { id: contextId } };
  return [
    route({
      name: "listContexts",
      method: "GET",
      path: CONTEXTS_PATH,
      section: "6.8",
      summary: "Lists upload contexts, newest first",
      access: { scope: "read", reach: unlimited },
      parameters: { limit, after: cursor((id) => id !== "") },
      answers: { 200: answerOf("a page", jsonOf(array(CONTEXT)), "Link") },
      errors: [],
      async handle(c, { limit, after }) {
        const found = await resources.listContexts({ limit: limit + 1, after });
        return json(c, page(c, found, limit).map(shown));
      },
    }),
    route({
      ...one,
      name: "createContext",
      method: "PUT",
      summary: "Makes an upload context unless it exists",
      access: { scope: "upload", reach: ofContext },
      answers: {
        200: answerOf("it exists", jsonOf(CONTEXT)),
        201: answerOf("made", jsonOf(CONTEXT)),
      },
      errors: ["BAD_METADATA", "QUOTA_EXCEEDED"],
      async handle(c, { id }) {
        const status = await isKnown(() => resources.getContext(id)) ? 200 : 201;
        return json(c, shown(await resources.createContext(id)), status);
      },
    }),
    route({
      ...one,
      name: "getContext",
      method: "GET",
      summary: "Shows an upload context",
      access: { scope: "read", reach: ofContext },
      answers: { 200: answerOf("the context", jsonOf(CONTEXT)) },
      errors: ["CONTEXT_UNKNOWN"],
      handle: async (c, { id }) => json(c, shown(await resources.getContext(id))),
    }),
    route({
      ...one,
      name: "closeContext",
      method: "DELETE",
      summary: "Closes an upload context: it takes no more uploads; nothing is deleted",
      access: { scope: "admin", reach: ofContext },
      answers: { 200: answerOf("closed", jsonOf(CONTEXT)) },
      errors: ["CONTEXT_UNKNOWN"],
      handle: async (c, { id }) => json(c, shown(await resources.closeContext(id))),
    }),
  ];
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
