/**
 * Who may use which route: one table, checked before every handler (PROTOCOL.md 8).
 * @module
 */
import type { Context, Hono, Next } from "hono";
import type { Access, Grant, Scope } from "../access.ts";
import {
  CONTEXT_PARAMETER,
  DOWNLOAD_PATH,
  StreamError,
  TOKEN_SUBPROTOCOL,
  UPLOAD_PATH,
} from "../protocol.ts";
import { notFound, type Resources } from "../resources.ts";
import { FailureLimit } from "./failures.ts";
import type { References } from "./references.ts";

/** What a grant that is limited to a context or a resource is held against. */
type Check = (c: Context, grant: Grant, resources: Resources) => void | Promise<void>;

/** Who may use a route: a scope and what limited grants may reach; or everybody. */
type Rule =
  | { scope: Scope; check: Check; links?: false }
  | "everybody";

const inContext = newUpload("context");

/** Every route there is, or may be; what stands nowhere here is refused. HEAD is as GET. */
export const ROUTE_RULES: Readonly<Record<string, Rule>> = {
  [`GET ${UPLOAD_PATH}`]: { scope: "upload", check: newUpload(CONTEXT_PARAMETER) },
  [`GET ${DOWNLOAD_PATH}/:id`]: { scope: "read", check: ofResource },
  "GET /resources": { scope: "read", check: listed },
  "POST /resources": { scope: "upload", check: unnamedResource },
  "POST /resources/": { scope: "upload", check: unnamedResource },
  "PUT /resources": { scope: "upload", check: unnamedResource },
  "PUT /resources/": { scope: "upload", check: unnamedResource },
  "PUT /resources/:id": { scope: "upload", check: namedResource },
  "GET /resources/:id": { scope: "read", check: ofResource },
  "DELETE /resources/:id": { scope: "admin", check: ofResource },
  "GET /resources/:id/content": { scope: "read", check: ofResource },
  "GET /resources/:id/lines": { scope: "read", check: ofResource },
  "GET /resources/:id/search": { scope: "read", check: ofResource },
  "GET /resources/:id/events": { scope: "read", check: ofResource },
  "POST /resources/:id/share": { scope: "read", check: ofResource, links: false },
  "GET /uploads/:id/:secret": { scope: "upload", check: ofResource },
  "PATCH /uploads/:id/:secret": { scope: "upload", check: ofResource },
  "DELETE /uploads/:id/:secret": { scope: "upload", check: ofResource },
  "GET /contexts": { scope: "read", check: unlimited },
  "PUT /contexts/:id": { scope: "upload", check: ofContext },
  "GET /contexts/:id": { scope: "read", check: ofContext },
  "GET /contexts/:id/events": { scope: "read", check: ofContext },
  "DELETE /contexts/:id": { scope: "admin", check: ofContext },
  "GET /metrics": { scope: "admin", check: unlimited },
  // What a server can do, not what it has.
  "OPTIONS /resources": "everybody",
  "OPTIONS /resources/:id": "everybody",
  "OPTIONS /uploads/:id/:secret": "everybody",
  "GET /healthz": "everybody",
  "GET /readyz": "everybody",
  "GET /openapi.json": "everybody",
};

/** What the checks need. */
export interface AccessParts {
  /** All resources. */
  resources: Resources;
  /** Knows where requests come from. */
  references: References;
  /** Knows credentials; null for a server that everybody may use. */
  guard: Guard | null;
}

/** What one server knows of credentials, whichever port they come to. */
export class Guard {
  /** Knows credentials. */
  readonly access: Access;
  /** Who presented wrong ones. */
  readonly failures = new FailureLimit();

  /** @param access Knows credentials. */
  constructor(access: Access) {
    this.access = access;
  }
}

const REALM = `Bearer realm="stream"`;
/** Longer than any token; what is hashed or parsed for a stranger has a bound. */
const MAX_CREDENTIAL_CHARS = 8192;

/** Adds the checks; they must stand before the handlers. */
export function accessRules(app: Hono, parts: AccessParts): void {
  const { guard } = parts;
  if (guard === null) return;
  for (const [route, rule] of Object.entries(ROUTE_RULES)) {
    const [method, path] = route.split(" ");
    app.on(method, path, async (c: Context, next: Next) => {
      if (rule !== "everybody") c.set("grant", await admit(c, rule, guard, parts));
      c.set("admitted", true);
      await next();
    });
  }
  app.use(async (c: Context, next: Next) => {
    if (c.get("admitted") !== true) {
      throw new StreamError("NOT_FOUND", `there is no ${c.req.path}`);
    }
    await next();
  });
}

/** What a request was granted; null on a server that everybody may use. */
export function grantOf(c: Context): Grant | null {
  return c.get("grant") ?? null;
}

/**
 * Checks a WebSocket upload when its first message says what it is about.
 * @param grant What its request was granted.
 * @param resourceId The upload that is to go on; null for a new one.
 * @param resources All resources.
 * @throws {StreamError} FORBIDDEN, NOT_FOUND.
 */
export async function checkUpload(
  grant: Grant | null,
  resourceId: string | null,
  resources: Resources,
): Promise<void> {
  if (grant === null) return;
  if (resourceId !== null) return await checkResource(grant, resourceId, resources);
  if (grant.resourceId !== null) throw limitedTo(grant);
}

