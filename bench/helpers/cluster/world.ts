/** Three members and three nodes, each with a network and a disk of its own, all of which can fail. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { placeOf, shardsOf } from "../../../src/cluster/logs.ts";
import type { Engine } from "../../../src/cluster/engine.ts";
import { EngineCluster, type Home, type Member } from "../../../tests/cluster/engine.ts";
import { type Kind, type Program, within, Workspace } from "../../../tests/helpers/cli.ts";

const SUBNET = "10.77.0";
const DISK = "384m";
const NODES = 3;
const START_MS = 30_000;
const PAUSE_MS = 500;

/** A process with a network and a disk. */
export interface Place {
  readonly name: string;
  readonly home: Home;
  signal(name: NodeJS.Signals): void;
  /** Ends it at once. */
  kill(): Promise<void>;
  /** Starts it again after it ended. */
  start(): Promise<void> | void;
}

/** A node that is started again and again until it stays, as a supervisor would. */
export class ClusterNode implements Place {
  #program: Program | null = null;

  /** Use {@link World}. */
  constructor(
    readonly name: string,
    readonly home: Home,
    private readonly port: number,
    private readonly kind: Kind,
    private readonly workspace: Workspace,
    private readonly engine: string,
  ) {}

  get url(): string {
    return `http://${this.home.host}:${this.port}`;
  }

  signal(name: NodeJS.Signals): void {
    this.#program!.signal(name);
  }

  async kill(): Promise<void> {
    await this.#program!.kill("SIGKILL");
  }

  async start(): Promise<void> {
    const { host, data, enter } = this.home;
    const shell = `exec ${enter.join(" ")} "$@"`;
    const args = [
      ...["serve", "--host", host, "--port", String(this.port), "--insecure-public"],
      ...["--cluster", this.engine, "--base-url", "http://cluster.bench", "--allow-host", "*"],
      ...["--data", data, "--min-free", "0"],
    ];
    for (const untilMs = performance.now() + 4 * START_MS;;) {
      this.#program = this.workspace.start(this.kind, args, { shell });
      const listening = this.#program.stdout.until((text) => text.includes("\n"));
      try {
        await within(START_MS, listening, () => new Error(`${this.name} does not listen`));
        return;
      } catch (error) {
        if (performance.now() > untilMs) throw error;
        await this.kill();
        await sleep(PAUSE_MS);
      }
    }
  }
}

/** What rounds happen in. */
export class World implements AsyncDisposable {
  #shards = 0;

  private constructor(
    readonly engine: EngineCluster,
    readonly nodes: readonly ClusterNode[],
    private readonly workspace: Workspace,
    private readonly kind: Kind,
    private readonly connection: Engine,
  ) {}

  /**
   * Starts one.
   * @param isApart Whether each has a network and a disk of its own, for which we must be root of a network.
   */
  static async start(kind: Kind, isApart: boolean): Promise<World> {
    const workspace = await Workspace.open();
    const homeOf = (at: number) => isApart ? makeHome(workspace, at) : plainHome(workspace, at);
    if (isApart) makeBridge();
    const homes = Array.from({ length: 3 + NODES }, (_, at) => homeOf(at));
    const engine = await EngineCluster.start({ fileStore: "1GB", homes: homes.slice(0, 3) });
    const nodes = homes.slice(3).map((home, at) => {
      // Below the ports that connections get by themselves.
      const port = isApart ? 8090 : 20_000 + Math.floor(Math.random() * 10_000);
      return new ClusterNode("abc"[at], home, port, kind, workspace, engine.url);
    });
    const world = new World(engine, nodes, workspace, kind, await engine.connect());
    await world.run("init", "--size", "600MB", "--durability", "os");
    world.#shards = await shardsOf(world.connection);
    await Promise.all(nodes.map((node) => node.start()));
    return world;
  }

  /** Runs a command about the cluster; returns what it said. */
  async run(...words: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const [command, ...rest] = words;
    const place = command === "check" ? ["check"] : ["cluster", command];
    const program = this.workspace.start(this.kind, [
      ...[...place, "--cluster", this.engine.url, ...rest],
    ]);
    program.end();
    return await program.exit(4 * START_MS);
  }

