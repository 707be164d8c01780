/**
 * Events of a resource or an upload context, as they happen (PROTOCOL.md 6.4 and 6.5).
 * @module
 */
import {
  checkLife,
  CONTEXTS_PATH,
  type ErrorCode,
  EVENTS_PATH,
  isFinal,
  isNewer,
  type ResourceInfo,
  type ResourceMetadata,
  type ResourceStatus,
  StreamError,
} from "../protocol.ts";
import { eventsOf, type ServerSentEvent } from "./connection/server_sent_events.ts";
import { parseJson, type Recipient } from "./connection/http.ts";
import { Retries, type RetryOptions, STANDS_AFTER_MS } from "./connection/retry.ts";
import { Service } from "./connection/service.ts";
import { statusIn } from "./connection/status.ts";
import { askFor, type CancelOptions, type ReferenceOptions, targetOf } from "./target.ts";
import { BearerToken } from "./connection/token.ts";

/** The server sends something every 15 s; who hears nothing for so long hears nothing any more. */
const SILENT_AFTER_MS = 40_000;

/** Text that is asked for with each status; far below what one event may have. */
const TEXT_BYTES = 32 * 1024;

/** How events are listened to. */
export interface EventsOptions extends RetryOptions, CancelOptions {
  /** Called when a connection stands. */
  onOpen?: (() => void) | undefined;
}

/** Text that was appended to a resource. */
export interface AppendedText {
  /** Byte of the resource with which it begins. */
  startOffset: number;
  /** Byte behind it. */
  endOffset: number;
  /** The bytes between them, decoded; they may begin within a line or, after a pause, within a character. */
  text: string;
}

/** How the status of a resource is listened to. */
export interface StatusEventsOptions extends EventsOptions, ReferenceOptions {
  /**
   * Called before a status with what was appended since the one before it: the last 32 KiB of that, and at first the
   * last 32 KiB that are there.
   */
  onText?: ((appended: AppendedText) => void) | undefined;
}

/** An event in an upload context. */
export type ContextEvent =
  /** A resource of the context, as it is when one begins to listen. */
  | { type: "resource"; resource: ResourceInfo }
  /** A new resource. */
  | { type: "created"; resource: ResourceMetadata & { id: string; reference: string } }
  /** A new status of a resource. */
  | { type: "status"; id: string; status: ResourceStatus }
  /** An upload that was refused. */
  | { type: "refused"; upload: ResourceMetadata & { code: ErrorCode; message: string } }
  /** A resource is gone. */
  | { type: "deleted"; id: string };

/**
 * The status of a resource: at once, at every change, and again after a connection that broke; the last one is final.
 *
 * @param reference What a push printed, its HTTP form, or an id.
 * @param options Signal; how long a lost connection is tried again, and who hears of it; whether text is wanted, too.
 * @returns The statuses; a reader that is slow misses what is outdated.
 * @throws {StreamError} DELETED when the resource is deleted meanwhile, NOT_FOUND, UNREACHABLE; the signal's reason.
 *
 * @example
 * ```ts
 * import { statusEvents } from "@stream/live/client";
 *
 * async function waitForEnd(reference: string) {
 *   for await (const { transferStatus, numberOfLines } of statusEvents(reference)) {
 *     console.log(transferStatus, numberOfLines);
 *   }
 * }
 * ```
 */
export async function* statusEvents(
  reference: string,
  options: StatusEventsOptions = {},
): AsyncGenerator<ResourceStatus, void, void> {
  const { recipient, path } = targetOf(reference, options);
  const { onText, ...listening } = options;
  const query = onText === undefined ? "" : `?text=${TEXT_BYTES}`;
  let newest: ResourceStatus | null = null;
  let appended: AppendedText | null = null;
  const news = { count: 0 };
  const events = serverEvents(recipient, `${path}/events${query}`, listening, news);
  for await (const { type, data } of events) {
    if (type === "deleted") throw new StreamError("DELETED", "the resource was deleted");
    if (type === "text") appended = parseJson(data, recipient.service.server);
    if (type !== "status") continue;
    const status = statusIn(data);
    // The same id may be another resource after a broken connection.
    checkLife(status, newest?.life);
    if (isNewer(status, newest)) news.count++;
    newest = status;
    if (appended !== null) onText?.(appended);
    appended = null;
    yield status;
    if (isFinal(status.transferStatus)) return;
  }
}

/**
 * Events of an upload context: first each of its resources, oldest first, then what changes. After a connection
 * that broke everything is told anew.
 *
 * @param server Base URL of the server.
 * @param contextId The upload context.
 * @param options Token, signal; how long a lost connection is tried again, and who hears of it.
 * @returns The events; they end with the signal.
 * @throws {StreamError} CONTEXT_UNKNOWN, UNREACHABLE; the signal's reason.
 *
 * @example
 * ```ts
 * import { contextEvents } from "@stream/live/client";
 *
 * async function announce(server: string, contextId: string) {
 *   for await (const event of contextEvents(server, contextId)) {
 *     if (event.type === "status") console.log(event.id, event.status.transferStatus);
 *   }
 * }
 * ```
 */
