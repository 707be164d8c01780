import { test } from "node:test";
import { assert, assertEquals, assertGreaterOrEqual, assertMatch } from "@std/assert";
import { SUBPROTOCOL } from "../../src/protocol.ts";
import type { Resources } from "../../src/resources.ts";
import type { HeartbeatTimes } from "../../src/session.ts";
import { DownloadSession } from "../../src/session/download.ts";
import { UploadSession } from "../../src/session/upload.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eventually, FakeConnection, Peer, type Said } from "../helpers/frames/connection.ts";
import { isFailed, memoryResources, statusOf } from "../helpers/server.ts";

const start: Said = {
  "@": "StartUpload",
  metadata: { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true },
};
const never = 2 ** 30;
/** Long enough for what a test does before it falls silent. */
const short = { pingAfterMs: 100, deadAfterMs: 500 };

function uploader(resources: Resources, heartbeat: HeartbeatTimes, subprotocol = SUBPROTOCOL) {
  const connection = new FakeConnection(subprotocol);
  const referenceTo = (id: string) => id;
  return new Peer(
    new UploadSession(connection, { resources, contextId: null, referenceTo, heartbeat }),
    connection,
  );
}

test("a peer that is silent is pinged, each time with another number", async () => {
  const openedAtMs = performance.now();
  using peer = uploader(memoryResources(), { pingAfterMs: 20, deadAfterMs: never });
  const ids = [];
  for (let count = 0; count < 3; count++) ids.push((await peer.inbox.next("Ping")).id);
  assertGreaterOrEqual(performance.now() - openedAtMs, 20);
  assertEquals(new Set(ids).size, 3);
});

test("a heartbeat of any length asks for no timer that the runtimes would fire at once", () => {
  const { setInterval } = globalThis;
  const delaysMs: number[] = [];
  globalThis.setInterval = ((action: () => void, delayMs: number) => {
    delaysMs.push(delayMs);
    return setInterval(action, 1000);
  }) as typeof setInterval;
  try {
    for (const ms of [30 * 86_400_000, 1e15, Infinity]) {
      using _peer = uploader(memoryResources(), { pingAfterMs: ms, deadAfterMs: 2 * ms });
    }
  } finally {
    globalThis.setInterval = setInterval;
  }
  assertEquals(delaysMs.length, 3);
  for (const delayMs of delaysMs) assert(delayMs < 2 ** 31, `${delayMs} ms`);
});

