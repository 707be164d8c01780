/**
 * `stream cluster init`: makes what nodes share, and refuses what cannot keep the promise (docs/cluster.md).
 * @module
 */
import type { StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { bucketConfigs } from "../../cluster/buckets.ts";
import { connectEngine, type Engine } from "../../cluster/engine.ts";
import { LEAST_PAYLOAD_BYTES, logConfigs, shardsOf, streamOf } from "../../cluster/logs.ts";
import { StreamError } from "../../protocol.ts";
import { reasonOf } from "../../reasons.ts";
import { type Options, UsageError } from "../command.ts";
import { printLine } from "../output/output.ts";
import { formatBytes } from "../units.ts";
import { type EngineOptions, engineOptionsOf } from "./engine.ts";

/** Oldest nats-server that can do what a cluster needs. */
const OLDEST_VERSION = [2, 12];
/** Part of the space of a member that streams may take: a full one stands still (docs/cluster.md). */
const MOST_OF_STORE = 0.9;
/** Records and contexts may have so much of what the logs have. */
const RECORDS_SHARE = 0.05;
const LEAST_RECORD_BYTES = 64 * 1024 * 1024;

/** What a member says of itself. */
interface Member {
  name: string;
  version: string;
  /** Length of the longest message that it takes. */
  payloadBytes: number;
}

/** Settings of a member, as its monitoring tells them (`/varz`). */
interface MemberSettings {
  name: string;
  syncsAlways: boolean;
  storeBytes: number;
}

/** Makes the streams and buckets. */
export async function init(options: Options): Promise<void> {
  const wanted = wishesOf(options);
  const reached = await engineOptionsOf(options);
  const members = await membersAt(reached);
  checkMembers(members, wanted);
  checkSettings(await settingsOf(options.list("monitor")), wanted);
  const engine = await connectEngine(reached);
  try {
    await tell(await make(engine, wanted), wanted);
  } finally {
    await engine.close();
  }
}

/** Tells what there is now: what was made before is as it was. */
async function tell(logs: readonly LogStream[], { logBytes }: Wishes): Promise<void> {
  const bytes = logs.reduce((sum, { max_bytes }) => sum + max_bytes, 0);
  const replicas = Math.min(...logs.map(({ num_replicas }) => num_replicas));
  const members = replicas === 1 ? "1 member has" : `${replicas} members have`;
  await printLine(`ready: logs of ${formatBytes(bytes)} in all, ${members} each byte`);
  const wanted = Math.floor(logBytes / logs.length);
  if (logs.every(({ max_bytes }) => max_bytes === wanted)) return;
  await printLine(
    `they were made with another --size, and stay so: nats stream edit log-00 --max-bytes ${wanted}, and so on`,
  );
}

interface Wishes {
  replicas: number;
  isDurable: boolean;
  logBytes: number;
  recordBytes: number;
}

function wishesOf(options: Options): Wishes {
  const replicas = options.number("replicas") ?? 3;
  if (![1, 3, 5].includes(replicas)) {
    throw new UsageError(`--replicas ${replicas}: only 1, 3 or 5 members can decide`);
  }
  const durability = options.text("durability") ?? "disk";
  if (durability !== "disk" && durability !== "os") {
    throw new UsageError(`--durability ${durability}: that is neither os nor disk`);
  }
  const logBytes = options.number("size");
  if (logBytes === undefined) {
    throw new UsageError(
      "cluster init wants --size SIZE: streams without a limit can fill a member",
    );
  }
  const recordBytes = Math.max(LEAST_RECORD_BYTES, Math.floor(logBytes * RECORDS_SHARE));
  return { replicas, isDurable: durability === "disk", logBytes, recordBytes };
}

/** Asks each member that was named, and those that they know, by connecting to it. */
async function membersAt({ servers, credentials }: EngineOptions): Promise<Member[]> {
  const members = new Map<string, Member>();
  for (const server of servers) {
    const engine = await connectEngine({ servers: [server], credentials });
    const { server_name: name, version, jetstream, max_payload: payloadBytes } = engine.nc.info!;
    await engine.close();
    if (jetstream) members.set(name, { name, version, payloadBytes });
  }
  return [...members.values()];
}

function checkMembers(members: readonly Member[], { replicas }: Wishes): void {
  for (const { name, version, payloadBytes } of members) {
    if (payloadBytes < LEAST_PAYLOAD_BYTES) {
      throw refused(
        `member ${name} takes messages of ${payloadBytes} bytes at most: set its max_payload to 1MB`,
      );
    }
    const [major, minor] = version.split(".").map(Number);
    const [oldestMajor, oldestMinor] = OLDEST_VERSION;
    if (major > oldestMajor || major === oldestMajor && minor >= oldestMinor) continue;
    throw refused(
      `member ${name} runs nats-server ${version}: upgrade it to ${
        OLDEST_VERSION.join(".")
      } or newer`,
    );
  }
  if (members.length >= replicas) return;
  const found = members.length === 1 ? "1 member" : `${members.length} members`;
  throw refused(
    `${found} with JetStream at --cluster, and ${replicas} must have each byte: ` +
      `name ${replicas}, or say --replicas 1 and lose all with one disk`,
  );
}

/** Reads the settings of members: clients are not told them. */
async function settingsOf(urls: readonly string[]): Promise<MemberSettings[]> {
  return await Promise.all(urls.map(async (url) => {
    try {
      const answer = await fetch(new URL("/varz", url), { signal: AbortSignal.timeout(5000) });
      const { server_name, jetstream } = await answer.json();
      const { sync_always = false, max_storage } = jetstream.config;
      return { name: server_name, syncsAlways: sync_always, storeBytes: max_storage };
    } catch (error) {
      throw new StreamError("UNREACHABLE", `no monitoring at ${url}: ${reasonOf(error)}`);
    }
  }));
}

function checkSettings(settings: readonly MemberSettings[], wanted: Wishes): void {
  const { isDurable, replicas, logBytes, recordBytes } = wanted;
  if (isDurable) {
    const lazy = settings.find(({ syncsAlways }) => !syncsAlways);
    if (lazy !== undefined) {
      throw refused(
        `member ${lazy.name} acknowledges before its disk has it: set "sync_interval: always" in its ` +
          `jetstream block, or say --durability os`,
      );
    }
    if (settings.length < replicas) {
      throw refused(
        "whether members acknowledge only what their disks have is told by their monitoring alone: name it for " +
          `${replicas} of them (--monitor http://HOST:8222), or say --durability os`,
      );
    }
  }
  const streamBytes = logBytes + recordBytes * 1.1;
  for (const { name, storeBytes } of settings) {
    if (streamBytes <= storeBytes * MOST_OF_STORE) continue;
    throw refused(
      `member ${name} may store ${formatBytes(storeBytes)}, and --size ${
        formatBytes(logBytes)
      } would fill more ` +
        `than nine tenths of it: raise max_file_store, or lower --size`,
    );
  }
}

/** A stream of logs, as it is. */
type LogStream = Pick<StreamConfig, "max_bytes" | "num_replicas">;

/** @returns The streams of logs. */
async function make(engine: Engine, wanted: Wishes): Promise<LogStream[]> {
  const logs = logConfigs({ ...wanted, shards: await shardsIn(engine) });
  const all = [...logs, ...bucketConfigs(wanted)];
  const there: StreamConfig[] = [];
  for (const config of all) {
    const found = await engine.findStream(config.name);
    if (found === null) await add(engine, config);
    else check(found, wanted);
    there.push(found?.config ?? config as StreamConfig);
  }
  return there.slice(0, logs.length);
}

/** How many streams the logs are spread over already; undefined where there are none. */
async function shardsIn(engine: Engine): Promise<number | undefined> {
  return await engine.findStream(streamOf(0)) === null ? undefined : await shardsOf(engine);
}

async function add(
  engine: Engine,
  config: Partial<StreamConfig> & { name: string },
): Promise<void> {
  try {
    await engine.addStream(config);
  } catch (error) {
    throw refused(`the engine does not make ${config.name}: ${(error as Error).message}`);
  }
}

/** What was made before must keep the promise, too. */
function check({ config }: StreamInfo, { replicas }: Wishes): void {
  const { name, num_replicas, max_bytes } = config;
  if (num_replicas < replicas) {
    throw refused(
      `${name} is on ${num_replicas} of the members: nats stream edit ${name} --replicas ${replicas}`,
    );
  }
  if (!(max_bytes > 0)) {
    throw refused(`${name} has no max_bytes: nats stream edit ${name} --max-bytes SIZE`);
  }
}

function refused(message: string): StreamError {
  return new StreamError("CONFLICT", message);
}
