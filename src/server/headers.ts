/**
 * Headers of every answer: for browsers, which pages may read it (CORS) and what must not be done with it; the length
 * of what HEAD leaves out.
 * @module
 */
import type { Context, Hono, Next } from "hono";
import { cors } from "hono/cors";
import { secureHeaders } from "hono/secure-headers";

/** How long a browser may remember the answer to a preflight, in s. */
const PREFLIGHT_MAX_AGE_S = 600;

/** Content of uploads is somebody else's: shown in a browser, it runs nothing and is framed nowhere. */
const SECURE = secureHeaders({
  contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"], sandbox: [] },
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  // A proxy that ends TLS says that; a server behind it does not know.
  strictTransportSecurity: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xFrameOptions: "DENY",
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
  // A handler that knows better says so itself.
  overwrite: false,
});

/**
 * Adds the headers.
 * @param app The routes.
 * @param allowOrigins Origins whose pages may read answers; `*` for all.
 */
export function headerRules(app: Hono, allowOrigins: readonly string[]): void {
  app.use(SECURE);
  if (allowOrigins.length === 0) return;
  const origin = allowOrigins.includes("*") ? "*" : [...allowOrigins];
  // Tokens travel in headers, never in cookies: without credentials `*` exposes every header.
  const crossOrigin = cors({ origin, exposeHeaders: ["*"], maxAge: PREFLIGHT_MAX_AGE_S });
  // OPTIONS that is no preflight is for a handler.
  app.use((c, next) =>
    c.req.method !== "OPTIONS" || isPreflight(c) ? crossOrigin(c, next) : next()
  );
}

function isPreflight(c: Context): boolean {
  return c.req.header("access-control-request-method") !== undefined;
}

/**
 * Has an answer to HEAD tell the length of the body that it leaves out; runtimes would tell that of the empty one.
 * @param c The request.
 * @param next Answers it.
 */
export function tellLength(c: Context, next: Next): Promise<void> {
  return c.req.method === "HEAD" ? tellLengthOfHead(c, next) : next();
}

async function tellLengthOfHead(c: Context, next: Next): Promise<void> {
  await next();
  if (c.res.body === null) return;
  const { byteLength } = await c.res.arrayBuffer();
  c.res.headers.set("content-length", String(byteLength));
}
