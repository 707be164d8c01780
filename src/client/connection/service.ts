/**
 * The servers of one service: each has everything, so that another one is asked when one does not answer.
 * @module
 */
import { type ErrorCode, httpBase, isTransient, MovedError, StreamError } from "../../protocol.ts";

/** Servers that one service may have. */
const MOST_SERVERS = 16;

/** Errors that say something of a server, not of a resource: one that was only named is the wrong one, then. */
const OF_SERVERS: ReadonlySet<ErrorCode> = new Set([
  "BAD_REQUEST",
  "FORBIDDEN",
  "HOST_REFUSED",
  "INTERNAL",
  "METHOD_NOT_ALLOWED",
  "NOT_FOUND",
  "ORIGIN_REFUSED",
  "UNAUTHORIZED",
]);

/** Servers of which any will do. */
export class Service {
  /** Those that the user named, or a reference. */
  readonly #own: readonly string[];
  /** Whether what these name is believed, and gets the token, too. */
  readonly #isTrusted: boolean;
  /** These, and what one of them named when it ended. */
  #servers: readonly string[];
  #at = 0;

  private constructor(servers: readonly string[], isTrusted: boolean) {
    this.#own = this.#servers = servers;
    this.#isTrusted = isTrusted;
  }

  /** The server of a reference, which may come from anybody: nothing that it names is believed. */
  static ofReference(server: string): Service {
    return new Service([server], false);
  }

  /**
   * Reads the servers of a service.
   * @param text Base URL of its server, or several with commas between them.
   * @throws {StreamError} BAD_REQUEST when one is no such URL, or there are too many.
   */
  static at(text: string): Service {
    const servers = [...new Set(text.split(",").map((url) => httpBase(url.trim())))];
    if (servers.length <= MOST_SERVERS) return new Service(servers, true);
    throw new StreamError(
      "BAD_REQUEST",
      `a service may have ${MOST_SERVERS} servers, not ${servers.length}`,
    );
  }

  /** HTTP base URL of the server to ask next. */
  get server(): string {
    return this.#servers[this.#at];
  }

  /** Those that were not named by one of them, as `at` reads them, the one to ask next first. */
  get all(): string {
    const at = Math.max(0, this.#own.indexOf(this.server));
    return [...this.#own.slice(at), ...this.#own.slice(0, at)].join(",");
  }

  /** How many servers there are. */
  get count(): number {
    return this.#servers.length;
  }

  /** Whether a token that is meant for this service may go to a server. */
  serves(server: string): boolean {
    return this.#own.some((known) => new URL(known).origin === new URL(server).origin);
  }

  /**
   * The same servers, another one first.
   * @param server HTTP base URL of that one.
   * @returns The service; one of that server alone when it is none of these.
   */
  from(server: string): Service {
    if (!this.#own.includes(server)) return Service.ofReference(server);
    const service = new Service(this.#own, this.#isTrusted);
    service.#at = this.#own.indexOf(server);
    return service;
  }

  /**
   * What an attempt at a server failed of: one that was only named, and refuses it for itself, is none of the service.
   * @param server HTTP base URL of the server.
   * @param error How it failed.
   */
  meant(server: string, error: StreamError): StreamError {
    const isNamed = this.#servers.includes(server) && !this.#own.includes(server);
    if (!isNamed || !OF_SERVERS.has(error.code)) return error;
    const message = `${server}, which was named by another server, is none of the service`;
    return new StreamError("UNREACHABLE", `${message}: ${error.message}`, { cause: error });
  }

  /**
   * A server failed: where another one may do better, that is asked next; those that it names before all others.
   * @param server HTTP base URL of the one that failed.
   * @param error How it failed.
   * @returns Whether another one may do better.
   */
  leave(server: string, error: StreamError): boolean {
    if (error instanceof MovedError && this.#isTrusted) this.#move(server, error.servers);
    if (!isTransient(error) || this.count === 1) return false;
    // Others may have left it already.
    if (this.server === server) this.#at = (this.#at + 1) % this.count;
    return true;
  }

  /** Puts those that a server names first, and itself last. */
  #move(server: string, named: readonly string[]): void {
    // A thousand clients are not to meet at the same one.
    const others = named.filter((url) => url !== server && isAsSafe(url, server))
      .map((url) => ({ url, order: Math.random() }))
      .toSorted((a, b) => a.order - b.order)
      .map(({ url }) => url)
      .slice(0, MOST_SERVERS - this.#own.length);
    const rest = this.#own.filter((url) => url !== server);
    const own = this.#own.includes(server) ? [...rest, server] : rest;
    this.#servers = [...new Set([...others, ...own])];
    this.#at = 0;
  }
}

/** Whether a server is an address as we write them, and what is secret is as safe there as at another one. */
function isAsSafe(url: string, server: string): boolean {
  try {
    return httpBase(url) === url && (url.startsWith("https:") || server.startsWith("http:"));
  } catch {
    return false;
  }
}
