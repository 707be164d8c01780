/** Shares: one client cannot hold what all others need. */
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FileTokens, framesRuntime, type Scope, SignedLinks } from "../../mod.ts";
import { createToken } from "../../src/access/token_file.ts";
import { SUBPROTOCOL, TOKEN_SUBPROTOCOL, UPLOAD_PATH } from "../../src/protocol.ts";
import { Shares } from "../../src/server/access/shares.ts";
import { assertFails } from "../helpers/errors.ts";
import type { Said } from "../helpers/frames/connection.ts";
import { RawPeer } from "../helpers/frames/frames.ts";
import { HttpRequest } from "../helpers/peers/http_request.ts";
import { RawClient, startServer, type TestServer } from "../helpers/server.ts";
import { StepClient } from "../helpers/step/client.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const LOG = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const portOf = ({ host }: TestServer) => Number(host.split(":")[1]);

/** An upload by HTTP that has sent a byte, and says nothing more. */
async function hold(server: TestServer, headers: Record<string, string>): Promise<HttpRequest> {
  const before = server.resources.uploads;
  const request = new HttpRequest(`${server.url}/resources/a.log`, "PUT", headers);
  request.send("x");
  while (server.resources.uploads === before) await new Promise((done) => setTimeout(done, 5));
  return request;
}

async function assertRefused(server: TestServer, headers: Record<string, string>, who: string) {
  using request = new HttpRequest(`${server.url}/resources/a.log`, "PUT", headers);
  const answer = await request.answer();
  assertEquals([answer.status, JSON.parse(answer.body).code], [503, "LIMIT_REACHED"]);
  assertStringIncludes(JSON.parse(answer.body).detail, who);
}

/** Waits until the server counts so many uploads. */
async function until(server: TestServer, uploads: number): Promise<void> {
  while (server.resources.uploads !== uploads) await new Promise((done) => setTimeout(done, 5));
}

test("uploads of one address that say nothing leave half of all places to others", async () => {
  await using server = await startServer({ maxUploads: 5, trustProxy: true, resumeWindowMs: 0 });
  const from = (address: string) => ({ "X-Forwarded-For": address });
  const held = [];
  for (const _ of [1, 2, 3]) held.push(await hold(server, from("192.0.2.1")));
  // Some proxies tell the port, too.
  for (const same of ["192.0.2.1", "192.0.2.1:4711", "198.51.100.1, 192.0.2.1:1"]) {
    await assertRefused(server, from(same), "the address 192.0.2.1 has 3 uploads");
  }
  const step = await StepClient.open(portOf(server), undefined, from("192.0.2.1"));
  await step.say({ "@": "StartUpload", metadata: LOG });
  assertEquals((await step.closed()).code, 1013);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assertMatch(metrics, /^stream_client_uploads 3$/m);
  assertMatch(metrics, /^stream_share_refusals_total\{what="uploads"\} 4$/m);
  // Another address has room, and so has the same one when a place is free.
  using other = await hold(server, from("2001:db8::1"));
  held[0].cut();
  await until(server, 3);
  using again = await hold(server, from("192.0.2.1"));
  // All addresses of one IPv6 network are one client.
  using sibling = await hold(server, from("[2001:db8::2]:4711"));
  for (const request of [...held, other, again, sibling]) request.cut();
  await until(server, 0);
  assertMatch(
    await (await fetch(`${server.url}/metrics`)).text(),
    /^stream_client_uploads 0$/m,
  );
});

test("a token has a share, too, wherever it comes from", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  const scopes: Scope[] = ["upload", "read"];
  const [one, two] = [
    await createToken(path, { name: "one", scopes }),
    await createToken(path, { name: "two", scopes }),
  ];
  const access = { tokens: await FileTokens.open({ path }), links: new SignedLinks() };
  await using server = await startServer({ access, maxClientUploads: 1, resumeWindowMs: 0 });
  const by = (token: string) => ({ Authorization: `Bearer ${token}` });
  const step = await StepClient.open(portOf(server), undefined, by(one));
  await step.say({ "@": "StartUpload", metadata: LOG });
  await step.inbox.next("ReadyForUpload");
  await assertRefused(server, by(one), 'the token "one" has 1 uploads');
  using other = await hold(server, by(two));
  await step.close(1000, "");
  await until(server, 1);
  using again = await hold(server, by(one));
  for (const request of [other, again]) request.cut();
});

