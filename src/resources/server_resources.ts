/**
 * What the owner of a server does with its resources, in its process.
 * @module
 */
import type { ContextAttributes, ContextQuery, ResourceQuery, UploadContext } from "../catalog.ts";
import type { ResourceMetadata } from "../protocol.ts";
import type { EventFilter, ResourceEvent } from "./events.ts";
import type { ResourceView } from "./reading/cache.ts";
import type { ServerReadOptions } from "./reading/server_reads.ts";
import type { ServerUpload, ServerUploadOptions } from "./writing/server_upload.ts";

/** How a resource is deleted. */
export interface DeleteOptions {
  /** Whether an upload that still runs is ended; refused by default. */
  force?: boolean | undefined;
  /** The one life of the id that is meant (PROTOCOL.md 1.4); any by default. */
  life?: string | undefined;
}

/** Resources in the hands of the owner of a server. */
export interface ServerResources {
  /** Uploads that run. */
  readonly uploads: number;
  /** Bytes of all resources. */
  readonly totalBytes: number;
  /**
   * Hears of what happens, in order: of uploads of this node everything, of those of other nodes what their records
   * tell, which is one status a second at most. What is refused is told on the node that refused it only.
   * @returns Ends it.
   */
  listen(listener: (event: ResourceEvent) => void, filter?: EventFilter): () => void;
  /**
   * Makes an upload context unless it exists; one that does keeps its attributes.
   * @param id Its id, 1 to 256 bytes.
   * @param attributes Texts for quota policies and listeners, at most 16 KiB as JSON; clients are not told of them.
   * @throws {StreamError} BAD_METADATA; QUOTA_EXCEEDED where there is no room for a new one.
   */
  createContext(id: string, attributes?: ContextAttributes): Promise<UploadContext>;
  /** Upload contexts, newest first. */
  listContexts(query: ContextQuery): Promise<UploadContext[]>;
  /**
   * Closes an upload context: it takes no more uploads, those that run go on.
   * @throws {StreamError} CONTEXT_UNKNOWN.
   */
  closeContext(id: string): Promise<UploadContext>;
  /**
   * An upload context.
   * @throws {StreamError} CONTEXT_UNKNOWN.
   */
  getContext(id: string): Promise<UploadContext>;
  /**
   * The record of a resource with its newest status.
   * @throws {StreamError} NOT_FOUND.
   */
  get(id: string): Promise<ResourceView>;
  /** Records with their newest statuses, newest resource first. */
  list(query: ResourceQuery): Promise<ResourceView[]>;
  /**
   * Deletes a resource with its bytes.
   * @param id Its id.
   * @param options Whether a running upload is ended for that; its uploader hears DELETED.
   * @throws {StreamError} NOT_FOUND; WRONG_STATE while it is being uploaded, unless that is ended.
   */
  delete(id: string, options?: DeleteOptions): Promise<void>;
  /**
   * Registers an upload by this process; its resource can be followed from now on. It does not outlive the server.
   * @param metadata What it announces.
   * @param options Id, upload context, digest.
   * @throws {StreamError} BAD_METADATA, CONTEXT_REQUIRED, CONTEXT_CLOSED, CONFLICT, QUOTA_EXCEEDED, LIMIT_REACHED.
   */
  startUpload(metadata: ResourceMetadata, options?: ServerUploadOptions): Promise<ServerUpload>;
  /**
   * The bytes of a resource as they are checkpointed; they end with the range or the resource, COMPLETED or FAILED.
   * @param id Its id.
   * @param options Which bytes; all by default.
   * @returns The bytes; the stream fails with NOT_FOUND, RANGE_NOT_AVAILABLE, DELETED, STORAGE_FAILED.
   * @throws {StreamError} BAD_REQUEST for positions that cannot be.
   */
  read(id: string, options?: ServerReadOptions): ReadableStream<Uint8Array<ArrayBuffer>>;
  /**
   * Lines as text, each with its line break; those that are there when asked.
   * @param id The resource.
   * @param startingLineIndex Index of the first, from 0.
   * @param linesCount At most so many.
   * @returns The lines; fails with NOT_FOUND, NO_LINE_ACCESS, LINES_NOT_AVAILABLE, BAD_REQUEST.
   */
  lines(
    id: string,
    startingLineIndex: number,
    linesCount: number,
  ): AsyncIterableIterator<string>;
  /**
   * Positions of line breaks, as far as they are there.
   * @param id The resource.
   * @param startingLineIndex Index of the first line, from 0.
   * @param linesCount At most so many, up to 10 000.
   * @returns For each line the position of its byte `0A`; the last line of a finished resource may have none.
   * @throws {StreamError} NOT_FOUND, NO_LINE_ACCESS, LINES_NOT_AVAILABLE, BAD_REQUEST.
   */
  lineBreaks(id: string, startingLineIndex: number, linesCount: number): Promise<number[]>;
}
