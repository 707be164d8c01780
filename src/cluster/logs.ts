/**
 * Streams of the engine that hold the logs of resources: their names, their subjects, and how they are made.
 * @module
 */
import { DiscardPolicy, StorageType, type StreamConfig } from "@nats-io/jetstream";
import { StreamError } from "../protocol.ts";
import { type Engine, shardOf } from "./engine.ts";

/** Version of what is in the streams; another one cannot be read. */
const FORMAT = "2";
/** Streams that logs are spread over, unless somebody says otherwise. */
const SHARDS = 12;

/** Largest payload of one message of a log; it fits the engine's usual limit of 1 MiB. */
export const MESSAGE_BYTES: number = 512 * 1024;

/** What a member must take as one message: one of a log, with what it tells besides its bytes. */
export const LEAST_PAYLOAD_BYTES: number = MESSAGE_BYTES + 64 * 1024;

/** Size and safety of the logs. */
export interface LogsOptions {
  /** Members that have each of them. */
  replicas: number;
  /** Bytes that all logs together may have, on each member. */
  logBytes: number;
  /** Streams that they are spread over. */
  shards?: number;
}

/** What the streams of logs are made with. */
export function logConfigs(
  { replicas, logBytes, shards = SHARDS }: LogsOptions,
): (Partial<StreamConfig> & { name: string })[] {
  return Array.from({ length: shards }, (_, shard) => ({
    name: streamOf(shard),
    subjects: [`log.${number(shard)}.*`, `idx.${number(shard)}.*`],
    num_replicas: replicas,
    storage: StorageType.File,
    max_bytes: Math.floor(logBytes / shards),
    discard: DiscardPolicy.New,
    allow_direct: true,
    allow_rollup_hdrs: true,
    deny_delete: true,
    republish: { src: `log.${number(shard)}.*`, dest: "live.{{wildcard(1)}}" },
    metadata: { "stream-format": FORMAT, "stream-shards": String(shards) },
  }));
}

/**
 * How many streams the logs are spread over.
 * @throws {StreamError} NOT_READY when they are not there yet, WRONG_STATE when another version made them.
 */
export async function shardsOf(engine: Engine): Promise<number> {
  const { config } = await engine.streamInfo(streamOf(0));
  const { "stream-format": format, "stream-shards": shards } = config.metadata ?? {};
  if (format === FORMAT) return checkPayload(engine, Number(shards));
  throw new StreamError(
    "WRONG_STATE",
    `the engine holds data of format ${format}, this program knows ${FORMAT}`,
  );
}

function checkPayload({ nc }: Engine, shards: number): number {
  const { server_name: name, max_payload: bytes } = nc.info!;
  if (bytes >= LEAST_PAYLOAD_BYTES) return shards;
  throw new StreamError(
    "WRONG_STATE",
    `member ${name} takes messages of ${bytes} bytes at most: set its max_payload to 1MB`,
  );
}

/** Name of a stream. */
export function streamOf(shard: number): string {
  return `log-${number(shard)}`;
}

/** Where a log is in the engine. */
export interface LogPlace {
  /** The stream. */
  readonly stream: string;
  /** Subject of its bytes and statuses. */
  readonly subject: string;
  /** Subject of the pages of its index. */
  readonly index: string;
  /** Subject in the same stream that nobody reads: what is stored there proves that a majority follows its leader. */
  readonly probe: string;
  /** Subject on which its messages are published once they are stored. */
  readonly live: string;
}

/** Where the log of a resource is, unless it had to move. */
export function placeOf(id: string, shards: number): LogPlace {
  return placeIn(id, shardOf(id, shards));
}

/** Where the log of a resource is in one of the streams. */
export function placeIn(id: string, shard: number): LogPlace {
  const name = number(shard);
  return {
    stream: streamOf(shard),
    subject: `log.${name}.${id}`,
    index: `idx.${name}.${id}`,
    probe: `idx.${name}.probe`,
    live: `live.${id}`,
  };
}

/** Subject on which the next owner of a log tells the one before. */
export function ownerSubject(id: string): string {
  return `owner.${id}`;
}

function number(shard: number): string {
  return String(shard).padStart(2, "0");
}