test("the readers of one signed link leave half of all places to those of another", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  const token = await createToken(path, { name: "a", scopes: ["upload"] });
  const links = new SignedLinks();
  const access = { tokens: await FileTokens.open({ path }), links };
  await using server = await startServer({ access, maxConnections: 4 });
  /** Makes a stream; returns how a reader follows it by its link. */
  const linked = async (name: string) => {
    const made = await fetch(`${server.url}/streams/${name}`, {
      method: "PUT",
      headers: { Authorization: `Bearer ${token}` },
    });
    const id = made.headers.get("stream-reference")!.split("/").at(-1)!;
    const link = await links.create(id, Date.now() + 60_000);
    return () => fetch(`${server.url}/resources/${id}/events?access=${link}`);
  };
  const [one, other] = [await linked("one"), await linked("other")];
  const held = [await one(), await one()];
  const refused = await one();
  assertEquals(refused.status, 503);
  assertStringIncludes((await refused.json()).detail, "has 2 connections, its share");
  held.push(await other());
  assertEquals(held.map(({ status }) => status), [200, 200, 200]);
  for (const { body } of held) await body!.cancel();
});

test("connections of one address leave half of all places to others, by every face", async () => {
  await using server = await startServer({ maxConnections: 4, trustProxy: true });
  const from = (address: string) => ({ headers: { "X-Forwarded-For": address } });
  const events = (address: string) => fetch(`${server.url}/events`, from(address));
  const held = [await events("192.0.2.1"), await events("192.0.2.1")];
  const refused = await events("192.0.2.1");
  const problem = await refused.json();
  assertEquals([refused.status, problem.code], [503, "LIMIT_REACHED"]);
  assertStringIncludes(problem.detail, "the address 192.0.2.1 has 2 connections");
  using upgrade = new HttpRequest(`${server.url}/ws/streaming/upload`, "GET", {
    ...from("192.0.2.1").headers,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
  });
  assertEquals((await upgrade.answer()).status, 503);
  // Short answers are refused with them; WebSockets and bodies of others go on.
  const other = await StepClient.open(portOf(server), undefined, {
    "X-Forwarded-For": "192.0.2.2",
  });
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assertMatch(metrics, /^stream_client_connections 2$/m);
  assertMatch(metrics, /^stream_share_refusals_total\{what="connections"\} 2$/m);
  await held[0].body!.cancel();
  for (;;) {
    const again = await events("192.0.2.1");
    await again.body!.cancel();
    if (again.status === 200) break;
  }
  await other.close(1000, "");
  await held[1].body!.cancel();
});

test("a client has a share of the connections of a port, whatever it says on them", async () => {
  const runtime = framesRuntime();
  const listener = await runtime.listen({
    hostname: "127.0.0.1",
    port: 0,
    maxConnections: 100,
    share: { max: 2, clientAt: (address) => address === "127.0.0.2" ? "it" : null },
    fetch: () => new Response("ok"),
  });
  const open = async (localAddress: string) => {
    const peer = new RawPeer(listener.port, localAddress);
    await once(peer.socket, "connect");
    return peer;
  };
  const silent = [await open("127.0.0.2"), await open("127.0.0.2")];
  const status = async (peer: RawPeer) => {
    await peer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    return (await peer.readHead()).status;
  };
  // Bun tells of no connection before its first request.
  if ("Bun" in globalThis) assertEquals(await Promise.all(silent.map(status)), [200, 200]);
  using third = await open("127.0.0.2");
  assertEquals(await status(third), 503);
  using other = await open("127.0.0.3");
  assertEquals(await status(other), 200);
  for (const peer of silent) peer[Symbol.dispose]();
  for (;;) {
    using again = await open("127.0.0.2");
    if (await status(again) === 200) break;
  }
  await listener.close();
});

