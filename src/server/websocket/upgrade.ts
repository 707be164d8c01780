/**
 * The WebSocket endpoints: requests become upload and download sessions (PROTOCOL.md 3 and 4).
 * @module
 */
import type { Context, Hono } from "hono";
import {
  CONTEXT_PARAMETER,
  DOWNLOAD_PATH,
  StreamError,
  SUBPROTOCOL,
  UPLOAD_PATH,
} from "../../protocol.ts";
import type { Runtime } from "../../runtime.ts";
import { DownloadSession } from "../../session/download.ts";
import { UploadSession } from "../../session/upload.ts";
import { checkUpload, grantOf } from "../access.ts";
import { atExpiry } from "../expiry.ts";
import type { Observer } from "../observer.ts";
import type { RouteParts } from "../routes.ts";
import type { ConnectionKind, Open } from "../sessions.ts";

/** What the endpoints need besides what all routes do. */
export interface UpgradeParts extends RouteParts {
  /** What upgrades the connections. */
  runtime: Runtime;
  /** Hears of the ends of sessions. */
  observer: Observer;
}

/** Adds the endpoints. */
export function upgradeRoutes(app: Hono, parts: UpgradeParts): void {
  const { resources, references, heartbeat } = parts;
  app.get(UPLOAD_PATH, (c) => {
    const base = references.base(c);
    const grant = grantOf(c);
    return upgrade(c, parts, "upload", (connection) =>
      new UploadSession(connection, {
        resources,
        contextId: c.req.query(CONTEXT_PARAMETER) || null,
        referenceTo: (id) => references.reference(id, base),
        check: (id) => checkUpload(grant, id, resources),
        heartbeat,
      }));
  });
  app.get(
    `${DOWNLOAD_PATH}/:id`,
    (c) =>
      upgrade(
        c,
        parts,
        "download",
        (connection) =>
          new DownloadSession(connection, { resources, id: c.req.param("id"), heartbeat }),
      ),
  );
}

function upgrade(c: Context, parts: UpgradeParts, kind: ConnectionKind, open: Open): Response {
  const { runtime, sessions, observer } = parts;
  const { req } = c;
  const grant = grantOf(c);
  sessions.checkRoom();
  if (req.header("upgrade")?.toLowerCase() !== "websocket") {
    throw new StreamError(
      "BAD_REQUEST",
      `${req.path} is a WebSocket endpoint: send an upgrade request`,
    );
  }
  const offered = req.header("sec-websocket-protocol")?.split(",").map((name) => name.trim()) ?? [];
  const ended = observer.session(c);
  const response = runtime.upgrade(req.raw, c.env, {
    subprotocol: offered.includes(SUBPROTOCOL) ? SUBPROTOCOL : "",
    open: (connection) => {
      let stop = () => {};
      const openUntilExpiry: Open = (connection) => {
        const session = open(connection);
        stop = atExpiry(grant, (error) => session.fail(error));
        return session;
      };
      return sessions.track(connection, kind, openUntilExpiry, (end) => {
        stop();
        ended(end);
      });
    },
  });
  observer.upgraded(c);
  return response;
}
