/**
 * Upgrades: requests become sessions that are counted, observed, and end with their grants (PROTOCOL.md 2).
 * @module
 */
import type { Context } from "hono";
import { StreamError, SUBPROTOCOL } from "../../protocol.ts";
import { whileGranted } from "../access.ts";
import type { FaceParts } from "../face.ts";
import type { ConnectionKind, Open } from "../sessions.ts";

/**
 * Makes a session of a request.
 * @param c The request.
 * @param parts What the server has for it.
 * @param kind What the session is for.
 * @param open Makes it of the connection.
 * @returns The answer that upgrades.
 * @throws {StreamError} BAD_REQUEST, LIMIT_REACHED.
 */
export function upgrade(c: Context, parts: FaceParts, kind: ConnectionKind, open: Open): Response {
  const { runtime, sessions, observer } = parts;
  const { req } = c;
  checkUpgrade(c, parts);
  const ended = observer.session(c);
  const response = runtime.upgrade(req.raw, c.env, {
    subprotocol: isNative(c) ? SUBPROTOCOL : "",
    open: (connection) => {
      let stop = () => {};
      const openWhileGranted: Open = (connection) => {
        const session = open(connection);
        stop = whileGranted(c, (error) => session.fail(error));
        return session;
      };
      return sessions.track(connection, kind, openWhileGranted, (end) => {
        stop();
        ended(end);
      });
    },
  });
  observer.upgraded(c);
  return response;
}

/**
 * Checks that a request wants to be upgraded, and may be.
 * @throws {StreamError} BAD_REQUEST, LIMIT_REACHED.
 */
export function checkUpgrade({ req }: Context, { sessions }: FaceParts): void {
  sessions.checkRoom();
  if (req.header("upgrade")?.toLowerCase() === "websocket") return;
  throw new StreamError(
    "BAD_REQUEST",
    `${req.path} is a WebSocket endpoint: send an upgrade request`,
  );
}

/** Whether a request offers our subprotocol; all others are of Step clients. */
export function isNative(c: Context): boolean {
  const offered = c.req.header("sec-websocket-protocol")?.split(",") ?? [];
  return offered.some((name) => name.trim() === SUBPROTOCOL);
}
