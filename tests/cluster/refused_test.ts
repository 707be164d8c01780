/** An engine that refuses something: connections for a while, long messages for good. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { connectEngine } from "../../src/cluster/engine.ts";
import { Transport } from "../../src/cluster/transport.ts";
import { NatsStorage } from "../../src/storage/nats.ts";
import { assertFails } from "../helpers/errors.ts";
import { eventually } from "../helpers/frames/connection.ts";
import { NATS_SERVER } from "../helpers/nats_server.ts";
import { freePorts } from "./engine.ts";
import { engineOfLogs, logsInEngine } from "./logs.ts";

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

test("an account that may not hear what others store is told at the start", async () => {
  const engine = await (await engineOfLogs()).connect();
  const { nc } = engine;
  const subscribe = nc.subscribe.bind(nc);
  let refused = "";
  nc.subscribe = (subject, options) => {
    // As the client tells it (nats.js 3.4).
    if (subject === refused) options!.callback!(new Error("Permissions Violation"), null as never);
    return subscribe(subject, options);
  };
  for (const subject of ["live.*", "owner.*"]) {
    refused = subject;
    const { message } = await assertFails("FORBIDDEN", () => NatsStorage.open(engine));
    assertEquals(message.includes(subject), true, message);
  }
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
