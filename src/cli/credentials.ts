/**
 * The server that a client command talks to, and the token for it.
 * @module
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { TokenProvider } from "../client.ts";
import { checkToken } from "../client/connection/token.ts";
import { locate } from "../client/target.ts";
import { StreamError, toStreamError } from "../protocol.ts";
import { reasonOf } from "../reasons.ts";
import { type Options, serverOf, UsageError } from "./command.ts";
import { notice } from "./output/stderr.ts";

/** Longer than any file that holds one token. */
const MAX_TOKEN_CHARS = 8192;
/** How long a file of a token may be missing or empty while it is replaced, in ms. */
const REPLACED_WITHIN_MS = 2000;
const LOOK_EVERY_MS = 50;

/**
 * Server and token of a command. The token is for `--server` (or STREAM_SERVER) and goes nowhere else, whatever a
 * reference names.
 *
 * @param options The command's options.
 * @param reference The reference the command is about.
 * @throws {StreamError} SOURCE_FAILED when the file of the token cannot be read.
 */
export async function credentialsOf(
  options: Options,
  reference?: string,
): Promise<{ server: string; token: string | TokenProvider | undefined }> {
  const server = serverOf(options);
  const given = await givenToken(options);
  if (given === undefined || reference === undefined) return { server, token: given };
  const { location, token } = locate(reference, { server, token: given });
  if (token === undefined && location.access === undefined) {
    notice(`the token is for ${server} and is not sent to ${location.server}: see --server`);
  }
  return { server, token };
}

/** Never an argument: everybody on a machine sees those. */
async function givenToken(options: Options): Promise<string | TokenProvider | undefined> {
  const path = options.text("token-file");
  if (path !== undefined) {
    checkGiven(await readToken(path), path);
    return () => replacedToken(path);
  }
  const token = process.env.STREAM_TOKEN?.trim() || undefined;
  if (token !== undefined) checkGiven(token, "STREAM_TOKEN");
  return token;
}

/** @throws {UsageError} That says where it was found what is none. */
function checkGiven(token: string, source: string): void {
  try {
    checkToken(token);
  } catch (error) {
    throw new UsageError(`${source}: ${toStreamError(error).message}`);
  }
}

/** The token of a file that may be replaced just now: whoever does so may empty it first. */
async function replacedToken(path: string): Promise<string> {
  for (let waitedMs = 0; waitedMs < REPLACED_WITHIN_MS; waitedMs += LOOK_EVERY_MS) {
    const token = await readToken(path).catch(() => null);
    if (token !== null) return token;
    await sleep(LOOK_EVERY_MS);
  }
  return await readToken(path);
}

async function readToken(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((error) => {
    throw new StreamError("SOURCE_FAILED", `cannot read the token in ${path}: ${reasonOf(error)}`);
  });
  const token = text.trim();
  if (token !== "" && token.length <= MAX_TOKEN_CHARS) return token;
  throw new StreamError("SOURCE_FAILED", `${path} holds no token`);
}
