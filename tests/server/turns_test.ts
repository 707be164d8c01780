/** A flood of requests leaves turns of the event loop to everything else. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { setImmediate } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import type { Context } from "hono";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { LIMITS, SUBPROTOCOL, UPLOAD_PATH } from "../../src/protocol.ts";
import type { Resources } from "../../src/resources.ts";
import { HEARTBEAT } from "../../src/session.ts";
import { DownloadSession } from "../../src/session/download.ts";
import { jsonArray } from "../../src/server/answer/json.ts";
import { STEPS, Steps, turn } from "../../src/turn.ts";
import { FakeConnection, Peer } from "../helpers/frames/connection.ts";
import { RawPeer } from "../helpers/frames/frames.ts";
import { startServer } from "../helpers/server.ts";

/** Does a step when it may be done. */
function inTurn<T>(steps: Steps, client: string, step: () => T): T | Promise<T> {
  const turn = steps.wait(() => client);
  return turn === null ? step() : turn.then(step);
}

function busyFor(ms: number): void {
  for (const sinceMs = performance.now(); performance.now() - sinceMs < ms;);
}

test("requests that take long begin in turns of their own, in their order", async () => {
  const steps = new Steps();
  let turn = 0;
  const count = () => {
    turn++;
    if (turn < 100) setImmediate(count);
  };
  setImmediate(count);
  const begun = await Promise.all([0, 1, 2, 3].map((index) =>
    inTurn(steps, "", () => {
      const at = turn;
      busyFor(5);
      return { index, at };
    })
  ));
  assertEquals(begun.map(({ index }) => index), [0, 1, 2, 3]);
  // Immediates are counted here, and a turn may come by a timer.
  assert(new Set(begun.map(({ at }) => at)).size >= 3);
});

test("a client that comes behind a flood of another begins with its next request", async () => {
  const steps = new Steps();
  const begun: string[] = [];
  const ask = (client: string) =>
    inTurn(steps, client, () => {
      begun.push(client);
      busyFor(3);
    });
  const flood = Array.from({ length: 20 }, () => ask("flood"));
  const others = [ask("one"), ask("other"), ask("one")];
  await Promise.all([...flood, ...others]);
  assertEquals(begun.length, 23);
  assert(begun.lastIndexOf("other") <= 3, begun.join(" "));
  assert(begun.lastIndexOf("one") <= 6, begun.join(" "));
});

/** Waits for answers of an echo, one after the other. */
async function echoes(count: number): Promise<void> {
  const echo = createServer((socket) => socket.setNoDelay(true).pipe(socket)).listen(0);
  await once(echo, "listening");
  const peer = connect((echo.address() as AddressInfo).port).setNoDelay(true);
  await once(peer, "connect");
  for (let answers = 0; answers < count; answers++) {
    peer.write("x");
    await once(peer, "data");
  }
  peer.destroy();
  echo.close();
}

test("sockets are asked in every turn, however busy the turns are", async () => {
  let answered = false;
  const all = echoes(10).then(() => answered = true);
  let turns = 0;
  for (; !answered; turns++) {
    busyFor(1);
    await turn();
  }
  await all;
  assert(turns <= 100, `10 answers took ${turns} turns`);
});

test("sockets are served while a flood of requests waits", async () => {
  const steps = new Steps();
  let begun = 0;
  const flood = Array.from({ length: 100 }, () =>
    inTurn(steps, "", () => {
      begun++;
      busyFor(3);
    }));
  await echoes(3);
  assert(begun < 100, `echoes came after ${begun} requests`);
  await Promise.all(flood);
});

test("requests that come at any time, beside whatever is done in turns, are all answered", async () => {
  const steps = new Steps();
  let others = true;
  const beside = (async () => {
    for (; others; busyFor(1)) await turn();
  })();
  const asked: (number | Promise<number>)[] = [];
  for (let burst = 0; burst < 60; burst++) {
    for (let index = 0; index < burst % 7; index++) {
      asked.push(inTurn(steps, String(index % 3), () => {
        busyFor(burst % 4);
        return asked.length;
      }));
    }
    await sleep(burst % 5);
  }
  others = false;
  await beside;
  await Promise.all(asked);
  await sleep(10);
  assertEquals(inTurn(steps, "", () => "at once"), "at once");
});

test("what a request throws that had to wait is for who waits", async () => {
  const steps = new Steps();
  inTurn(steps, "", () => busyFor(3));
  const failed = inTurn(steps, "", () => {
    throw new Error("no");
  });
  await assertRejects(async () => await failed, Error, "no");
});

test("requests that are answered soon begin at once", () => {
  const steps = new Steps();
  assertEquals(inTurn(steps, "", () => 1), 1);
  assertEquals(inTurn(steps, "", () => 2), 2);
});

