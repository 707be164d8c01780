/** All ways of uploading at once, at several servers that share what they have: what anybody is told is true. */
import { test } from "node:test";
import { type Trouble, useDoors } from "../helpers/faults/doors.ts";
import { withChance } from "../helpers/random.ts";

const ROUNDS = 2;

function used(where: string, nodes: number, trouble: Trouble): void {
  test(`whatever is done at all doors at once ${where}, what is told and read is true`, () =>
    withChance(async (chance) => {
      for (let round = 0; round < ROUNDS; round++) await useDoors({ chance, nodes, trouble });
    }));
}

used("of one server that is refused writes", 1, "refused");
used("of two servers whose calls are not answered, and carried out all the same", 2, "unanswered");
used("of three servers, of which one is cut off", 3, "cut");
