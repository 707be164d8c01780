/**
 * Descriptions of the server: a page for people, the OpenAPI document for programs.
 * @module
 */
import { accepts } from "hono/accepts";
import { html } from "hono/html";
import { VERSION } from "../../protocol.ts";
import type { FaceParts } from "../face.ts";
import { json } from "../answer/json.ts";
import { answerOf, jsonOf, type Route, route } from "../route.ts";
import { object, type Schema, TEXT } from "../route/schemas.ts";
import { READY_PATH } from "./health.ts";

const ABOUT: Schema = {
  title: "About",
  ...object({ name: TEXT, version: TEXT, description: TEXT, health: TEXT }),
};

/** Routes that describe the server. */
export function descriptionRoutes({ references, describe, home }: FaceParts): Route[] {
  const document = {
    name: "getDescription",
    path: "/openapi.json",
    summary: "Describes all this: OpenAPI 3.1",
  };
  let text: string | null = null;
  /** What is the same in every answer is written once: it is long, and everybody may ask. */
  const written = () => text ??= JSON.stringify(describe()).slice(0, -1);
  const open = {
    method: "GET",
    section: "6",
    access: "everybody",
    parameters: {},
    errors: [],
  } as const;
  return [
    route({
      ...open,
      name: "getAbout",
      path: "/",
      alias: "",
      summary: "Names the server, its version, and where it is described",
      answers: { 200: answerOf("about", { ...jsonOf(ABOUT), "text/html": TEXT }) },
      handle(c) {
        const base = references.base(c);
        const about = {
          name: "stream",
          version: VERSION,
          description: base + document.path,
          health: base + READY_PATH,
        };
        const supports = ["application/json", "text/html"];
        c.header("vary", "accept");
        const type = accepts(c, { header: "Accept", supports, default: "application/json" });
        if (type !== "text/html") return json(c, about);
        return home === null ? c.html(pageOf(about)) : home(c);
      },
    }),
    route({
      ...open,
      ...document,
      answers: { 200: answerOf("the document", jsonOf({ type: "object" })) },
      handle(c) {
        const servers = JSON.stringify([{ url: references.base(c) }]);
        const document = `${written()},"servers":${servers}}\n`;
        return c.body(document, 200, { "content-type": "application/json" });
      },
    }),
  ];
}

/** The same for a reader; nothing in it is anybody's input but the base, which is escaped. */
function pageOf({ name, version, description, health }: Record<string, string>) {
  return html`
    <!doctype html>
    <html lang="en">
      <meta charset="utf-8">
      <title>${name} ${version}</title>
      <h1>${name} ${version}</h1>
      <p>This server moves files that are still being written.</p>
      <ul>
        <li><a href="${description}">${description}</a>: what can be asked of it
    <li><a href="${health}">${health}</a>: whether uploads can be sent here
    </ul>
    </html>
  `;
}
