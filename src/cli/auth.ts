/**
 * The access control of `stream serve`.
 * @module
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import type { Access, Authenticator } from "../access.ts";
import type { JwksOptions } from "../access/jwks.ts";
import { linkKey, SignedLinks } from "../access/links.ts";
import { FileTokens } from "../access/file_tokens.ts";
import type { ServerLog } from "../server.ts";
import { type Option, type Options, UsageError } from "./command.ts";

/** What others than the user of the server may have no part of. */
const OTHERS_MODE = 0o077;

/** What `--auth` names the tokens of a cluster; a file of that name is ./cluster. */
const SHARED_TOKENS = "cluster";

/** What several servers have in common. */
export interface SharedAccess {
  /** Gives the key of the links. */
  linkKey?(): Promise<Uint8Array>;
  /** Gives the path of a file that has the tokens of all of them. */
  sharedTokens?(): Promise<string>;
}

/** Options that say who may do what. */
export const AUTH_OPTIONS: Record<string, Option> = {
  auth: {
    kind: "text",
    value: "FILE|URL",
    help:
      "who may do what: a file of stream token create, cluster: its tokens, or the https address of a JWKS for JWTs",
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
 * @param shared What several servers have in common, where they do.
 * @returns Undefined without --auth.
 */
export async function accessOf(
  options: Options,
  directory: string,
  log: ServerLog,
  shared: SharedAccess = {},
): Promise<Access | undefined> {
  const auth = options.text("auth");
  const claims = { audience: options.text("auth-audience"), issuer: options.text("auth-issuer") };
  if (auth === undefined || !/^https?:\/\//.test(auth)) {
    const [name] = Object.entries(claims).find(([, value]) => value !== undefined) ?? [];
    if (name !== undefined) throw new UsageError(`--auth-${name} goes with --auth URL`);
  }
  if (auth !== undefined) {
    const isShared = auth === SHARED_TOKENS && shared.sharedTokens !== undefined;
    const source = isShared ? await shared.sharedTokens!() : auth;
    const tokens = await tokensOf(source, claims, log);
    const key = await (shared.linkKey?.() ?? linkKey(join(directory, "secret.key")));
    return { tokens, links: new SignedLinks({ key }) };
  }
  return undefined;
}

/** Where credentials come from, in words; each node has a file of its own. */
export function authInWords(options: Options): string {
  const auth = options.text("auth");
  if (auth === undefined) return "not given";
  return auth === SHARED_TOKENS || /^https?:/.test(auth) ? auth : "a file";
}

/**
 * Makes files and directories of this process its user's only, whatever the umask was, where credentials are wanted:
 * who could read the data needed none.
 * @param options The options.
 */
export function makePrivate(options: Options): void {
  if (options.text("auth") !== undefined) process.umask(OTHERS_MODE);
}

/**
 * Warns of a data directory that others can get at, as it was before.
 * @param options The options.
 * @param directory The data directory.
 * @param log Hears of it.
 */
export async function warnOfOthers(
  options: Options,
  directory: string,
  log: ServerLog,
): Promise<void> {
  if (options.text("auth") === undefined) return;
  const { mode } = await stat(directory);
  if ((mode & OTHERS_MODE) === 0) return;
  const message = `others can get at the data without a token: chmod 700 ${directory}`;
  log.error("data", { message });
}

async function tokensOf(
  auth: string,
  claims: Pick<JwksOptions, "audience" | "issuer">,
  log: ServerLog,
): Promise<Authenticator> {
  const warn = (message: string) => log.error("tokens", { message });
  if (/^https?:\/\//.test(auth)) {
    const { JwksTokens } = await import("../access/jwks.ts");
    return new JwksTokens({ url: auth, ...claims, warn });
  }
  return await FileTokens.open({ path: auth, warn });
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
