/**
 * The progress of a transfer, for a person who watches a terminal.
 * @module
 */
import type { RetryOptions } from "../client.ts";
import { type Output, visible } from "./output.ts";
import { isTerminal, keepLine, notice, showLine } from "./stderr.ts";
import { formatBytes } from "./units.ts";

const SHOW_EVERY_MS = 200;

/** Bytes as they pass, and their rate; nothing where no terminal is. */
export class Progress implements Disposable {
  readonly #size: number | null;
  readonly #more: () => string;
  readonly #startedAtMs = performance.now();
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #bytes = 0;

  /**
   * @param size Bytes that there are to be in the end; null when nobody knows.
   * @param more What is shown behind the rate.
   */
  constructor(size: number | null, more: () => string) {
    this.#size = size;
    this.#more = more;
    if (isTerminal) this.#timer = setInterval(() => this.#show(), SHOW_EVERY_MS);
  }

  /** The same bytes, counted where somebody looks. */
  count(bytes: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    if (!isTerminal) return bytes;
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

  #show(): void {
    const seconds = (performance.now() - this.#startedAtMs) / 1000;
    const size = this.#size ?? 0;
    const of = size === 0 ? "" : ` (${Math.floor(this.#bytes / size * 100)} %)`;
    const rate = formatBytes(Math.round(this.#bytes / seconds));
    showLine(`${formatBytes(this.#bytes)}${of}  ${rate}/s  ${this.#more()}`);
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
