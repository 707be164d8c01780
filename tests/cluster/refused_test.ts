/** An engine that refuses something: connections for a while, long messages for good. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { jetstreamManager } from "@nats-io/jetstream";
import { connectEngine, Engine, enginesIn } from "../../src/cluster/engine.ts";
import { checkRights, missingRights } from "../../src/cluster/rights.ts";
import { connectClient, Transport } from "../../src/cluster/transport.ts";
import { NatsStorage } from "../../src/storage/nats.ts";
import { assertFails } from "../helpers/errors.ts";
import { eventually } from "../helpers/frames/connection.ts";
import { NATS_SERVER } from "../helpers/nats_server.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";
import { freePorts } from "./engine.ts";
import { logsInEngine } from "./logs.ts";

const REFUSAL = "-ERR 'maximum connections exceeded'\r\n";

test("members are named with one scheme, before the first or before each; what is no name of one is told", async () => {
  const members = ["nats://a", "nats://b:4222", "nats://[::1]:4"];
  assertEquals(enginesIn("nats://a,b:4222,[::1]:4"), members);
  assertEquals(enginesIn(members.join(",")), members);
  const wrong = ["a,b", "http://a", "nats://", "nats://a,", "nats://a,tls://b", "nats://u:p@a"];
  for (const text of wrong) await assertFails("BAD_REQUEST", async () => await enginesIn(text));
});

test("a connection that was refused time and again is made when the engine takes it", async () => {
  const [port] = await freePorts(1);
  let log = "";
  const start = async (...words: string[]) => {
    log = "";
    const given = ["-a", "127.0.0.1", "-p", String(port), ...words];
    const server = spawn(NATS_SERVER, given, { stdio: ["ignore", "ignore", "pipe"] });
    server.stderr.setEncoding("utf8").on("data", (text) => log += text);
    await eventually("a server", () => log.includes("Server is ready"));
    return server;
  };
  const refusals = () => log.split("authentication error").length - 1;
  let server = await start();
  const restart = async (...words: string[]) => {
    const over = once(server, "exit");
    server.kill();
    await over;
    server = await start(...words);
  };
  try {
    const engine = await connectEngine({ servers: [`127.0.0.1:${port}`] });
    await restart("--user", "somebody", "--pass", "else");
    await eventually("three refusals", () => refusals() >= 3 || engine.nc.isClosed());
    await restart();
    assert(await engine.reach(5000), "it stays away");
    assertEquals(engine.nc.isClosed(), false);
    await engine.close();
  } finally {
    server.kill();
  }
});

test("members that take no message of a log are told at the start, and fail an append at once", async () => {
  await using logs = await logsInEngine();
  const storage = await logs.node();
  const engine = logs.engineOf(storage);
  const id = crypto.randomUUID();
  const log = await storage.create(id, { lineAccess: false, epoch: 1 });
  await log.append(0, [new Uint8Array(1000)]);
  // What the client knows of the member that it is connected to.
  engine.nc.info!.max_payload = 2000;
  const { message } = await assertFails(
    "STORAGE_FAILED",
    () => log.append(1000, [new Uint8Array(3000)]),
  );
  assertEquals(/max_payload/.test(message), true, message);
  await log.append(1000, [new Uint8Array(1000)]);
  await assertFails("WRONG_STATE", () => NatsStorage.open(engine));
  await log.close();
});

test("what an account may not do, and nodes must, is told at the start, and nothing is stored or purged for that", async () => {
  await using logs = await logsInEngine();
  const storage = await logs.node();
  assertEquals(await missingRights(logs.engineOf(storage)), []);
  const { jsm: { streams } } = logs.engineOf(storage);
  const { state: before } = await streams.info("log-00");
  await checkRights(logs.engineOf(storage));
  assertEquals((await streams.info("log-00")).state.last_seq, before.last_seq);
  await using directory = await temporaryDirectory();
  const publishes = ["log.>", "idx.>", "owner.>", "$KV.>", "$JS.API.>"];
  const subscribes = ["_INBOX.>", "live.>", "owner.>", "changes.>"];
  const without = (rights: readonly string[], at: number) =>
    rights.filter((_, each) => each !== at);
  const users = [
    ...publishes.map((_, at) => ({ publish: without(publishes, at), subscribe: subscribes })),
    ...subscribes.map((_, at) => ({ publish: publishes, subscribe: without(subscribes, at) })),
    { publish: ["log.>", "owner.>"], subscribe: subscribes },
  ].map((permissions, at) => ({ user: `user${at}`, password: "secret", permissions }));
  const [port] = await freePorts(1);
  const config = join(directory.path, "nats.conf");
  await writeFile(
    config,
    JSON.stringify({ listen: `127.0.0.1:${port}`, authorization: { users } }),
  );
  const server = spawn(NATS_SERVER, ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  try {
    let log = "";
    server.stderr.setEncoding("utf8").on("data", (text) => log += text);
    await eventually("a server", () => log.includes("Server is ready"));
    const told = await Promise.all(users.map(async ({ user, password: pass }) => {
      const nc = await connectClient({ servers: `127.0.0.1:${port}`, user, pass });
      const engine = new Engine(nc, await jetstreamManager(nc, { checkAPI: false }));
      const missing = await missingRights(engine);
      const { message } = await assertFails("FORBIDDEN", () => NatsStorage.open(engine));
      for (const right of missing) assert(message.includes(right), message);
      await engine.close();
      return missing;
    }));
    const requests = ["STREAM.INFO", "STREAM.MSG.GET", "STREAM.PURGE", "DIRECT.GET"]
      .map((request) => `publish to $JS.API.${request}.>`);
    const buckets = ["rec-0", "rec-1", "rec-2", "rec-3", "ctx", "cluster", "nodes"]
      .map((bucket) => `publish to $KV.${bucket}.>`);
    const plain = ["log.>", "idx.>", "owner.>"].map((right) => [`publish to ${right}`]);
    assertEquals(told, [
      ...plain,
      buckets,
      requests,
      ...subscribes.map((right) => [`subscribe to ${right}`]),
      [...requests, "publish to idx.>", ...buckets],
    ]);
  } finally {
    server.kill();
  }
});

test("an account that may have fewer subscriptions than nodes need is told at the start, and to who serves", async () => {
  await using directory = await temporaryDirectory();
  const [port] = await freePorts(1);
  const config = join(directory.path, "nats.conf");
  const users = [{ user: "a", password: "a" }];
  const accounts = { A: { users, limits: { max_subscriptions: 3 } } };
  const given = { listen: `127.0.0.1:${port}`, accounts, no_auth_user: "a" };
  await writeFile(config, JSON.stringify(given));
  const server = spawn(NATS_SERVER, ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  try {
    let log = "";
    server.stderr.setEncoding("utf8").on("data", (text) => log += text);
    await eventually("a server", () => log.includes("Server is ready"));
    const engine = await connectEngine({ servers: [`127.0.0.1:${port}`] });
    const { message } = await assertFails("FORBIDDEN", () => checkRights(engine));
    assertEquals(message, "the engine refuses what nodes need: maximum subscriptions exceeded");
    await engine.close();
    const later = await connectEngine({ servers: [`127.0.0.1:${port}`] });
    const told: string[] = [];
    later.onLimit((reason) => told.push(reason));
    for (let each = 0; each < 5; each++) later.nc.subscribe(`a.${each}`);
    await eventually("a refusal", () => told.length > 0);
    await later.nc.flush();
    // Those that follow are not told each time.
    assertEquals(told, ["maximum subscriptions exceeded"]);
    await later.close();
  } finally {
    server.kill();
  }
});

test("who is refused by all members that tell of one another is told why, and is not asked again for ever", async () => {
  const urls: string[] = [];
  const members = [1, 2].map(() =>
    createServer((socket) => {
      const info = { server_id: "a", version: "2.12.0", max_payload: 1e6, connect_urls: urls };
      socket.on("error", () => {}).write(`INFO ${JSON.stringify(info)}\r\n`);
      socket.once("data", () => socket.end(REFUSAL));
    }).listen(0, "127.0.0.1")
  );
  await Promise.all(members.map((member) => once(member, "listening")));
  urls.push(...members.map((member) => `127.0.0.1:${(member.address() as AddressInfo).port}`));
  const connecting = connectClient({ servers: urls, timeout: 300 }, 400);
  const error = await connecting.then(() => null, (error: Error) => error);
  assertEquals(error?.message, "maximum connections exceeded");
  for (const member of members) member.close();
});

test("a connection that was let go of ends nothing when it breaks", async () => {
  const member = createServer(() => {}).listen(0, "127.0.0.1");
  await once(member, "listening");
  const { port } = member.address() as AddressInfo;
  const socket = await new Transport().dial({ hostname: "127.0.0.1", port });
  socket.removeAllListeners();
  // Without anybody who hears that, it is thrown.
  socket.emit("error", new Error("read ECONNRESET"));
  socket.destroy();
  member.close();
});
