/**
 * The streams and buckets that nodes share, as they are.
 * @module
 */
import type { StreamInfo } from "@nats-io/jetstream";
import { bucketConfigs } from "../../cluster/buckets.ts";
import type { Engine } from "../../cluster/engine.ts";
import { logConfigs, shardsOf } from "../../cluster/logs.ts";

/**
 * Asks for all of them.
 * @throws {StreamError} NOT_READY when they are not there yet.
 */
export async function streamsOf(engine: Engine): Promise<StreamInfo[]> {
  const shards = await shardsOf(engine);
  // Only their names are wanted here.
  const sizes = { replicas: 1, logBytes: 0, recordBytes: 0, shards };
  const names = [...logConfigs(sizes), ...bucketConfigs(sizes)].map(({ name }) => name);
  return await Promise.all(names.map((name) => engine.streamInfo(name)));
}
