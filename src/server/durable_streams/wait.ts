/**
 * A wait for what becomes of a resource, which ends with the server, the grant of its request, or its time.
 * @module
 */
import type { Context } from "hono";
import { Bell } from "../../bell.ts";
import type { StreamError } from "../../protocol.ts";
import type { Resource } from "../../resources.ts";
import { whileGranted } from "../access.ts";
import { clientsOf } from "../access/clients.ts";
import type { FaceParts } from "../face.ts";
import type { Ending } from "../sessions.ts";

/** A request that waits; it counts as a connection. */
export class Wait implements Ending {
  readonly #context: Context;
  readonly #parts: FaceParts;
  readonly #resource: Resource;
  readonly #bell = new Bell();
  #failure: StreamError | null = null;

  /**
   * @param context The request.
   * @param parts Who counts it.
   * @param resource What it waits for.
   */
  constructor(context: Context, parts: FaceParts, resource: Resource) {
    this.#context = context;
    this.#parts = parts;
    this.#resource = resource;
  }

  fail(error: StreamError): void {
    this.#failure ??= error;
    this.#bell.ring();
  }

  /**
   * Waits.
   * @param isThere Asked after every change.
   * @param timeoutMs The longest wait, in ms.
   * @throws {StreamError} LIMIT_REACHED; SHUTDOWN, UNAUTHORIZED when it is ended.
   */
  async until(isThere: () => boolean, timeoutMs: number): Promise<void> {
    const { sessions, runtime, references } = this.#parts;
    const { req: { raw }, env } = this.#context;
    const clients = clientsOf(this.#context, references);
    sessions.checkRoom(() => clients);
    sessions.add(this, "http", clients);
    const unwatch = this.#resource.watch(this.#bell.ring);
    const stopWaiting = whileGranted(this.#context, (reason) => this.fail(reason));
    runtime.allowSilence?.(raw, env, "any");
    // Nothing else tells that who waits is gone.
    raw.signal.addEventListener("abort", this.#bell.ring);
    const isOver = () => raw.signal.aborted || isThere();
    const endMs = performance.now() + timeoutMs;
    try {
      for (let leftMs = timeoutMs; leftMs > 0 && !isOver(); leftMs = endMs - performance.now()) {
        await this.#bell.rungWithin(Math.ceil(leftMs));
        if (this.#failure !== null) throw this.#failure;
      }
    } finally {
      raw.signal.removeEventListener("abort", this.#bell.ring);
      runtime.allowSilence?.(raw, env, "some");
      stopWaiting();
      unwatch();
      sessions.remove(this);
    }
  }
}
