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
export * from "./src/embedding.ts";
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
