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
export * from "./src/server.ts";
export { ERRORS, LIMITS, StreamError, SUBPROTOCOL, VERSION } from "./src/protocol.ts";
export type { StepStatus } from "./src/protocol.ts";
export type {
  Announcement,
  Catalog,
  CatalogTime,
  ContextQuery,
  DigestState,
  EndedQuery,
  Intent,
  Owner,
  Ownership,
  RecordChange,
  ResourceChange,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "./src/catalog.ts";
export { type JwksOptions, JwksTokens } from "./src/access/jwks.ts";
export { linkKey, SignedLinks, type SignedLinksOptions } from "./src/access/links.ts";
export { FileTokens, type FileTokensOptions } from "./src/access/file_tokens.ts";
export { MemoryCatalog, MemoryRecords } from "./src/catalog/memory.ts";
export { SqliteCatalog } from "./src/catalog/sqlite.ts";
export type {
  FollowedTail,
  LogEnd,
  LogOptions,
  LogReader,
  LogWriter,
  Storage,
  TailListener,
} from "./src/storage.ts";
export { FileStorage } from "./src/storage/file.ts";
export { MemoryLogs, MemoryStorage } from "./src/storage/memory.ts";
export type {
  Connection,
  ConnectionShare,
  Inform,
  Listener,
  ListenOptions,
  Runtime,
  Session,
  Upgrade,
} from "./src/runtime.ts";
export { type LoadOptions, loadRuntime } from "./src/runtime/load.ts";
export { type BunWebSocketHandlers, bunWebSocketHandlers } from "./src/runtime/bun.ts";
export type {
  Certificate,
  ConnectionTimes,
  FramesOptions,
  FramesRuntime,
} from "./src/runtime/frames.ts";
export { framesRuntime } from "./src/runtime/frames.ts";