  /** The members, the one that leads the log of a resource first. */
  async byLead(id: string): Promise<[Member, ...Member[]]> {
    const leader = await this.engine.leaderOf(this.connection, placeOf(id, this.#shards).stream);
    return [leader, ...this.engine.members.filter((member) => member !== leader)];
  }

  /** The member that a node is connected to. */
  async memberOf(node: ClusterNode): Promise<Member> {
    for (const member of this.engine.members) {
      const address = `http://${member.home.host}:${member.monitor}/connz?limit=1000`;
      const { connections } = await (await fetch(address)).json();
      const name = node.home.host;
      if (connections.some(({ ip }: { ip: string }) => ip === name)) return member;
    }
    return this.engine.members[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    await this.engine[Symbol.asyncDispose]();
    for (const { home } of [...this.nodes, ...this.engine.members]) {
      if (home.enter.length > 0) execFileSync("umount", [join(home.data, "..")]);
    }
    await this.workspace[Symbol.asyncDispose]();
  }
}

/** Fills the disk of a place; returns what makes room again. */
export function fillDisk({ home }: Place): () => void {
  const filler = join(home.data, "..", "filler");
  try {
    execFileSync("dd", ["if=/dev/zero", `of=${filler}`, "bs=64k"], { stdio: "ignore" });
  } catch { /* It ends when there is no more room. */ }
  return () => rmSync(filler);
}

/** Takes what a place that was ended has stored. */
export function wipeDisk({ home }: Place): void {
  for (const name of readdirSync(home.data)) {
    rmSync(join(home.data, name), { recursive: true, force: true });
  }
}

/** Cuts all links of a place, or mends them. */
export function setLink({ name }: Place, state: "up" | "down"): void {
  ip("link", "set", `to-${name}`, state);
}

/** What becomes of packets one way: all are lost, or no more than 1 Mbit/s comes through. */
const QUEUES = {
  lost: ["rate", "8bit", "burst", "1", "limit", "1"],
  slow: ["rate", "1mbit", "burst", "32kb", "latency", "400ms"],
};

/**
 * Lets less through on all links of a place, one way.
 * @returns Mends it.
 */
export function limitLink(
  { name }: Place,
  way: "to" | "from",
  how: keyof typeof QUEUES,
): () => void {
  const place = way === "to" ? [] : ["-n", name];
  const device = way === "to" ? `to-${name}` : "net";
  const tc = (...words: string[]) => execFileSync("tc", [...place, "qdisc", ...words]);
  tc("add", "dev", device, "root", "tbf", ...QUEUES[how]);
  return () => tc("del", "dev", device, "root");
}

function nameOf(at: number): string {
  return ["n1", "n2", "n3", "a", "b", "c"][at];
}

function plainHome(workspace: Workspace, at: number): Home {
  const data = join(workspace.path(nameOf(at)), "data");
  mkdirSync(data, { recursive: true });
  return { host: "127.0.0.1", data, enter: [] };
}

/** A namespace with one link to the bridge, and a disk in memory. */
function makeHome(workspace: Workspace, at: number): Home {
  const name = nameOf(at);
  const host = `${SUBNET}.${10 + at}`;
  ip("netns", "add", name);
  ip("link", "add", `to-${name}`, "type", "veth", "peer", "name", "net", "netns", name);
  ip("link", "set", `to-${name}`, "master", "bridge", "up");
  for (
    const words of [
      ["addr", "add", `${host}/24`, "dev", "net"],
      ["link", "set", "net", "up"],
      ["link", "set", "lo", "up"],
    ]
  ) ip("-n", name, ...words);
  const disk = workspace.path(name);
  mkdirSync(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK}`, "none", disk]);
  mkdirSync(join(disk, "data"));
  return { host, data: join(disk, "data"), enter: ["ip", "netns", "exec", name] };
}

function makeBridge(): void {
  ip("link", "set", "lo", "up");
  ip("link", "add", "bridge", "type", "bridge");
  ip("addr", "add", `${SUBNET}.1/24`, "dev", "bridge");
  ip("link", "set", "bridge", "up");
}

function ip(...words: string[]): void {
  execFileSync("ip", words);
}
