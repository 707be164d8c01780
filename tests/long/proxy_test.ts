/** The long form of tests/faults/proxy_test.ts. */
import { test } from "node:test";
import { assert } from "@std/assert";
import { withChance } from "../helpers/random.ts";
import { transferThroughStorm } from "../helpers/faults/storm.ts";

test("100 uploads and 100 follows of megabytes through breaking connections arrive whole", () =>
  withChance(async (chance) => {
    const broken = await transferThroughStorm(chance, 100, 4_000_000);
    console.log(`${broken} connections broke`);
    assert(broken >= 1000, `only ${broken} connections broke`);
  }));
