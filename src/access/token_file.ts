/**
 * The file of tokens: a line of JSON for each, which holds what it grants and its hash.
 *
 * Tokens are 256 random bits, which nobody can guess from a hash however fast that is: SHA-256 does, without
 * the slow functions that passwords need.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { chmod, chown, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type Scope, SCOPES } from "../access.ts";
import { checkContextId, isResourceId, StreamError } from "../protocol.ts";
import { reasonOf } from "../reasons.ts";

/** What the file says of one token. */
export interface TokenRecord {
  /** Name of the token, unique in its file. */
  name: string;
  /** What it allows. */
  scopes: Scope[];
  /** The one upload context it is for; all if missing. */
  contextId?: string;
  /** The one resource it is for; all if missing. */
  resourceId?: string;
  /** When it ends, RFC 3339; never if missing. */
  expiresAt?: string;
  /** When it was made, RFC 3339. */
  createdAt: string;
  /** SHA-256 of the token, in hexadecimal. */
  sha256: string;
}

const TOKEN_BYTES = 32;
/** All of them are in memory, and read again at each change. */
const MAX_TOKENS = 10_000;
/** Far above what so many tokens take. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;
/** A name is shown in lists and logs. */
const NAME = /^[\w.@-]{1,64}$/;

/** The hash that a file keeps of a token. */
export function hashToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/**
 * Reads a file of tokens.
 * @throws {StreamError} NOT_FOUND without one; BAD_METADATA that names the first line that is wrong.
 */
export async function readTokens(path: string): Promise<TokenRecord[]> {
  const text = await readText(path);
  if (text === null) {
    const message = `there is no file of tokens ${path}: make one with stream token create`;
    throw new StreamError("NOT_FOUND", message);
  }
  return parseTokens(path, text);
}

/**
 * Makes a token and adds it to a file, which is made when missing.
 * @param path Path of the file.
 * @param grant What the token is to allow.
 * @returns The token; it stands nowhere else.
 * @throws {StreamError} CONFLICT when the name is taken or the file is being changed.
 */
export async function createToken(
  path: string,
  grant: Omit<TokenRecord, "createdAt" | "sha256">,
): Promise<string> {
  const token = randomBytes(TOKEN_BYTES).toString("base64url");
  const createdAt = new Date().toISOString();
  const record = checkRecord({ ...grant, createdAt, sha256: hashToken(token) });
  await change(path, (records) => {
    if (records.some(({ name }) => name === grant.name)) {
      throw new StreamError("CONFLICT", `${path} has a token ${grant.name}: give another name`);
    }
    if (records.length >= MAX_TOKENS) {
      throw new StreamError("CONFLICT", `${path} has ${MAX_TOKENS} tokens: revoke some`);
    }
    return [...records, record];
  });
  return token;
}

/**
 * Removes a token from a file.
 * @throws {StreamError} NOT_FOUND when there is none of that name; CONFLICT when the file is being changed.
 */
export async function revokeToken(path: string, name: string): Promise<void> {
  await change(path, (records) => {
    const others = records.filter((record) => record.name !== name);
    if (others.length < records.length) return others;
    throw new StreamError("NOT_FOUND", `${path} has no token ${JSON.stringify(name)}`);
  });
}

/** Writes the file anew; readers see the old or the new one, and writers exclude each other. */
async function change(
  path: string,
  apply: (records: TokenRecord[]) => TokenRecord[],
): Promise<void> {
  const building = `${path}.new`;
  await writeFile(building, "", { mode: 0o600, flag: "wx" }).catch((error) => {
    if (error.code !== "EEXIST") {
      throw new StreamError("STORAGE_FAILED", `cannot make ${building}: ${reasonOf(error)}`);
    }
    const message = `${path} is being changed; if nobody does that any more, remove ${building}`;
    throw new StreamError("CONFLICT", message);
  });
  try {
    const text = await readText(path);
    const records = apply(text === null ? [] : parseTokens(path, text));
    const lines = records.map((record) => `${JSON.stringify(record)}\n`);
    await giveToReader(building, path);
    await writeFile(building, lines.join(""), { flush: true });
    await rename(building, path);
  } catch (error) {
    // Once it has its name, the next one of this name is another writer's.
    await rm(building, { force: true });
    throw error;
  }
}

/**
 * Owner and mode stay what they are; a first file is its directory's owner's. Else a service could not read what
 * root made, and every client would hear that its token is wrong.
 */
async function giveToReader(building: string, path: string): Promise<void> {
  const [own, old, directory] = await Promise.all([
    stat(building),
    stat(path).catch(() => null),
    stat(dirname(path)),
  ]);
  const { uid, gid } = old ?? (own.uid === 0 ? directory : own);
  if (uid !== own.uid || gid !== own.gid) {
    await chown(building, uid, gid).catch((error) => {
      const message = `${path} belongs to user ${uid}, change it as that one or as root`;
      throw new StreamError("STORAGE_FAILED", `${message}: ${reasonOf(error)}`);
    });
  }
  await chmod(building, old === null ? 0o600 : old.mode & 0o777);
}

/** Null without a file. */
async function readText(path: string): Promise<string | null> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw new Error(`it has more than ${MAX_FILE_BYTES} bytes`);
    return await readFile(path, "utf8");
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (code === "ENOENT") return null;
    throw new StreamError("SOURCE_FAILED", `cannot read the tokens in ${path}: ${message}`);
  }
}

function parseTokens(path: string, text: string): TokenRecord[] {
  const lines = text.split("\n").map((line, index) => ({ line, number: index + 1 }));
  const records = lines.filter(({ line }) => line.trim() !== "").map(({ line, number }) => {
    try {
      return checkRecord(JSON.parse(line));
    } catch (error) {
      // The text of the line stays out: it may be a token that somebody put there.
      const reason = error instanceof StreamError ? error.message : "it is no JSON";
      throw new StreamError("BAD_METADATA", `${path}, line ${number}: ${reason}`);
    }
  });
  if (records.length <= MAX_TOKENS) return records;
  throw new StreamError("BAD_METADATA", `${path} has more than ${MAX_TOKENS} tokens`);
}

function checkRecord(value: unknown): TokenRecord {
  const { name, scopes, contextId, resourceId, expiresAt, createdAt, sha256 } =
    (value ?? {}) as Record<string, unknown>;
  const isText = (text: unknown): text is string => typeof text === "string";
  const require = (isRight: boolean, what: string) => {
    if (!isRight) throw new StreamError("BAD_METADATA", what);
  };
  require(isText(name) && NAME.test(name), "a name has 1 to 64 of A–Z a–z 0–9 _ . @ -");
  require(
    Array.isArray(scopes) && scopes.length > 0 && scopes.every((scope) => SCOPES.includes(scope)),
    `scopes are some of ${SCOPES.join(", ")}`,
  );
  require(isText(sha256) && /^[0-9a-f]{64}$/.test(sha256), "sha256 is no SHA-256 in hexadecimal");
  require(isTime(createdAt), "createdAt is no time as RFC 3339 has them");
  require(expiresAt === undefined || isTime(expiresAt), "expiresAt is no time");
  const isId = isText(resourceId) && isResourceId(resourceId);
  require(resourceId === undefined || isId, "resourceId is no id of a resource");
  require(contextId === undefined || isText(contextId), "contextId is no text");
  if (isText(contextId)) checkContextId(contextId);
  return value as TokenRecord;
}

function isTime(value: unknown): boolean {
  return typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) &&
    Number.isFinite(Date.parse(value));
}
