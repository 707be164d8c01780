/**
 * The bytes of a resource as the body of a response: read when they are taken, followed while they come.
 * @module
 */
import { StreamError, toStreamError } from "../protocol.ts";
import type { Resource } from "../resources/resource.ts";
import type { Ending } from "./sessions.ts";

/** One read; smaller ones move 1.5 times slower, larger ones hardly faster, and every reader may hold one. */
const READ_BYTES = 256 * 1024;

/** Bun drops what it has not written when a response breaks off: what was sent last gets so much time, … */
const FLUSH_MS = 100;
/** … in so many turns of the event loop, as one that stood still would have written nothing. */
const FLUSH_TURNS = 10;

/** What is sent, and what becomes of it. */
export interface ContentBodyOptions {
  /** Position of the first byte. */
  first: number;
  /** Position behind the last one; Infinity for the end of the transfer. */
  end: number;
  /** A reader that takes nothing for so long is dropped, in ms. */
  stalledAfterMs: number;
  /** Everything is over; `error` says why if not everything was sent. */
  ended(error: StreamError | null): void;
}

/** One body; it ends as an error unless all of it was sent. */
export class ContentBody implements Ending {
  /** What the response is made of. */
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #resource: Resource;
  readonly #options: ContentBodyOptions;
  readonly #unwatch: () => void = () => {};
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  #next: number;
  #over = false;
  #pulling: Promise<void> = Promise.resolve();
  #wake: (() => void) | null = null;
  #stalled: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param resource What is read; it stays open until `ended`.
   * @param options What of it.
   */
  constructor(resource: Resource, options: ContentBodyOptions) {
    this.#resource = resource;
    this.#options = options;
    this.#next = options.first;
    if (options.end === Infinity) this.#unwatch = resource.watch(() => this.#signal());
    this.stream = new ReadableStream({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#pulling = this.#pull(),
      cancel: () => this.#end(null),
    }, { highWaterMark: 0 });
    this.#expectPull();
  }

  /** Position of the next byte to send. */
  get next(): number {
    return this.#next;
  }

  /** Breaks the response off. */
  fail(error: StreamError): void {
    if (this.#over) return;
    // Without a reason: the runtimes print those, as if they were faults of the server.
    this.#controller.error();
    this.#end(error);
  }

  async #pull(): Promise<void> {
    clearTimeout(this.#stalled);
    try {
      const byteCount = await this.#available();
      if (byteCount > 0) await this.#send(byteCount);
      // Nobody pulls behind the last byte that a Content-Length announced.
      if (this.#over || byteCount > 0 && this.#next < this.#options.end) return;
      this.#controller.close();
      this.#end(null);
    } catch (error) {
      await flushed();
      this.fail(toStreamError(error));
    }
  }

  /** Waits for bytes that can be read; 0 at the end. */
  async #available(): Promise<number> {
    while (!this.#over) {
      const { status: { currentSize, transferStatus, failure }, deleted, id } = this.#resource;
      if (deleted) throw new StreamError("DELETED", `resource ${id} was deleted`);
      const byteCount = Math.min(currentSize, this.#options.end) - this.#next;
      if (byteCount > 0) return Math.min(byteCount, READ_BYTES);
      if (transferStatus === "FAILED") throw new StreamError("ABORTED", `FAILED: ${failure}`);
      if (transferStatus === "COMPLETED") {
        if (byteCount === 0) return 0;
        throw new StreamError("RANGE_NOT_AVAILABLE", `${id} has no byte ${this.#next}`);
      }
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return 0;
  }

  async #send(byteCount: number): Promise<void> {
    const bytes = await this.#resource.read(this.#next, byteCount);
    if (this.#over) return;
    this.#next += bytes.length;
    this.#controller.enqueue(bytes as Uint8Array<ArrayBuffer>);
    this.#expectPull();
  }

  /** Drops a reader that takes no more, although there is something to take. */
  #expectPull(): void {
    const { stalledAfterMs } = this.#options;
    this.#stalled = setTimeout(() => {
      this.fail(new StreamError("PEER_SILENT", `nothing was taken for ${stalledAfterMs} ms`));
    }, stalledAfterMs);
  }

  #end(error: StreamError | null): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#stalled);
    this.#unwatch();
    this.#signal();
    // A read that is under way needs its log.
    void this.#pulling.then(() => this.#options.ended(error));
  }

  #signal(): void {
    this.#wake?.();
    this.#wake = null;
  }
}

async function flushed(): Promise<void> {
  for (let turn = 0; turn < FLUSH_TURNS; turn++) {
    await new Promise((resolve) => setTimeout(resolve, FLUSH_MS / FLUSH_TURNS));
  }
}
