/** Programs that are stopped for two minutes: longer than anybody waits for a silent peer. */
import { test } from "node:test";
import { type Kind, own } from "../helpers/cli.ts";
import { type Stopped, throughStop } from "../helpers/faults/stopped.ts";

const kinds: Kind[] = own === "deno" ? ["deno"] : ["bun", "binary"];
const TWO_MINUTES_MS = 120_000;

for (const kind of kinds) {
  for (const stopped of ["server", "push", "follow"] satisfies Stopped[]) {
    test(`${kind}: nothing is lost when the ${stopped} is stopped for two minutes`, () =>
      throughStop(kind, stopped, TWO_MINUTES_MS));
  }
}
