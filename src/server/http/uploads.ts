/**
 * Uploads by HTTP: in one request, or resumable in any number of them (PROTOCOL.md 6.6 and 6.7).
 *
 * Where the runtime cannot send 104, only a creation that was answered can be resumed.
 * @module
 */
import type { Context } from "hono";
import { UPLOADS_PATH } from "../../protocol.ts";
import { namedResource, ofResource, unnamedResource } from "../access/reach.ts";
import type { FaceParts } from "../face.ts";
import { answer, answerOf, jsonOf, type Route, route } from "../route.ts";
import { inPath, inQuery, text } from "../route/parameters.ts";
import { RESOURCE } from "../route/schemas.ts";
import { LIST, ONE } from "./listing.ts";
import { limits } from "./uploads/answers.ts";
import {
  APPEND_PARAMETERS,
  type Creation,
  CREATION_PARAMETERS,
  OWNER,
  PARTIAL_UPLOAD,
} from "./uploads/fields.ts";
import { append, cancel, create, tellOffset } from "./uploads/requests.ts";

/** Errors of content that is taken in. */
const CONTENT_ERRORS = [
  ...["CONFLICT", "FENCED", "QUOTA_EXCEEDED", "CHECKSUM_MISMATCH", "INTERRUPTED"] as const,
  ...["PEER_SILENT", "SHUTDOWN", "LIMIT_REACHED", "STORAGE_FAILED"] as const,
];
/** Errors of who is not the owner of an upload, or not any more. */
const OWNER_ERRORS = ["NOT_FOUND", "NOT_OWNER", "WRONG_STATE", "FENCED", "LIMIT_REACHED"] as const;

const OFFSET = ["Upload-Offset", "Upload-Complete"] as const;
const AGREED = ["Upload-Limit", "Stream-Digest-Algorithm"] as const;
const TOLD = [...OFFSET, ...AGREED, "Upload-Length", "Location"];

/** The address of one upload. */
const UPLOAD = {
  path: `${UPLOADS_PATH}/:id/:secret`,
  section: "6.7",
  access: { scope: "upload", reach: ofResource },
} as const;
const NAME = { id: inPath("id", "filename of the resource, or its id: a UUID") };

/** Routes of uploads. */
export function uploadRoutes(parts: FaceParts): Route[] {
  return [...creationRoutes(parts), ...ownerRoutes(parts), ...optionsRoutes(parts)];
}

function creationRoutes(parts: FaceParts): Route[] {
  const creation = {
    section: "6.6",
    summary: "Uploads a resource, readable while it is sent, or begins an upload in parts",
    takes: "*/*",
    answers: { 201: answerOf("the resource", jsonOf(RESOURCE), "Location", ...OFFSET, ...AGREED) },
    errors: [
      ...["BAD_REQUEST", "BAD_METADATA", "CONTEXT_REQUIRED", "CONTEXT_UNKNOWN"] as const,
      ...["CONTEXT_CLOSED", ...CONTENT_ERRORS] as const,
    ],
  };
  const unnamed = {
    ...creation,
    ...LIST,
    access: { scope: "upload", reach: unnamedResource },
    parameters: CREATION_PARAMETERS,
    handle: (c: Context, said: Creation) => during(parts, () => create(c, parts, said, undefined)),
  } as const;
  return [
    route({ ...unnamed, name: "createResource", method: "POST" }),
    route({ ...unnamed, name: "uploadResource", method: "PUT" }),
    route({
      ...creation,
      name: "putResource",
      method: "PUT",
      path: ONE,
      access: { scope: "upload", reach: namedResource },
      parameters: { ...NAME, ...CREATION_PARAMETERS },
      handle: (c, said) => during(parts, () => create(c, parts, said, said.id)),
    }),
  ];
}

function ownerRoutes(parts: FaceParts): Route[] {
  return [
    route({
      ...UPLOAD,
      name: "getUpload",
      method: "GET",
      summary: "How many bytes arrived, and the resource; to HEAD without it",
      parameters: OWNER,
      answers: {
        200: answerOf("to GET: the resource", jsonOf(RESOURCE), ...TOLD),
        204: answer("to HEAD", ...TOLD),
      },
      errors: OWNER_ERRORS,
      handle: (c, owner) => during(parts, () => tellOffset(c, parts, owner)),
    }),
    route({
      ...UPLOAD,
      name: "appendToUpload",
      method: "PATCH",
      summary: "Sends more bytes",
      takes: PARTIAL_UPLOAD,
      parameters: { ...OWNER, ...APPEND_PARAMETERS },
      answers: {
        200: answerOf("the resource", jsonOf(RESOURCE), "Location", ...OFFSET),
        204: answer("more is awaited", ...OFFSET),
      },
      errors: ["BAD_REQUEST", ...OWNER_ERRORS, ...CONTENT_ERRORS],
      handle: (c, said) => during(parts, () => append(c, parts, said)),
    }),
    route({
      ...UPLOAD,
      name: "abortUpload",
      method: "DELETE",
      summary: "Gives the upload up: it is FAILED and keeps what arrived",
      parameters: { ...OWNER, reason: inQuery("reason", "why; others are told", text) },
      answers: { 204: answer("given up") },
      errors: OWNER_ERRORS,
      handle: (c, said) => during(parts, () => cancel(c, parts, said)),
    }),
  ];
}

/** Tells what a server can do, not what it has. */
function optionsRoutes(parts: FaceParts): Route[] {
  const options = {
    method: "OPTIONS",
    section: "6.7",
    summary: "Tells which uploads are taken",
    access: "everybody",
    answers: { 204: answer("what is taken", "Allow", "Accept-Patch", "Upload-Limit") },
    errors: [],
    handle(c: Context) {
      c.header("accept-patch", PARTIAL_UPLOAD);
      return c.body(null, 204, { "upload-limit": limits(parts) });
    },
  } as const;
  return [
    route({ ...options, ...LIST, name: "optionsOfResources", parameters: {} }),
    route({ ...options, path: ONE, name: "optionsOfResource", parameters: NAME }),
    route({ ...options, path: UPLOAD.path, name: "optionsOfUpload", parameters: OWNER }),
  ];
}

/** A server is not shut down before such a request is answered. */
function during(
  { httpUploads }: FaceParts,
  step: () => Promise<Response>,
): Promise<Response> {
  return httpUploads.during(step);
}
