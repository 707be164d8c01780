/**
 * Buckets of the engine: records of resources, upload contexts, settings, and who is there.
 * @module
 */
import { DiscardPolicy, StorageType, type StreamConfig } from "@nats-io/jetstream";
import { CONTEXT_BUCKET, NODE_BUCKET, RECORD_BUCKETS, SETTINGS_BUCKET } from "./engine.ts";
import { FORGET_MS } from "./nodes.ts";

/** Subject on which the changes of a bucket are published once they are stored. */
export function changesOf(bucket: string): string {
  return `changes.${bucket}.>`;
}

/** Size and safety of buckets. */
export interface BucketOptions {
  /** Members that have each of them. */
  replicas: number;
  /** Bytes that all buckets of records together may have. */
  recordBytes: number;
}

/** What the buckets are made with. */
export function bucketConfigs(
  { replicas, recordBytes }: BucketOptions,
): (Partial<StreamConfig> & { name: string })[] {
  const records = RECORD_BUCKETS.map((name) => ({
    ...bucket(name, replicas),
    max_bytes: Math.floor(recordBytes / RECORD_BUCKETS.length),
  }));
  return [
    ...records,
    { ...bucket(CONTEXT_BUCKET, replicas), max_bytes: Math.floor(recordBytes / 10) },
    { ...bucket(SETTINGS_BUCKET, replicas), max_bytes: 1024 * 1024 },
    { ...bucket(NODE_BUCKET, replicas), max_bytes: 1024 * 1024, max_age: FORGET_MS * 1_000_000 },
  ];
}

function bucket(name: string, replicas: number) {
  return {
    name: `KV_${name}`,
    subjects: [`$KV.${name}.>`],
    num_replicas: replicas,
    storage: StorageType.File,
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.New,
    allow_direct: true,
    allow_rollup_hdrs: true,
    allow_msg_ttl: true,
    deny_delete: true,
    republish: { src: `$KV.${name}.>`, dest: changesOf(name) },
  };
}
