/**
 * Content of a request that must be there before anything is done with it.
 * @module
 */
import { StreamError } from "../protocol.ts";
import type { CreditPool } from "../resources.ts";
import { startTimer } from "../timer.ts";
import { type Content, notUnderstood } from "./intake.ts";

/** Bytes that everybody may hold. */
const SMALL_BYTES = 64 * 1024;
/** A request without a byte for so long is given up: others may wait for its turn, or for its memory. */
const SILENCE_MS = 30_000;

/** Reads the content of a request piece by piece, within the server's budget of received bytes. */
export class Gatherer implements Disposable {
  readonly #content: Content;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | null;
  readonly #pool: CreditPool;
  #heldBytes = 0;
  /** Bytes that came with the last piece and belong to the next. */
  #left: Uint8Array | null = null;
  #isOver = false;
  #stopped: StreamError | null = null;

  /**
   * @param content The content.
   * @param pool The budget; given back with each piece that is done with, and at the end.
   */
  constructor(content: Content, pool: CreditPool) {
    this.#content = content;
    this.#reader = content.body?.getReader() ?? null;
    this.#pool = pool;
    this.#isOver = content.body === null;
  }

  /** Whether everything was read. */
  get isOver(): boolean {
    return this.#isOver && this.#left === null;
  }

  /** Ends it: a read that waits fails. */
  stop(error: StreamError): void {
    this.#stopped ??= error;
    this.#reader?.cancel(error).catch(() => {});
  }

  /**
   * The next bytes, in one piece; the memory of the piece before is not counted any more.
   * @param maxBytes The most; fewer only at the end.
   * @throws {StreamError} LIMIT_REACHED when the budget is spent; INTERRUPTED, PEER_SILENT; what it was stopped with.
   */
  async next(maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#give(this.#heldBytes);
    const chunks: Uint8Array[] = [];
    let byteCount = 0;
    while (byteCount < maxBytes) {
      const chunk = this.#left ?? await this.#read();
      this.#left = null;
      if (chunk === null) break;
      const room = maxBytes - byteCount;
      if (chunk.length > room) this.#left = chunk.subarray(room);
      chunks.push(chunk.subarray(0, room));
      byteCount += Math.min(chunk.length, room);
      this.#hold(byteCount);
    }
    // One more look tells whether that was all.
    if (byteCount === maxBytes && this.#left === null) this.#left = await this.#read();
    return joined(chunks, byteCount);
  }

  [Symbol.dispose](): void {
    this.#give(this.#heldBytes);
    if (!this.#isOver) this.#reader?.cancel().catch(() => {});
  }

  #hold(byteCount: number): void {
    const wanted = Math.max(0, byteCount - SMALL_BYTES) - this.#heldBytes;
    if (wanted <= 0) return;
    if (wanted > this.#pool.freeBytes) {
      throw new StreamError("LIMIT_REACHED", "too much is being received: try again later");
    }
    this.#pool.freeBytes -= wanted;
    this.#heldBytes += wanted;
  }

  #give(byteCount: number): void {
    this.#pool.freeBytes += byteCount;
    this.#heldBytes -= byteCount;
  }

  async #read(): Promise<Uint8Array | null> {
    if (this.#isOver) return null;
    const silent = () =>
      this.stop(new StreamError("PEER_SILENT", `nothing was heard for ${SILENCE_MS / 1000} s`));
    const stopTimer = startTimer(SILENCE_MS, silent);
    try {
      for (;;) {
        const { done, value } = await this.#reader!.read();
        if (this.#stopped !== null) throw this.#stopped;
        if (done) break;
        if (value.length > 0) return value;
      }
    } catch {
      throw this.#stopped ?? new StreamError("INTERRUPTED", "the request broke off");
    } finally {
      stopTimer();
    }
    this.#isOver = true;
    if (await this.#content.isAnswered?.()) throw notUnderstood();
    return null;
  }
}

function joined(chunks: readonly Uint8Array[], byteCount: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteCount);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
