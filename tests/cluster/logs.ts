/** Logs in an engine that all tests of a process share; ids keep them apart. */
import type { Engine } from "../../src/cluster/engine.ts";
import { logConfigs } from "../../src/cluster/logs.ts";
import { NatsStorage, type NatsStorageOptions } from "../../src/storage/nats.ts";
import { type EngineCluster, sharedCluster } from "./engine.ts";

/** Fewer streams than in earnest: their leaders still differ. */
export const SHARDS = 3;
const LOG_BYTES = 1024 ** 3;

/** Nodes' storages, each with a connection of its own. */
export class EngineLogs implements AsyncDisposable {
  readonly #cluster: EngineCluster;
  readonly #open: { storage: NatsStorage; engine: Engine }[] = [];

  /** @param cluster The engine. */
  constructor(cluster: EngineCluster) {
    this.#cluster = cluster;
  }

  /** One more node. */
  async node(options: NatsStorageOptions = {}): Promise<NatsStorage> {
    const engine = await this.#cluster.connect();
    const storage = await NatsStorage.open(engine, options);
    this.#open.push({ storage, engine });
    return storage;
  }

  /** The connection of a node. */
  engineOf(node: NatsStorage): Engine {
    return this.#open.find(({ storage }) => storage === node)!.engine;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { storage, engine } of this.#open) {
      await storage.close();
      await engine.close();
    }
  }
}

/** Makes the streams of an engine. */
export async function withLogs(cluster: EngineCluster): Promise<EngineCluster> {
  const engine = await cluster.connect();
  const configs = logConfigs({ replicas: 3, logBytes: LOG_BYTES, shards: SHARDS });
  await Promise.all(configs.map((config) => engine.addStream(config)));
  await engine.close();
  return cluster;
}

let shared: Promise<EngineCluster> | null = null;

/** Logs in the engine of this process. */
export async function logsInEngine(): Promise<EngineLogs> {
  return new EngineLogs(await engineOfLogs());
}

/** The engine of this process, with streams for logs. */
export function engineOfLogs(): Promise<EngineCluster> {
  return shared ??= sharedCluster().then(withLogs);
}

/** Of a node: to its engine everything was stored a minute before. */
export function passAMinute({ jsm: { streams } }: Engine): void {
  const info = streams.info.bind(streams);
  streams.info = async (...given) => {
    const found = await info(...given);
    return { ...found, ts: new Date(Date.parse(found.ts!) + 61_000).toISOString() };
  };
}
