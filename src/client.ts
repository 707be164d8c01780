/**
 * The client: pushes and follows resources on Web Streams, in Deno, Bun, Node and browsers.
 *
 * @example
 * ```ts
 * import { follow, push } from "@stream/live/client";
 *
 * async function copy(server: string): Promise<string> {
 *   const upload = await push(server, {
 *     filename: "hello.txt",
 *     mimeType: "text/plain",
 *     supportsLineAccess: true,
 *   });
 *   const bytes = follow(upload.reference);
 *   const writer = upload.writable.getWriter();
 *   await writer.write(new TextEncoder().encode("hello\n"));
 *   await writer.close();
 *   return await new Response(bytes).text();
 * }
 * ```
 * @module
 */
import {
  checkOffsets,
  ClientDownload,
  type Download,
  type ReadOptions,
} from "./client/download.ts";
import { noServer, request, requestJson } from "./client/connection/http.ts";
import { StepUpload } from "./client/upload/step_upload.ts";
import { NativeUpload, StepServerError, takesNoId } from "./client/upload/native_upload.ts";
import type { PushedUpload, PushOptions } from "./client/upload/push.ts";
import type { RetryOptions } from "./client/connection/retry.ts";
import { Service } from "./client/connection/service.ts";
import { type CancelOptions, locate, type ReferenceOptions, targetOf } from "./client/target.ts";
import { BearerToken, type TokenProvider } from "./client/connection/token.ts";
import type { TransportOptions } from "./client/connection/transport.ts";
import {
  checkContextId,
  checkMetadata,
  lowerAscii,
  type ResourceInfo,
  type ResourceMetadata,
  RESOURCES_PATH,
  type TransferStatus,
} from "./protocol.ts";

import type { LinesWindow } from "./client/lines.ts";

export type { Download, DownloadReadOptions, LineRange, ReadOptions } from "./client/download.ts";
export {
  closeContext,
  type ContextInfo,
  type ContextsOptions,
  getContext,
  listContexts,
} from "./client/contexts.ts";
export { getLines, type LinesOptions, type LinesWindow } from "./client/lines.ts";
export { retrying, type RetryingOptions, type RetryOptions } from "./client/connection/retry.ts";
export { search, type SearchOptions } from "./client/search.ts";
export type { CancelOptions, ReferenceOptions } from "./client/target.ts";
export type { Transport, TransportOptions } from "./client/connection/transport.ts";
export type { StepConnection, StepHandler, StepTransport } from "./client/upload/step_transport.ts";
export type { PushedUpload, PushOptions } from "./client/upload/push.ts";
export type { TokenProvider } from "./client/connection/token.ts";
export {
  type AppendedText,
  type ContextEvent,
  contextEvents,
  type EventsOptions,
  resourceEvents,
  type ResourceHappening,
  statusEvents,
  type StatusEventsOptions,
} from "./client/watch.ts";
export { UploadGroup } from "./client/upload/group.ts";
export type { StatusFilter, Upload } from "./upload.ts";
export {
  type Digest,
  type DigestAlgorithm,
  type ErrorCode,
  type LinePosition,
  type Outcome,
  type ResourceInfo,
  type ResourceMetadata,
  type ResourceStatus,
  type SearchEnd,
  type SearchMatch,
  StreamError,
  type TransferStatus,
  type UploadResult,
} from "./protocol.ts";

/** How a resource is opened. */
export interface OpenOptions
  extends ReferenceOptions, CancelOptions, RetryOptions, TransportOptions {}

/** How a link is made. */
export interface ShareOptions extends ReferenceOptions, CancelOptions {
  /** How long it holds, in s; 3600 by default, 7 days at most. */
  expiresInS?: number | undefined;
}

/** A link that lets everybody who has it read one resource. */
export interface SharedLink {
  /** The content, for browsers and curl; also a reference. */
  url: string;
  /** The reference, for clients of this library. */
  reference: string;
  /** The page that shows it to a person; null where the server has no viewer. */
  view: string | null;
  /** When it ends, RFC 3339. */
  expiresAt: string;
}

