/**
 * Wishes of the host of a server: addresses of its own, contexts by request, a hook and messages for sessions.
 * @module
 */
import { isMessageName, type NamedMessage, StreamError } from "../protocol.ts";
import type { SessionEnd } from "./sessions.ts";

/** Addresses of the WebSocket endpoints besides those of PROTOCOL.md 3 and 4, which stay: our own clients know no others. */
export interface EndpointOptions {
  /** Path on which uploads are opened, too, e.g. `/ws/logs/upload`. */
  uploadPath?: string | undefined;
  /** Path below which downloads are opened, too, e.g. `/ws/logs/download`; references have this one. */
  downloadPath?: string | undefined;
  /** Query parameter that names the upload context, too; where a request has both, this one counts. */
  contextParameter?: string | undefined;
}

/** A WebSocket connection in the hands of the host of a server. */
export interface HostSession {
  /** Its purpose. */
  readonly kind: "upload" | "download";
  /** Address that was asked for. */
  readonly url: URL;
  /** Header fields of its request; credentials are among them. */
  readonly headers: Headers;
  /** Whether the peer speaks our extensions; it is a Step client otherwise. */
  readonly isNative: boolean;
  /** Id of the resource; null until an upload is registered. */
  readonly resourceId: string | null;
  /**
   * Sends a message of the host's own, to a peer that knows it: Java clients close at one that they do not know.
   * @param message An object with its name as `@`.
   * @returns When there is room for the next.
   * @throws {StreamError} BAD_REQUEST for a name of the protocol.
   */
  send(message: NamedMessage): Promise<void>;
  /**
   * Ends it; an upload that cannot be resumed is FAILED.
   * @param error Why; the peer is told its code.
   */
  fail(error: StreamError): void;
}

/** Words of the host on its WebSocket connections. */
export interface SessionHooks {
  /**
   * Called with every new session; what it throws ends that.
   * @returns Called when the connection is gone.
   */
  opened?(session: HostSession): void | ((end: SessionEnd) => void);
  /**
   * Messages of the host's own by their name `@`, up to 64 KiB; unknown ones stay errors. What a handler throws ends
   * the session.
   */
  messages?:
    | Readonly<Record<string, (message: NamedMessage, session: HostSession) => void>>
    | undefined;
}

/** Wishes of the host of a server. */
export interface HostOptions {
  /** Addresses of the WebSocket endpoints, besides the usual ones. */
  endpoints?: EndpointOptions | undefined;
  /** A hook for every session, and messages of the host's own. */
  sessionHooks?: SessionHooks | undefined;
  /**
   * Whether uploads without an upload context are refused, always or by the request that brings one; false by default.
   * Uploads in process are never refused by a function.
   */
  requireContext?: boolean | ((request: Request) => boolean) | undefined;
}

/**
 * Checks what can be seen before a server starts.
 * @throws {StreamError} BAD_REQUEST.
 */
export function checkHost({ endpoints = {}, sessionHooks = {} }: HostOptions): void {
  for (const path of [endpoints.uploadPath, endpoints.downloadPath]) {
    if (path === undefined || /^(\/[\w.~-]+)+$/.test(path)) continue;
    throw new StreamError(
      "BAD_REQUEST",
      `the path ${path} is none of an endpoint: e.g. /ws/upload`,
    );
  }
  const { contextParameter } = endpoints;
  if (contextParameter !== undefined && !/^[\w.~-]+$/.test(contextParameter)) {
    throw new StreamError("BAD_REQUEST", `${contextParameter} is no name of a parameter`);
  }
  for (const name of Object.keys(sessionHooks.messages ?? {})) checkOwnName(name);
}

/** @throws {StreamError} BAD_REQUEST for a message of the protocol. */
export function checkOwnName(name: string): void {
  if (!isMessageName(name)) return;
  throw new StreamError("BAD_REQUEST", `${name} is a message of the protocol: choose another name`);
}

/** Whether a request must name an upload context; undefined where that does not depend on it. */
export function requiresContext(
  { requireContext }: HostOptions,
  request: Request,
): boolean | undefined {
  return typeof requireContext === "function" ? requireContext(request) : undefined;
}
