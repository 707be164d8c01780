/**
 * Certificate authorities of its own that a client trusts besides those of the runtime: for requests, for WebSockets and
 * for `node:tls`, on every runtime.
 *
 * NODE_EXTRA_CA_CERTS does the same for a whole process, before it starts.
 * @module
 */
import { X509Certificate } from "node:crypto";
import * as tls from "node:tls";
import { StreamError } from "../protocol.ts";

/** Deno has the function, and its types lack it. */
const { setDefaultCACertificates } = tls as unknown as {
  setDefaultCACertificates(certificates: string[]): void;
};

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Lets this process trust what these authorities sign; to be called before the first request, and before `adoptProxies`.
 *
 * @param pem Certificates in PEM, one or more; text between them is left out.
 * @throws {StreamError} BAD_REQUEST for a text without a certificate, or with one that is none.
 */
export function adoptAuthorities(pem: string): void {
  const certificates = pem.match(CERTIFICATE) ?? [];
  if (certificates.length === 0) {
    throw new StreamError("BAD_REQUEST", "it holds no certificate in PEM");
  }
  for (const certificate of certificates) check(certificate);
  const all = [...tls.getCACertificates("default"), ...certificates];
  setDefaultCACertificates(all);
  if ("Deno" in globalThis) adoptOnDeno(certificates);
  else if ("Bun" in globalThis) replaceGlobals({ tls: { ca: all } });
}

function check(certificate: string): void {
  try {
    new X509Certificate(certificate);
  } catch {
    throw new StreamError("BAD_REQUEST", "a certificate in it cannot be read");
  }
}

function adoptOnDeno(caCerts: string[]): void {
  const { Deno } = globalThis as unknown as {
    Deno: { createHttpClient(options: { caCerts: string[] }): unknown };
  };
  replaceGlobals({ client: Deno.createHttpClient({ caCerts }) });
}

/** Requests and WebSockets that say whom they trust: neither runtime lets the process say it once for all. */
function replaceGlobals(trust: Record<string, unknown>): void {
  const { fetch: request } = globalThis;
  const trusting: typeof fetch = (input, init) =>
    request(input, { ...init, ...trust } as RequestInit);
  globalThis.fetch = Object.assign(trusting, request);
  globalThis.WebSocket = class extends WebSocket {
    constructor(url: string | URL, options: string | string[] | Record<string, unknown> = []) {
      const others = typeof options === "string" || Array.isArray(options)
        ? { protocols: options }
        : options;
      super(url, { ...others, ...trust } as unknown as string[]);
    }
  } as unknown as typeof WebSocket;
}
