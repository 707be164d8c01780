/**
 * The face of the WebSocket endpoints (PROTOCOL.md 3 and 4).
 * @module
 */
import { CONTEXT_PARAMETER, DOWNLOAD_PATH, UPLOAD_PATH } from "../protocol.ts";
import { DownloadSession, UploadSession } from "../session.ts";
import { grantOf } from "./access.ts";
import type { FaceParts } from "./face.ts";
import { requiresContext } from "./host.ts";
import { inPath, inQuery, text } from "./route/parameters.ts";
import { checkUpload, newUpload, ofResource } from "./access/reach.ts";
import { answer, type Route, route } from "./route.ts";
import { clientsOf, rowOf } from "./access/clients.ts";
import { checkUpgrade, isNative, upgrade } from "./websocket/upgrade.ts";

/**
 * Brings the WebSocket endpoints.
 * @param parts What they work with.
 */
export function webSocketFace(parts: FaceParts): Route[] {
  const { resources, references, heartbeat, stepContexts, uploadShares, endpoints = {} } = parts;
  const { uploadPath, downloadPath, contextParameter = CONTEXT_PARAMETER } = endpoints;
  const endpoint = {
    method: "GET",
    answers: { 101: answer("a WebSocket connection") },
    errors: ["BAD_REQUEST", "LIMIT_REACHED"],
  } as const;
  return [
    route({
      ...endpoint,
      name: "connectUpload",
      path: UPLOAD_PATH,
      alias: uploadPath,
      section: "3",
      summary: "An upload over WebSocket",
      access: { scope: "upload", reach: newUpload(contextParameter, CONTEXT_PARAMETER) },
      parameters: {
        contextId: inQuery(CONTEXT_PARAMETER, "upload context", text),
        ...(contextParameter === CONTEXT_PARAMETER
          ? {}
          : { hostsContextId: inQuery(contextParameter, "upload context", text) }),
      },
      handle(c, { contextId, hostsContextId = contextId }) {
        const base = references.base(c);
        const grant = grantOf(c);
        const clients = clientsOf(c, references);
        const isRequired = requiresContext(parts, c.req.raw);
        return upgrade(c, parts, "upload", (connection) =>
          new UploadSession(connection, {
            resources,
            contextId: hostsContextId || null,
            contextParameter,
            requiresContext: isRequired,
            makesContexts: stepContexts === "make",
            referenceTo: (id) => references.reference(id, base),
            stepReferenceTo: (id) => references.stepReference(id, base),
            check: (id) => checkUpload(grant, id, resources),
            takePlace: () => uploadShares.take(clients),
            clients,
            heartbeat,
          }));
      },
    }),
    route({
      ...endpoint,
      name: "connectDownload",
      errors: [...endpoint.errors, "NOT_FOUND"],
      path: `${DOWNLOAD_PATH}/:id`,
      alias: downloadPath && `${downloadPath}/:id`,
      section: "4",
      summary: "A download over WebSocket",
      access: { scope: "read", reach: ofResource },
      parameters: { id: inPath("id", "id of a resource") },
      async handle(c, { id }) {
        checkUpgrade(c, parts);
        // Java clients hear no close that comes before the first status, and wait for half a minute.
        if (!isNative(c)) await resources.get(id);
        const life = grantOf(c)?.life;
        const client = rowOf(c.req.raw, c.env, references);
        return upgrade(
          c,
          parts,
          "download",
          (connection) =>
            new DownloadSession(connection, { resources, id, life, heartbeat, client }),
        );
      },
    }),
  ];
}
