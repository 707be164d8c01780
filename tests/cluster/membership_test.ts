/** Which nodes are there, as they say themselves. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { headers } from "@nats-io/transport-node";
import { Membership, nodesOf } from "../../src/cluster/nodes.ts";
import { emptyPlace } from "../catalog/in_cluster.ts";

const INFO = { version: "1", startedAtMs: 1, uploads: 0, state: "SERVING", lagMs: 0 } as const;

test("the nodes that are there are known, however many have just left", async () => {
  await using place = await emptyPlace();
  const { engine } = place;
  assertEquals(await nodesOf(engine), { nodes: [], onDuty: null });
  const marker = headers();
  marker.set("KV-Operation", "PURGE");
  const left = Array.from({ length: 1100 }, (_, at) => `$KV.nodes.node.left-${at}`);
  await Promise.all(left.map((key) => engine.js.publish(key, "", { headers: marker })));
  const node = new Membership(engine, "node-1", () => INFO);
  await node.said();
  const { nodes, onDuty } = await nodesOf(engine);
  assertEquals([nodes.map(({ id }) => id), onDuty], [["node-1"], "node-1"]);
  await node.close();
  assertEquals(await nodesOf(engine), { nodes: [], onDuty: null });
});

test("a node without a connection to the engine waits for nothing when it ends", async () => {
  await using place = await emptyPlace();
  const { engine } = place;
  const node = new Membership(engine, "node-1", () => INFO);
  await node.said();
  let asked = 0;
  engine.request = () => (asked++, Promise.reject(new Error("the connection is gone")));
  Object.defineProperty(engine, "isConnected", { get: () => false, configurable: true });
  await node.sayNow();
  assertEquals([await node.others(), asked], [[], 0]);
  await node.close();
  assertEquals(asked, 0);
  for (const name of ["request", "isConnected"]) Reflect.deleteProperty(engine, name);
});

test("two nodes of the same id hear of one another, and which of them came later; a node that starts again is alone", async () => {
  await using place = await emptyPlace();
  const { engine } = place;
  const met: string[] = [];
  const start = (name: string) =>
    new Membership(engine, "node-1", () => ({ ...INFO, version: name }), (isLater) => {
      met.push(`${name} ${isLater}`);
    });
  const before = start("before");
  await before.sayNow();
  const once = start("once");
  await once.sayNow();
  assertEquals(met, []);
  await before.sayNow();
  await once.sayNow();
  assertEquals(met, ["before false", "once true"]);
  // Whoever came later says nothing more, and takes nothing along.
  await once.close();
  const { nodes } = await nodesOf(engine);
  assertEquals(nodes.map(({ version }) => version), ["before"]);
  await before.close();
});
