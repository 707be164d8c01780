/** A short run of hostile peers; tests/long/fuzz_test.ts is the long one. */
import { test } from "node:test";
import { assertGreater } from "@std/assert";
import { fuzz } from "./helpers/fuzz.ts";
import { withChance } from "./helpers/random.ts";

test("whatever peers send is refused by the table, reaches no other resource, and leaves nothing behind", () =>
  withChance(async (chance) => {
    const { completed, rejections } = await fuzz(chance, { cases: 4000, socketShare: 0.1 });
    console.log(completed, rejections);
    assertGreater(completed, 0);
  }));
