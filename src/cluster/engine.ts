/**
 * The engine that nodes of a cluster share: NATS JetStream (https://docs.nats.io/nats-concepts/jetstream).
 * @module
 */
import { connect, credsAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import {
  jetstream,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
} from "@nats-io/jetstream";
import { StreamError } from "../protocol.ts";

/** A member that does not answer so often is left for another one. */
const PING_MS = 1000;
const MOST_PINGS = 2;
const RECONNECT_MS = 100;
/** A request that the engine does not answer within so long is made again, in ms. */
const ANSWER_MS = 1000;

/** Buckets of the records of resources; the id says which. */
export const RECORD_BUCKETS: readonly string[] = ["rec-0", "rec-1", "rec-2", "rec-3"];
/** Bucket of upload contexts. */
export const CONTEXT_BUCKET = "ctx";
/** Bucket of what holds for the whole cluster. */
export const SETTINGS_BUCKET = "cluster";
/** Bucket of the nodes that are there, and of who does what only one may do. */
export const NODE_BUCKET = "nodes";

/** A connection to the engine. */
export interface Engine {
  /** The connection; it goes to another member when its own is gone. */
  readonly nc: NatsConnection;
  /** Publishes to streams. */
  readonly js: JetStreamClient;
  /** Reads and manages streams. */
  readonly jsm: JetStreamManager;
}

/** How the engine is reached. */
export interface EngineOptions {
  /** Its members, as `enginesIn` reads them. */
  servers: readonly string[];
  /** Content of a file of credentials; none by default. */
  credentials?: Uint8Array;
}

/**
 * Connects to the engine.
 * @param options Its members, and what is presented there.
 * @throws {StreamError} UNREACHABLE.
 */
export async function connectEngine({ servers, credentials }: EngineOptions): Promise<Engine> {
  try {
    const nc = await connect({
      servers: [...servers],
      name: "stream",
      authenticator: credentials && credsAuthenticator(credentials),
      pingInterval: PING_MS,
      maxPingOut: MOST_PINGS,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_MS,
    });
    const jsm = await jetstreamManager(nc, { timeout: ANSWER_MS, checkAPI: false });
    return { nc, js: jetstream(nc, { timeout: ANSWER_MS }), jsm };
  } catch (error) {
    const reason = (error as Error).message;
    throw new StreamError("UNREACHABLE", `the engine at ${servers.join(", ")}: ${reason}`, {
      cause: error,
    });
  }
}

/**
 * Reads the addresses of the members.
 * @param text `nats://a,b:4222,c`, or `tls://…`.
 * @returns One address for each.
 * @throws {StreamError} BAD_REQUEST.
 */
export function enginesIn(text: string): string[] {
  const [, scheme, list] = /^(nats|tls):\/\/([^/?#@\s]+)$/.exec(text) ?? [];
  const names = (list ?? "").split(",");
  if (names.every((name) => /^(\[[\da-fA-F:]+\]|[\w.-]+)(:\d{1,5})?$/.test(name))) {
    return names.map((name) => `${scheme}://${name}`);
  }
  throw new StreamError("BAD_REQUEST", `${text}: expected nats://HOST,HOST,HOST`);
}

/**
 * Which of several places has what belongs to an id.
 * @param id The id.
 * @param count How many places there are.
 * @returns Number of the place, from 0: the same on every node, for ever (FNV-1a).
 */
export function shardOf(id: string, count: number): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < id.length; at++) {
    hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193) >>> 0;
  }
  return hash % count;
}
