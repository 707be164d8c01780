/**
 * What the catalog hears of a running upload: not every checkpoint, and while bytes go on, as it may have to be waited for.
 * After a crash the log is the truth.
 * @module
 */
import { type StreamError, toStreamError } from "../../protocol.ts";
import { isRefusal } from "./owned_record.ts";

/** It hears of one upload at most this often, and after as many times as long as hearing took: one that is busy, less. */
const INTERVAL_MS = { least: 1000, most: 10_000 };
const REST = 10;
/** Of all uploads together it hears about so often: to write one record takes as long as to write a line to its log and its follower. */
const MOST_A_SECOND = 50;

/** How the catalog is told. */
export interface ProgressRecordOptions {
  /** Whether it hears of a checkpoint that none follows for a while, too: other nodes list what it has. */
  tellsPauses: boolean;
  /** How many uploads run that it hears of. */
  uploadCount(): number;
  /** Tells of the newest checkpoint. */
  tell(): Promise<void>;
  /** Called when the catalog refused for good. */
  failed(error: StreamError): void;
}

/** The record of one upload, as it follows its checkpoints. */
export class ProgressRecord {
  readonly #options: ProgressRecordOptions;
  #nextAtMs = -Infinity;
  /** Whether it does not know the newest checkpoint. */
  #isBehind = false;
  #isTelling = false;
  #isOver = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param options How it is told. */
  constructor(options: ProgressRecordOptions) {
    this.#options = options;
  }

  /** A checkpoint was made. */
  checkpointed(): void {
    this.#isBehind = true;
  }

  /** Tells of the newest checkpoint, when that may be. */
  catchUp(): void {
    if (!this.#isBehind || this.#isOver) return;
    const waitMs = this.#nextAtMs - performance.now();
    if (waitMs <= 0) return this.#tell();
    if (!this.#options.tellsPauses) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.catchUp();
    }, waitMs);
  }

  /** Tells nothing more: an end records more than that. */
  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    this.#isBehind = false;
    const startedAtMs = performance.now();
    this.#options.tell().catch((refusal) => {
      // What the catalog cannot take now it hears later.
      if (isRefusal(refusal)) this.#isBehind = true;
      else if (!this.#isOver) this.#options.failed(toStreamError(refusal));
    }).finally(() => {
      this.#isTelling = false;
      const tookMs = performance.now() - startedAtMs;
      const { least, most } = INTERVAL_MS;
      const shareMs = 1000 * this.#options.uploadCount() / MOST_A_SECOND;
      this.#nextAtMs = startedAtMs + Math.min(Math.max(REST * tookMs, shareMs, least), most);
      this.catchUp();
    });
  }
}
