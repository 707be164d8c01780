/** Two servers on one engine, by the real program: what is done at one is there at the other, whatever becomes of either. */
import { readFileSync } from "node:fs";
import { appendFile, copyFile, truncate, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { listResources } from "../../mod.ts";
import { placeOf, shardsOf } from "../../src/cluster/logs.ts";
import { nodesOf as nodesThere } from "../../src/cluster/nodes.ts";
import { logPath } from "../../src/storage/layout.ts";
import { NatsStorage } from "../../src/storage/nats.ts";
import { EngineCluster, freePorts, memoryDisk } from "../cluster/engine.ts";
import { inTurn, type Kind, kinds, type Program, quickest, Workspace } from "../helpers/cli.ts";

/** What references name; clients of these tests say themselves where the servers are. */
const SERVICE = "http://logs.example";

let started: Promise<EngineCluster> | null = null;

/** An engine of these tests alone, as `cluster init` makes streams of other sizes than other tests. */
function ownEngine(): Promise<EngineCluster> {
  return started ??= EngineCluster.start({ place: memoryDisk() });
}

/** A server that is a node, which can be started again where it was. */
class Node {
  #program: Program | null = null;

  constructor(
    readonly workspace: Workspace,
    readonly kind: Kind,
    readonly data: string,
    readonly url: string,
    readonly options: readonly string[],
  ) {}

  async start(): Promise<void> {
    const { url } = await ownEngine();
    const place = ["--cluster", url, "--base-url", SERVICE, "--data", this.data, "--min-free", "0"];
    const here = ["--port", new URL(this.url).port, "--node-url", this.url];
    this.#program = await this.workspace.serve(this.kind, [...place, ...here, ...this.options]);
  }

  async stop(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    await this.#program!.kill(signal);
  }

  /** Waits until it ends by itself. */
  exit() {
    return this.#program!.exit();
  }

  /** What it logged. */
  get log(): string {
    return this.#program!.stderr.text;
  }
}

const prepared = new Set<Kind>();

/** Makes the engine ready, by each kind of program once. */
async function prepare(workspace: Workspace, kind: Kind): Promise<void> {
  if (prepared.has(kind)) return;
  const { url, members } = await ownEngine();
  const monitors = members.flatMap(({ monitor }) => ["--monitor", `http://127.0.0.1:${monitor}`]);
  const init = ["cluster", "init", "--cluster", url, "--size", "1GB", ...monitors];
  const made = await workspace.run(kind, init);
  assertEquals([made.code, made.stderr], [0, ""]);
  prepared.add(kind);
}

/** Nodes of an engine, each by a kind of program. */
async function nodesOf(
  kinds: readonly Kind[],
  options: readonly string[] = [],
  before: (workspace: Workspace) => Promise<void> = () => Promise.resolve(),
) {
  const workspace = await Workspace.open();
  await before(workspace);
  for (const kind of kinds) await prepare(workspace, kind);
  const nodes = (await freePorts(kinds.length)).map((port, at) =>
    new Node(workspace, kinds[at], "ab"[at], `http://127.0.0.1:${port}`, options)
  );
  for (const node of nodes) await node.start();
  return {
    workspace,
    nodes,
    both: nodes.map((node) => node.url).join(","),
    [Symbol.asyncDispose]: () => workspace[Symbol.asyncDispose](),
  };
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: what is pushed to one node is followed, read, found and deleted at the other`, async () => {
    await using cluster = await nodesOf([kind, quickest]);
    const { workspace, nodes: [a, b] } = cluster;
    const context = crypto.randomUUID();
    const at = (node: Node) => ["--server", node.url];
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await workspace.run(quickest, args);
      assertEquals([code, stderr], [0, ""], args.join(" "));
      return stdout;
    };
    const name = ["--name", "a.log", "--context", context];
    const { push, reference } = await workspace.push(quickest, ["-", ...name, ...at(a)]);
    assertMatch(reference, /^ws:\/\/logs\.example\/ws\/streaming\/download\/[0-9a-f-]{36}$/);
    const id = reference.split("/").at(-1)!;
    const follow = workspace.start(quickest, ["follow", id, ...at(b)]);
    for (let line = 1; line <= 3; line++) {
      await push.write(`line ${line}\n`);
      await follow.stdout.until((text) => text.endsWith(`line ${line}\n`));
    }
    const open = await workspace.run(quickest, ["rm", id, ...at(b)]);
    assertMatch(open.stderr, /WRONG_STATE/);
    push.end();
    assertEquals((await push.exit()).code, 0);
    const text = "line 1\nline 2\nline 3\n";
    assertEquals(await follow.exit(), { code: 0, stdout: text, stderr: "" });
    assertEquals(await run("follow", id, "--lines", "2:1", ...at(b)), "line 3\n");
    assertMatch(await run("search", id, "line 2", ...at(b)), /line 2/);
    assertMatch(await run("ls", "--context", context, ...at(b)), /COMPLETED +21 +3 .* a\.log/);
    const status = JSON.parse(await run("status", id, "--json", ...at(b)));
    assertEquals([status.transferStatus, status.durableSize], ["COMPLETED", 21]);
    assertEquals(status.digest, JSON.parse(await run("status", id, "--json", ...at(a))).digest);
    await run("rm", id, ...at(b));
    assertMatch((await workspace.run(quickest, ["status", id, ...at(a)])).stderr, /NOT_FOUND/);
    assertEquals(await run("ls", "--context", context, "--json", ...at(a)), "[]\n");
  });

  test(`${kind}: kill -9 of a node: pushes and followers go on at the other, with every byte once`, async () => {
    await using cluster = await nodesOf([quickest, kind]);
    const { workspace, nodes: [a, b], both } = cluster;
    const { push, reference } = await workspace.push(kind, ["-", "--server", both]);
    const id = reference.split("/").at(-1)!;
    const there = `${b.url},${a.url}`;
    const follows = [both, there].map((servers) =>
      workspace.start(kind, ["follow", id, "--server", servers])
    );
    let text = "";
    const line = async (index: number) => {
      text += `line ${index}\n`;
      await push.write(`line ${index}\n`);
      for (const follow of follows) await follow.stdout.until((seen) => seen === text);
    };
    for (let index = 0; index < 20; index++) await line(index);
    await a.stop("SIGKILL");
    const killedAtMs = performance.now();
    await line(20);
    const pauseMs = performance.now() - killedAtMs;
    for (let index = 21; index < 40; index++) await line(index);
    push.end();
    assertEquals((await push.exit()).code, 0);
    for (const follow of follows) assertEquals((await follow.exit()).stdout, text);
    assertLess(pauseMs, 5000);
    const metrics = await (await fetch(`${b.url}/metrics`)).text();
    assertMatch(metrics, /^stream_takeovers_total 1$/m);
    assertMatch(metrics, /^stream_append_seconds_count [1-9]/m);
    const { code, stdout } = await workspace.run(quickest, [
      "status",
      id,
      "--json",
      "--server",
      both,
    ]);
    const { transferStatus, currentSize } = JSON.parse(stdout);
    assertEquals([code, transferStatus, currentSize], [0, "COMPLETED", text.length]);
  });
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: a rolling restart of all nodes loses nobody who was given one of them, and fails nothing`, async () => {
    await using cluster = await nodesOf([kind, quickest], ["--drain", "100ms"]);
    const { workspace, nodes } = cluster;
    const { push, reference } = await workspace.push(kind, ["-", "--server", nodes[0].url]);
    const id = reference.split("/").at(-1)!;
    const follow = workspace.start(kind, ["follow", id, "--server", nodes[1].url]);
    let text = "";
    let goesOn = true;
    const pushing = (async () => {
      for (let index = 0; goesOn; index++) {
        text += `line ${index}\n`;
        await push.write(`line ${index}\n`);
        await sleep(10);
      }
    })();
    await follow.stdout.until((seen) => seen.length > 100);
    for (const node of [...nodes, ...nodes]) {
      await node.stop("SIGTERM");
      const { length } = follow.stdout.text;
      await follow.stdout.until((seen) => seen.length > length + 200);
      await node.start();
    }
    goesOn = false;
    await pushing;
    push.end();
    assertEquals((await push.exit()).code, 0);
    assertEquals((await follow.exit()).stdout, text);
    for (const node of nodes) assertEquals(/FAILED|INTERNAL/.exec(node.log), null, node.log);
  });

  test(`${kind}: a node that drains says so to load balancers before it hands uploads over`, async () => {
    await using cluster = await nodesOf([kind, quickest], ["--drain", "10s"]);
    const { workspace, nodes: [a, b] } = cluster;
    const { push, reference } = await workspace.push(kind, ["-", "--server", `${a.url},${b.url}`]);
    assertEquals((await fetch(`${a.url}/readyz`)).status, 200);
    const stopping = a.stop("SIGTERM");
    let ready = 200;
    for (let tries = 0; tries < 100 && ready === 200; tries++) {
      ready = (await fetch(`${a.url}/readyz`)).status;
      await sleep(10);
    }
    assertEquals(ready, 503);
    // It serves on meanwhile.
    await push.write("late\n");
    const id = reference.split("/").at(-1)!;
    const follow = workspace.start(kind, ["follow", id, "--server", a.url]);
    await follow.stdout.until((text) => text === "late\n");
    push.end();
    assertEquals((await push.exit()).code, 0);
    await follow.exit();
    void stopping;
  });

  test(`${kind}: a link that one node signed is good at the other`, async () => {
    const env = { STREAM_TOKEN: "" };
    await using cluster = await nodesOf(
      [kind, quickest],
      ["--auth", "tokens"],
      async (workspace) => {
        const create = ["token", "create", "--auth", "tokens", "--scope", "upload,read"];
        env.STREAM_TOKEN = (await workspace.run(kind, create)).stdout.trim();
      },
    );
    const { workspace, nodes: [a, b] } = cluster;
    const push = workspace.start(quickest, ["push", "-", "--server", a.url], { env });
    await push.write("shared\n");
    push.end();
    const { stdout } = await push.exit();
    const id = stdout.trim().split("/").at(-1)!;
    const share = await workspace.run(quickest, ["share", id, "--server", a.url], { env });
    const link = share.stdout.split("\n")[0].replace(SERVICE, b.url);
    const answer = await fetch(link);
    assertEquals([answer.status, await answer.text()], [200, "shared\n"]);
  });

  test(`${kind}: a token of the cluster is good at every node, until it is revoked for all of them`, async () => {
    await using cluster = await nodesOf([kind, quickest], ["--auth", "cluster"]);
    const { workspace, nodes } = cluster;
    const { url } = await ownEngine();
    const token = (...args: string[]) =>
      workspace.run(kind, ["token", ...args, "--cluster", url], { env: { STREAM_TOKEN: "" } });
    const name = crypto.randomUUID();
    const created = await token("create", "--scope", "read", "--name", name);
    assertEquals([created.code, created.stderr], [0, ""]);
    const again = await token("create", "--scope", "read", "--name", name);
    assertMatch(again.stderr, /the tokens of the cluster has a token .*CONFLICT/);
    const headers = { authorization: `Bearer ${created.stdout.trim()}` };
    const answers = async (wanted: number) => {
      for (const node of nodes) {
        let status = 0;
        while (status !== wanted) {
          const answer = await fetch(`${node.url}/resources`, { headers });
          await answer.body?.cancel();
          status = answer.status;
          if (status !== wanted) await sleep(50);
        }
      }
    };
    await answers(200);
    assertEquals((await token("revoke", name)).code, 0);
    await answers(401);
  });

  test(`${kind}: retention deletes on all nodes`, async () => {
    await using cluster = await nodesOf([kind, quickest], ["--retention", "1s"]);
    const { workspace, nodes, both } = cluster;
    const context = crypto.randomUUID();
    const push = workspace.start(quickest, ["push", "-", "--context", context, "--server", both]);
    push.end();
    assertEquals((await push.exit()).code, 0);
    for (const { url } of nodes) {
      const isListed = async () =>
        (await Array.fromAsync(listResources(url, { contextId: context }))).length > 0;
      while (await isListed()) await sleep(100);
    }
  });

  test(`${kind}: the duty of a node that ends is another one's`, async () => {
    await using cluster = await nodesOf([kind, quickest]);
    const { workspace, nodes: [a, b] } = cluster;
    const engine = await (await ownEngine()).connect();
    const isOnDuty = async (node: Node) => (await nodesThere(engine)).onDuty === nodeIdOf(node);
    // A node of an earlier test may have it yet.
    while (!await isOnDuty(a) && !await isOnDuty(b)) await sleep(20);
    const [duty, rest] = await isOnDuty(a) ? [a, b] : [b, a];
    await duty.stop("SIGTERM");
    while (!await isOnDuty(rest)) await sleep(20);
    assertEquals((await stateOf(workspace)).onDuty, nodeIdOf(rest));
    await engine.close();
  });

  test(`${kind}: the status of a cluster shows members, streams and nodes`, async () => {
    await using cluster = await nodesOf([kind, quickest]);
    const { workspace, nodes } = cluster;
    const state = await stateOf(workspace, kind);
    assertEquals(state.members.map(({ name, isAway }) => [name, isAway]), [
      ["n1", false],
      ["n2", false],
      ["n3", false],
    ]);
    const ids = state.nodes.map(({ id }) => id);
    for (const node of nodes) assert(ids.includes(nodeIdOf(node)), `${ids}`);
    assert(state.streams.every(({ leader, maxBytes }) => leader !== null && maxBytes > 0));
    const { url } = await ownEngine();
    const balance = await workspace.run(kind, ["cluster", "balance", "--cluster", url]);
    assertEquals([balance.code, balance.stderr], [0, ""]);
    const led = (await stateOf(workspace)).members.map(({ leads }) => leads);
    assertLess(Math.max(...led) - Math.min(...led), 2);
  });

  test(`${kind}: what nodes were not given alike is told at the start, and by the status of the cluster`, async () => {
    await using cluster = await nodesOf([kind, quickest], ["--resume-window", "60s"]);
    const { workspace, nodes: [a, b] } = cluster;
    await b.stop("SIGTERM");
    const other = new Node(workspace, kind, b.data, b.url, ["--resume-window", "1h"]);
    await other.start();
    const { disagreements } = await stateOf(workspace);
    // Nodes of earlier tests may be known yet.
    const line = disagreements.find((line) => line.startsWith("--resume-window: "))!;
    assertMatch(line, new RegExp(`60 s at [^;]*${nodeIdOf(a)}`));
    assertMatch(line, new RegExp(`3600 s at ${nodeIdOf(b)}`));
    assertEquals(disagreements.filter((line) => line.startsWith("--base-url")), []);
    assertMatch(other.log, /error nodes disagree setting="--resume-window: .*3600 s at/);
  });

  test(`${kind}: a node with the id of another one ends, and says what to remove`, async () => {
    await using cluster = await nodesOf([quickest, kind]);
    const { workspace, nodes: [a, b] } = cluster;
    await b.stop("SIGTERM");
    await copyFile(workspace.path(`${a.data}/node-id`), workspace.path(`${b.data}/node-id`));
    await b.start();
    const { code, stderr } = await b.exit();
    assertEquals(code, 1);
    assertMatch(stderr, /another node has the id node-\w+: remove the node-id in b \(CONFLICT\)/);
    const { nodes } = await stateOf(workspace);
    assert(nodes.some(({ id }) => id === nodeIdOf(a)));
  });

  test(`${kind}: the data of a single server is copied into a cluster, unfinished uploads included`, async () => {
    await using cluster = await nodesOf([quickest]);
    const { workspace, nodes: [a] } = cluster;
    const { url } = await ownEngine();
    const single = await workspace.serve(quickest);
    const alone = workspace.server;
    const finished = workspace.start(quickest, [
      "push",
      "-",
      "--context",
      "old",
      "--server",
      alone,
    ]);
    await finished.write("one\ntwo\n");
    finished.end();
    const id = (await finished.exit()).stdout.trim().split("/").at(-1)!;
    await writeFile(workspace.path("live.log"), "before\n");
    const live = ["live.log", "--follow", "--server", alone];
    const { push, reference } = await workspace.push(quickest, live);
    const open = reference.split("/").at(-1)!;
    const before = workspace.start(quickest, ["follow", open, "--server", alone]);
    await before.stdout.until((text) => text === "before\n");
    await push.kill("SIGKILL");
    await single.kill("SIGTERM");
    const node = ["serve", "--data", "data", "--cluster", url, "--base-url", SERVICE];
    const refused = await workspace.run(kind, node);
    assertEquals(refused.code, 1);
    assertMatch(refused.stderr, /data has the data of a single server.*stream adopt data/);
    const adopt = ["adopt", "data", "--cluster", url];
    // What attempts leave that were cut off.
    const engine = await (await ownEngine()).connect();
    const storage = await NatsStorage.open(engine);
    const left = await storage.create(id, { lineAccess: true, epoch: 1 });
    await left.append(0, [new TextEncoder().encode("one")]);
    await left.close();
    await (await storage.create(open, { lineAccess: true, epoch: 1 })).close();
    await storage.close();
    await engine.close();
    const adopted = await workspace.run(kind, adopt);
    assertEquals(adopted, {
      code: 0,
      stdout: "2 resources copied, 0 were there already, 0 failed\n",
      stderr: "",
    });
    assertEquals(
      (await workspace.run(kind, adopt)).stdout,
      "0 resources copied, 2 were there already, 0 failed\n",
    );
    const at = ["--server", a.url];
    const follow = await workspace.run(quickest, ["follow", id, ...at]);
    assertEquals([follow.code, follow.stdout], [0, "one\ntwo\n"]);
    await appendFile(workspace.path("live.log"), "after\n");
    const resumed = await workspace.run(quickest, ["push", "live.log", "--resume", open, ...at]);
    assertEquals(resumed.code, 0, resumed.stderr);
    assertEquals(
      (await workspace.run(quickest, ["follow", open, ...at])).stdout,
      "before\nafter\n",
    );
  });

  test(`${kind}: of a single server that was killed all is copied into a cluster that it had told is stored`, async () => {
    await using cluster = await nodesOf([quickest]);
    const { workspace, nodes: [a] } = cluster;
    const { url } = await ownEngine();
    const single = await workspace.serve(kind);
    const alone = workspace.server;
    const { push, reference } = await workspace.push(quickest, ["-", "--server", alone]);
    const id = reference.split("/").at(-1)!;
    const follow = workspace.start(quickest, ["follow", id, "--server", alone]);
    const headers = { "content-type": "text/plain" };
    const streams = [crypto.randomUUID(), crypto.randomUUID()];
    for (const stream of streams) {
      const { status } = await fetch(`${alone}/streams/${stream}`, { method: "PUT", headers });
      assertEquals(status, 201);
    }
    // The record counts no more than the first of several that come within a second.
    let text = "";
    for (let index = 0; index < 20; index++) {
      text += `line ${index}\n`;
      await push.write(`line ${index}\n`);
      await follow.stdout.until((seen) => seen === text);
      for (const stream of streams) {
        const body = `line ${index}\n`;
        const { status } = await fetch(`${alone}/streams/${stream}`, {
          method: "POST",
          headers,
          body,
        });
        assertEquals(status, 204);
      }
    }
    await single.kill("SIGKILL");
    await push.kill("SIGKILL");
    // Of an append that was cut off, which nobody was told of, nothing counts.
    await truncate(logPath(workspace.path("data"), streams[1]), text.length - 3);
    const adopted = await workspace.run(kind, ["adopt", "data", "--cluster", url]);
    assertEquals([adopted.code, adopted.stderr], [0, ""]);
    const at = ["--server", a.url];
    const { currentSize, numberOfLines } = JSON.parse(
      (await workspace.run(quickest, ["status", id, "--json", ...at])).stdout,
    );
    assertEquals([currentSize, numberOfLines], [text.length, 20]);
    const read = await Promise.all(
      streams.map(async (stream) =>
        await (await fetch(`${a.url}/streams/${stream}?offset=-1`)).text()
      ),
    );
    assertEquals(read, [text, text.replace("line 19\n", "")]);
  });

  test(`${kind}: a check of a cluster finds logs that are gone, or that no record names, and mends records`, async () => {
    await using cluster = await nodesOf([kind, quickest]);
    const { workspace, both } = cluster;
    const { url } = await ownEngine();
    const check = (...args: string[]) =>
      workspace.run(kind, ["check", "--cluster", url, ...args], { env: { NO_COLOR: "1" } });
    const codeOfCheck = async (...args: string[]) =>
      (await workspace.run(quickest, ["check", "--cluster", url, ...args])).code;
    await codeOfCheck("--repair");
    const clean = await check();
    assertEquals([clean.code, clean.stderr], [0, ""]);
    assertMatch(clean.stdout, /^\d+ resources? checked, 0 problems\n$/);
    const pushed = async () => {
      const push = workspace.start(quickest, ["push", "-", "--server", both]);
      await push.write("one\ntwo");
      push.end();
      return (await push.exit()).stdout.trim().split("/").at(-1)!;
    };
    const [id, part] = [await pushed(), await pushed()];
    assertEquals(await codeOfCheck(), 0);
    const engine = await (await ownEngine()).connect();
    const shards = await shardsOf(engine);
    const { stream, subject } = placeOf(id, shards);
    await engine.jsm.streams.purge(stream, { filter: subject });
    const place = placeOf(part, shards);
    await engine.jsm.streams.purge(place.stream, { filter: place.subject, keep: 1 });
    const storage = await NatsStorage.open(engine);
    const orphan = crypto.randomUUID();
    await (await storage.create(orphan, { lineAccess: true, epoch: 1 })).close();
    const found = await check();
    assertEquals(found.code, 1);
    assertMatch(found.stdout, new RegExp(`^${id}: its data is gone$`, "m"));
    assertMatch(found.stdout, new RegExp(`^${part}: it has 0 bytes and 0 lines, not 7 `, "m"));
    assertMatch(found.stdout, new RegExp(`^${orphan}: no record names this log$`, "m"));
    // It may be one of an upload that is being registered.
    const repaired = await check("--repair");
    assertEquals(repaired.code, 1);
    assertMatch(
      repaired.stdout,
      new RegExp(`^${orphan}: .*; left, as it is not a minute old$`, "m"),
    );
    assertEquals(await codeOfCheck(), 1);
    await storage.delete(orphan);
    assertEquals(await codeOfCheck(), 0);
    const status = await workspace.run(quickest, ["status", id, "--json", "--server", both]);
    assertEquals(JSON.parse(status.stdout).transferStatus, "FAILED");
    await storage.close();
    await engine.close();
  });

  test(`${kind}: what cannot keep the promise is refused, in one line that says what to change`, async () => {
    await using workspace = await Workspace.open();
    await prepare(workspace, kind);
    const { url, members: [{ port, monitor }] } = await ownEngine();
    const refusals: [args: string[], code: number, line: RegExp][] = [
      [["--cluster", url], 2, /wants --size SIZE/],
      [["--cluster", url, "--size", "1GB", "--replicas", "2"], 2, /only 1, 3 or 5 members/],
      [["--cluster", url, "--size", "1GB"], 1, /--monitor .* or say --durability os/],
      [["--cluster", `nats://127.0.0.1:${port}`, "--size", "1GB"], 1, /1 member .* --replicas 1/],
      [
        ["--cluster", url, "--size", "9GB", "--durability", "os"].concat(
          ["--monitor", `http://127.0.0.1:${monitor}`],
        ),
        1,
        /raise max_file_store, or lower --size/,
      ],
      [["--cluster", "http://127.0.0.1", "--size", "1GB"], 2, /expected nats:\/\/HOST/],
    ];
    for (const [args, wanted, line] of refusals) {
      const { code, stderr, stdout } = await workspace.run(quickest, ["cluster", "init", ...args]);
      assertEquals([code, stdout], [wanted, ""], stderr);
      assertMatch(stderr.split("\n")[0], line);
    }
    // What earlier tests have made stays as it is.
    const again = ["cluster", "init", "--cluster", url, "--size", "2GB", "--durability", "os"];
    const { code, stdout } = await workspace.run(kind, again);
    assertEquals(code, 0);
    assertMatch(stdout, /^ready: logs of 1.00 GB in all, 3 members have each byte\nthey were made/);
    const serve = await workspace.run(quickest, ["serve", "--cluster", url, "--port", "0"]);
    assertEquals(serve.code, 2);
    assertMatch(serve.stderr, /--cluster wants --base-url URL/);
  });
}

interface State {
  disagreements: string[];
  members: { name: string; isAway: boolean; leads: number }[];
  streams: { leader: string | null; maxBytes: number }[];
  nodes: { id: string }[];
  onDuty: string | null;
}

async function stateOf(workspace: Workspace, kind: Kind = quickest): Promise<State> {
  const { url } = await ownEngine();
  const args = ["cluster", "status", "--cluster", url, "--json"];
  return JSON.parse((await workspace.run(kind, args)).stdout);
}

/** Id of a node, as it keeps it. */
function nodeIdOf({ workspace, data }: Node): string {
  return readFileSync(workspace.path(`${data}/node-id`), "utf8").trim();
}
