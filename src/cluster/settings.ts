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
