/**
 * Bytes that somebody watches while they are uploaded.
 * @module
 */
import { type Chunks, pull } from "./source.ts";

/** Takes chunks; resolves when the next one is welcome. */
export type Watcher = (chunk: Uint8Array) => Promise<void>;

/** Most that is still read of a pipe that somebody holds open. */
const LAST_BYTES = 1024 * 1024;
/** A pipe that brings nothing for so long is empty. */
const SILENT_MS = 100;

/**
 * Hands every chunk to a watcher before it can be read from {@link Tee.stream}. When nobody wants that stream any more the
 * watcher is served all the same; when the watcher fails, reading goes on without it, or ends (see {@link Tee.failure}).
 */
export class Tee {
  /** The bytes, read when asked for. */
  readonly stream: ReadableStream<Uint8Array>;
  /** Resolves when the source ended and the watcher has everything. */
  readonly done: Promise<void>;
  readonly #done = Promise.withResolvers<void>();
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #watcher: Watcher;
  readonly #endsWith: (failure: unknown) => boolean;
  #turn: Promise<unknown> = Promise.resolve();
  #bytes = 0;
  #failure: unknown = null;
  #isOver = false;
  #isDraining = false;
  /** Answers the read that is under way without a chunk. */
  #answerNothing: (() => void) | null = null;
  /** When a chunk was handed on that was not followed by another read. */
  #heldSinceMs: number | null = null;

  /**
   * @param source The bytes.
   * @param watcher Sees them first.
   * @param endsWith Tells whether the source is to be ended when the watcher fails with this error.
   */
  constructor(
    source: ReadableStream<Uint8Array>,
    watcher: Watcher,
    endsWith: (failure: unknown) => boolean,
  ) {
    this.#reader = source.getReader();
    this.#watcher = watcher;
    this.#endsWith = endsWith;
    this.done = this.#done.promise;
    const chunks: Chunks = { next: () => this.#next(), close: () => this.#drain() };
    this.stream = pull(chunks);
  }

  /** How the watcher failed; null if it did not. */
  get failure(): unknown {
    return this.#failure;
  }

  /** How long the source has been waiting for the reader of the stream, in ms. */
  get heldMs(): number {
    return this.#heldSinceMs === null ? 0 : performance.now() - this.#heldSinceMs;
  }

  /** Ends a source that somebody else holds open, after what is there was read. */
  async stop(): Promise<void> {
    const lastByte = this.#bytes + LAST_BYTES;
    while (!this.#isOver) {
      const reading = this.#answerNothing;
      // A read that has waited for long proves nothing: what it waits for may be there, and we the ones who are late.
      await Promise.race([this.done, new Promise((resolve) => setTimeout(resolve, SILENT_MS))]);
      const isSilent = reading === this.#answerNothing;
      if (isSilent || this.#bytes >= lastByte) this.#answerNothing?.();
    }
  }

  #next(): Promise<Uint8Array | null> {
    const turn = this.#read();
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #read(): Promise<Uint8Array | null> {
    this.#heldSinceMs = null;
    if (this.#isOver) return null;
    const chunk = await this.#readOrStop().finally(() => this.#answerNothing = null);
    if (chunk === null) return this.#end();
    await this.#show(chunk);
    this.#bytes += chunk.length;
    if (!this.#isDraining) this.#heldSinceMs = performance.now();
    return chunk;
  }

  #readOrStop(): Promise<Uint8Array | null> {
    return new Promise((resolve, reject) => {
      this.#answerNothing = () => resolve(null);
      this.#reader.read().then(({ value }) => resolve(value ?? null), (error) => {
        this.#end();
        reject(error);
      });
    });
  }

  async #show(chunk: Uint8Array): Promise<void> {
    if (this.#failure !== null) return;
    try {
      await this.#watcher(chunk);
    } catch (error) {
      this.#failure = error;
      if (!this.#endsWith(error)) return;
      await this.#reader.cancel().catch(() => {});
    }
  }

  #end(): null {
    this.#isOver = true;
    this.#heldSinceMs = null;
    this.#done.resolve();
    return null;
  }

  /** Nobody wants the stream any more: the watcher still does. */
  async #drain(): Promise<void> {
    if (this.#isDraining || this.#isOver) return;
    this.#isDraining = true;
    this.#heldSinceMs = null;
    const watch = async () => {
      await this.#turn;
      while (await this.#read() !== null);
    };
    watch().catch(() => this.#end());
    await Promise.resolve();
  }
}
