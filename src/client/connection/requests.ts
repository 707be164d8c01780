/**
 * The requests of one connection by HTTP: each with an end, and all of them ended together.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import { type Asking, fetchFrom, type Recipient } from "./http.ts";

/** A server that takes so long for a whole answer is given up, in ms; as on a WebSocket (PROTOCOL.md 2.3). */
export const SILENT_AFTER_MS = 60_000;

/** A whole answer that is no error. */
export interface Answer {
  /** Header fields. */
  headers: Headers;
  /** The content. */
  text: string;
}

/** Requests to one server. */
export class HttpRequests {
  readonly #recipient: Recipient;
  readonly #running = new Set<AbortController>();
  #stopped = false;

  /** @param recipient Whom they go to. */
  constructor(recipient: Recipient) {
    this.#recipient = recipient;
  }

  /**
   * One request and its whole answer.
   * @param path Path and query.
   * @param asking The rest of it.
   * @throws {StreamError} UNREACHABLE, INTERRUPTED, PEER_SILENT; `RefusedError` with the server's reason.
   */
  async ask(path: string, asking: Asking = {}): Promise<Answer> {
    return await this.#during(async (controller) => {
      const silent = new StreamError(
        "PEER_SILENT",
        `the server did not answer for ${SILENT_AFTER_MS / 1000} s`,
      );
      const timer = setTimeout(() => controller.abort(silent), SILENT_AFTER_MS);
      try {
        const response = await this.#fetch(path, asking, controller);
        return { headers: response.headers, text: await response.text() };
      } finally {
        clearTimeout(timer);
      }
    });
  }

  /**
   * One request whose answer may last; the request ends when `read` does.
   * @param path Path and query.
   * @param asking The rest of it.
   * @param read Reads the answer.
   * @throws {StreamError} As `ask`, except that the caller has to find out whether the server fell silent.
   */
  async stream(
    path: string,
    asking: Asking,
    read: (response: Response) => Promise<void>,
  ): Promise<void> {
    await this.#during(async (controller) => {
      try {
        await read(await this.#fetch(path, asking, controller));
      } finally {
        controller.abort();
      }
    });
  }

  /** Ends all that is going on; there will be no more. */
  stop(): void {
    this.#stopped = true;
    for (const controller of this.#running) controller.abort();
  }

  #fetch(path: string, asking: Asking, { signal }: AbortController): Promise<Response> {
    return fetchFrom(this.#recipient, path, { ...asking, signal }, (response) => response);
  }

  /** Tells what we ended ourselves, and errors of the network, from errors that say more. */
  async #during<T>(step: (controller: AbortController) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    this.#running.add(controller);
    if (this.#stopped) controller.abort();
    try {
      return await step(controller);
    } catch (error) {
      const { reason } = controller.signal;
      if (reason instanceof StreamError) throw reason;
      if (error instanceof StreamError) throw error;
      throw new StreamError("INTERRUPTED", "the connection to the server broke", { cause: error });
    } finally {
      this.#running.delete(controller);
    }
  }
}
