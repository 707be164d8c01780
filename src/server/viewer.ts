/**
 * The face for people with a browser: the pages of the viewer and what they are made of (docs/viewer.md).
 * @module
 */
import type { Context } from "hono";
import { StreamError, VIEW_PATH } from "../protocol.ts";
import type { FaceParts } from "./face.ts";
import { answerOf, type Route, route } from "./route.ts";
import { inPath, inQuery, text } from "./route/parameters.ts";
import { TEXT } from "./route/schemas.ts";
import { assetNamed } from "./viewer/assets.ts";
import { pageFor } from "./viewer/page.ts";

/** Path of scripts, styles and pictures; their names follow. */
const ASSETS_PATH = "/viewer";

/**
 * Brings the routes of the viewer, unless the server has none. The pages hold no data: they ask for it as any other
 * client, and present what their reader has.
 * @param parts What they work with.
 */
export function viewerFace({ home }: FaceParts): Route[] {
  if (home === null) return [];
  const open = { method: "GET", section: "6.10", access: "everybody" } as const;
  const page = {
    ...open,
    errors: [],
    answers: { 200: answerOf("the page", { "text/html": TEXT }) },
  };
  const access = inQuery("access", "what a signed link carries", text);
  return [
    route({
      ...page,
      name: "viewResource",
      path: `${VIEW_PATH}/:id`,
      summary: "Shows a resource to a person with a browser",
      parameters: { id: inPath("id", "id of the resource"), access },
      handle: (c) => pageFor(c, `..${ASSETS_PATH}`),
    }),
    route({
      ...page,
      name: "viewContext",
      path: VIEW_PATH,
      summary: "Shows an upload context with all its logs",
      parameters: { context: inQuery("context", "id of the context", text) },
      handle: (c) => pageFor(c, `.${ASSETS_PATH}`),
    }),
    route({
      ...open,
      name: "getViewerPart",
      path: `${ASSETS_PATH}/:name`,
      summary: "A part of the viewer: script, style, picture",
      parameters: { name: inPath("name", "name of the part") },
      answers: {
        200: answerOf("the part", {
          "text/javascript": null,
          "text/css": null,
          "image/svg+xml": null,
        }),
      },
      errors: ["NOT_FOUND"],
      async handle(c, { name }) {
        const response = await assetNamed(c, name);
        if (response !== null) return response;
        throw new StreamError("NOT_FOUND", `the viewer has no part ${name}`);
      },
    }),
  ];
}

/**
 * Answers a browser that asks for `/` with the list of resources.
 * @param c The request.
 */
export function viewerHome(c: Context): Response | Promise<Response> {
  const { pathname } = new URL(c.req.url);
  // What the page is made of is named from where it is.
  if (!pathname.endsWith("/")) return c.redirect(`./${pathname.split("/").at(-1)}/`, 308);
  return pageFor(c, `.${ASSETS_PATH}`);
}
