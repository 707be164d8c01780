/**
 * The progress of transfers, for a person who watches a terminal.
 * @module
 */
import type { Download, RetryOptions, Upload } from "../../client.ts";
import { isFinal } from "../../protocol.ts";
import { type Output, visible } from "./output.ts";
import { isTerminal, keepLine, notice, showLine } from "./stderr.ts";
import { formatBytes } from "../units.ts";

const SHOW_EVERY_MS = 200;
/** A transfer whose bytes rest for less does not wait. */
const WAITS_AFTER_MS = 500;

/** What a transfer can wait for, in the order in which it is told of several. */
const REASONS = ["server", "credit", "acknowledgement", "producer"] as const;
type Reason = typeof REASONS[number];

/** Tells that a connection is being tried again, and that it stands. */
export const RETRY_NOTICES: Required<Omit<RetryOptions, "retryForMs">> = {
  onRetry(error, delayMs) {
    const seconds = (delayMs / 1000).toFixed(1);
    notice(`${visible(error.message)}; trying again in ${seconds} s`);
  },
  onReconnect: () => notice("connected again"),
};

/** Bytes as they pass, their rate, and what they wait for; nothing where no terminal is. */
export class Progress implements Disposable {
  readonly #more: () => string;
  readonly #transfers = new Set<Transfer>();
  readonly #startedAtMs = performance.now();
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #size: number | null = 0;
  #acknowledged: number | null = null;
  #bytes = 0;
  #isOver = false;

  /**
   * @param more What is shown behind the rate.
   */
  constructor(more: () => string = () => "") {
    this.#more = more;
    if (isTerminal) this.#timer = setInterval(() => this.#show(), SHOW_EVERY_MS);
  }

  /** Another transfer, which waits for its server first. */
  transfer(): Transfer {
    const transfer = new Transfer((byteCount) => this.count(byteCount), (ended) => {
      this.#transfers.delete(ended);
      if (ended.acknowledged !== null) this.#acknowledged = this.#sum([ended]);
    });
    this.#transfers.add(transfer);
    return transfer;
  }

  /** Counts bytes that passed. */
  count(byteCount: number): void {
    this.#bytes += byteCount;
  }

  /**
   * Hears of more bytes that are to pass.
   * @param byteCount How many; null when nobody knows.
   */
  expect(byteCount: number | null): void {
    this.#size = this.#size === null || byteCount === null ? null : this.#size + byteCount;
  }

  /** Shows the end, which stays. */
  [Symbol.dispose](): void {
    if (!isTerminal || this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#show();
    keepLine();
  }

  /** What the servers have of uploads, with those that are over; null without an upload. */
  #sum(transfers: Iterable<Transfer>): number | null {
    let bytes = this.#acknowledged;
    for (const { acknowledged } of transfers) {
      if (acknowledged !== null) bytes = (bytes ?? 0) + acknowledged;
    }
    return bytes;
  }

  /** What all transfers wait for; nothing as long as one of them moves. */
  #waitsFor(): string {
    const reasons = [...this.#transfers].map((transfer) => transfer.waitsFor);
    if (reasons.includes(null)) return "";
    const reason = REASONS.find((known) => reasons.includes(known));
    if (reason === undefined) return "";
    return `waiting for ${reason === "credit" ? reason : `the ${reason}`}`;
  }

  #show(): void {
    const seconds = (performance.now() - this.#startedAtMs) / 1000;
    const size = this.#size ?? 0;
    const of = size === 0 ? "" : ` (${Math.floor(this.#bytes / size * 100)} %)`;
    const rate = `${formatBytes(Math.round(this.#bytes / seconds))}/s`;
    const has = this.#sum(this.#transfers);
    const acknowledged = has === null ? "" : `acknowledged ${formatBytes(has)}`;
    const count = `${formatBytes(this.#bytes)}${of}`;
    const parts = [count, rate, acknowledged, this.#more(), this.#waitsFor()];
    showLine(parts.filter((part) => part !== "").join("  "));
  }
}

/** One transfer as its progress sees it. */
export class Transfer implements Disposable {
  readonly #count: (byteCount: number) => void;
  readonly #ended: (transfer: Transfer) => void;
  #restsFor: () => Reason | null = () => "server";
  #isAway = true;
  #movedAtMs = performance.now();
  #upload: Upload | null = null;

  /**
   * @param count Counts bytes.
   * @param ended Hears of the end.
   */
  constructor(count: (byteCount: number) => void, ended: (transfer: Transfer) => void) {
    this.#count = count;
    this.#ended = ended;
  }

  /** How the connection tells that it is tried again. */
  get retries(): RetryOptions {
    return {
      onRetry: (error, delayMs) => {
        this.#isAway = true;
        RETRY_NOTICES.onRetry(error, delayMs);
      },
      onReconnect: () => {
        this.#isAway = false;
        RETRY_NOTICES.onReconnect();
      },
    };
  }

  /** Bytes that the server has of an upload; null for what is none. */
  get acknowledged(): number | null {
    return this.#upload?.status.currentSize ?? null;
  }

  /** What it waits for; null while it moves. */
  get waitsFor(): Reason | null {
    if (performance.now() - this.#movedAtMs < WAITS_AFTER_MS) return null;
    return this.#isAway ? "server" : this.#restsFor();
  }

  /**
   * The same bytes, counted where somebody looks.
   * @param bytes What is pushed.
   * @param upload Tells what the server has.
   */
  pushed(bytes: ReadableStream<Uint8Array>, upload: Upload): ReadableStream<Uint8Array> {
    this.#upload = upload;
    this.#isAway = false;
    if (!isTerminal) return bytes;
    const reader = bytes.getReader();
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        this.#restsFor = () => "producer";
        const { done, value } = await reader.read();
        this.#restsFor = () => done ? "acknowledgement" : "credit";
        this.#moved(value?.length ?? 0);
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    }, { highWaterMark: 0 });
  }

  /**
   * The same output, its bytes counted.
   * @param output Where what is downloaded goes.
   * @param download Tells what there is.
   * @param from Byte of the resource that comes first.
   */
  written(output: Output, download: Download, from: number): Output {
    this.#isAway = false;
    let position = from;
    this.#restsFor = () => {
      const { currentSize, transferStatus } = download.status;
      if (position < currentSize) return "server";
      return isFinal(transferStatus) ? null : "producer";
    };
    return {
      write: async (bytes) => {
        await output.write(bytes);
        position += bytes.length;
        this.#moved(bytes.length);
      },
      close: () => output.close(),
    };
  }

  /** It is over. */
  [Symbol.dispose](): void {
    this.#ended(this);
  }

  #moved(byteCount: number): void {
    this.#movedAtMs = performance.now();
    this.#count(byteCount);
  }
}
