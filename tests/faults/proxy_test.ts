/** Transfers through a proxy that cuts, resets, stalls and delays connections and changes packets. */
import { test } from "node:test";
import { assert } from "@std/assert";
import { withChance } from "../helpers/random.ts";
import { transferThroughStorm } from "../helpers/faults/storm.ts";

test("30 uploads and 30 follows through breaking connections arrive whole, once and in order", () =>
  withChance(async (chance) => {
    const broken = await transferThroughStorm(chance, 30, 300_000);
    assert(broken >= 30, `only ${broken} connections broke`);
  }));
