/**
 * The requests of one connection by HTTP: each with an end, and all of them ended together.
 * @module
 */
import {
  decodeMessage,
  type MessageOf,
  type ResourceStatus,
  StreamError,
  toStreamError,
} from "../protocol.ts";
import { checkToken, refusal, unreachable } from "./channel.ts";

/** A server that takes so long for a whole answer is given up, in ms; as on a WebSocket (PROTOCOL.md 2.3). */
export const SILENT_AFTER_MS = 60_000;

/** Whom requests go to, and who asks. */
export interface Asked {
  /** HTTP base URL. */
  server: string;
  /** Bearer token to present. */
  token?: string;
  /** What a signed link carries; each request does, too. */
  access?: string;
}

/** What is asked of a server. */
export interface Asking {
  /** HTTP method; GET by default. */
  method?: string;
  /** Header fields. */
  headers?: Record<string, string>;
  /** The content. */
  body?: Uint8Array;
}

/** A whole answer that is no error. */
export interface Answer {
  /** HTTP status. */
  status: number;
  /** Header fields. */
  headers: Headers;
  /** The content. */
  text: string;
}

/** The server refused a request, and what its answer said besides. */
export class RefusedError extends StreamError {
  /** @param error The reason. */
  constructor(
    error: StreamError,
    /** Header fields of the answer. */
    readonly headers: Headers,
  ) {
    super(error.code, error.message);
  }
}

/** Requests to one server. */
export class HttpRequests {
  readonly #asked: Asked;
  readonly #running = new Set<AbortController>();
  #stopped = false;

  /** @param asked Whom they go to. */
  constructor(asked: Asked) {
    this.#asked = asked;
  }

  /**
   * One request and its whole answer.
   * @param path Path and query.
   * @param asking The rest of it.
   * @throws {StreamError} UNREACHABLE, INTERRUPTED, PEER_SILENT; {@link RefusedError} with the server's reason.
   */
  async ask(path: string, asking: Asking = {}): Promise<Answer> {
    return await this.#during(async (controller) => {
      const silent = new StreamError(
        "PEER_SILENT",
        `the server did not answer for ${SILENT_AFTER_MS / 1000} s`,
      );
      const timer = setTimeout(() => controller.abort(silent), SILENT_AFTER_MS);
      try {
        const response = await this.#fetch(path, asking, controller.signal);
        return { status: response.status, headers: response.headers, text: await response.text() };
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
        await read(await this.#fetch(path, asking, controller.signal));
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

  /** Tells errors of the network from those that have a code already. */
  async #during<T>(step: (controller: AbortController) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    this.#running.add(controller);
    if (this.#stopped) controller.abort();
    try {
      return await step(controller);
    } catch (error) {
      const { reason } = controller.signal;
      if (error instanceof StreamError) throw error;
      if (reason instanceof StreamError) throw reason;
      throw new StreamError("INTERRUPTED", "the connection to the server broke", { cause: error });
    } finally {
      this.#running.delete(controller);
    }
  }

  async #fetch(
    path: string,
    { method = "GET", headers, body }: Asking,
    signal: AbortSignal,
  ): Promise<Response> {
    const { server, token, access } = this.#asked;
    const link = access === undefined ? "" : `${path.includes("?") ? "&" : "?"}access=${access}`;
    const fields = new Headers(headers);
    if (token !== undefined) fields.set("authorization", `Bearer ${checkToken(token)}`);
    let response: Response;
    try {
      response = await fetch(server + path + link, {
        method,
        headers: fields,
        body: body as Uint8Array<ArrayBuffer> | undefined,
        signal,
        // A status that was kept somewhere is an old one.
        cache: "no-store",
        redirect: "error",
      });
    } catch (error) {
      if (signal.aborted) throw error;
      throw withoutSecret(unreachable(server, error));
    }
    if (response.ok) return response;
    const asked = `${method} ${path}`;
    const error = refusal(server, asked, response.status, await response.text());
    throw new RefusedError(withoutSecret(error), response.headers);
  }
}

/** Errors are shown and logged; whoever reads the address of an upload owns it, and a signed link opens. */
function withoutSecret(error: StreamError): StreamError {
  const message = error.message.replace(/(\/uploads\/[^/\s]+\/|[?&]access=)[^\s/?&)]+/g, "$1…");
  return message === error.message ? error : new StreamError(error.code, message);
}

/**
 * The JSON of an answer.
 * @throws {StreamError} UNREACHABLE when something else than our server answers.
 */
export function parseJson<T>(text: string): T {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new StreamError("UNREACHABLE", "what answers there is no stream server", { cause });
  }
}

/**
 * The status that JSON shows, checked like the message of a WebSocket.
 * @param json A ResourceStatus, or what holds one among others.
 * @throws {StreamError} UNREACHABLE when it holds none.
 */
export function statusIn(json: string): MessageOf<"StatusChanged"> {
  try {
    const message = decodeMessage(`{"@":"StatusChanged","resourceStatus":${json}}`);
    const { resourceStatus } = message as MessageOf<"StatusChanged">;
    const { transferStatus, currentSize, numberOfLines, durableSize, epoch, sequence, failure } =
      resourceStatus as never as Record<string, never>;
    return {
      "@": "StatusChanged",
      resourceStatus: {
        transferStatus,
        currentSize,
        numberOfLines,
        durableSize,
        epoch,
        sequence,
        failure,
      },
    };
  } catch (error) {
    const { message } = toStreamError(error);
    throw new StreamError("UNREACHABLE", `what answers there is no stream server: ${message}`);
  }
}

/** Tells whether a status is not known yet. */
export function isNewer(status: ResourceStatus, known: ResourceStatus | null): boolean {
  return known === null || status.epoch > known.epoch ||
    status.epoch === known.epoch && status.sequence > known.sequence;
}
