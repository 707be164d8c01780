/**
 * The face of tus 1.0, for clients that people have already (PROTOCOL.md 6.11; https://tus.io/protocols/resumable-upload).
 * @module
 */
import type { Context } from "hono";
import { StreamError } from "../protocol.ts";
import { ofResource, unnamedResource } from "./access/reach.ts";
import type { FaceParts } from "./face.ts";
import { inHeader, inQuery, text } from "./route/parameters.ts";
import { RESOURCE } from "./route/schemas.ts";
import { answer, answerOf, jsonOf, type Route, route } from "./route.ts";
import {
  APPEND_PARAMETERS,
  CREATION_PARAMETERS,
  TUS_PATH,
  TUS_UPLOAD,
  UPLOAD_PARAMETERS,
  VERSION,
  VERSION_PARAMETER,
} from "./tus/fields.ts";
import { append, create, tellOffset, terminate } from "./tus/requests.ts";

/** Extensions that are spoken; bytes can be read while they arrive, so that no checksum could take them back. */
const EXTENSIONS = "creation,creation-with-upload,creation-defer-length,expiration,termination";
const METHOD_OVERRIDE = inHeader(
  "X-HTTP-Method-Override",
  "the method that is meant, for clients that cannot send it: PATCH or DELETE",
  text,
);

const SHOWN = ["Tus-Resumable", "Stream-Reference", "Stream-View"] as const;
const TOLD = ["Upload-Offset", "Upload-Expires", ...SHOWN] as const;
const STATE = [...TOLD, "Upload-Length", "Upload-Defer-Length", "Upload-Metadata"] as const;

/** Errors of who comes with the address of an upload. */
const ADDRESS_ERRORS = [
  ...["WRONG_VERSION", "BAD_REQUEST", "NOT_FOUND", "NOT_OWNER", "GONE", "FENCED"] as const,
  "LIMIT_REACHED",
] as const;
/** Errors of content that is taken in. */
const CONTENT_ERRORS = [
  ...["WRONG_TYPE", "MESSAGE_TOO_LARGE", "CHECKSUM_MISMATCH", "QUOTA_EXCEEDED"] as const,
  ...["FENCED", "INTERRUPTED", "PEER_SILENT", "SHUTDOWN", "STORAGE_FAILED"] as const,
];

/**
 * Brings the routes of tus.
 * @param parts What they work with.
 */
export function tusFace(parts: FaceParts): Route[] {
  return [...endpointRoutes(parts), ...uploadRoutes(parts)].map(versioned);
}

/** Every answer names the version, a refusal of parameters included. */
function versioned(route: Route): Route {
  return {
    ...route,
    handle(c) {
      if (route.method !== "OPTIONS") c.header("tus-resumable", VERSION);
      return route.handle(c);
    },
  };
}

function endpointRoutes(parts: FaceParts): Route[] {
  const endpoint = { path: TUS_PATH, alias: `${TUS_PATH}/`, section: "6.11" } as const;
  return [
    route({
      ...endpoint,
      name: "createTusUpload",
      method: "POST",
      summary: "Begins an upload of tus",
      access: { scope: "upload", reach: unnamedResource },
      takes: "application/offset+octet-stream",
      parameters: {
        ...VERSION_PARAMETER,
        ...CREATION_PARAMETERS,
        context: inQuery("context", "upload context; made if nobody made it", text),
      },
      answers: { 201: answer("made", "Location", ...TOLD) },
      errors: [
        ...["WRONG_VERSION", "BAD_REQUEST", "BAD_METADATA", "CONTEXT_REQUIRED"] as const,
        ...["CONTEXT_UNKNOWN", "CONTEXT_CLOSED", "LIMIT_REACHED", ...CONTENT_ERRORS] as const,
      ],
      handle: (c, said) => parts.httpUploads.during(() => create(c, parts, said)),
    }),
    route({
      ...endpoint,
      name: "optionsOfTus",
      method: "OPTIONS",
      summary: "Tells what is spoken of tus",
      access: "everybody",
      parameters: {},
      answers: {
        204: answer("what is spoken", "Allow", "Tus-Version", "Tus-Extension", "Tus-Max-Size"),
      },
      errors: [],
      handle: (c) => tellAbilities(c, parts),
    }),
  ];
}