test("a long list is written in slices, with turns between, and as it would be in one", async () => {
  const entries = Array.from({ length: 1000 }, (_, index) => index);
  const c = { body: (text: string) => new Response(text) } as unknown as Context;
  let turns = 0, writes = true;
  const others = (async () => {
    for (; writes; turns++) await new Promise((resolve) => setImmediate(resolve));
  })();
  const response = await jsonArray(c, entries, (index) => ({ index }));
  writes = false;
  await others;
  assert(turns >= 5, `${turns} turns`);
  assertEquals(await response.text(), `${JSON.stringify(entries.map((index) => ({ index })))}\n`);
  assertEquals(await (await jsonArray(c, [], String)).text(), "[]\n");
});

/** Counts turns of the event loop until it is told to stop. */
function countTurns(): () => number {
  let turns = 0, counts = true;
  const count = () => {
    turns++;
    if (counts) setImmediate(count);
  };
  setImmediate(count);
  return () => {
    counts = false;
    return turns;
  };
}

test("pieces of an answer leave turns to everybody else, however soon the next is asked for", async () => {
  await using server = await startServer();
  const { id } = await pushContent(server.url, 3 * 1024 * 1024);
  const response = await server.server.fetch(new Request(`${server.url}/resources/${id}/content`));
  const turns = countTurns();
  let pieces = 0;
  for await (const _ of response.body!) {
    pieces++;
    busyFor(1);
  }
  const counted = turns();
  assert(pieces >= 32 && counted >= pieces / 4, `${counted} turns for ${pieces} pieces`);
});

test("what a follower is sent that has taken nothing yet leaves turns to everybody else", async () => {
  await using server = await startServer();
  const { id } = await pushContent(server.url, 3 * 1024 * 1024);
  const connection = new FakeConnection(SUBPROTOCOL);
  const { send } = connection;
  const all = Promise.withResolvers<void>();
  let pieces = 0;
  let bytes = 0;
  connection.send = (message) => {
    if (typeof message === "string") {
      if (JSON.parse(message)["@"] === "FollowEnd") all.resolve();
      return send.call(connection, message);
    }
    bytes += message.length;
    // Its messages are short, as nobody knows yet how fast it takes them: several are one piece that was read.
    for (; bytes >= (pieces + 1) * LIMITS.dataMessageBytes; pieces++) busyFor(1);
    return Promise.resolve();
  };
  const resources = server.resources as Resources;
  using peer = new Peer(
    new DownloadSession(connection, { resources, id, heartbeat: HEARTBEAT }),
    connection,
  );
  const turns = countTurns();
  peer.say({ "@": "Follow", from: 0, window: LIMITS.downloadWindowBytes });
  await all.promise;
  const counted = turns();
  assert(pieces >= 32 && counted >= pieces / 4, `${counted} turns for ${pieces} pieces`);
});

test("a few bytes reach followers that have taken nothing yet, whatever floods the server", async () => {
  await using server = await startServer();
  const { id } = await pushContent(server.url, 100);
  const resources = server.resources as Resources;
  let begun = 0;
  const flood = Array.from({ length: 200 }, () =>
    inTurn(STEPS, "flood", () => {
      begun++;
      busyFor(3);
    }));
  const ends = Array.from({ length: 20 }, async () => {
    const connection = new FakeConnection(SUBPROTOCOL);
    const end = Promise.withResolvers<void>();
    const { send } = connection;
    connection.send = (message) => {
      if (typeof message === "string" && message.includes("FollowEnd")) end.resolve();
      return send.call(connection, message);
    };
    using peer = new Peer(
      new DownloadSession(connection, { resources, id, heartbeat: HEARTBEAT }),
      connection,
    );
    peer.say({ "@": "Follow", from: 0, window: LIMITS.downloadWindowBytes });
    await end.promise;
  });
  await Promise.all(ends);
  assert(begun < 10, `20 followers waited for ${begun} requests`);
  await Promise.all(flood);
});

async function pushContent(url: string, byteCount: number): Promise<{ id: string }> {
  const body = new Uint8Array(byteCount);
  const response = await fetch(`${url}/resources/a.bin`, { method: "PUT", body });
  return await response.json();
}

test("upgrades and uploads in the middle of a flood have their turn, whole", async () => {
  await using server = await startServer();
  const port = Number(new URL(server.url).port);
  const content = "x".repeat(100_000);
  const flood = Array.from(
    { length: 200 },
    async () => (await fetch(`${server.url}/openapi.json`)).text(),
  );
  const native = { "Sec-WebSocket-Protocol": SUBPROTOCOL };
  const upgrades = Array.from({ length: 20 }, () => RawPeer.open(port, native, UPLOAD_PATH));
  const uploads = Array.from({ length: 20 }, async (_, index) => {
    const url = `${server.url}/resources/${index}.log`;
    const response = await fetch(url, { method: "PUT", body: content });
    return [response.status, (await response.json()).currentSize];
  });
  for (const upload of await Promise.all(uploads)) assertEquals(upload, [201, content.length]);
  for (const peer of await Promise.all(upgrades)) peer[Symbol.dispose]();
  await Promise.all(flood);
});