export async function* contextEvents(
  server: string,
  contextId: string,
  options: EventsOptions & Pick<ReferenceOptions, "token"> = {},
): AsyncGenerator<ContextEvent, void, void> {
  const recipient = { service: Service.at(server), token: new BearerToken(options.token) };
  const path = `${CONTEXTS_PATH}/${encodeURIComponent(contextId)}/events`;
  const news = { count: 0 };
  for await (const event of serverEvents(recipient, path, options, news)) {
    const known = contextEventOf(event, recipient.service.server);
    if (known === null) continue;
    // What is there is told anew on each connection.
    if (known.type !== "resource") news.count++;
    yield known;
  }
}

/** What happens to resources. */
export type ResourceHappening = Exclude<ContextEvent, { type: "resource" }>;

/**
 * What happens to resources from now on, told about once a second. After a connection that broke something may have
 * been missed.
 *
 * @param server Base URL of the server.
 * @param options Upload context, token, signal; how long a lost connection is tried again, and who hears of it.
 * @returns The events; they end with the signal.
 * @throws {StreamError} UNREACHABLE, UNAUTHORIZED, FORBIDDEN; the signal's reason.
 *
 * @example
 * ```ts
 * import { resourceEvents } from "@stream/live/client";
 *
 * async function announceNew(server: string) {
 *   for await (const event of resourceEvents(server)) {
 *     if (event.type === "created") console.log(event.resource.filename);
 *   }
 * }
 * ```
 */
export async function* resourceEvents(
  server: string,
  options: EventsOptions & Pick<ReferenceOptions, "token"> & {
    /** Only those of one upload context. */
    contextId?: string | undefined;
  } = {},
): AsyncGenerator<ResourceHappening, void, void> {
  const { contextId } = options;
  const recipient = { service: Service.at(server), token: new BearerToken(options.token) };
  const query = contextId === undefined ? "" : `?context=${encodeURIComponent(contextId)}`;
  const news = { count: 0 };
  for await (const event of serverEvents(recipient, EVENTS_PATH + query, options, news)) {
    const known = contextEventOf(event, recipient.service.server);
    if (known === null || known.type === "resource") continue;
    news.count++;
    yield known;
  }
}

/** Null for an event that this version does not know. */
function contextEventOf({ type, data }: ServerSentEvent, server: string): ContextEvent | null {
  switch (type) {
    case "resource":
      return { type, resource: parseJson(data, server) };
    case "created":
      return { type, resource: parseJson(data, server) };
    case "status":
      return { type, id: parseJson<{ id: string }>(data, server).id, status: statusIn(data) };
    case "refused":
      return { type, upload: parseJson(data, server) };
    case "deleted":
      return { type, id: parseJson<{ id: string }>(data, server).id };
    default:
      return null;
  }
}

/**
 * Events of one address, from as many connections as it takes; the caller knows which one is the last.
 * @param news How much was told that had not been told before: connections that break again and again without any are
 * one loss, tried ever more seldom.
 */
async function* serverEvents(
  recipient: Recipient,
  path: string,
  { signal, onOpen, ...retry }: EventsOptions,
  news: { readonly count: number },
): AsyncGenerator<ServerSentEvent, void, void> {
  let isFirst = true;
  let retries: Retries | null = null;
  let openedAtMs = Infinity;
  const opened = () => {
    openedAtMs = performance.now();
    if (isFirst) retries = null;
    else retry.onReconnect?.();
    isFirst = false;
    onOpen?.();
  };
  for (;;) {
    let broken: StreamError;
    const before = news.count;
    openedAtMs = Infinity;
    try {
      yield* connectedEvents(recipient, path, signal, opened);
      broken = new StreamError("INTERRUPTED", "the server ended the events");
    } catch (error) {
      signal?.throwIfAborted();
      broken = error instanceof StreamError
        ? error
        : new StreamError("INTERRUPTED", "the connection to the server broke", { cause: error });
    }
    const hasStood = performance.now() - openedAtMs >= STANDS_AFTER_MS;
    if (hasStood || news.count > before) retries = null;
    retries ??= new Retries(retry, isFirst);
    if (!await retries.wait(broken, signal ?? new AbortController().signal)) {
      signal?.throwIfAborted();
      throw broken;
    }
  }
}

/** Events of one connection. */
async function* connectedEvents(
  recipient: Recipient,
  path: string,
  outer: AbortSignal | undefined,
  onOpen: () => void,
): AsyncGenerator<ServerSentEvent, void, void> {
  const stop = new AbortController();
  const signal = outer === undefined ? stop.signal : AbortSignal.any([outer, stop.signal]);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      stop.abort(new StreamError("PEER_SILENT", "the server sent nothing any more"));
    }, SILENT_AFTER_MS);
  };
  heard();
  try {
    const { body } = await askFor(recipient, path, "text/event-stream", signal);
    onOpen();
    yield* eventsOf(body!, heard);
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}