test("a peer that is heard of is not pinged", async () => {
  const heartbeat = { pingAfterMs: 1000, deadAfterMs: never };
  using peer = uploader(memoryResources(), heartbeat);
  peer.say(start);
  await peer.inbox.next("ReadyForUpload");
  // Who came later and is silent is pinged later.
  using silent = uploader(memoryResources(), heartbeat);
  for (let sent = 0; silent.inbox.all("Ping").length === 0; sent++) {
    if (sent % 2 === 0) peer.give(utf8("."));
    else peer.say({ "@": "Pong", id: sent });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assertEquals(peer.inbox.all("Ping"), []);
});

test("a ping is answered with its number, in every state, and on both kinds of sessions", async () => {
  const resources = memoryResources();
  const heartbeat = { pingAfterMs: never, deadAfterMs: never };
  using upload = uploader(resources, heartbeat);
  upload.say({ "@": "Ping", id: 1 });
  assertEquals(await upload.inbox.next("Pong"), { "@": "Pong", id: 1 });
  upload.say(start, { "@": "Ping", id: 2 });
  assertEquals((await upload.inbox.next("Pong")).id, 2);
  const { id = "" } = await upload.inbox.next("ReadyForUpload");
  upload.say({ "@": "Ping", id: 0 });
  assertEquals((await upload.inbox.next("Pong")).id, 0);

  const connection = new FakeConnection(SUBPROTOCOL);
  const session = new DownloadSession(connection, { resources, id, heartbeat });
  using download = new Peer(session, connection);
  download.say({ "@": "Ping", id: 7 }, { "@": "Follow", from: 0, window: 65536 });
  download.say({ "@": "Ping", id: 8 });
  assertEquals((await download.inbox.next("Pong")).id, 7);
  assertEquals((await download.inbox.next("Pong")).id, 8);
  assertEquals(download.inbox.closing, null);
});

test("a peer that sends hardly anything but what asks for nothing is told, and closed", async () => {
  const heartbeat = { pingAfterMs: never, deadAfterMs: never };
  const floods: Said[] = [{ "@": "Ping", id: 1 }, { "@": "Pong", id: 1 }, { "@": "Newer" }];
  for (const message of floods) {
    using peer = uploader(memoryResources(), heartbeat);
    peer.say(...Array<Said>(1000).fill(message));
    const errors = peer.inbox.all("Error").map(({ code }) => code);
    assertEquals(errors.filter((code) => code !== "UNKNOWN_MESSAGE"), ["RATE_LIMITED"]);
    await eventually("the close", () => peer.inbox.closing?.code === 1013);
    assert(peer.inbox.all("Pong").length < 500);
  }
});

test("a peer that answers pings stays, however long it has nothing else to say", async () => {
  const resources = memoryResources();
  using peer = uploader(resources, { pingAfterMs: 20, deadAfterMs: 1500 });
  peer.say(start);
  const endAtMs = performance.now() + 2000;
  while (performance.now() < endAtMs) {
    const { id } = await peer.inbox.next("Ping");
    peer.say({ "@": "Pong", id });
  }
  assertEquals(peer.connection.terminated, false);
  assertEquals(resources.uploads, 1);
});

test("a peer that stays silent is dropped, and its upload is FAILED for that reason", async () => {
  const resources = memoryResources();
  using peer = uploader(resources, short);
  peer.say(start);
  const { id = "" } = await peer.inbox.next("ReadyForUpload");
  const lastHeardAtMs = performance.now();
  peer.give(utf8("one\ntwo"));
  const { failure, currentSize } = await statusOf(resources, id, isFailed);
  assertGreaterOrEqual(performance.now() - lastHeardAtMs, short.deadAfterMs);
  assertMatch(failure!, /^PEER_SILENT: /);
  assertEquals(currentSize, 7);
  assert(peer.connection.terminated);
  assertGreaterOrEqual(peer.inbox.all("Ping").length, 1);
  assertEquals(peer.inbox.all("Error"), []);
});

test("an upload whose owner fell silent can be resumed", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  using silent = uploader(resources, short);
  silent.say(start);
  const { id = "", secret = "" } = await silent.inbox.next("ReadyForUpload");
  silent.give(utf8("one\n"));
  await silent.inbox.close();
  using peer = uploader(resources, { pingAfterMs: never, deadAfterMs: never });
  peer.say({ "@": "ResumeUpload", id, secret });
  assertEquals((await peer.inbox.next("ReadyForUpload")).offset, 4);
  await resources.close();
});

test("a follower that stays silent is dropped and forgotten", async () => {
  const resources = memoryResources();
  const { appender } = await resources.register({
    metadata: { filename: "a", mimeType: "a/b", supportsLineAccess: false },
    contextId: null,
    ownedBy: "CONNECTION",
    makeContext: false,
    digests: [],
  });
  const { id } = appender.resource;
  const connection = new FakeConnection(SUBPROTOCOL);
  const session = new DownloadSession(connection, { resources, id, heartbeat: short });
  using peer = new Peer(session, connection);
  peer.say({ "@": "Follow", from: 0, window: 65536 });
  await peer.inbox.next("StatusChanged");
  await peer.inbox.close();
  assert(connection.terminated);
  assertEquals(appender.resource.watchers, 0);
});

test("nothing is sent after the connection ended", async () => {
  const resources = memoryResources();
  for (const end of [(peer: Peer) => peer.leave(), (peer: Peer) => peer.session.text("{")]) {
    using peer = uploader(resources, { pingAfterMs: 10, deadAfterMs: 20 });
    end(peer);
    const { length } = peer.inbox.items;
    using other = uploader(resources, { pingAfterMs: 10, deadAfterMs: never });
    for (let count = 0; count < 5; count++) await other.inbox.next("Ping");
    assertEquals(peer.inbox.items.length, length);
    assertEquals(peer.connection.terminated, false);
  }
});

test("Step connections know neither ping nor pong", async () => {
  const resources = memoryResources();
  const times = { pingAfterMs: 5, deadAfterMs: 10 };
  using silent = uploader(resources, times, "");
  using native = uploader(resources, { ...times, deadAfterMs: never });
  for (let count = 0; count < 5; count++) await native.inbox.next("Ping");
  assertEquals(silent.inbox.items, []);
  assertEquals(silent.connection.terminated, false);
  for (const name of ["Ping", "Pong"]) {
    using peer = uploader(resources, times, "");
    peer.say({ "@": name, id: 1 });
    assertEquals((await peer.inbox.close()).code, 1008);
  }
});
