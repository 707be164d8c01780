/**
 * Upgrades: requests become sessions that are counted, observed, and end with their grants (PROTOCOL.md 2).
 * @module
 */
import type { Context } from "hono";
import { StreamError, SUBPROTOCOL, toStreamError } from "../../protocol.ts";
import type { ControlSession } from "../../session.ts";
import { whileGranted } from "../access.ts";
import type { FaceParts } from "../face.ts";
import { checkOwnName, type HostSession, type SessionHooks } from "../host.ts";
import { clientsOf } from "../access/clients.ts";
import type { Open, SessionEnd } from "../sessions.ts";

/**
 * Makes a session of a request.
 * @param c The request.
 * @param parts What the server has for it.
 * @param kind What the session is for.
 * @param open Makes it of the connection.
 * @returns The answer that upgrades.
 * @throws {StreamError} BAD_REQUEST, LIMIT_REACHED.
 */
export function upgrade(
  c: Context,
  parts: FaceParts,
  kind: HostSession["kind"],
  open: Open,
): Response {
  const { runtime, sessions, observer, references, sessionHooks } = parts;
  const { req } = c;
  checkUpgrade(c, parts);
  // Some runtimes forget where a connection comes from with its upgrade.
  const clients = clientsOf(c, references);
  const ended = observer.session(c);
  const failed = (message: string) => parts.failed(c, message);
  const asked = sessionHooks === undefined ? null : askedBy(c, kind);
  const response = runtime.upgrade(req.raw, c.env, {
    subprotocol: isNative(c) ? SUBPROTOCOL : "",
    client: clients.at(-1) ?? null,
    open: (connection) => {
      let stop = () => {};
      let tellHost: (end: SessionEnd) => void = () => {};
      const openWhileGranted: Open = (connection) => {
        const session = open(connection);
        stop = whileGranted(c, (error) => session.fail(error));
        if (asked !== null) tellHost = introduce(session, asked, sessionHooks!, failed);
        return session;
      };
      return sessions.track(connection, kind, clients, openWhileGranted, (end) => {
        stop();
        ended(end);
        tellHost(end);
      });
    },
  });
  observer.upgraded(c);
  return response;
}

/** Request of a session, as it was before the upgrade: some runtimes forget it with that. */
type Asked = Pick<HostSession, "kind" | "url" | "headers" | "isNative">;

function askedBy(c: Context, kind: HostSession["kind"]): Asked {
  const { url, headers } = c.req.raw;
  return { kind, url: new URL(url), headers: new Headers(headers), isNative: isNative(c) };
}

/** Shows a session to the host of the server; returns how it hears of the end. */
function introduce(
  session: ControlSession,
  asked: Asked,
  hooks: SessionHooks,
  failed: (message: string) => void,
): (end: SessionEnd) => void {
  const hosted: HostSession = {
    ...asked,
    get resourceId() {
      return session.resourceId;
    },
    async send(message) {
      checkOwnName(message["@"]);
      await session.say(message);
    },
    fail: (error) => session.fail(error),
  };
  const messages = Object.entries(hooks.messages ?? {});
  session.accept(
    new Map(messages.map(([name, take]) => [name, (message) => take(message, hosted)])),
  );
  try {
    const ended = hooks.opened?.(hosted) ?? (() => {});
    return (end) => {
      try {
        ended(end);
      } catch (error) {
        failed(`a hook of the host failed: ${toStreamError(error).message}`);
      }
    };
  } catch (error) {
    session.fail(error);
    return () => {};
  }
}

/**
 * Checks that a request wants to be upgraded, and may be.
 * @throws {StreamError} BAD_REQUEST, LIMIT_REACHED.
 */
export function checkUpgrade(c: Context, { sessions, references }: FaceParts): void {
  const { req } = c;
  sessions.checkRoom(() => clientsOf(c, references));
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
