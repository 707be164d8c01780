/** An account that may have less in the engine than its streams: what needs room waits or is refused, in clear words. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { JetStreamApiError } from "@nats-io/jetstream";
import { Account } from "../../src/cluster/account.ts";
import type { Engine } from "../../src/cluster/engine.ts";
import { emptyPlace } from "../catalog/in_cluster.ts";
import { record } from "../catalog/records.ts";
import { assertFails } from "../helpers/errors.ts";
import { override } from "../helpers/storage.ts";
import { logsInEngine } from "./logs.ts";

const OVER_LIMITS = {
  code: 400,
  err_code: 10002,
  description: "resource limits exceeded for account",
};

/** Nothing more is taken, until there is room again. */
function exceed({ js }: Engine) {
  const publish = js.publish.bind(js);
  const { promise: refused, resolve } = Promise.withResolvers<void>();
  js.publish = () => {
    resolve();
    return Promise.reject(new JetStreamApiError(OVER_LIMITS));
  };
  return { refused, giveRoom: () => void (js.publish = publish) };
}

test("an account without room is told of at once to whoever asks whether records are taken, and soon to whoever begins", async () => {
  await using place = await emptyPlace();
  const catalog = await place.catalog({ waitMs: 200 });
  // Buckets that were made just now may have no leader yet.
  await place.engine.insist(10_000, () => catalog.probe());
  const { giveRoom } = exceed(place.engine);
  const { message } = await assertFails("QUOTA_EXCEEDED", () => catalog.probe());
  assertEquals(
    message,
    "the account of the nodes has reached its limits in the engine: raise them",
  );
  const refusal = await assertFails("NOT_READY", () => catalog.create(record()));
  assertEquals(refusal.message, message);
  giveRoom();
  await catalog.probe();
  await catalog.create(record());
});

test("an upload waits for an account without room, and goes on", async () => {
  await using logs = await logsInEngine();
  const storage = await logs.node();
  const log = await storage.create(crypto.randomUUID(), { lineAccess: false, epoch: 1 });
  const { refused, giveRoom } = exceed(logs.engineOf(storage));
  const appended = log.append(0, [new Uint8Array(100)]);
  await refused;
  giveRoom();
  await appended;
  assertEquals(log.size, 100);
  await log.close();
});

test("an account that is nearly full takes nothing new: changes and deletions still have room", async () => {
  await using place = await emptyPlace();
  let storage = 0;
  const getAccountInfo = () => Promise.resolve({ storage, limits: { max_storage: 1000 } });
  const jsm = override(place.engine.jsm, { getAccountInfo } as never);
  const engine = override(place.engine, { jsm });
  const there = record();
  await (await place.catalog({ engine })).create(there);
  storage = 900;
  const account = new Account(engine);
  await account.ask();
  assertEquals(account.filled, 0.9);
  account.close();
  const catalog = await place.catalog({ engine });
  await assertFails("QUOTA_EXCEEDED", () => catalog.create(record()));
  await assertFails("QUOTA_EXCEEDED", () => catalog.createContext("new"));
  await assertFails("QUOTA_EXCEEDED", () => catalog.probe());
  await catalog.update(there.id, 0, { size: 1 });
  assertEquals(await catalog.delete(there.id), true);
});
