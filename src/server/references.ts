/**
 * Where a server's resources are, as the client of a request sees it.
 * @module
 */
import type { Context } from "hono";
import {
  DOWNLOAD_PATH,
  httpBase,
  type ResourceInfo,
  RESOURCES_PATH,
  VIEW_PATH,
  wsBase,
} from "../protocol.ts";
import type { ResourceView } from "../resources.ts";
import type { Runtime } from "../runtime.ts";
import type { EndpointOptions } from "./host.ts";

/** An address with or without a port. */
const ADDRESS = /^(?:\[([^\]]*)\]|(\d+\.\d+\.\d+\.\d+))(?::\d*)?$/;

/** How references are built. */
export interface ReferenceSettings {
  /** Knows the addresses of peers. */
  runtime: Runtime;
  /** Whether every request comes through one proxy, whose `X-Forwarded-…` headers tell the truth. */
  trustProxy?: boolean;
  /** Base of references; the Host of each request by default. */
  baseUrl?: string;
  /** Path below which the routes are; `/` by default. */
  basePath?: string;
  /** Addresses of the WebSocket endpoints, besides the usual ones. */
  endpoints?: EndpointOptions;
  /** Whether people are shown resources; true by default. */
  viewer?: boolean;
  /** Builds the reference for an id instead, from the base that would be used. */
  referenceTo?: (id: string, baseUrl: string) => string;
  /** The port that Step clients have for themselves; null without one. */
  stepPort?: () => StepPort | null;
}

/** A port for Step clients. */
export interface StepPort {
  /** The port. */
  port: number;
  /** Base of its references; the host of each request by default. */
  baseUrl: string | undefined;
}

/** Builds references and what else names a resource to a client. */
export class References {
  readonly #settings: ReferenceSettings;

  /** @throws {StreamError} BAD_REQUEST for a base that is no address. */
  constructor(settings: ReferenceSettings) {
    if (settings.baseUrl !== undefined) httpBase(settings.baseUrl);
    this.#settings = settings;
  }

  /** Where the routes are mounted, as the client of this request sees it, without a slash at its end. */
  base(c: Context): string {
    const { baseUrl, basePath = "/" } = this.#settings;
    if (baseUrl !== undefined) return httpBase(baseUrl);
    return httpBase(`${this.protocol(c)}//${this.host(c)}${basePath}`);
  }

  /** The host that the client of this request asked for. */
  host(c: Context): string {
    return this.#forwarded(c.req.raw, "host") ?? c.req.header("host") ?? new URL(c.req.url).host;
  }

  /** All hosts that a request names: the one it was sent to, and the one that the client of our proxy asked for. */
  namedHosts(c: Context): string[] {
    return [c.req.header("host"), this.#forwarded(c.req.raw, "host")].filter((host) =>
      host !== undefined
    );
  }

  /** Where a request comes from; null where nobody knows. */
  remoteAddress(c: Context): string | null {
    return this.addressOf(c.req.raw, c.env);
  }

  /** Where a request comes from that has no context yet. */
  addressOf(request: Request, env: unknown): string | null {
    const forwarded = this.#forwarded(request, "for");
    if (forwarded === undefined) return this.#settings.runtime.remoteAddress(request, env);
    // Some proxies tell the port, too, which is another one for each connection.
    const [, v6, v4] = ADDRESS.exec(forwarded) ?? [];
    return v6 ?? v4 ?? forwarded;
  }

  /** Scheme by which the client of this request asked, as far as we know: TLS may end at a proxy that nobody told us of. */
  protocol(c: Context): string {
    const forwarded = this.#forwarded(c.req.raw, "proto");
    return forwarded === undefined ? new URL(c.req.url).protocol : `${forwarded}:`;
  }

  /** The word of our proxy; before the last comma stands what others told it. */
  #forwarded({ headers }: Request, what: "for" | "host" | "proto"): string | undefined {
    if (!this.#settings.trustProxy) return undefined;
    return headers.get(`x-forwarded-${what}`)?.split(",").at(-1)?.trim() || undefined;
  }

  /** The reference to a resource, as a push gets it. */
  reference(id: string, base: string): string {
    const { endpoints, referenceTo } = this.#settings;
    const path = endpoints?.downloadPath ?? DOWNLOAD_PATH;
    return referenceTo?.(id, base) ?? `${wsBase(base)}${path}/${id}`;
  }

  /** The reference on the port for Step clients; undefined where there is none, or its address is a proxy's secret. */
  stepReference(id: string, base: string): string | undefined {
    const { stepPort, baseUrl, trustProxy } = this.#settings;
    const step = stepPort?.() ?? null;
    if (step === null) return undefined;
    if (step.baseUrl !== undefined) return this.reference(id, httpBase(step.baseUrl));
    if (baseUrl !== undefined || trustProxy) return undefined;
    const url = new URL(base);
    url.port = String(step.port);
    return this.reference(id, httpBase(url.href));
  }

  /** A resource as the HTTP interface shows it. */
  info(record: ResourceView, base: string): ResourceInfo {
    return {
      id: record.id,
      ...record.metadata,
      ...record.status,
      contextId: record.contextId,
      digest: record.digest,
      reference: this.reference(record.id, base),
      stepReference: this.stepReference(record.id, base),
      view: this.view(record.id, base),
      createdAt: new Date(record.createdAtMs).toISOString(),
      updatedAt: new Date(record.updatedAtMs).toISOString(),
    };
  }

  /** The page of a resource; null for a server without the viewer. */
  view(id: string, base: string): string | null {
    return this.#settings.viewer === false ? null : `${base}${VIEW_PATH}/${id}`;
  }

  /** The HTTP form of a reference. */
  url(id: string, base: string): string {
    return `${base}${RESOURCES_PATH}/${id}`;
  }
}
