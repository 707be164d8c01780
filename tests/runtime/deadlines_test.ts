/** Given up means gone: connections end when their time is over, whoever holds them. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { assert, assertEquals, assertLess } from "@std/assert";
import { framesRuntime, type Runtime } from "../../mod.ts";
import type { Connection, Session } from "../../src/runtime.ts";
import { completed } from "../helpers/content.ts";
import { eventually, within } from "../helpers/frames/connection.ts";
import { OP, RawPeer } from "../helpers/frames/frames.ts";
import { startServer } from "../helpers/server.ts";

const LIMIT_MS = 1000;

/** Adapters whose limits are short. */
const adapters: Record<string, () => Promise<Runtime>> = {
  frames: () =>
    Promise.resolve(framesRuntime({
      headersWithinMs: LIMIT_MS,
      idleMs: LIMIT_MS,
      takenWithinMs: LIMIT_MS,
    })),
};
if ("Bun" in globalThis) {
  adapters["Bun's own"] = async () => {
    const { bunRuntime } = await import("../../src/runtime/bun.ts");
    return bunRuntime({ idleS: LIMIT_MS / 1000 });
  };
}

type Fetch = (request: Request, env: unknown) => Response | Promise<Response>;

async function serve(runtime: Runtime, fetch: Fetch) {
  const { port, close } = await listen(runtime, fetch);
  return { port, [Symbol.asyncDispose]: close };
}

async function listen(runtime: Runtime, fetch: Fetch) {
  const listener = await runtime.listen({ hostname: "127.0.0.1", port: 0, fetch });
  return { port: listener.port, close: () => listener.close() };
}

/** What the kernel knows of a connection from the server's end. */
function isOpen(serverPort: number, clientPort: number): boolean {
  const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, "0");
  const pair = new RegExp(`:${hex(serverPort)} \\w+:${hex(clientPort)} 01 `);
  return pair.test(readFileSync("/proc/net/tcp", "latin1"));
}

/** Waits longer than runtimes need that look only every few seconds. */
async function gone(what: string, port: number, { localPort = 0 }: Socket): Promise<void> {
  const deadlineMs = performance.now() + 15_000;
  while (isOpen(port, localPort)) {
    assertLess(performance.now(), deadlineMs, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

for (const [name, load] of Object.entries(adapters)) {
  test(`a connection that waits too long for its next request is closed: ${name}`, async () => {
    await using server = await serve(await load(), () => new Response("ok"));
    using peer = new RawPeer(server.port);
    await peer.write(GET);
    assertEquals((await peer.readHead()).status, 200);
    await gone("the idle connection", server.port, peer.socket);
  });

  test(`an answer may be silent for longer than a connection between requests: ${name}`, async () => {
    const runtime = await load();
    const silent = Promise.withResolvers<ReadableStreamDefaultController<Uint8Array>>();
    await using server = await serve(runtime, (request, env) => {
      runtime.allowSilence?.(request, env, "any");
      return new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new Uint8Array([1]));
            silent.resolve(controller);
          },
        }),
      );
    });
    using peer = new RawPeer(server.port);
    await peer.write(GET);
    const controller = await within("the request", silent.promise);
    await peer.readHead();
    // Others come and go in the meantime.
    for (let times = 0; times < 2; times++) {
      using other = new RawPeer(server.port);
      await other.write(GET);
      await new Promise((resolve) => setTimeout(resolve, 2 * LIMIT_MS));
    }
    assert(isOpen(server.port, peer.socket.localPort!));
    controller.close();
    await peer.socket.end();
  });

  test(`a reader that takes nothing of an answer is gone: ${name}`, async () => {
    await using server = await startServer({
      runtime: await load(),
      heartbeat: { pingAfterMs: LIMIT_MS / 2, deadAfterMs: LIMIT_MS },
    });
    const { id } = await completed(server, "0123456789abcdef".repeat(3 * 2 ** 20));
    const port = Number(new URL(server.url).port);
    for (const path of [`/resources/${id}/content`, `/resources/${id}/content?x=${id}`]) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {}).pause();
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await eventually(
        "a connection",
        () => isOpen(port, socket.localPort ?? 0),
      );
      await gone("the stalled reader", port, socket);
      socket.destroy();
    }
  });
}

test("silent connections and half headers are closed", async () => {
  await using server = await serve(await adapters.frames(), () => new Response("ok"));
  for (const beginning of ["", "GET / HTTP/1.1\r\nHost: x\r\n", `${GET}GET / HT`]) {
    using peer = new RawPeer(server.port);
    peer.socket.allowHalfOpen = true;
    await peer.write(beginning === "" ? new Uint8Array() : beginning);
    await gone(JSON.stringify(beginning), server.port, peer.socket);
  }
});

/** A certificate that nobody vouches for; `openssl` must be there. */
function certificate(): { cert: string; key: string } {
  const words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  const pem = execFileSync(
    "openssl",
    [...words, "-nodes", "-subj", "/CN=localhost", "-keyout", "-", "-out", "-"],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
  );
  const part = (name: string) =>
    new RegExp(`-----BEGIN ${name}-----[^]+-----END ${name}-----\n`).exec(pem)![0];
  return { cert: part("CERTIFICATE"), key: part("PRIVATE KEY") };
}

// Bun tells of no connection before its handshake is over, and knows no limit for it.
if (!("Bun" in globalThis)) {
  test("half TLS handshakes count, and are closed", async () => {
    const runtime = framesRuntime({ headersWithinMs: LIMIT_MS, tls: certificate() });
    const fetch = () => new Response("ok");
    const where = { hostname: "127.0.0.1", port: 0, maxConnections: 2, fetch };
    const listener = await runtime.listen(where);
    const peers = Array.from({ length: 2 }, () => new RawPeer(listener.port));
    await Promise.all(peers.map((peer) => once(peer.socket, "connect")));
    // The beginning of a record that never comes.
    await peers[1].write(new Uint8Array([0x16, 3, 1, 2, 0, 1]));
    using beyond = new RawPeer(listener.port);
    const refusedAtMs = performance.now();
    await within("the refusal", beyond.readAll());
    assertLess(performance.now() - refusedAtMs, LIMIT_MS / 2);
    for (const peer of peers) await gone("a half handshake", listener.port, peer.socket);
    for (const peer of peers) peer[Symbol.dispose]();
    await listener.close();
  });
}

test("a peer that says much and takes nothing is gone", async () => {
  const runtime = await adapters.frames();
  const closed = Promise.withResolvers<number>();
  const open = (connection: Connection): Session => {
    void connection.sendChunks(2 ** 30, endless());
    return { text() {}, data() {}, closed: (code) => closed.resolve(code) };
  };
  await using server = await serve(
    runtime,
    (request, env) => runtime.upgrade(request, env, { subprotocol: "", open }),
  );
  using peer = await RawPeer.open(server.port);
  const talking = setInterval(() => void peer.send({ opcode: OP.pong }), LIMIT_MS / 10);
  const code = await closed.promise;
  clearInterval(talking);
  assertEquals(code, 1006);
  await gone("the peer", server.port, peer.socket);
});

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) {
    await Promise.resolve();
    yield new Uint8Array(2 ** 18);
  }
}
