/** All ways of uploading at once at two nodes on a real engine, while it is checked and mended. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { emptyPlace, knowing } from "../catalog/in_cluster.ts";
import type { NatsCatalog } from "../../src/catalog/nats.ts";
import { engineOfLogs, logsInEngine } from "../cluster/logs.ts";
import { quickest, Workspace } from "../helpers/cli.ts";
import { useDoors } from "../helpers/faults/doors.ts";
import { withChance } from "../helpers/random.ts";

const LEASE_MS = 20_000;

test("whatever is done at all doors at once of nodes on an engine that is mended, what is told and read is true", async () => {
  await using logs = await logsInEngine();
  await using records = await emptyPlace();
  const catalogs: NatsCatalog[] = [];
  const open = async () => {
    const catalog = await records.catalog();
    catalogs.push(catalog);
    return { storage: await logs.node(), catalog: knowing(catalog, catalogs) };
  };
  await using workspace = await Workspace.open();
  const { url } = await engineOfLogs();
  let isOver = false;
  const checking = (async () => {
    while (!isOver) {
      const words = ["check", "--cluster", url, "--repair"];
      const { stdout } = await workspace.run(quickest, words);
      // Logs of uploads that are being registered, or deleted, have no record.
      const damage = stdout.split("\n").filter((line) =>
        / data is gone| it has | digest /.test(line)
      );
      assertEquals(damage, []);
    }
  })();
  try {
    await withChance((chance) =>
      useDoors({ chance, nodes: 2, trouble: "none", shared: { open, leaseMs: LEASE_MS } })
    );
  } finally {
    isOver = true;
  }
  await checking;
});
