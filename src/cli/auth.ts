/**
 * The access control of `stream serve`.
 * @module
 */
import { join } from "node:path";
import type { Access, Authenticator } from "../access.ts";
import { type JwksOptions, JwksTokens } from "../access/jwks.ts";
import { linkKey, SignedLinks } from "../access/links.ts";
import { FileTokens } from "../access/file_tokens.ts";
import type { ServerLog } from "../server.ts";
import { type Option, type Options, UsageError } from "./command.ts";

/** Options that say who may do what. */
export const AUTH_OPTIONS: Record<string, Option> = {
  auth: {
    kind: "text",
    value: "FILE|URL",
    help: "who may do what: a file of stream token create, or the https address of a JWKS for JWTs",
  },
  "auth-audience": {
    kind: "text",
    value: "NAME",
    help: "the audience that JWTs must name (default: only such that name none)",
  },
  "auth-issuer": {
    kind: "text",
    value: "NAME",
    help: "the issuer that JWTs must name as iss (default: any whose key is at the address)",
  },
  "insecure-public": {
    kind: "flag",
    help: "without --auth: let everybody in who reaches --host",
  },
};

/**
 * Refuses to let strangers do everything, unless that is wanted.
 * @throws {UsageError} For a host that others can reach, without --auth and --insecure-public.
 */
export function checkExposure(host: string, options: Options): void {
  const isGuarded = options.text("auth") !== undefined;
  if (isGuarded || options.flag("insecure-public") || isLoopback(host)) return;
  throw new UsageError(
    `--host ${host} lets everybody in who reaches it: give --auth FILE (see stream token), ` +
      "or --insecure-public if that is wanted",
  );
}

/**
 * Makes what knows the credentials.
 * @param options The options.
 * @param directory The data directory, which keeps the key of the links.
 * @param log Hears what is wrong with a file of tokens.
 * @returns Undefined without --auth.
 */
export async function accessOf(
  options: Options,
  directory: string,
  log: ServerLog,
): Promise<Access | undefined> {
  const auth = options.text("auth");
  const claims = { audience: options.text("auth-audience"), issuer: options.text("auth-issuer") };
  if (auth === undefined || !/^https?:\/\//.test(auth)) {
    const [name] = Object.entries(claims).find(([, value]) => value !== undefined) ?? [];
    if (name !== undefined) throw new UsageError(`--auth-${name} goes with --auth URL`);
  }
  if (auth !== undefined) {
    const tokens = await tokensOf(auth, claims, log);
    return {
      tokens,
      links: new SignedLinks({ key: await linkKey(join(directory, "secret.key")) }),
    };
  }
  return undefined;
}

async function tokensOf(
  auth: string,
  claims: Pick<JwksOptions, "audience" | "issuer">,
  log: ServerLog,
): Promise<Authenticator> {
  if (/^https?:\/\//.test(auth)) return new JwksTokens({ url: auth, ...claims });
  return await FileTokens.open({
    path: auth,
    warn: (message) => log.error("tokens", { message }),
  });
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
