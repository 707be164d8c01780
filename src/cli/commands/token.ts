/**
 * `stream token`.
 * @module
 */
import { type Scope, SCOPES } from "../../access.ts";
import { createToken, readTokens, revokeToken, type TokenRecord } from "../../access/token_file.ts";
import { StreamError, toStreamError } from "../../protocol.ts";
import { CLUSTER_OPTIONS } from "./cluster.ts";
import { type Command, EXIT, nearest, type Options, UsageError } from "../command.ts";
import { printLine, ReaderGone, visible, visibleJson } from "../output/output.ts";

/** A hundred years: far beyond, times cannot be written any more. */
const MAX_EXPIRES_MS = 36_500 * 86_400_000;

/** Makes, lists and revokes tokens in a file. */
export const token: Command = {
  name: "token",
  summary: "make, list and revoke the tokens in the file that serve --auth is given",
  positionals: ["create|list|revoke", "[NAME]"],
  options: {
    auth: { kind: "text", value: "FILE", help: "the file; create makes it when missing" },
    ...CLUSTER_OPTIONS,
    scope: {
      kind: "list",
      value: "SCOPES",
      help: "create: what it allows: upload, read, admin, separated by commas; can be repeated",
    },
    expires: { kind: "duration", value: "TIME", help: "create: it ends after so long (or never)" },
    context: { kind: "text", value: "ID", help: "create: only for this upload context" },
    resource: { kind: "text", value: "ID", help: "create: only for this resource" },
    name: { kind: "text", value: "NAME", help: "create: its name (default token-1, token-2, …)" },
    json: { kind: "flag", help: "list: print one JSON array; create: one object" },
  },
  examples: [
    "stream token create --auth tokens --scope upload,read --expires 30d --name ci",
    "stream token revoke ci --auth tokens",
  ],
  async run([action, name], options) {
    const tokens = await tokensOf(action, options);
    const takesName = action === "revoke";
    if (takesName && name === undefined) throw new UsageError("token revoke wants NAME");
    if (!takesName && name !== undefined) {
      throw new UsageError(`token ${action} does not know what to do with ${JSON.stringify(name)}`);
    }
    switch (action) {
      case "create":
        await create(tokens, options);
        return EXIT.ok;
      case "list":
        await tokens((path) => list(path, options.flag("json")));
        return EXIT.ok;
      case "revoke":
        await tokens((path) => revokeToken(path, name));
        return EXIT.ok;
    }
    const suggestion = nearest(action, ["create", "list", "revoke"]);
    const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
    throw new UsageError(`token cannot ${JSON.stringify(action)}${hint}`);
  },
};

/** Does something with a file of tokens. */
type Tokens = <T>(step: (path: string) => Promise<T>) => Promise<T>;

/** The file that is named, or what the nodes of a cluster share. */
async function tokensOf(action: string, options: Options): Promise<Tokens> {
  const path = options.text("auth");
  if (path !== undefined && path !== "cluster") return (step) => step(path);
  if (options.text("cluster") === undefined) {
    throw new UsageError(
      `token ${action} wants --auth FILE, or --cluster NATS for those of a cluster`,
    );
  }
  // Nothing else needs the client of the engine.
  const { withSharedTokens } = await import("../cluster/tokens.ts");
  return (step) => withSharedTokens(options, step);
}

/** A token that nobody has seen is none: it stands nowhere else. */
async function create(tokens: Tokens, options: Options): Promise<void> {
  const { name, token } = await tokens(async (path) => {
    const name = options.text("name") ?? await freeName(path);
    return { name, token: await make(path, name, options) };
  });
  try {
    await printLine(options.flag("json") ? visibleJson({ name, token }) : token);
  } catch (error) {
    await tokens((path) => revokeToken(path, name));
    const reason = error instanceof ReaderGone ? "nobody reads it" : toStreamError(error).message;
    throw new StreamError("SOURCE_FAILED", `the token was not printed and is revoked: ${reason}`);
  }
}

async function make(path: string, name: string, options: Options): Promise<string> {
  const expiresMs = options.number("expires");
  if (expiresMs !== undefined && expiresMs > MAX_EXPIRES_MS) {
    throw new UsageError("--expires: at most 36500d, or leave it out for a token without an end");
  }
  const expiresAt = expiresMs === undefined
    ? undefined
    : new Date(Date.now() + expiresMs).toISOString();
  return await createToken(path, {
    name,
    scopes: scopesOf(options),
    contextId: options.text("context"),
    resourceId: options.text("resource"),
    expiresAt,
  });
}

function scopesOf(options: Options): Scope[] {
  const words = options.list("scope").flatMap((text) => text.split(","));
  if (words.length === 0) throw new UsageError(`token create wants --scope ${SCOPES.join(",")}`);
  return words.map((word) => {
    const scope = SCOPES.find((name) => name === word);
    if (scope !== undefined) return scope;
    throw new UsageError(`--scope: ${JSON.stringify(word)} is none of ${SCOPES.join(", ")}`);
  });
}

async function freeName(path: string): Promise<string> {
  const taken = await tokensIn(path);
  for (let number = 1;; number++) {
    const name = `token-${number}`;
    if (!taken.some((record) => record.name === name)) return name;
  }
}

/** None where there is no file yet. */
async function tokensIn(path: string): Promise<TokenRecord[]> {
  return await readTokens(path).catch((error) => {
    if (error.code === "NOT_FOUND") return [];
    throw error;
  });
}

async function list(path: string, json: boolean): Promise<void> {
  const records = await readTokens(path);
  if (json) {
    const shown = records.map(({ sha256: _, ...record }) => record);
    return await printLine(JSON.stringify(shown));
  }
  for (const record of records) await printLine(describe(record));
}

function describe({ name, scopes, contextId, resourceId, expiresAt }: TokenRecord): string {
  const isOver = expiresAt !== undefined && Date.parse(expiresAt) <= Date.now();
  const parts = [
    name.padEnd(16),
    scopes.join(",").padEnd(17),
    expiresAt === undefined ? "for ever" : `${isOver ? "expired" : "until"} ${expiresAt}`,
    ...(contextId === undefined ? [] : [`context ${visible(contextId)}`]),
    ...(resourceId === undefined ? [] : [`resource ${resourceId}`]),
  ];
  return parts.join("  ");
}
