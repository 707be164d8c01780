/**
 * Files as sources: read to their end, or followed while they grow.
 * @module
 */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { StreamError } from "../protocol.ts";
import { checkFollowed, OpenFile, unreadable } from "./open_file.ts";
import { WatchedProcess } from "./process.ts";
import {
  BUSY_POLL_MS,
  type FileOptions,
  GrowingFile,
  type GrowingFileOptions,
} from "./growing_file.ts";
import { CHUNK_BYTES, pull, type Source } from "./source.ts";

export type { FileOptions, GrowingFileOptions } from "./growing_file.ts";

/** Most bytes that a buffer may have: each chunk that waits to be sent holds one. */
const MAX_BUFFER_BYTES = 1024 * 1024;

/** The longest time between two looks: a day. */
const MAX_POLL_MS = 24 * 60 * 60 * 1000;

/**
 * Opens a file, a named pipe or a device to be read until its end.
 *
 * @param path Path of the file.
 * @param options Where to start, and how much to read at once, in bytes.
 * @returns The source; its stream fails with SOURCE_FAILED when the file shrinks or is rewritten while it is read.
 * @throws {StreamError} SOURCE_FAILED, naming the path, when it is missing, a directory, not permitted or
 * shorter than the start; BAD_REQUEST for a buffer that cannot be.
 *
 * @example
 * ```ts
 * import { openFile } from "@stream/live";
 * import { writeFile } from "node:fs/promises";
 *
 * const path = `/tmp/stream-example-${crypto.randomUUID()}.log`;
 * await writeFile(path, "first\nsecond\n");
 * const { stream, size, name } = await openFile(path, { from: 6 });
 * console.log(await new Response(stream).text(), size, name); // second 13 stream-example-….log
 * ```
 */
export async function openFile(path: string, options: FileOptions = {}): Promise<Source> {
  const file = await OpenFile.open(
    path,
    options.from ?? 0,
    checkBuffer(options),
    options.reuseBuffer,
  );
  const stream = pull({
    async next() {
      const chunk = await file.read();
      if (chunk === null) await file.expectUnchanged();
      return chunk;
    },
    close: () => file.close(),
  });
  return { stream, size: file.isRegular ? file.size : null, name: basename(path) };
}

/**
 * Opens a file that is still being written and reads what is added within milliseconds.
 *
 * It ends as the options say, else never. A file that is removed is read on, as its producer may hold it
 * open, too; the stream fails as soon as another file has its path.
 *
 * @param path Path of the file.
 * @param options Where to start, in bytes, how often to look, and what ends it.
 * @returns The source; its stream fails with SOURCE_FAILED when the file shrinks, is replaced or is rewritten:
 * truncated and written again, or changed in place, so that the first or the last 1024 bytes that were read are not there.
 * @throws {StreamError} SOURCE_FAILED, naming the path, when it is missing, no regular file, not permitted
 * or shorter than the start; BAD_REQUEST for what is no id of a process, and for times and buffers that cannot be.
 *
 * @example
 * ```ts
 * import { openGrowingFile, push, UploadGroup } from "@stream/live";
 *
 * async function pushLog(server: string, path: string, uploads: UploadGroup) {
 *   const { stream, name } = await openGrowingFile(path, { stop: uploads.stopping, pollIntervalMs: 200 });
 *   const metadata = { filename: name, mimeType: "text/plain", supportsLineAccess: true };
 *   const upload = uploads.add(await push(server, metadata));
 *   await stream.pipeTo(upload.writable);
 * }
 * ```
 */
export async function openGrowingFile(
  path: string,
  options: GrowingFileOptions = {},
): Promise<Source> {
  const { untilPid } = options;
  checkInterval(options);
  const producer = untilPid === undefined ? null : new WatchedProcess(untilPid);
  const bufferBytes = checkBuffer(options);
  const stats = await stat(path).catch((error) => {
    throw unreadable(path, error);
  });
  checkFollowed(path, stats);
  const file = await OpenFile.open(path, options.from ?? 0, bufferBytes, options.reuseBuffer);
  return {
    stream: pull(new GrowingFile(file, producer, options)),
    size: null,
    name: basename(path),
  };
}

function checkBuffer({ bufferBytes = CHUNK_BYTES }: FileOptions): number {
  if (Number.isInteger(bufferBytes) && bufferBytes >= 1 && bufferBytes <= MAX_BUFFER_BYTES) {
    return bufferBytes;
  }
  throw new StreamError(
    "BAD_REQUEST",
    `a buffer of ${bufferBytes} bytes: bufferBytes is a whole number from 1 to ${MAX_BUFFER_BYTES}`,
  );
}

function checkInterval({ pollIntervalMs = BUSY_POLL_MS }: GrowingFileOptions): void {
  if (pollIntervalMs > 0 && pollIntervalMs <= MAX_POLL_MS) return;
  throw new StreamError(
    "BAD_REQUEST",
    `a file cannot be looked at every ${pollIntervalMs} ms: pollIntervalMs is more than 0, and a day at most`,
  );
}
