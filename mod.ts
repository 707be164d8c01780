/**
 * Moves files that are still being written: a client and a server, for Deno and Bun.
 *
 * @example A server in memory, an upload and its follower
 * ```ts
 * import { createServer, follow, loadRuntime, MemoryCatalog, MemoryStorage, push } from "@stream/live";
 *
 * const server = createServer({
 *   runtime: await loadRuntime(),
 *   storage: new MemoryStorage(),
 *   catalog: new MemoryCatalog(),
 * });
 * const { port } = await server.listen({ port: 0 });
 * const upload = await push(`http://127.0.0.1:${port}`, {
 *   filename: "hello.txt",
 *   mimeType: "text/plain",
 *   supportsLineAccess: true,
 * });
 * const text = new Response(follow(upload.reference)).text();
 * await new Blob(["hello\n"]).stream().pipeTo(upload.writable);
 * console.log(await text); // hello
 * await server.close();
 * ```
 * @module
 */
export * from "./src/client.ts";
export * from "./src/server.ts";
export { ERRORS, LIMITS, SUBPROTOCOL, VERSION } from "./src/protocol.ts";
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
export type { FramesConnection } from "./src/runtime/frames/client.ts";
export { connectFrames } from "./src/runtime/frames/client.ts";
export type { LocalUploadOptions } from "./src/source/local.ts";
export { discardUpload, uploadToDirectory } from "./src/source/local.ts";
export {
  type FileOptions,
  type GrowingFileOptions,
  openFile,
  openGrowingFile,
} from "./src/source/file.ts";
export type { Source } from "./src/source/source.ts";
export { CHARSETS } from "./src/source/charsets/charsets.ts";
export { transcodeToUtf8 } from "./src/source/charsets/text.ts";