/** Which resources to list. */
export interface ListOptions extends CancelOptions {
  /** Only those of one upload context. */
  contextId?: string | undefined;
  /** Only those in one of these states; of all by default. */
  transferStatuses?: readonly TransferStatus[] | undefined;
  /** Only those whose filename holds this, whatever the case of ASCII letters. */
  filenamePart?: string | undefined;
  /** Only those whose id begins so: 4 digits or more. */
  idPrefix?: string | undefined;
  /** Resources per request; 100 by default. */
  pageSize?: number | undefined;
  /** Bearer token for the server, or what gives it. */
  token?: string | TokenProvider | undefined;
}

/**
 * Registers an upload; its resource can be followed from then on (PROTOCOL.md 3).
 *
 * @param server Base URL of the server: `http:`, `https:`, `ws:` or `wss:`; or of several with commas between them, of
 * which any will do.
 * @param metadata What the upload announces about itself.
 * @param options Upload context, digests, signal.
 * @returns The running upload; write its bytes to `writable`, close that, and await `done`.
 * @throws {StreamError} UNREACHABLE, BAD_METADATA, CONTEXT_REQUIRED, QUOTA_EXCEEDED, LIMIT_REACHED; BAD_REQUEST for a
 * Step server without a `stepTransport`; WRONG_VERSION where an id was asked for of a server that takes none.
 *
 * @example
 * ```ts
 * import { push } from "@stream/live/client";
 *
 * async function greet(server: string) {
 *   const upload = await push(server, {
 *     filename: "hello.txt",
 *     mimeType: "text/plain",
 *     supportsLineAccess: true,
 *   });
 *   console.log(upload.reference);
 *   await new Blob(["hello\n"]).stream().pipeTo(upload.writable);
 *   return await upload.done; // { size: 6, numberOfLines: 1, digest: … }
 * }
 * ```
 */
export async function push(
  server: string,
  metadata: ResourceMetadata,
  options: PushOptions = {},
): Promise<PushedUpload> {
  const service = Service.at(server);
  const checked = checkMetadata(metadata);
  if (options.contextId !== undefined) checkContextId(options.contextId);
  try {
    return await NativeUpload.register(service, checked, options);
  } catch (error) {
    const { stepTransport } = options;
    if (!(error instanceof StepServerError) || stepTransport === undefined) throw error;
    if (options.id !== undefined) throw takesNoId(service.server);
    return await StepUpload.register(service.server, checked, options, stepTransport);
  }
}

/**
 * Goes on with an upload whose process is gone (PROTOCOL.md 3.5).
 *
 * @param server Base URL of the server.
 * @param resumeToken What `resumeToken` of the upload was.
 * @param options Signal and retries.
 * @returns The upload. Its source is written from the beginning: what the server has is checked, not sent again.
 * @throws {StreamError} UNREACHABLE, NOT_FOUND, NOT_OWNER; WRONG_STATE when the resume window is over. The upload fails
 * with CONFLICT when its source ends before what the server has: another source can go on then.
 *
 * @example
 * ```ts
 * import { resumePush } from "@stream/live/client";
 *
 * async function goOn(server: string, resumeToken: string, source: Blob) {
 *   const upload = await resumePush(server, resumeToken);
 *   await source.stream().pipeTo(upload.writable);
 *   return await upload.done;
 * }
 * ```
 */
export async function resumePush(
  server: string,
  resumeToken: string,
  options: PushOptions = {},
): Promise<PushedUpload> {
  return await NativeUpload.resume(Service.at(server), resumeToken, options);
}

/**
 * Opens a resource for reading (PROTOCOL.md 4).
 *
 * @param reference What a push printed, its HTTP form, or an id.
 * @param options Server of a bare id; how long a lost connection is tried again.
 * @returns The download, with the newest status.
 * @throws {StreamError} UNREACHABLE, NOT_FOUND, BAD_REQUEST for a text that is no reference.
 *
 * @example
 * ```ts
 * import { open } from "@stream/live/client";
 *
 * async function lastLines(reference: string) {
 *   const download = await open(reference);
 *   const { startingLineIndex, linesCount } = await download.locateLines(-10, 10);
 *   for await (const line of download.lines(startingLineIndex, linesCount)) console.log(line);
 *   download.close();
 * }
 * ```
 */
