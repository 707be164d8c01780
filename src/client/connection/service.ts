/**
 * The servers of one service: each has everything, so that another one is asked when one does not answer.
 * @module
 */
import { type ErrorCode, httpBase, StreamError } from "../../protocol.ts";

/** Servers that one service may have. */
const MOST_SERVERS = 16;

/** Errors that may pass by themselves, or elsewhere; all others would come again. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set([
  "INTERRUPTED",
  "LIMIT_REACHED",
  "NOT_READY",
  "PEER_SILENT",
  "RATE_LIMITED",
  "SHUTDOWN",
  "UNREACHABLE",
]);

/** Tells whether what failed with an error could go on later. */
export function isTransient({ code }: StreamError): boolean {
  return TRANSIENT.has(code);
}

/** Servers of which any will do. */
export class Service {
  readonly #servers: readonly string[];
  #at = 0;

  private constructor(servers: readonly string[]) {
    this.#servers = servers;
  }

  /**
   * Reads the servers of a service.
   * @param text Base URL of its server, or several with commas between them.
   * @throws {StreamError} BAD_REQUEST when one is no such URL, or there are too many.
   */
  static at(text: string): Service {
    const servers = [...new Set(text.split(",").map((url) => httpBase(url.trim())))];
    if (servers.length <= MOST_SERVERS) return new Service(servers);
    throw new StreamError(
      "BAD_REQUEST",
      `a service may have ${MOST_SERVERS} servers, not ${servers.length}`,
    );
  }

  /** HTTP base URL of the server to ask next. */
  get server(): string {
    return this.#servers[this.#at];
  }

  /** All of them, as `at` reads them, the one to ask next first. */
  get all(): string {
    return [...this.#servers.slice(this.#at), ...this.#servers.slice(0, this.#at)].join(",");
  }

  /** How many servers there are. */
  get count(): number {
    return this.#servers.length;
  }

  /** Whether a token that is meant for this service may go to a server. */
  serves(server: string): boolean {
    return this.#servers.some((known) => new URL(known).origin === new URL(server).origin);
  }

  /**
   * The same servers, another one first.
   * @param server HTTP base URL of that one.
   * @returns The service; one of that server alone when it is none of these.
   */
  from(server: string): Service {
    if (!this.#servers.includes(server)) return new Service([server]);
    const service = new Service(this.#servers);
    service.#at = this.#servers.indexOf(server);
    return service;
  }

  /**
   * A server failed: where another one may do better, that is asked next.
   * @param server HTTP base URL of the one that failed.
   * @param error How it failed.
   * @returns Whether another one may do better.
   */
  leave(server: string, error: StreamError): boolean {
    if (!isTransient(error) || this.count === 1) return false;
    // Others may have left it already.
    if (this.server === server) this.#at = (this.#at + 1) % this.count;
    return true;
  }
}
