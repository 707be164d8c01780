/** A real engine of three members for tests: started once for all tests of a process, gone with it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { connectEngine, type Engine } from "../../src/cluster/engine.ts";
import { NATS_SERVER } from "../helpers/nats_server.ts";

const MEMBERS = 3;
const START_MS = 30_000;

/** Ends with its standard input: with the process that started it, however that ends. */
const GUARD = '"$0" "$@" & child=$!; cat > /dev/null; kill -9 $child; wait $child 2> /dev/null';
/** Removes what a process leaves that ends without a word. */
const SWEEPER = 'cat > /dev/null; sleep 1; rm -rf "$0"';

/** Where a member is at home; by default on this machine, in the directory of its cluster. */
export interface Home {
  host: string;
  /** Directory of its data. */
  data: string;
  /** What is to be said before its command to start it there. */
  enter: readonly string[];
}

/** A member of the engine. */
export class Member {
  readonly #directory: string;
  #guard: ChildProcess | null = null;

  /** Use {@link EngineCluster}. */
  constructor(
    directory: string,
    readonly name: string,
    /** Port for clients. */
    readonly port: number,
    /** Port of its monitoring. */
    readonly monitor: number,
    readonly home: Home,
  ) {
    this.#directory = directory;
  }

  /** Starts it, or starts it again. */
  start(): void {
    const config = join(this.#directory, `${this.name}.conf`);
    const log = join(this.#directory, this.name);
    const words = ["-c", GUARD, ...this.home.enter, NATS_SERVER, "-c", config, "-l", log];
    this.#guard = spawn("sh", words, { stdio: ["pipe", "ignore", "ignore"] });
    this.#guard.unref();
  }

  /** Sends it a signal. */
  signal(signal: NodeJS.Signals): void {
    const pid = Number(readFileSync(join(this.#directory, `${this.name}.pid`), "utf8"));
    try {
      process.kill(pid, signal);
    } catch { /* It is gone. */ }
  }

  /** Ends it at once, as a loss of its machine would; `start` brings it back. */
  async kill(): Promise<void> {
    const guard = this.#guard;
    this.#guard = null;
    if (guard === null) return;
    guard.ref();
    const over = once(guard, "exit");
    guard.stdin!.end();
    await over;
  }

  /** Whether it serves. */
  async isHealthy(): Promise<boolean> {
    try {
      const answer = await fetch(`http://${this.home.host}:${this.monitor}/healthz`);
      return (await answer.text()).includes('"ok"');
    } catch {
      return false;
    }
  }
}

/** Three members, on free ports, with data of their own. */
export class EngineCluster implements AsyncDisposable {
  readonly #directory: string;
  readonly #engines: Engine[] = [];

  private constructor(directory: string, readonly members: readonly Member[]) {
    this.#directory = directory;
  }

  /**
   * Starts one.
   * @param given.fileStore What each member may store.
   * @param given.syncInterval When it flushes: what is acknowledged survives the machine with `always` only.
   * @param given.homes Where they are.
   * @param given.place Where the directory of the cluster is made.
   */
  static async start(
    {
      fileStore = "4GB",
      syncInterval = "always",
      homes = [] as readonly Home[],
      place = tmpdir(),
    } = {},
  ): Promise<EngineCluster> {
    const directory = mkdtempSync(join(place, "stream-engine-"));
    const ports = await freePorts(3 * MEMBERS);
    const homeOf = (at: number): Home =>
      homes[at] ?? { host: "127.0.0.1", data: join(directory, `n${at + 1}.data`), enter: [] };
    const routes = ports.slice(2 * MEMBERS)
      .map((port, at) => `nats://${homeOf(at).host}:${port}`).join(", ");
    const members = Array.from({ length: MEMBERS }, (_, at) => {
      const name = `n${at + 1}`;
      const [port, monitor, route] = [0, 1, 2].map((kind) => ports[kind * MEMBERS + at]);
      const home = homeOf(at);
      const settings = [
        `server_name: ${name}`,
        `listen: ${home.host}:${port}`,
        `http: ${home.host}:${monitor}`,
        `pid_file: "${join(directory, `${name}.pid`)}"`,
        `max_payload: 1MB`,
        `jetstream { store_dir: "${home.data}", max_file_store: ${fileStore}, sync_interval: ${syncInterval} }`,
        `cluster { name: stream, listen: ${home.host}:${route}, routes: [${routes}] }`,
      ];
      writeFileSync(join(directory, `${name}.conf`), settings.join("\n"));
      return new Member(directory, name, port, monitor, home);
    });
    spawn("sh", ["-c", SWEEPER, directory], { stdio: ["pipe", "ignore", "ignore"] }).unref();
    const cluster = new EngineCluster(directory, members);
    for (const member of members) member.start();
    await cluster.healthy();
    return cluster;
  }

  /** Address of its members, as `--cluster` takes it. */
  get url(): string {
    return `nats://${this.members.map(({ home, port }) => `${home.host}:${port}`).join(",")}`;
  }

  /** A connection of its own; closed with the cluster. */
  async connect(): Promise<Engine> {
    const servers = this.members.map(({ home, port }) => `nats://${home.host}:${port}`);
    const engine = await connectEngine({ servers });
    this.#engines.push(engine);
    return engine;
  }

  /** Waits until all members serve, and agree on who leads. */
  async healthy(): Promise<void> {
    for (const untilMs = performance.now() + START_MS; performance.now() < untilMs;) {
      const health = await Promise.all(this.members.map((member) => member.isHealthy()));
      if (health.every((isHealthy) => isHealthy) && await this.#hasLeader()) return;
      await sleep(100);
    }
    throw new Error("the engine does not start: is nats-server there (STREAM_NATS)?");
  }

  /** The member that leads a stream, as soon as there is one. */
  async leaderOf(engine: Engine, stream: string): Promise<Member> {
    for (const untilMs = performance.now() + START_MS;;) {
      try {
        const { cluster } = await engine.jsm.streams.info(stream);
        const leader = this.members.find(({ name }) => name === cluster?.leader);
        if (leader !== undefined) return leader;
      } catch (error) {
        if (performance.now() > untilMs) throw error;
      }
      await sleep(100);
    }
  }

  /** A fresh cluster is healthy before it can make a stream, for which its leader has to know all members. */
  async #hasLeader(): Promise<boolean> {
    try {
      const answers = await Promise.all(this.members.map(async ({ name, home, monitor }) => {
        const answer = await fetch(`http://${home.host}:${monitor}/jsz`);
        const { leader, replicas = [] } = (await answer.json()).meta_cluster ?? {};
        return leader === name && replicas.length === MEMBERS - 1 &&
          replicas.every(({ current }: { current: boolean }) => current);
      }));
      return answers.includes(true);
    } catch {
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#engines.map(({ nc }) => nc.close()));
    await Promise.all(this.members.map((member) => member.kill()));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

let shared: Promise<EngineCluster> | null = null;

/** One for all tests of this process that leave it as it is; nobody takes the machine away from it. */
export function sharedCluster(): Promise<EngineCluster> {
  return shared ??= EngineCluster.start({ syncInterval: "10s", place: memoryDisk() });
}

const MEMORY_DISK = "/dev/shm";
const MIN_FREE_BYTES = 2e9;

/** For engines that nobody takes the machine away from: a disk in memory takes them a quarter of the processor time less. */
export function memoryDisk(): string {
  try {
    const { bavail, bsize } = statfsSync(MEMORY_DISK);
    return bavail * bsize < MIN_FREE_BYTES ? tmpdir() : MEMORY_DISK;
  } catch {
    return tmpdir();
  }
}

/** Ports that nobody listens on. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () =>
      new Promise<ReturnType<typeof createServer>>((resolve) => {
        const server = createServer();
        server.listen(0, "127.0.0.1", () => resolve(server));
      })),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
