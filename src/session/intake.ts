/**
 * The content of one HTTP request on its way into a log.
 * @module
 */
import { Bell } from "../bell.ts";
import { StreamError } from "../protocol.ts";
import { type Appender, Credit, type CreditPool } from "../resources.ts";
import { startTimer } from "../timer.ts";

/** A request that brings so little is written at once: it is over before the next checkpoint is due. */
const SMALL_BYTES = 64 * 1024;

/** Content of a request. */
export interface Content {
  /** The bytes. */
  body: ReadableStream<Uint8Array> | null;
  /** How many there are; null when the request does not say. */
  byteCount: number | null;
  /** Sees the bytes as they pass. */
  seen?(bytes: Uint8Array): void;
  /** Tells, when all of it arrived, whether its sender was answered by somebody else, and hears nothing of us. */
  isAnswered?(): Promise<boolean>;
}

/** Appends what one request brings, no faster than it is written. */
export class Intake {
  readonly #appender: Appender;
  readonly #credit: Credit;
  readonly #silenceMs: number;
  #stopped: StreamError | null = null;
  /** Nothing more comes that what waits could be joined with. */
  #isAllHere = false;
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  readonly #progressed = new Bell();

  /**
   * @param appender Where the bytes go.
   * @param pool The server's budget of bytes that wait to be written.
   * @param silenceMs A request without a byte for so long is given up, in ms.
   */
  constructor(appender: Appender, pool: CreditPool, silenceMs: number) {
    this.#appender = appender;
    this.#credit = new Credit(pool, appender.received, performance.now());
    this.#silenceMs = silenceMs;
  }

  /** Ends it: no byte of this request is appended from now on. */
  stop(error: StreamError): void {
    this.#stopped ??= error;
    this.#progressed.ring();
    // A read that waits ends at once.
    this.#reader?.cancel(error).catch(() => {});
  }

  /** Hears that bytes are as safe as promised. */
  acknowledged(byteOffset: number): void {
    const isUsedUp = this.#appender.received >= this.#credit.limit;
    if (this.#credit.advance(byteOffset, performance.now(), isUsedUp)) this.#pace();
    this.#progressed.ring();
  }

  /**
   * Takes everything in.
   * @returns When all of it is as safe as promised.
   * @throws {StreamError} INTERRUPTED when the request breaks off; what `stop` was called with.
   */
  async receive({ body, byteCount, seen, isAnswered }: Content): Promise<void> {
    const start = this.#appender.received;
    this.#isAllHere = false;
    this.#pace(byteCount);
    const arrived = body === null ? 0 : await this.#pump(body, seen);
    if (await isAnswered?.()) throw notUnderstood();
    if (byteCount !== null && arrived !== byteCount) {
      throw interrupted(`${arrived} of ${byteCount} bytes arrived`);
    }
    this.#isAllHere = true;
    this.#pace();
    while (this.#appender.acknowledged < this.#appender.received) await this.#progress();
    this.#check();
    // An appender whose log was taken away takes nothing and says nothing.
    if (this.#appender.received !== start + arrived) {
      throw new StreamError("FENCED", "the upload was resumed by another connection");
    }
  }

  /** Gives its credit back. */
  release(): void {
    this.#credit.release();
  }

  async #pump(body: ReadableStream<Uint8Array>, seen?: Content["seen"]): Promise<number> {
    const reader = this.#reader = body.getReader();
    let arrived = 0;
    for (;;) {
      // A chunk may be larger than the window (1.5 MiB on Bun); nothing is read before it is written.
      while (this.#appender.received >= this.#credit.limit) await this.#progress();
      this.#check();
      const { done, value } = await this.#read(reader);
      this.#check();
      if (done) return arrived;
      arrived += value.length;
      seen?.(value);
      this.#appender.append(value);
    }
  }

  async #read(
    reader: ReadableStreamDefaultReader<Uint8Array>,
  ): Promise<ReadableStreamReadResult<Uint8Array>> {
    const silent = () => {
      const seconds = Math.round(this.#silenceMs / 1000);
      this.stop(new StreamError("PEER_SILENT", `nothing was heard for ${seconds} s`));
    };
    const stopTimer = startTimer(this.#silenceMs, silent);
    try {
      return await reader.read();
    } catch {
      this.#check();
      throw interrupted("its request broke off");
    } finally {
      stopTimer();
    }
  }

  async #progress(): Promise<void> {
    this.#check();
    await this.#progressed.rung();
  }

  #check(): void {
    if (this.#stopped !== null) throw this.#stopped;
  }

  #pace(byteCount: number | null = null): void {
    const isSmall = byteCount !== null && byteCount <= SMALL_BYTES;
    const isUrgent = isSmall || this.#isAllHere;
    this.#appender.writeAfterBytes = isUrgent ? 1 : this.#credit.writeAfterBytes;
  }
}

/** The content is whole, but its sender was told of an error behind it. */
export function notUnderstood(): StreamError {
  return interrupted("what stands behind the content was not understood");
}

function interrupted(how: string): StreamError {
  return new StreamError("INTERRUPTED", `the connection of the uploader broke: ${how}`);
}
