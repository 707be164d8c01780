/**
 * Answers whose bodies are made as their readers take them.
 * @module
 */
import type { Context } from "hono";
import { StreamError } from "../protocol.ts";
import type { Ending, Sessions } from "./sessions.ts";

/** A reader that takes nothing for so long is given up: it holds a connection and what is read for it. */
const STALLED_MS = 60_000;

/** What a body is made of. */
export interface BodySource {
  /** The chunks; the signal says that nobody wants more. Ends cleanly then, or with the signal's reason. */
  chunks(signal: AbortSignal): AsyncGenerator<Uint8Array, void, void>;
  /** Releases what the chunks are read from; called once, when no chunk is being made. */
  release(): Promise<void> | void;
}

/**
 * Answers with a body, which counts as a connection until it ends, and ends with the server.
 *
 * @param c The request, with the headers of the answer.
 * @param sessions All that is open.
 * @param source What the body is made of.
 * @param stalledMs After so long without a read the reader is given up, in ms.
 * @throws {StreamError} LIMIT_REACHED; then nothing was released.
 */
export function answerWith(
  c: Context,
  sessions: Sessions,
  source: BodySource,
  stalledMs: number = STALLED_MS,
): Response {
  sessions.checkRoom();
  // Hono answers HEAD by the handler of GET, and drops the body without a word.
  if (c.req.raw.method !== "HEAD") return c.body(new Body(sessions, source, stalledMs).stream);
  void source.release();
  return c.body(null);
}

class Body implements Ending {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #stop = new AbortController();
  readonly #chunks: AsyncGenerator<Uint8Array, void, void>;
  readonly #sessions: Sessions;
  readonly #source: BodySource;
  readonly #stalledMs: number;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #reading = false;
  #over = false;
  #stalled: ReturnType<typeof setTimeout> | undefined;

  constructor(sessions: Sessions, source: BodySource, stalledMs: number) {
    this.#source = source;
    this.#stalledMs = stalledMs;
    this.#chunks = source.chunks(this.#stop.signal);
    this.#sessions = sessions;
    this.stream = new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#next(),
      cancel: (reason) => this.#end(reason),
    }, { highWaterMark: 0 });
    sessions.add(this);
    this.#watch();
  }

  async #next(): Promise<void> {
    clearTimeout(this.#stalled);
    this.#reading = true;
    try {
      const { done, value } = await this.#chunks.next();
      if (this.#over) return;
      if (!done) {
        this.#controller.enqueue(value);
        return this.#watch();
      }
      this.#controller.close();
    } catch {
      if (this.#over) return;
      // Without a reason: the runtimes print those, as if they were faults of the server.
      this.#controller.error();
    } finally {
      this.#reading = false;
    }
    await this.#end();
  }

  /** Gives a reader up that does not come back. */
  #watch(): void {
    this.#stalled = setTimeout(() => {
      this.fail(new StreamError("PEER_SILENT", "the answer was not read"));
    }, this.#stalledMs);
  }

  /** Chunks that are being made end by the signal, each kind in its way; without one the response breaks off. */
  fail(error: StreamError): void {
    if (this.#reading) return this.#stop.abort(error);
    this.#controller.error();
    void this.#end(error);
  }

  async #end(reason?: unknown): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#stalled);
    this.#stop.abort(reason);
    this.#sessions.remove(this);
    await this.#chunks.return().catch(() => {});
    await this.#source.release();
  }
}
