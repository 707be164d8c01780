/**
 * What holds for the whole cluster.
 * @module
 */
import { StreamError } from "../protocol.ts";
import { Bucket } from "./bucket.ts";
import { type Engine, SETTINGS_BUCKET } from "./engine.ts";

const WAIT_MS = 12_000;

/**
 * A secret that all nodes have: the first that asks makes it.
 * @param engine Where it is kept.
 * @param name Its name.
 * @param byteCount Its length.
 * @throws {StreamError} NOT_READY, STORAGE_FAILED.
 */
export async function sharedSecret(
  engine: Engine,
  name: string,
  byteCount: number,
): Promise<Uint8Array> {
  const bucket = new Bucket(engine, SETTINGS_BUCKET, WAIT_MS);
  const made = crypto.getRandomValues(new Uint8Array(byteCount));
  const outcome = await bucket.write(name, 0, made, crypto.randomUUID());
  if ("sequence" in outcome) return made;
  if (outcome.found?.value?.length === byteCount) return outcome.found.value;
  throw new StreamError("STORAGE_FAILED", `the engine has another ${name} than this program knows`);
}

/** The tokens of all nodes, as `stream token` writes them, and the number of their last change; 0 before the first. */
export interface SharedTokens {
  text: string;
  sequence: number;
}

const TOKENS_KEY = "tokens";

/**
 * Reads the tokens that all nodes share.
 * @param engine Where they are kept.
 * @throws {StreamError} NOT_READY.
 */
export async function readSharedTokens(engine: Engine): Promise<SharedTokens> {
  const found = await new Bucket(engine, SETTINGS_BUCKET, WAIT_MS).read(TOKENS_KEY);
  const text = new TextDecoder().decode(found?.value ?? new Uint8Array(0));
  return { text, sequence: found?.sequence ?? 0 };
}

/**
 * Changes the tokens that all nodes share.
 * @param engine Where they are kept.
 * @param tokens The new ones, and the number of the change that they were made from.
 * @throws {StreamError} CONFLICT when somebody else was faster; NOT_READY, STORAGE_FAILED.
 */
export async function writeSharedTokens(
  engine: Engine,
  { text, sequence }: SharedTokens,
): Promise<void> {
  const bucket = new Bucket(engine, SETTINGS_BUCKET, WAIT_MS);
  const value = new TextEncoder().encode(text);
  const outcome = await bucket.write(TOKENS_KEY, sequence, value, crypto.randomUUID());
  if ("sequence" in outcome) return;
  throw new StreamError("CONFLICT", "the tokens of the cluster are being changed: try again");
}
