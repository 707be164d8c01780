/**
 * References to resources, and the address of a server in its two forms (PROTOCOL.md 1.2).
 * @module
 */
import { StreamError } from "./errors.ts";
import { isResourceId } from "./ids.ts";
import { DOWNLOAD_PATH, RESOURCES_PATH } from "./names.ts";
import { excerpt } from "./text.ts";

/** Address, id, and what a signed link carries; links to the content have a path of their own. */
const REFERENCE =
  /^(.*)(?:\/ws\/streaming\/download|\/resources)\/([^/?#]+)(?:\/(?:content(?=\?))?)?(?:\?access=([\w.-]+))?$/;

/** Where a resource is: the parts of a reference (PROTOCOL.md 1.2). */
export interface ResourceLocation {
  /** `http://host:port[/prefix]`, without a slash at its end. */
  server: string;
  /** Id of the resource. */
  id: string;
  /** What a signed link carries (PROTOCOL.md 8.3); missing in other references. */
  access?: string;
}

/**
 * Reads a reference in any of its forms: what a push printed, its HTTP form, a signed link, or a bare id
 * (PROTOCOL.md 1.2).
 *
 * @param text The reference.
 * @param server Base URL for bare ids.
 * @returns The server's HTTP base URL and the id.
 * @throws {StreamError} BAD_REQUEST when it is none of these, or a bare id came without a server.
 *
 * @example
 * ```ts
 * import { parseReference } from "@stream/live/protocol";
 *
 * const id = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";
 * console.log(parseReference(`ws://127.0.0.1:8090/ws/streaming/download/${id}`).server); // http://127.0.0.1:8090
 * ```
 */
export function parseReference(text: string, server?: string): ResourceLocation {
  if (isResourceId(text)) {
    if (server !== undefined) return { server: httpBase(server), id: text };
    throw new StreamError(
      "BAD_REQUEST",
      `the reference ${text} is a bare id: say which server, too`,
    );
  }
  const match = REFERENCE.exec(text);
  if (match === null || !isResourceId(match[2])) {
    throw new StreamError(
      "BAD_REQUEST",
      `${excerpt(text)} is no reference: expected ws://HOST${DOWNLOAD_PATH}/ID, ` +
        `http://HOST${RESOURCES_PATH}/ID or an id`,
    );
  }
  const location = { server: httpBase(match[1]), id: match[2] };
  return match[3] === undefined ? location : { ...location, access: match[3] };
}

/**
 * Brings a server's address into its HTTP form.
 *
 * @param url `http:`, `https:`, `ws:` or `wss:` URL of a server.
 * @returns The `http:` or `https:` form, without a slash at its end.
 * @throws {StreamError} BAD_REQUEST when it is no such URL.
 *
 * @example
 * ```ts
 * import { httpBase } from "@stream/live/protocol";
 *
 * console.log(httpBase("wss://host/logs/")); // https://host/logs
 * ```
 */
export function httpBase(url: string): string {
  const match = /^(https?|wss?):\/\/[^/?#\s]+[^?#\s]*$/.exec(url);
  if (match === null || !URL.canParse(url)) {
    throw new StreamError(
      "BAD_REQUEST",
      `${excerpt(url)} is no server address: expected http://HOST:PORT`,
    );
  }
  return url.replace(/^ws/, "http").replace(/\/+$/, "");
}

/**
 * The WebSocket form of a server's address.
 *
 * @param base Result of {@link httpBase}.
 * @returns The same with `ws:` or `wss:`.
 *
 * @example
 * ```ts
 * import { wsBase } from "@stream/live/protocol";
 *
 * console.log(wsBase("http://127.0.0.1:8090")); // ws://127.0.0.1:8090
 * ```
 */
export function wsBase(base: string): string {
  return base.replace(/^http/, "ws");
}
