/** Members of the engine end in the middle of an upload; in earnest, leaders and all: tests/long/cluster_test.ts. */
import { test } from "node:test";
import { EngineCluster } from "./engine.ts";
import { EngineLogs, withLogs } from "./logs.ts";
import { BusyUpload } from "./upload.ts";

test("engine: a member that ends at once costs an upload nothing while two are left, and it comes back", async () => {
  await using cluster = await withLogs(await EngineCluster.start());
  await using logs = new EngineLogs(cluster);
  const upload = new BusyUpload(await logs.node(), await logs.node());
  await upload.progress();
  const leader = await upload.leader(cluster, await cluster.connect());
  const member = cluster.members.find((each) => each !== leader)!;
  await member.kill();
  for (let times = 0; times < 10; times++) await upload.progress();
  member.start();
  for (let times = 0; times < 10; times++) await upload.progress();
  await upload.check(await logs.node());
});
