/**
 * References to resources, and the address of a server in its two forms (PROTOCOL.md 1.2).
 * @module
 */
import { StreamError } from "./errors.ts";
import { foldResourceId, isResourceId } from "./ids.ts";
import { DOWNLOAD_PATH, RESOURCES_PATH, UPLOAD_PATH, VIEW_PATH } from "./names.ts";
import { excerpt } from "./text.ts";

/** Address, id, and what a signed link carries; content and page of a resource mean the resource, too. */
const REFERENCE =
  /^(.*)(?:\/ws\/streaming\/download|\/resources|\/view)\/([^/?#]+)(?:\/(?:content)?)?(?:\?access=([\w.-]+))?$/;

/** The address of a page, which may name the lines it shows. */
const PAGE = /^([^?#]*\/view\/[^#]*)#.*$/;

/** Server, endpoint and id: a Step server has ids, paths and queries of its own. */
const STEP_REFERENCE = /^(wss?:\/\/[^/?#\s]+)((?:\/[^/?#\s]+)*\/([^/?#\s]+)(?:\?[^#\s]*)?)$/;

/** Where a resource is: the parts of a reference (PROTOCOL.md 1.2). */
export interface ResourceLocation {
  /** `http://host:port[/prefix]`, without a slash at its end. */
  server: string;
  /** Id of the resource. */
  id: string;
  /** Value of `access` in a signed link (PROTOCOL.md 8.3); missing in other references. */
  access?: string;
  /** Path and query of the download endpoint, where a Step server has others than ours. */
  endpoint?: string;
}

/**
 * Reads a reference in any of its forms: what a push printed, its HTTP form, that of its content or its page, a signed
 * link, what a Step server gives, or a bare id (PROTOCOL.md 1.2).
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
  const bareId = foldResourceId(text);
  if (isResourceId(bareId)) {
    if (server !== undefined) return { server: httpBase(server), id: bareId };
    throw new StreamError(
      "BAD_REQUEST",
      `the reference ${text} is a bare id: say which server, too`,
    );
  }
  const location = ownReference(text) ?? stepReference(text);
  if (location !== null) return location;
  throw new StreamError(
    "BAD_REQUEST",
    `${excerpt(text)} is no reference: expected ws://HOST${DOWNLOAD_PATH}/ID, ` +
      `http://HOST${RESOURCES_PATH}/ID, http://HOST${VIEW_PATH}/ID or an id`,
  );
}

function ownReference(text: string): ResourceLocation | null {
  const [, server, written, access] = REFERENCE.exec(text.replace(PAGE, "$1")) ?? [];
  const id = foldResourceId(written ?? "");
  if (!isResourceId(id)) return null;
  return { server: httpBase(server), id, ...(access === undefined ? {} : { access }) };
}

function stepReference(text: string): ResourceLocation | null {
  const [, server, endpoint, id] = STEP_REFERENCE.exec(text) ?? [];
  // An address for uploads is a likely mistake.
  if (id === undefined || endpoint.includes(UPLOAD_PATH)) return null;
  return { server: httpBase(server), id, endpoint };
}

/**
 * Brings a server's address into its HTTP form.
 *
 * @param url `http:`, `https:`, `ws:` or `wss:` URL of a server.
 * @returns The `http:` or `https:` form, without a slash at its end.
 * @throws {StreamError} BAD_REQUEST when it is no such URL, or names a user or a password.
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
  const { host, username, password } = new URL(url);
  if (username !== "" || password !== "") {
    throw new StreamError(
      "BAD_REQUEST",
      `the address of ${host} has a name or a password in it, which would be sent nowhere: servers take tokens`,
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
