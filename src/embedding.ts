/**
 * The server, with all that it can be made of: runtimes, storages, catalogs, and who may do what.
 *
 * @example A server that keeps its resources in a directory, on Deno, Bun or Node
 * ```ts
 * import { createServer, FileStorage, loadRuntime, SqliteCatalog } from "@stream/live/server";
 *
 * async function serve(directory: string) {
 *   const server = createServer({
 *     runtime: await loadRuntime(),
 *     storage: new FileStorage(directory),
 *     catalog: new SqliteCatalog(`${directory}/catalog.sqlite`),
 *   });
 *   return await server.listen({ port: 8090 });
 * }
 * ```
 * @module
 */
export * from "./server.ts";
export { ERRORS, LIMITS, StreamError, SUBPROTOCOL, VERSION } from "./protocol.ts";
export type { StepStatus } from "./protocol.ts";
export type {
  Announcement,
  Catalog,
  CatalogTime,
  ContextQuery,
  DigestState,
  EndedQuery,
  FlushedState,
  Intent,
  Owner,
  Ownership,
  RecordChange,
  ResourceChange,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "./catalog.ts";
export { type JwksOptions, JwksTokens } from "./access/jwks.ts";
export { linkKey, SignedLinks, type SignedLinksOptions } from "./access/links.ts";
export { FileTokens, type FileTokensOptions } from "./access/file_tokens.ts";
export { MemoryCatalog, MemoryRecords } from "./catalog/memory.ts";
export { SqliteCatalog } from "./catalog/sqlite.ts";
export type {
  FollowedTail,
  LogEnd,
  LogOptions,
  LogReader,
  LogWriter,
  Storage,
  TailListener,
} from "./storage.ts";
export { FileStorage } from "./storage/file.ts";
export { MemoryLogs, MemoryStorage } from "./storage/memory.ts";
export type {
  Connection,
  ConnectionShare,
  Inform,
  Listener,
  ListenOptions,
  Runtime,
  Session,
  Upgrade,
} from "./runtime.ts";
export { type LoadOptions, loadRuntime } from "./runtime/load.ts";
export { type BunWebSocketHandlers, bunWebSocketHandlers } from "./runtime/bun.ts";
export type {
  Certificate,
  ConnectionTimes,
  FramesOptions,
  FramesRuntime,
  SomeTimes,
} from "./runtime/frames.ts";
export { framesRuntime } from "./runtime/frames.ts";