export async function open(
  reference: string,
  options: OpenOptions = {},
): Promise<Download> {
  return await ClientDownload.connect(locate(reference, options), options);
}

/**
 * The bytes of a resource from the moment they are checkpointed until it ends (PROTOCOL.md 4.4).
 *
 * @param reference What a push printed, its HTTP form, or an id.
 * @param options Which bytes; server of a bare id.
 * @returns The bytes; they end with the resource, be it COMPLETED or FAILED: ask {@link getResource} which.
 * An unknown or deleted resource, or a broken connection, errors the stream with a {@link StreamError}.
 *
 * @example
 * ```ts
 * import { follow } from "@stream/live/client";
 *
 * async function print(reference: string) {
 *   const text = follow(reference).pipeThrough(new TextDecoderStream());
 *   for await (const piece of text) console.log(piece);
 * }
 * ```
 */
export function follow(
  reference: string,
  options: ReadOptions & OpenOptions = {},
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const { from, to, signal } = options;
  const stop = new AbortController();
  const ending = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  let download: Download;
  let reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async start() {
      checkOffsets({ from, to });
      download = await open(reference, { ...options, signal: ending });
      reader = download.read({ from, to }).getReader();
    },
    async pull(controller) {
      const { done, value } = await reader.read();
      if (!done) return controller.enqueue(value);
      download.close();
      controller.close();
    },
    cancel: (reason) => stop.abort(reason),
  }, { highWaterMark: 0 });
}

/** How a resource is asked for. */
export interface GetResourceOptions extends ReferenceOptions, CancelOptions {
  /** Lines at most that are wanted, too, up to 10 000; none by default. */
  count?: number | undefined;
  /** Index of the first of them; negative from the end; 0 by default. */
  start?: number | undefined;
}

/** A resource, and some of its lines. */
export interface ResourceWithLines extends ResourceInfo {
  /** The lines that were asked for, as far as they are there; null where no lines can be read. */
  window?: Omit<LinesWindow, "numberOfLines" | "transferStatus"> | null;
}

/**
 * Asks what the server knows of a resource (PROTOCOL.md 6).
 *
 * @param reference What a push printed, its HTTP form, or an id.
 * @param options Server of a bare id; which lines are wanted in the same answer.
 * @returns Metadata, newest status, digest and times; with `count` a window of lines.
 * @throws {StreamError} UNREACHABLE, NOT_FOUND, BAD_REQUEST.
 *
 * @example
 * ```ts
 * import { getResource } from "@stream/live/client";
 *
 * async function isDone(reference: string) {
 *   return (await getResource(reference)).transferStatus === "COMPLETED";
 * }
 * ```
 */
export async function getResource(
  reference: string,
  options: GetResourceOptions = {},
): Promise<ResourceWithLines> {
  const { recipient, path } = targetOf(reference, options);
  const { count, start = 0 } = options;
  const query = count === undefined ? "" : `?${new URLSearchParams({
    start: String(start),
    count: String(count),
  })}`;
  return await requestJson(recipient, path + query, {
    has: RESOURCE_MEMBERS,
    cancel: options.signal,
  });
}

/** What every answer with a resource has. */
const RESOURCE_MEMBERS: readonly (keyof ResourceInfo)[] = [
  ...["id", "filename", "transferStatus", "currentSize", "createdAt", "digest"] as const,
];
/** Status of an answer that has nothing to say: it is done. */
const NO_CONTENT = 204;

/** How a resource is deleted. */
export interface DeleteResourceOptions extends ReferenceOptions, CancelOptions {
  /** Whether an upload that still runs is ended, which its uploader hears; refused by default. */
  force?: boolean | undefined;
}

