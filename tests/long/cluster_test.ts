/** The engine's members end in the middle of uploads: all that was acknowledged is there once, in order, everywhere. */
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { open, push } from "../../mod.ts";
import { NatsCatalog } from "../../src/catalog/nats.ts";
import { record } from "../catalog/records.ts";
import { EngineCluster, freePorts } from "../cluster/engine.ts";
import { EngineLogs, withLogs } from "../cluster/logs.ts";
import { BusyUpload } from "../cluster/upload.ts";
import { concat, utf8 } from "../helpers/bytes.ts";
import { assertBytes } from "../helpers/frames/connection.ts";
import { type Kind, kinds, quickest, Workspace } from "../helpers/cli.ts";
import { NatsStorage } from "../../src/storage/nats.ts";
import { Cluster } from "../helpers/nodes.ts";
import { checksumOf } from "../helpers/resources.ts";
import { startServer } from "../helpers/server.ts";

/** So long a log without a record may be one of an upload that is being registered (`src/cli/check_report.ts`). */
const ORPHAN_AGE_MS = 60_000;

/** More than the lease of a node (`src/cli/cluster/node.ts`), less than any patience. */
const AWAY_MS = 30_000;

test("engine: its leader, then all members at once are killed, and an upload and its follower go on", async () => {
  await using cluster = await withLogs(await EngineCluster.start());
  await using logs = new EngineLogs(cluster);
  const node = await logs.node();
  const upload = new BusyUpload(node, await logs.node());
  const engine = await cluster.connect();
  for (let round = 0; round < 2; round++) {
    await upload.progress();
    const leader = await upload.leader(cluster, engine);
    await leader.kill();
    await upload.progress();
    // It is the first to notice: nobody is elected so soon.
    if (round === 0) assertGreater(node.moves, 0);
    leader.start();
    await cluster.healthy();
    await upload.progress();
    await Promise.all(cluster.members.map((member) => member.kill()));
    for (const member of cluster.members) member.start();
    await cluster.healthy();
    await upload.progress();
  }
  await upload.check(await logs.node());
});

test("engine: a leader that stands still for a while and comes back changes nothing that was acknowledged", async () => {
  await using cluster = await withLogs(await EngineCluster.start());
  await using logs = new EngineLogs(cluster);
  const upload = new BusyUpload(await logs.node(), await logs.node());
  const engine = await cluster.connect();
  await upload.progress();
  const leader = await upload.leader(cluster, engine);
  leader.signal("SIGSTOP");
  await upload.progress();
  leader.signal("SIGCONT");
  for (let times = 0; times < 100; times++) await upload.progress();
  await cluster.healthy();
  await upload.progress();
  await upload.check(await logs.node());
});

test("engine: a push and a follower at another node outlast the end of every member", async () => {
  await using engines = await withLogs(await EngineCluster.start());
  await using logs = new EngineLogs(engines);
  await using cluster = new Cluster();
  await using a = await startServer({ ...cluster.options("a"), storage: await logs.node() });
  await using b = await startServer({ ...cluster.options("b"), storage: await logs.node() });
  const upload = await push(a.url, {
    filename: "a.log",
    mimeType: "text/plain",
    supportsLineAccess: true,
  });
  const follower = await open(upload.reference.replace(a.url, b.url).replace(a.ws, b.ws));
  const followed: Uint8Array[] = [];
  const following = (async () => {
    for await (const bytes of follower.read()) followed.push(bytes);
  })();
  const writer = upload.writable.getWriter();
  const written: Uint8Array[] = [];
  const write = async (lines: number) => {
    for (let line = 0; line < lines; line++) {
      const bytes = utf8(`line ${written.length} ${"x".repeat(line % 1000)}\n`);
      written.push(bytes.slice());
      await writer.write(bytes);
    }
  };
  await write(1000);
  for (const member of engines.members) {
    await member.kill();
    await write(1000);
    member.start();
    await engines.healthy();
    await write(1000);
  }
  await Promise.all(engines.members.map((member) => member.kill()));
  // More than may be sent ahead: it waits for them.
  const writing = write(1000);
  for (const member of engines.members) member.start();
  await writing;
  await writer.close();
  const all = concat(written);
  assertEquals((await upload.done).size, all.length);
  await following;
  assertBytes(concat(followed), all);
  const { digest } = await b.resources.get(upload.reference.split("/").at(-1)!);
  assertEquals(digest?.value, await checksumOf(all));
  follower.close();
});

/** A server that is a node, and where it is. */
async function startNode(workspace: Workspace, kind: Kind, engine: EngineCluster, data: string) {
  const [port] = await freePorts(1);
  const here = ["--cluster", engine.url, "--data", data, "--port", String(port)];
  await workspace.serve(kind, [...here, "--base-url", "http://logs.example", "--min-free", "0"]);
  return `http://127.0.0.1:${port}`;
}

