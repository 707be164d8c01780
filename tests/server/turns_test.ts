/** A flood of requests leaves turns of the event loop to everything else. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { setImmediate } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import type { Context } from "hono";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SUBPROTOCOL, UPLOAD_PATH } from "../../src/protocol.ts";
import { jsonArray } from "../../src/server/answer/json.ts";
import { RequestTurns } from "../../src/server/turns.ts";
import { turn } from "../../src/turn.ts";
import { RawPeer } from "../helpers/frames/frames.ts";
import { startServer } from "../helpers/server.ts";

function busyFor(ms: number): void {
  for (const sinceMs = performance.now(); performance.now() - sinceMs < ms;);
}

test("requests that take long begin in turns of their own, in their order", async () => {
  const turns = new RequestTurns();
  let turn = 0;
  const count = () => {
    turn++;
    if (turn < 100) setImmediate(count);
  };
  setImmediate(count);
  const begun = await Promise.all([0, 1, 2, 3].map((index) =>
    turns.begin(() => "", () => {
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
  const turns = new RequestTurns();
  const begun: string[] = [];
  const ask = (client: string) =>
    turns.begin(() => client, () => {
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

test("sockets are served while a flood of requests waits", async () => {
  const echo = createServer((socket) => socket.setNoDelay(true).pipe(socket)).listen(0);
  await once(echo, "listening");
  const peer = connect((echo.address() as AddressInfo).port).setNoDelay(true);
  await once(peer, "connect");
  const turns = new RequestTurns();
  let begun = 0;
  const flood = Array.from({ length: 100 }, () =>
    turns.begin(() => "", () => {
      begun++;
      busyFor(3);
    }));
  const sawBegun: number[] = [];
  for (let count = 0; count < 3; count++) {
    peer.write("x");
    await once(peer, "data");
    sawBegun.push(begun);
  }
  await Promise.all(flood);
  peer.destroy();
  echo.close();
  assert(sawBegun[2] < 100, `an echo came after ${sawBegun} requests`);
});

test("requests that come at any time, beside whatever is done in turns, are all answered", async () => {
  const turns = new RequestTurns();
  let others = true;
  const beside = (async () => {
    for (; others; busyFor(1)) await turn();
  })();
  const asked: (number | Promise<number>)[] = [];
  for (let burst = 0; burst < 60; burst++) {
    for (let index = 0; index < burst % 7; index++) {
      asked.push(turns.begin(() => String(index % 3), () => {
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
  assertEquals(turns.begin(() => "", () => "at once"), "at once");
});

test("what a request throws that had to wait is for who waits", async () => {
  const turns = new RequestTurns();
  turns.begin(() => "", () => busyFor(3));
  const failed = turns.begin(() => "", () => {
    throw new Error("no");
  });
  await assertRejects(async () => await failed, Error, "no");
});

test("requests that are answered soon begin at once", () => {
  const turns = new RequestTurns();
  assertEquals(turns.begin(() => "", () => 1), 1);
  assertEquals(turns.begin(() => "", () => 2), 2);
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
