/**
 * Access: a request's credential becomes its grant, which is held against the rule of its route (PROTOCOL.md 8).
 * @module
 */
import type { Context } from "hono";
import type { Access, Authenticator, Grant, Scope } from "../access.ts";
import { StreamError, TOKEN_SUBPROTOCOL } from "../protocol.ts";
import type { Resources } from "../resources.ts";
import { atEnd } from "./access/end.ts";
import { FailureLimit } from "./access/failures.ts";
import type { Reach } from "./access/reach.ts";
import type { References } from "./references.ts";

/** Rule of a route: a scope and what limited grants may reach; or everybody. */
export type AccessRule =
  | { scope: Scope; reach: Reach; links?: false }
  | "everybody";

/** Parts that access is decided with. */
interface AccessParts {
  /** All resources. */
  resources: Resources;
  /** Knows where requests come from. */
  references: References;
}

/** Credentials of one server, whichever port they come to. */
export class Guard {
  /** Knows credentials. */
  readonly access: Access;
  /** Addresses that presented wrong ones. */
  readonly failures = new FailureLimit();

  /** @param access Knows credentials. */
  constructor(access: Access) {
    this.access = access;
  }
}

const REALM = `Bearer realm="stream"`;
/** Longer than any token; what is hashed or parsed for a stranger has a bound. */
const MAX_CREDENTIAL_CHARS = 8192;

/** The grant of a request; null on a server that everybody may use. */
export function grantOf(c: Context): Grant | null {
  return c.get("grant") ?? null;
}

/**
 * Ends something that lasts longer than a moment with the grant of its request.
 * @param c The request.
 * @param end Called with the reason when the grant has expired or was revoked; never without a grant.
 * @returns Stops waiting for that.
 */
export function whileGranted(c: Context, end: (reason: StreamError) => void): () => void {
  const grant = grantOf(c);
  return grant === null ? () => {} : atEnd(grant, c.get("authenticator"), end);
}

/**
 * Lets a request pass that its credential admits; handlers get the grant by {@link grantOf}.
 * @param c The request.
 * @param rule The rule of its route.
 * @param guard Knows credentials.
 * @param parts What is asked besides.
 * @throws {StreamError} UNAUTHORIZED, FORBIDDEN, NOT_FOUND, RATE_LIMITED, BAD_REQUEST, UNREACHABLE.
 */
export async function admit(
  c: Context,
  rule: AccessRule,
  guard: Guard,
  { resources, references }: AccessParts,
): Promise<void> {
  if (rule === "everybody") return;
  const { scope, reach, links } = rule;
  const { grant, authenticator } = await identify(c, guard, references);
  try {
    if (!grant.scopes.includes(scope)) {
      throw new StreamError("FORBIDDEN", `the token lacks the scope ${scope}`);
    }
    if (links === false && c.req.query("access") !== undefined) {
      throw new StreamError("FORBIDDEN", "a link makes no links: ask with a token");
    }
    await reach(c, grant, resources);
    c.set("grant", grant);
    c.set("authenticator", authenticator);
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
): Promise<{ grant: Grant; authenticator: Authenticator }> {
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
    throw new StreamError(
      "UNAUTHORIZED",
      "this server wants a token: Authorization: Bearer TOKEN, or STREAM_TOKEN of the program",
    );
  }
  const authenticator = token === undefined ? access.links : access.tokens;
  const grant = credential.length > MAX_CREDENTIAL_CHARS
    ? null
    : await authenticator.authenticate(credential);
  if (grant !== null) return { grant, authenticator };
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