async function admit(
  c: Context,
  { scope, check, links }: Exclude<Rule, "everybody">,
  guard: Guard,
  { resources, references }: AccessParts,
): Promise<Grant> {
  const grant = await identify(c, guard, references);
  try {
    if (!grant.scopes.includes(scope)) {
      throw new StreamError("FORBIDDEN", `the token lacks the scope ${scope}`);
    }
    if (links === false && c.req.query("access") !== undefined) {
      throw new StreamError("FORBIDDEN", "a link makes no links: ask with a token");
    }
    await check(c, grant, resources);
    return grant;
  } catch (error) {
    if ((error as StreamError).code === "FORBIDDEN") {
      c.header("WWW-Authenticate", `${REALM}, error="insufficient_scope", scope="${scope}"`);
    }
    throw error;
  }
}

/** @throws {StreamError} UNAUTHORIZED, RATE_LIMITED; UNREACHABLE when nobody can tell. */
async function identify(
  c: Context,
  { access, failures }: Guard,
  references: References,
): Promise<Grant> {
  if (c.req.query("access_token") !== undefined) {
    throw new StreamError(
      "BAD_REQUEST",
      "a token never stands in a URL: send it as Authorization: Bearer TOKEN",
    );
  }
  const token = tokenOf(c);
  const link = c.req.query("access");
  const credential = token ?? link;
  if (credential === undefined) {
    c.header("WWW-Authenticate", REALM);
    throw new StreamError("UNAUTHORIZED", "this server wants a token: Authorization: Bearer TOKEN");
  }
  const authenticator = token === undefined ? access.links : access.tokens;
  const grant = credential.length > MAX_CREDENTIAL_CHARS
    ? null
    : await authenticator.authenticate(credential);
  if (grant !== null) return grant;
  const waitS = failures.count(references.remoteAddress(c));
  if (waitS > 0) {
    c.header("Retry-After", String(waitS));
    throw new StreamError("RATE_LIMITED", `too many wrong credentials: wait ${waitS} s`);
  }
  c.header("WWW-Authenticate", `${REALM}, error="invalid_token"`);
  throw new StreamError(
    "UNAUTHORIZED",
    token === undefined
      ? "the link is wrong or has expired (access= takes signed links only, never a token)"
      : "the token is wrong, has expired or was revoked",
  );
}

/** The token a request presents: by its header, or on a WebSocket by a subprotocol. */
function tokenOf(c: Context): string | undefined {
  const header = c.req.header("authorization");
  if (header !== undefined) return /^Bearer +(\S+) *$/i.exec(header)?.[1] ?? "";
  const offered = c.req.header("sec-websocket-protocol")?.split(",") ?? [];
  return offered.map((name) => name.trim())
    .find((name) => name.startsWith(TOKEN_SUBPROTOCOL))
    ?.slice(TOKEN_SUBPROTOCOL.length);
}

function limitedTo({ contextId, resourceId }: Grant): StreamError {
  const limits = [
    ...(contextId === null ? [] : [`the upload context ${JSON.stringify(contextId)}`]),
    ...(resourceId === null ? [] : [`the resource ${resourceId}`]),
  ];
  return new StreamError("FORBIDDEN", `the token is limited to ${limits.join(" and ")}`);
}

/** Another resource of a limited context is answered as one that does not exist. */
async function checkResource(grant: Grant, id: string, resources: Resources): Promise<void> {
  if (grant.resourceId !== null && grant.resourceId !== id) throw limitedTo(grant);
  if (grant.contextId === null) return;
  const { contextId } = await resources.get(id);
  if (contextId !== grant.contextId) throw notFound(id);
}

function ofResource(c: Context, grant: Grant, resources: Resources): Promise<void> {
  return checkResource(grant, c.req.param("id")!, resources);
}

function ofContext(c: Context, grant: Grant): void {
  if (grant.resourceId !== null) throw limitedTo(grant);
  if (grant.contextId !== null && grant.contextId !== c.req.param("id")) throw limitedTo(grant);
}

/** New uploads name the context that their token is limited to, in this query parameter. */
function newUpload(parameter: string): Check {
  return (c, grant) => {
    const asked = c.req.query(parameter);
    if (grant.contextId !== null && grant.contextId !== asked) throw limitedTo(grant);
  };
}

function unnamedResource(c: Context, grant: Grant, resources: Resources): void | Promise<void> {
  if (grant.resourceId !== null) throw limitedTo(grant);
  return inContext(c, grant, resources);
}

/** Whoever is limited to one resource may choose just that id. */
function namedResource(c: Context, grant: Grant, resources: Resources): void | Promise<void> {
  if (grant.resourceId !== null && grant.resourceId !== c.req.param("id")) throw limitedTo(grant);
  return inContext(c, grant, resources);
}

/** Lists are filtered to the context by their handler. */
function listed(c: Context, grant: Grant): void {
  if (grant.resourceId !== null) throw limitedTo(grant);
  const asked = c.req.query("context");
  if (grant.contextId !== null && asked !== undefined && asked !== grant.contextId) {
    throw limitedTo(grant);
  }
}

function unlimited(_c: Context, grant: Grant): void {
  if (grant.contextId !== null || grant.resourceId !== null) throw limitedTo(grant);
}
