/**
 * Answers whose bodies are made as their readers take them.
 * @module
 */
import type { Context } from "hono";
import { type ErrorCode, StreamError, toStreamError } from "../protocol.ts";
import type { HeartbeatTimes } from "../session.ts";
import type { Runtime } from "../runtime.ts";
import { whileGranted } from "./access.ts";
import { clientsOf, rowOf } from "./access/clients.ts";
import { markStreamed } from "./observer.ts";
import type { References } from "./references.ts";
import type { Ending, Sessions } from "./sessions.ts";
import { STEPS } from "../turn.ts";

/** Bun drops what it has not written when a response breaks off: what was sent last gets so much time, … */
const FLUSH_MS = 100;
/** … in so many turns of the event loop, as one that stood still would have written nothing. */
const FLUSH_TURNS = 10;
/** A timer that comes so many times too late shows that this process stood still. */
const LATE = 1.5;
/** Why a response breaks off that nobody meant to. */
const FAULTS: readonly ErrorCode[] = ["INTERNAL", "STORAGE_FAILED", "INDEX_DAMAGED"];
/** Longer bodies are made as they are taken; a short one is read first, for a fifth to a third less processor time. */
export const SHORT_BYTES = 64 * 1024;
/**
 * Pieces are made in turns until a reader took so much: sockets take 4 MiB of any answer (`tcp_wmem`), on Bun without a
 * turn between, and a thousand readers that took nothing kept everybody else waiting for 20 to 90 ms at a time.
 */
const PROVEN_BYTES = 4 * 1024 * 1024;
/** Nobody is told; without a reason each end would make an exception anew. */
const OVER = new StreamError("ABORTED", "the answer is over");
/** Short bodies are made to their end. */
const NEVER = new AbortController().signal;

/** Source of a body. */
export interface BodySource {
  /**
   * The chunks, not empty; what they throw breaks the response off.
   * @param signal Says that nobody wants more; they end then, or throw its reason.
   */
  chunks(signal: AbortSignal): AsyncGenerator<Uint8Array, void, void>;
  /** Bytes of all chunks, told as Content-Length; left out where nobody knows. */
  byteCount?: number;
  /** Releases what the chunks are read from; called once, when no chunk is being made. */
  release(): Promise<void> | void;
}

/** Parts that answers need. */
export interface AnswerParts {
  /** All that is open. */
  sessions: Sessions;
  /** A reader that takes nothing for `deadAfterMs` is given up: it holds a connection and what is read for it. */
  heartbeat: HeartbeatTimes;
  /** Drops the connections of readers that take nothing. */
  runtime: Runtime;
  /** Knows where requests come from. */
  references: References;
  /** Hears of faults of the server. */
  failed(c: Context, message: string): void;
}

/**
 * Answers with a body, which counts as a connection until it ends, and ends with the server or the grant of its request.
 *
 * @param c The request.
 * @param parts Who counts it.
 * @param source What the body is made of.
 * @param head Sets the status and the headers of the answer; what is refused has others.
 * @throws {StreamError} LIMIT_REACHED, and what the chunks of a short body throw; then nothing was released.
 */
export async function answerWith(
  c: Context,
  parts: AnswerParts,
  source: BodySource,
  head: () => void,
): Promise<Response> {
  // Hono answers HEAD by the handler of GET, and drops the body without a word.
  if (c.req.method === "HEAD") return answerHead(c, source, head);
  const clients = () => clientsOf(c, parts.references);
  parts.sessions.checkRoom(clients);
  const { byteCount = Infinity } = source;
  if (byteCount <= SHORT_BYTES) {
    const bytes = await gather(source.chunks(NEVER), byteCount);
    head();
    void released(source);
    c.header("content-length", String(byteCount));
    return c.body(onePiece(bytes));
  }
  head();
  if (byteCount !== Infinity) c.header("content-length", String(byteCount));
  markStreamed(c);
  return c.body(new Body(c, parts, source, clients()).stream);
}

function answerHead(c: Context, source: BodySource, head: () => void): Response {
  const { byteCount } = source;
  head();
  if (byteCount !== undefined) c.header("content-length", String(byteCount));
  // Runtimes would tell the length of the empty body.
  else c.header("transfer-encoding", "chunked");
  void released(source);
  return c.body(null);
}

/**
 * Bun sends each header of a body that is no stream in a packet of its own, and takes what a stream may hold for bytes:
 * one that fits is sent whole, with its Content-Length, and others in chunks (findings/bun-streamed-length.sh).
 */
function onePiece(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  }, { highWaterMark: 2 * SHORT_BYTES });
}

