/**
 * The names by which a server without credentials may be asked (PROTOCOL.md 2.6).
 *
 * A page in the browser of somebody who reaches the server may come from a name that its owner points at the server
 * meanwhile (DNS rebinding): to the browser both are one origin, and only the name of the request tells.
 * @module
 */
import { httpBase, StreamError } from "../../protocol.ts";

/** A host and a port, as RFC 9110 has them in `Host`; the host is what is compared. */
const HOST = /^(\[[0-9a-f:.]+\]|[^\s:/?#@[\]\\]+)(?::\d*)?$/i;
/** Names of this machine that nobody else can own (RFC 6761, 6.3). */
const LOOPBACK = /^(?:(?:.+\.)?localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
/** An address: a page that was loaded from one cannot be moved to another server. */
const ADDRESS = /^(?:\d+\.\d+\.\d+\.\d+|\[.+\])$/;
/** Interfaces that stand for all: nobody knows by which addresses they are reached. */
const ALL_INTERFACES = ["0.0.0.0", "::", ""];

/** How names become known. */
export interface HostSettings {
  /** Interface that is listened on. */
  hostname: string;
  /** Bases of references; their hosts are names of the server. */
  baseUrls: readonly (string | undefined)[];
  /** Further names; `*` for all. */
  allowHosts: readonly string[];
}

/** Names by which one listener may be asked. */
export class KnownHosts {
  readonly #names: ReadonlySet<string>;
  readonly #takesAddresses: boolean;

  /**
   * @param settings How names become known.
   * @throws {StreamError} BAD_REQUEST for what is no name of a host.
   */
  constructor({ hostname, baseUrls, allowHosts }: HostSettings) {
    const ofBases = baseUrls.filter((url) => url !== undefined)
      .map((url) => new URL(httpBase(url)).host);
    this.#takesAddresses = ALL_INTERFACES.includes(hostname);
    this.#names = new Set([inBrackets(hostname), ...ofBases, ...allowHosts].map(nameOf));
  }

  /**
   * Holds the names of a request against those that are known.
   * @param hosts Every host that a request names: where a browser thinks that it is.
   * @throws {StreamError} HOST_REFUSED; BAD_REQUEST for what is no host.
   */
  check(hosts: readonly string[]): void {
    for (const host of hosts) {
      const name = nameOf(host);
      if (this.#knows(name)) continue;
      throw new StreamError(
        "HOST_REFUSED",
        `this server wants no credentials, and ${name} is none of its names: ` +
          `start it with --allow-host ${name} if it is one`,
      );
    }
  }

  #knows(name: string): boolean {
    return this.#names.has(name) || this.#names.has("*") || LOOPBACK.test(name) ||
      this.#takesAddresses && ADDRESS.test(name);
  }
}

/** The host without its port, as it is compared. */
function nameOf(host: string): string {
  const [, name] = HOST.exec(host) ?? [];
  if (name !== undefined) return name.toLowerCase().replace(/\.$/, "");
  throw new StreamError("BAD_REQUEST", `${JSON.stringify(host.slice(0, 80))} is no host`);
}

function inBrackets(hostname: string): string {
  return hostname.includes(":") ? `[${hostname}]` : hostname || "0.0.0.0";
}