test("programs of this machine, and what comes by a proxy nobody told of, share nothing", async () => {
  await using server = await startServer({ maxUploads: 2 });
  using first = await hold(server, {});
  using second = await hold(server, {});
  for (const request of [first, second]) request.cut();
});

test("a part of an upload holds a place until it lingers no more, and its end gives it back", async () => {
  await using server = await startServer({ maxClientUploads: 1, trustProxy: true });
  const headers = { "X-Forwarded-For": "192.0.2.1" };
  const put = (complete: string) =>
    fetch(`${server.url}/resources/b.log`, {
      method: "PUT",
      body: "one\n",
      headers: { ...headers, "Upload-Complete": complete },
    });
  const begun = await put("?0");
  assertEquals([begun.status, (await begun.text()) !== ""], [201, true]);
  assertEquals((await put("?1")).status, 503);
  const location = begun.headers.get("location")!;
  const last = await fetch(location, {
    method: "PATCH",
    body: "two\n",
    headers: {
      ...headers,
      "Content-Type": "application/partial-upload",
      "Upload-Offset": "4",
      "Upload-Complete": "?1",
    },
  });
  assertEquals([last.status, (await last.json()).currentSize], [200, 8]);
  const next = await put("?1");
  assertEquals([next.status, (await next.json()).currentSize], [201, 4]);
});

test("a share is counted once for each place, and given back once", async () => {
  let refused = 0;
  const shares = new Shares({ what: "x", max: 3, option: "--x", refused: () => refused++ });
  const [first, second] = [shares.take(["a", "b"]), shares.take(["a"])];
  assert(shares.isAnyFull);
  await assertFails("LIMIT_REACHED", async () => await Promise.resolve(shares.take(["b", "a"])));
  first();
  first();
  assertEquals([shares.greatest, shares.isAnyFull], [1, false]);
  shares.take(["a", "b"]);
  second();
  assertEquals([shares.greatest, refused], [1, 1]);
});

for (const door of ["ws", "http"] as const) {
  test(`who begins and abandons uploads ends the wait of no other client: ${door}`, async () => {
    const grant = { scopes: ["upload"] as Scope[], contextId: null, resourceId: null };
    const tokens = {
      authenticate: (name: string) => Promise.resolve({ ...grant, name, expiresAtMs: null }),
    };
    const access = { tokens, links: new SignedLinks() };
    // Ten may wait, five of one client.
    await using server = await startServer({ access, maxUploads: 1, resumeWindowMs: 60_000 });
    const endpoint = `ws://${server.host}${UPLOAD_PATH}`;
    const say = async (token: string, message: Said) => {
      using client = await RawClient.open(endpoint, SUBPROTOCOL, TOKEN_SUBPROTOCOL + token);
      client.say(message);
      return await client.inbox.next("ReadyForUpload");
    };
    const begin = { "@": "StartUpload", metadata: LOG } as const;
    const beginByHttp = async () => {
      const { headers } = await fetch(`${server.url}/resources/a.log`, {
        method: "PUT",
        headers: { Authorization: "Bearer quiet", "Upload-Complete": "?0" },
      });
      const [, id, secret] = /uploads\/(.+)\/(.+)$/.exec(headers.get("location")!)!;
      return { id, secret };
    };
    const { id, secret } = door === "ws" ? await say("quiet", begin) : await beginByHttp();
    await until(server, 0);
    for (let count = 0; count < 12; count++) {
      await say("noisy", begin);
      await until(server, 0);
    }
    const resumed = await say("quiet", { "@": "ResumeUpload", id: id!, secret: secret! });
    assertEquals([resumed.id, resumed.epoch], [id, 2]);
  });
}
