/** A short run of what `deno task bench:cluster-crash` does at length. */
import { test } from "node:test";
import { assertEquals, assertGreater } from "@std/assert";
import { Round } from "../../bench/helpers/cluster/round.ts";
import { World } from "../../bench/helpers/cluster/world.ts";
import { quickest } from "../helpers/cli.ts";
import { withChance } from "../helpers/random.ts";

test("cluster: a node or a member is killed under five uploads: nothing acknowledged is lost, no status untrue", () =>
  withChance(async (chance) => {
    await using world = await World.start(quickest, false);
    const fault = { target: chance.pick(["node", "follower"]), fault: "kill -9" };
    const { violations, looks, times } = await new Round(world, fault, chance, 100_000).run();
    assertEquals(violations, []);
    assertGreater(looks, 15);
    assertEquals(times.size, 5);
  }));
