/**
 * The progress of a transfer, for a person who watches a terminal.
 * @module
 */
import type { RetryOptions, Upload } from "../../client.ts";
import { type Output, visible } from "./output.ts";
import { isTerminal, keepLine, notice, showLine } from "./stderr.ts";
import { formatBytes } from "../units.ts";

const SHOW_EVERY_MS = 200;

/** Bytes as they pass, and their rate; nothing where no terminal is. */
export class Progress implements Disposable {
  #size: number | null = 0;
  readonly #more: () => string;
  readonly #uploads = new Set<Upload>();
  #acknowledged = 0;
  readonly #startedAtMs = performance.now();
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #bytes = 0;

  /**
   * @param more What is shown behind the rate.
   */
  constructor(more: () => string = () => "") {
    this.#more = more;
    if (isTerminal) this.#timer = setInterval(() => this.#show(), SHOW_EVERY_MS);
  }

  /**
   * The same bytes, counted where somebody looks.
   * @param bytes What is pushed.
   * @param size How many bytes there are to be in the end; null when nobody knows.
   * @param upload Tells what the server has.
   */
  add(
    bytes: ReadableStream<Uint8Array>,
    size: number | null,
    upload: Upload,
  ): ReadableStream<Uint8Array> {
    if (!isTerminal) return bytes;
    this.#size = this.#size === null || size === null ? null : this.#size + size;
    this.#uploads.add(upload);
    const end = () => {
      this.#uploads.delete(upload);
      this.#acknowledged += upload.status.currentSize;
    };
    upload.done.then(end, end);
    return bytes.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          this.#bytes += chunk.length;
          controller.enqueue(chunk);
        },
      }),
    );
  }

  /** The same output, its bytes counted. */
  countWritten(output: Output): Output {
    return {
      write: async (bytes) => {
        await output.write(bytes);
        this.#bytes += bytes.length;
      },
      close: () => output.close(),
    };
  }

  /** Shows the end, which stays. */
  [Symbol.dispose](): void {
    if (!isTerminal) return;
    clearInterval(this.#timer);
    this.#show();
    keepLine();
  }

  /** What the servers of all uploads have. */
  #has(): string {
    if (this.#uploads.size === 0 && this.#acknowledged === 0) return "";
    let bytes = this.#acknowledged;
    for (const { status } of this.#uploads) bytes += status.currentSize;
    return `acknowledged ${formatBytes(bytes)}`;
  }

  #show(): void {
    const seconds = (performance.now() - this.#startedAtMs) / 1000;
    const size = this.#size ?? 0;
    const of = size === 0 ? "" : ` (${Math.floor(this.#bytes / size * 100)} %)`;
    const rate = formatBytes(Math.round(this.#bytes / seconds));
    const parts = [`${formatBytes(this.#bytes)}${of}`, `${rate}/s`, this.#has(), this.#more()];
    showLine(parts.filter((part) => part !== "").join("  "));
  }
}

/** Tells that a connection is being tried again, and that it stands. */
export const RETRY_NOTICES: RetryOptions = {
  onRetry(error, delayMs) {
    const seconds = (delayMs / 1000).toFixed(1);
    notice(`${visible(error.message)}; trying again in ${seconds} s`);
  },
  onReconnect: () => notice("connected again"),
};
