/** A short run of what `deno task bench:crash` does at length. */
import { test } from "node:test";
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import type { CrashOptions } from "../../bench/helpers/crash/run.ts";
import { crashPushers } from "../../bench/helpers/crash/pushers.ts";
import { crashServer } from "../../bench/helpers/crash/server.ts";
import { own } from "../helpers/cli.ts";
import { type Chance, withChance } from "../helpers/random.ts";

const optionsOf = (chance: Chance, options: Partial<CrashOptions>): CrashOptions => ({
  kind: own,
  seed: chance.whole(0, 2 ** 32 - 1),
  durability: chance.pick(["os", "disk"]),
  ...{ kills: 4, uploads: 6, aliveMs: 300, uploadMs: 2000 },
  ...options,
});

test("a server that is killed at random moments loses no acknowledged byte and says nothing untrue", () =>
  withChance(async (chance) => {
    // On a slow machine chance may find no upload under way.
    for (let rounds = 1, interrupted = 0; interrupted === 0; rounds++) {
      assertLess(rounds, 10, "no upload was interrupted");
      const { violations, kills, completed, recoveriesMs } = await crashServer(
        optionsOf(chance, {}),
      );
      assertEquals(violations, []);
      assertEquals(kills, 4);
      assertGreater(completed, 5);
      interrupted = recoveriesMs.length;
    }
  }));

test("pushes of files that are killed at random moments go on with --resume to the right digest", () =>
  withChance(async (chance) => {
    const options = optionsOf(chance, { kills: 3, uploads: 2 });
    const { violations, kills, completed } = await crashPushers(options);
    assertEquals(violations, []);
    assertGreater(kills, 2);
    assertGreater(completed, 0);
  }));
