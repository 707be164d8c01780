/**
 * Upload contexts, as the server tells of them (PROTOCOL.md 6.8).
 * @module
 */
import { CONTEXTS_PATH } from "../protocol.ts";
import { requestJson } from "./connection/http.ts";
import { Service } from "./connection/service.ts";
import type { CancelOptions } from "./target.ts";
import { BearerToken, type TokenProvider } from "./connection/token.ts";

/** An upload context: what groups uploads. */
export interface ContextInfo {
  /** Its id. */
  id: string;
  /** When it was made, RFC 3339. */
  createdAt: string;
  /** When it was closed, RFC 3339; null while it takes uploads. */
  closedAt: string | null;
}

/** What every answer with a context has. */
const CONTEXT_MEMBERS: readonly (keyof ContextInfo)[] = ["id", "createdAt", "closedAt"];

/** How contexts are listed. */
export interface ContextsOptions extends CancelOptions {
  /** Contexts per request; 100 by default. */
  pageSize?: number | undefined;
  /** Bearer token for the server, or what gives it. */
  token?: string | TokenProvider | undefined;
}

/**
 * Lists upload contexts, newest first, page by page as they are asked for.
 *
 * @param server Base URL of the server.
 * @param options Size of a page, token.
 * @returns The contexts.
 * @throws {StreamError} UNREACHABLE, UNAUTHORIZED, FORBIDDEN.
 *
 * @example
 * ```ts
 * import { listContexts } from "@stream/live/client";
 *
 * async function open(server: string) {
 *   for await (const { id, closedAt } of listContexts(server)) if (closedAt === null) console.log(id);
 * }
 * ```
 */
export async function* listContexts(
  server: string,
  { pageSize = 100, token, signal }: ContextsOptions = {},
): AsyncIterableIterator<ContextInfo> {
  const recipient = { service: Service.at(server), token: new BearerToken(token) };
  const query = new URLSearchParams({ limit: String(pageSize) });
  for (;;) {
    const path = `${CONTEXTS_PATH}?${query}`;
    const asking = { has: CONTEXT_MEMBERS, isList: true, cancel: signal };
    const page: ContextInfo[] = await requestJson(recipient, path, asking);
    yield* page;
    if (page.length < pageSize) return;
    const { createdAt, id } = page[page.length - 1];
    query.set("after", `${Date.parse(createdAt)}_${id}`);
  }
}

/**
 * Asks what the server knows of an upload context.
 *
 * @param server Base URL of the server.
 * @param contextId The upload context.
 * @param options Token.
 * @returns The context.
 * @throws {StreamError} CONTEXT_UNKNOWN, UNREACHABLE, UNAUTHORIZED, FORBIDDEN.
 *
 * @example
 * ```ts
 * import { getContext } from "@stream/live/client";
 *
 * async function isOpen(server: string, contextId: string) {
 *   return (await getContext(server, contextId)).closedAt === null;
 * }
 * ```
 */
export async function getContext(
  server: string,
  contextId: string,
  { token, signal }: Omit<ContextsOptions, "pageSize"> = {},
): Promise<ContextInfo> {
  const recipient = { service: Service.at(server), token: new BearerToken(token) };
  const path = `${CONTEXTS_PATH}/${encodeURIComponent(contextId)}`;
  return await requestJson(recipient, path, { has: CONTEXT_MEMBERS, cancel: signal });
}

/**
 * Closes an upload context: it takes no more uploads; those that run go on.
 *
 * @param server Base URL of the server.
 * @param contextId The upload context.
 * @param options Token.
 * @returns The context.
 * @throws {StreamError} CONTEXT_UNKNOWN, UNREACHABLE, UNAUTHORIZED, FORBIDDEN.
 *
 * @example
 * ```ts
 * import { closeContext } from "@stream/live/client";
 *
 * async function end(server: string, contextId: string) {
 *   console.log((await closeContext(server, contextId)).closedAt);
 * }
 * ```
 */
export async function closeContext(
  server: string,
  contextId: string,
  { token, signal }: Omit<ContextsOptions, "pageSize"> = {},
): Promise<ContextInfo> {
  const recipient = { service: Service.at(server), token: new BearerToken(token) };
  return await requestJson(recipient, `${CONTEXTS_PATH}/${encodeURIComponent(contextId)}`, {
    has: CONTEXT_MEMBERS,
    method: "DELETE",
    cancel: signal,
  });
}
