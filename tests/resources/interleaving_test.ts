/** Everything that can be done to a resource, at once and in any order: what is read is right, and everything ends. */
import { test } from "node:test";
import { interleave, type Refusals } from "../helpers/faults/interleaving.ts";
import { withChance } from "../helpers/random.ts";

const ROUNDS = 5;

function interleaved(where: string, nodes: number, refusals: Refusals): void {
  test(`whatever is done to two ids at once ${where}, what is read is right, and everything ends`, () =>
    withChance(async (chance) => {
      for (let round = 0; round < ROUNDS; round++) await interleave({ chance, nodes, refusals });
    }));
}

interleaved("on one node", 1, "none");
interleaved("on one node that is refused a call", 1, "one");
interleaved("on one node while all writes are refused", 1, "writes");
interleaved("on two nodes", 2, "none");
interleaved("on two nodes that are refused a call", 2, "one");
interleaved("on two nodes while all writes are refused", 2, "writes");
