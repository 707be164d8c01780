/** A command that writes a gibibyte as fast as it can, under `stream run`. */
import { test } from "node:test";
import { kinds } from "../helpers/cli.ts";
import { runOutput } from "../helpers/peers/run_output.ts";

for (const kind of kinds) {
  test(`${kind}: 1 GiB of output is passed on and uploaded as it is`, async () => {
    await runOutput(kind, 1024 ** 3, 300_000);
  });
}
