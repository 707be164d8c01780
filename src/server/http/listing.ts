/**
 * Resources listed, shown and deleted over HTTP (PROTOCOL.md 6).
 * @module
 */
import { isResourceId, RESOURCES_PATH, StreamError, TRANSFER_STATUSES } from "../../protocol.ts";
import { grantOf } from "../access.ts";
import type { FaceParts } from "../face.ts";
import { json, jsonArray } from "../answer/json.ts";
import {
  choice,
  flag,
  inPath,
  inQuery,
  integer,
  type Kind,
  listInQuery,
  text,
} from "../route/parameters.ts";
import { listed, ofResource } from "../access/reach.ts";
import { answer, answerOf, jsonOf, type Route, route } from "../route.ts";
import { array, orNull, RESOURCE, type Schema } from "../route/schemas.ts";
import { checkMatch, ifMatch } from "../route/conditions.ts";
import { openFor } from "../opening.ts";
import { etagOf } from "./etags.ts";
import { LINE_PAGE, linesIfThere, MAX_LINES } from "./line_page.ts";
import { cursor, limit, page } from "./paging.ts";

/** The path of the list, which uploads share. */
export const LIST = { path: RESOURCES_PATH, alias: `${RESOURCES_PATH}/` };
/** The path of one resource. */
export const ONE = `${RESOURCES_PATH}/:id`;

/** The beginning of an id; a shorter one would find too much. */
const ID_PREFIX = /^[0-9a-f][0-9a-f-]{3,63}$/;
const idPrefix: Kind<string> = {
  schema: { type: "string", pattern: ID_PREFIX.source },
  read(text) {
    if (ID_PREFIX.test(text)) return text;
    throw new StreamError("BAD_REQUEST", `id=${text.slice(0, 80)} is no beginning of an id`);
  },
};

const line = integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

const RESOURCE_WITH_LINES: Schema = {
  ...RESOURCE,
  title: "ResourceWithLines",
  properties: { ...RESOURCE.properties as Schema, window: orNull(LINE_PAGE) },
};

/** The resource that a path names. */
export const resourceId = inPath("id", "id of a resource");

/** Routes of resources as such. */
export function listingRoutes({ resources, references }: FaceParts): Route[] {
  const one = { path: ONE, section: "6", parameters: { id: resourceId } };
  return [
    route({
      ...LIST,
      name: "listResources",
      method: "GET",
      section: "6",
      summary: "Lists resources, newest first",
      access: { scope: "read", reach: listed },
      parameters: {
        context: inQuery("context", "only those of one upload context", text),
        status: listInQuery(
          "status",
          "only those with one of these",
          choice(TRANSFER_STATUSES),
          TRANSFER_STATUSES.length,
        ),
        name: inQuery("name", "only those whose filename holds this", text),
        id: inQuery("id", "only those whose id begins with these 4 to 64 digits", idPrefix),
        limit,
        after: cursor(isResourceId),
      },
      answers: { 200: answerOf("a page", jsonOf(array(RESOURCE)), "Link") },
      errors: ["LIMIT_REACHED"],
      async handle(c, { context, status, name, id, limit, after }) {
        const found = await resources.list({
          limit: limit + 1,
          contextId: grantOf(c)?.contextId ?? context,
          transferStatuses: status,
          filenamePart: name,
          idPrefix: id,
          after,
        });
        const base = references.base(c);
        const entries = page(c, found, limit);
        return await jsonArray(c, entries, (record) => references.info(record, base));
      },
    }),
    route({
      ...one,
      name: "getResource",
      method: "GET",
      summary: "Shows a resource, and some of its lines if that is asked for",
      access: { scope: "read", reach: ofResource },
      parameters: {
        id: resourceId,
        start: inQuery("start", "index of the first line; negative from the end", line, 0),
        count: inQuery("count", "lines at most; without it none are shown", integer(1, MAX_LINES)),
      },
      answers: { 200: answerOf("the resource", jsonOf(RESOURCE_WITH_LINES)) },
      errors: ["NOT_FOUND", "DELETED", "LIMIT_REACHED"],
      async handle(c, { id, start, count }) {
        const view = await resources.get(id);
        const info = references.info(view, references.base(c));
        if (count === undefined) return json(c, info);
        if (!info.supportsLineAccess) return json(c, { ...info, window: null });
        await using opened = await openFor(c, { resources }, id, view);
        return json(c, { ...info, window: await linesIfThere(opened.resource, start, count) });
      },
    }),
    route({
      ...one,
      name: "deleteResource",
      method: "DELETE",
      summary: "Deletes a resource; one that is being uploaded only by force",
      parameters: {
        id: resourceId,
        force: inQuery(
          "force",
          "whether a running upload is ended, which its uploader hears",
          flag,
        ),
        ifMatch,
      },
      access: { scope: "admin", reach: ofResource },
      answers: { 204: answer("deleted") },
      errors: ["NOT_FOUND", "DELETED", "WRONG_STATE", "WRONG_VERSION", "STORAGE_FAILED"],
      async handle(c, { id, force, ifMatch }) {
        const view = await resources.get(id);
        checkMatch(ifMatch, etagOf(view, "identity"), etagOf(view, "gzip"));
        await resources.delete(id, { force, life: view.status.life });
        return c.body(null, 204);
      },
    }),
  ];
}