/**
 * Deletes a resource.
 *
 * @param reference What a push printed, its HTTP form, or an id.
 * @param options Server of a bare id; whether a running upload is ended for that.
 * @throws {StreamError} UNREACHABLE, NOT_FOUND, WRONG_STATE while it is being uploaded, unless that is ended.
 *
 * @example
 * ```ts
 * import { deleteResource, getResource } from "@stream/live/client";
 *
 * async function deleteFailed(reference: string) {
 *   const { transferStatus } = await getResource(reference);
 *   if (transferStatus === "FAILED") await deleteResource(reference);
 * }
 * ```
 */
export async function deleteResource(
  reference: string,
  options: DeleteResourceOptions = {},
): Promise<void> {
  const { recipient, path } = targetOf(reference, options);
  const query = options.force ? "?force=true" : "";
  const asking = { method: "DELETE", cancel: options.signal };
  await request(recipient, `${path}${query}`, asking, ({ status }, server) => {
    // Whoever answers anything else has deleted nothing.
    if (status !== NO_CONTENT) throw noServer(undefined, server);
  });
}

/**
 * Makes a link with which others can read a resource for a while, without a token.
 *
 * @param reference What a push printed, its HTTP form, or an id.
 * @param options Token, how long the link holds.
 * @returns The link.
 * @throws {StreamError} UNREACHABLE, UNAUTHORIZED, FORBIDDEN, NOT_FOUND; WRONG_STATE where no tokens are wanted at all.
 *
 * @example
 * ```ts
 * import { shareResource } from "@stream/live/client";
 *
 * async function linkForAnHour(reference: string, token: string) {
 *   return (await shareResource(reference, { token, expiresInS: 3600 })).url;
 * }
 * ```
 */
export async function shareResource(
  reference: string,
  options: ShareOptions = {},
): Promise<SharedLink> {
  const { expiresInS = 3600 } = options;
  const { location, service, token } = locate(reference, options);
  const path = `${RESOURCES_PATH}/${location.id}/share?expires=${expiresInS}`;
  const recipient = { service, token: new BearerToken(token) };
  return await requestJson(recipient, path, {
    has: ["url", "expiresAt"],
    method: "POST",
    cancel: options.signal,
  });
}

/**
 * Lists resources, newest first, page by page as they are asked for.
 *
 * @param server Base URL of the server.
 * @param options Which ones.
 * @returns The resources.
 * @throws {StreamError} UNREACHABLE, BAD_REQUEST.
 *
 * @example
 * ```ts
 * import { listResources } from "@stream/live/client";
 *
 * async function names(server: string) {
 *   for await (const { filename } of listResources(server)) console.log(filename);
 * }
 * ```
 */
export async function* listResources(
  server: string,
  options: ListOptions = {},
): AsyncIterableIterator<ResourceInfo> {
  const { contextId, transferStatuses = [], filenamePart, idPrefix, pageSize = 100 } = options;
  const recipient = { service: Service.at(server), token: new BearerToken(options.token) };
  const query = new URLSearchParams({ limit: String(pageSize) });
  if (idPrefix !== undefined) query.set("id", idPrefix);
  if (contextId !== undefined) query.set("context", contextId);
  if (filenamePart !== undefined) query.set("name", filenamePart);
  for (const status of transferStatuses) query.append("status", status);
  for (;;) {
    const path = `${RESOURCES_PATH}?${query}`;
    const page: ResourceInfo[] = await requestJson(recipient, path, {
      has: RESOURCE_MEMBERS,
      isList: true,
      cancel: options.signal,
    });
    yield* page.filter((info) => isAskedFor(info, options));
    if (page.length < pageSize) return;
    const { createdAt, id } = page[page.length - 1];
    query.set("after", `${Date.parse(createdAt)}_${id}`);
  }
}

/** Whether a resource is one of those that were asked for: an older server leaves out the questions that it does not know. */
function isAskedFor(
  { id, contextId, filename, transferStatus }: ResourceInfo,
  asked: ListOptions,
): boolean {
  const { idPrefix = "", filenamePart = "", transferStatuses = [] } = asked;
  return id.startsWith(idPrefix.toLowerCase()) &&
    lowerAscii(filename).includes(lowerAscii(filenamePart)) &&
    (asked.contextId === undefined || contextId === asked.contextId) &&
    (transferStatuses.length === 0 || transferStatuses.includes(transferStatus));
}