function uploadRoutes(parts: FaceParts): Route[] {
  const { httpUploads } = parts;
  const upload = {
    path: TUS_UPLOAD,
    section: "6.11",
    access: { scope: "upload", reach: ofResource },
  } as const;
  const appendErrors = [...new Set([...ADDRESS_ERRORS, "CONFLICT" as const, ...CONTENT_ERRORS])];
  return [
    route({
      ...upload,
      name: "getTusUpload",
      method: "GET",
      summary: "How much arrived of an upload of tus, and the resource; to HEAD without it",
      parameters: { ...UPLOAD_PARAMETERS, ...VERSION_PARAMETER },
      answers: { 200: answerOf("the resource", jsonOf(RESOURCE), ...STATE) },
      errors: [...ADDRESS_ERRORS, "LOCKED"],
      handle: (c, said) => httpUploads.during(() => tellOffset(c, parts, said)),
    }),
    route({
      ...upload,
      name: "appendToTusUpload",
      method: "PATCH",
      summary: "Sends more bytes of an upload of tus",
      takes: "application/offset+octet-stream",
      parameters: { ...UPLOAD_PARAMETERS, ...VERSION_PARAMETER, ...APPEND_PARAMETERS },
      answers: { 204: answer("taken", ...TOLD) },
      errors: appendErrors,
      handle: (c, said) => httpUploads.during(() => append(c, parts, said)),
    }),
    route({
      ...upload,
      name: "terminateTusUpload",
      method: "DELETE",
      summary: "Gives an upload of tus up: it is FAILED and keeps what arrived",
      parameters: { ...UPLOAD_PARAMETERS, ...VERSION_PARAMETER },
      answers: { 204: answer("given up", "Tus-Resumable") },
      errors: ADDRESS_ERRORS,
      handle: (c, said) => httpUploads.during(() => terminate(c, parts, said)),
    }),
    route({
      ...upload,
      name: "overrideTusMethod",
      method: "POST",
      summary: "Does as PATCH or DELETE, whichever X-HTTP-Method-Override names",
      takes: "application/offset+octet-stream",
      parameters: {
        ...UPLOAD_PARAMETERS,
        ...VERSION_PARAMETER,
        ...APPEND_PARAMETERS,
        method: METHOD_OVERRIDE,
      },
      answers: { 204: answer("done", ...TOLD) },
      errors: ["METHOD_NOT_ALLOWED", ...appendErrors],
      handle(c, { method, ...said }) {
        const step = new Map([["PATCH", append], ["DELETE", terminate]]).get(method ?? "");
        if (step !== undefined) return httpUploads.during(() => step(c, parts, said));
        throw new StreamError(
          "METHOD_NOT_ALLOWED",
          "POST to an upload wants X-HTTP-Method-Override: PATCH or DELETE",
        );
      },
    }),
    route({
      ...upload,
      name: "optionsOfTusUpload",
      method: "OPTIONS",
      summary: "Tells what is spoken of tus",
      access: "everybody",
      parameters: UPLOAD_PARAMETERS,
      answers: {
        204: answer("what is spoken", "Allow", "Tus-Version", "Tus-Extension", "Tus-Max-Size"),
      },
      errors: [],
      handle: (c) => tellAbilities(c, parts),
    }),
  ];
}

/** Tells what a server can do, not what it has. */
function tellAbilities(c: Context, { resources }: FaceParts): Response {
  return c.body(null, 204, {
    "tus-version": VERSION,
    "tus-extension": EXTENSIONS,
    "tus-max-size": String(resources.maxResourceBytes),
  });
}
