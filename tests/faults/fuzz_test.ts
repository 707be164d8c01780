/** A short run of hostile peers, always with the same seed; other seeds are for long runs. */
import { test } from "node:test";
import { assertGreater } from "@std/assert";
import { fuzz } from "../helpers/faults/fuzz.ts";
import { Chance } from "../helpers/random.ts";

test("whatever peers send is refused by the table, reaches no other resource, and leaves nothing behind", async () => {
  const { completed } = await fuzz(new Chance(1), { cases: 4000, socketShare: 0.1 });
  assertGreater(completed, 0);
});