for (const kind of kinds) {
  test(`${kind}: an engine that is away for longer than a lease fails no push, nor one that begins to end`, async () => {
    await using engine = await EngineCluster.start();
    await using workspace = await Workspace.open();
    const monitors = engine.members.flatMap(({ monitor }) => [
      ...["--monitor", `http://127.0.0.1:${monitor}`],
    ]);
    const init = ["cluster", "init", "--cluster", engine.url, "--size", "1GB", ...monitors];
    assertEquals((await workspace.run(kind, init)).code, 0);
    const nodes = [
      await startNode(workspace, kind, engine, "a"),
      await startNode(workspace, kind, engine, "b"),
    ];
    const pushes = [];
    for (let index = 0; index < 8; index++) {
      const server = [nodes[index % 2], nodes[(index + 1) % 2]].join();
      pushes.push(await workspace.push(kind, ["-", "--server", server]));
      await pushes[index].push.write(`before ${index}\n`);
    }
    await Promise.all(engine.members.map((member) => member.kill()));
    for (const [index, { push }] of pushes.entries()) await push.write(`meanwhile ${index}\n`);
    for (const { push } of pushes.slice(0, 4)) push.end();
    await sleep(AWAY_MS);
    for (const member of engine.members) member.start();
    for (const { push } of pushes.slice(4)) push.end();
    for (const [index, { push, reference }] of pushes.entries()) {
      const { code, stderr } = await push.exit();
      assertEquals([code, stderr], [0, ""], reference);
      const id = reference.split("/").at(-1)!;
      const content = await fetch(`${nodes[(index + 1) % 2]}/resources/${id}/content`);
      assertEquals(await content.text(), `before ${index}\nmeanwhile ${index}\n`);
    }
  });

  test(`${kind}: a node that is told to end while no member answers ends, and what was acknowledged is there`, async () => {
    await using engine = await EngineCluster.start();
    await using workspace = await Workspace.open();
    const monitors = engine.members.flatMap(({ monitor }) => [
      ...["--monitor", `http://127.0.0.1:${monitor}`],
    ]);
    const place = ["--cluster", engine.url];
    const init = ["cluster", "init", ...place, "--size", "1GB", ...monitors];
    assertEquals((await workspace.run(kind, init)).code, 0);
    const [port] = await freePorts(1);
    const server = ["--server", `http://127.0.0.1:${port}`];
    const name = ["--base-url", "http://logs.example", "--port", String(port)];
    const here = [...place, ...name, "--min-free", "0"];
    const node = await workspace.serve(kind, here);
    const { push, reference } = await workspace.push(kind, ["-", ...server]);
    await push.write("acknowledged\n");
    const id = reference.split("/").at(-1)!;
    const follow = workspace.start(kind, ["follow", id, ...server]);
    await follow.stdout.until((text) => text === "acknowledged\n");
    await Promise.all(engine.members.map((member) => member.kill()));
    await push.write("kept by its client\n");
    await node.kill("SIGTERM");
    assertMatch(node.stderr.text, /the storage took nothing of what was to be handed over/);
    for (const member of engine.members) member.start();
    await engine.healthy();
    const next = await workspace.serve(kind, here);
    push.end();
    assertEquals((await push.exit()).code, 0);
    assertEquals((await follow.exit()).stdout, "acknowledged\nkept by its client\n");
    await next.kill("SIGTERM");
  });
}

test("engine: a log that no record names is deleted by a check when it is a minute old", async () => {
  await using cluster = await EngineCluster.start();
  await using workspace = await Workspace.open();
  const made = ["cluster", "init", "--cluster", cluster.url, "--size", "1GB", "--durability", "os"];
  assertEquals((await workspace.run(quickest, made)).code, 0);
  const engine = await cluster.connect();
  const storage = await NatsStorage.open(engine);
  const catalog = await NatsCatalog.open(engine, { path: workspace.path("copy.sqlite") });
  const [blank, kept, deleted] = [record(), record(), record({ transferStatus: "COMPLETED" })];
  for (const { id } of [blank, kept, deleted]) {
    const log = await storage.create(id, { lineAccess: true, epoch: 1 });
    if (id !== blank.id) await log.append(0, [new Uint8Array(10)]);
    await log.close();
  }
  await catalog.create(deleted);
  await catalog.delete(deleted.id);
  const check = () =>
    workspace.run(quickest, ["check", "--cluster", cluster.url, "--repair"], {
      env: { NO_COLOR: "1" },
    });
  assertMatch((await check()).stdout, /left, as it is not a minute old/);
  await sleep(ORPHAN_AGE_MS);
  const { stdout } = await check();
  for (const { id } of [blank, deleted]) {
    assertMatch(stdout, new RegExp(`^${id}: no record names this log; deleted$`, "m"));
  }
  // A backup of its bucket may name it.
  assertMatch(stdout, new RegExp(`^${kept.id}: .*; left, as no node deleted it`, "m"));
  assertMatch((await check()).stdout, /, 1 problem\n$/);
  await catalog.close();
  await storage.close();
  await engine.close();
});
