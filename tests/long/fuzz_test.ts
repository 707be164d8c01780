/** The long form of tests/faults/fuzz_test.ts: another seed every time, and connections over sockets among them. */
import { test } from "node:test";
import { assertGreater } from "@std/assert";
import { fuzz } from "../helpers/faults/fuzz.ts";
import { withChance } from "../helpers/random.ts";

const CASES = 100_000;
/** Of the connections; those over sockets take most of the time. */
const SOCKET_SHARE = 0.05;

test("100 000 cases of whatever peers send are refused by the table, reach no other resource, and leave nothing behind", () =>
  withChance(async (chance) => {
    const { completed, rejections } = await fuzz(chance, {
      cases: CASES,
      socketShare: SOCKET_SHARE,
    });
    console.log(`${completed} uploads completed; rejections: ${JSON.stringify(rejections)}`);
    assertGreater(completed, 0);
  }));
