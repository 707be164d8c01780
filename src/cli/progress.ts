/**
 * The progress of a push, for a person who watches a terminal.
 * @module
 */
import process from "node:process";
import type { Upload } from "../client.ts";
import type { StreamError } from "../protocol.ts";
import { visible } from "./output.ts";
import { formatBytes } from "./units.ts";

const SHOW_EVERY_MS = 200;

/** Bytes whose progress is shown. */
export interface Progress {
  /** The bytes, counted where somebody looks. */
  bytes: ReadableStream<Uint8Array>;
  /** Shows the end. */
  end(): void;
}

/**
 * Shows bytes, rate and what the server acknowledged on stderr, if that is a terminal.
 *
 * @param bytes What is pushed.
 * @param upload The upload.
 * @param size Bytes that are to be read; null when nobody knows.
 * @returns What to push instead.
 */
export function showProgress(
  bytes: ReadableStream<Uint8Array>,
  upload: Upload,
  size: number | null,
): Progress {
  if (!process.stderr.isTTY) return { bytes, end: () => {} };
  let read = 0;
  const count = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      read += chunk.length;
      controller.enqueue(chunk);
    },
  });
  const startedAtMs = performance.now();
  const show = () => {
    const seconds = (performance.now() - startedAtMs) / 1000;
    const of = size === null || size === 0 ? "" : ` (${Math.floor(read / size * 100)} %)`;
    const rate = formatBytes(Math.round(read / seconds));
    const acknowledged = formatBytes(upload.status.currentSize);
    process.stderr.write(
      `\r\x1b[K${formatBytes(read)}${of}  ${rate}/s  acknowledged ${acknowledged}`,
    );
  };
  const timer = setInterval(show, SHOW_EVERY_MS);
  return {
    bytes: bytes.pipeThrough(count),
    end() {
      clearInterval(timer);
      show();
      process.stderr.write("\n");
    },
  };
}

/** Tells that a connection is being tried again. */
export function reportRetry(error: StreamError, delayMs: number): void {
  const seconds = (delayMs / 1000).toFixed(1);
  process.stderr.write(`stream: ${visible(error.message)}; trying again in ${seconds} s\n`);
}