/** All chunks in one piece. */
async function gather(
  chunks: AsyncIterable<Uint8Array>,
  byteCount: number,
): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: Uint8Array | null = null;
  let filled = 0;
  for await (const chunk of chunks) {
    // Most come in one.
    if (chunk.length === byteCount) return chunk as Uint8Array<ArrayBuffer>;
    bytes ??= new Uint8Array(byteCount);
    bytes.set(chunk, filled);
    filled += chunk.length;
  }
  return (bytes ?? new Uint8Array()) as Uint8Array<ArrayBuffer>;
}

class Body implements Ending {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #stop = new AbortController();
  readonly #chunks: AsyncGenerator<Uint8Array, void, void>;
  readonly #context: Context;
  readonly #parts: AnswerParts;
  readonly #source: BodySource;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  readonly #row: () => string;
  #leftBytes: number;
  #sentBytes = 0;
  #making = false;
  #over = false;
  #dropped = false;
  #stalled: ReturnType<typeof setTimeout> | undefined;
  readonly #stopWaiting: () => void;

  constructor(
    context: Context,
    parts: AnswerParts,
    source: BodySource,
    clients: readonly string[],
  ) {
    this.#context = context;
    this.#parts = parts;
    this.#source = source;
    this.#chunks = source.chunks(this.#stop.signal);
    this.#row = () => rowOf(context.req.raw, context.env, parts.references);
    this.#leftBytes = source.byteCount ?? Infinity;
    this.stream = new ReadableStream({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#next(),
      cancel: () => this.#end(),
    }, { highWaterMark: 0 });
    parts.sessions.add(this, "http", clients);
    this.#stopWaiting = whileGranted(context, (reason) => this.fail(reason));
    this.#allowSilence("any");
    this.#expectPull();
  }

  /** Chunks that are being made end by the signal, each kind in its way; without one the response breaks off. */
  fail(error: StreamError): void {
    if (this.#over) return;
    if (this.#making) return this.#stop.abort(error);
    this.#break();
    void this.#end();
  }

  async #next(): Promise<void> {
    clearTimeout(this.#stalled);
    this.#making = true;
    try {
      if (await this.#send()) return;
      if (!this.#over) this.#controller.close();
    } catch (thrown) {
      this.#report(toStreamError(thrown));
      await flushed();
      if (!this.#over) this.#break();
    } finally {
      this.#making = false;
    }
    await this.#end();
  }

  /** Sends a chunk; false when it was the last. */
  async #send(): Promise<boolean> {
    if (this.#sentBytes < PROVEN_BYTES) await STEPS.wait(this.#row);
    const { done, value } = await this.#chunks.next();
    if (done || this.#over) return false;
    this.#controller.enqueue(value as Uint8Array<ArrayBuffer>);
    this.#sentBytes += value.length;
    this.#leftBytes -= value.length;
    // Nobody pulls behind the last byte that a Content-Length announced.
    if (this.#leftBytes === 0) return false;
    this.#expectPull();
    return true;
  }

  /** Drops a reader that takes no more, although there is something to take. */
  #expectPull(): void {
    const { deadAfterMs } = this.#parts.heartbeat;
    const sinceMs = performance.now();
    this.#stalled = setTimeout(() => {
      // A process that was stopped could not be asked for more.
      if (performance.now() - sinceMs > LATE * deadAfterMs) return this.#expectPull();
      this.#dropped = true;
      this.#allowSilence("none");
      this.fail(new StreamError("PEER_SILENT", `nothing was taken for ${deadAfterMs} ms`));
    }, deadAfterMs);
  }

  #allowSilence(silence: "any" | "some" | "none"): void {
    const { runtime } = this.#parts;
    runtime.allowSilence?.(this.#context.req.raw, this.#context.env, silence);
  }

  /** Without a reason: the runtimes print those, as if they were faults of the server. */
  #break(): void {
    this.#controller.error();
  }

  #report({ code, message }: StreamError): void {
    if (this.#over || !FAULTS.includes(code)) return;
    this.#parts.failed(this.#context, message);
  }

  async #end(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#stopWaiting();
    clearTimeout(this.#stalled);
    if (!this.#dropped) this.#allowSilence("some");
    this.#stop.abort(OVER);
    await this.#chunks.return().catch(() => {});
    this.#parts.sessions.remove(this);
    await released(this.#source);
  }
}

/** Releases a source; one that cannot be closed harms no reader. */
async function released(source: BodySource): Promise<void> {
  try {
    await source.release();
  } catch { /* Nobody waits for it. */ }
}

async function flushed(): Promise<void> {
  for (let turn = 0; turn < FLUSH_TURNS; turn++) {
    await new Promise((resolve) => setTimeout(resolve, FLUSH_MS / FLUSH_TURNS));
  }
}
