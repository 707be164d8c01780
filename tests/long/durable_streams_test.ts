/** Durable Streams: all of the published conformance suite, and a gigabyte. */
import { test } from "node:test";
import { DurableStreamTestServer } from "@durable-streams/server";
import { assert, assertEquals } from "@std/assert";
import { kinds, Workspace } from "../helpers/cli.ts";
import { type Conformance, runSuite } from "../helpers/durable_streams/conformance.ts";
import { transferThroughStream } from "../helpers/durable_streams/transfer.ts";

const GIBIBYTE = 1024 ** 3;
/** What the suite leaves out unless it is asked for, and is not spoken here. */
const SUBSCRIPTIONS = "Reserved subscription APIs";

function assertConforms({ passed, failed, skipped }: Conformance): void {
  assertEquals(failed, []);
  assertEquals(skipped.filter((name) => !name.startsWith(SUBSCRIPTIONS)), []);
  assertEquals(passed + skipped.length, 338, "tests of the suite");
}

for (const kind of kinds) {
  test(`all of the conformance suite passes: ${kind}`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(kind, ["--allow-origin", "*"]);
    assertConforms(await runSuite(`${workspace.server}/streams`));
  });

  test(`1 GiB is appended while it is read, and arrives unchanged: ${kind}`, async () => {
    await transferThroughStream(kind, GIBIBYTE, 300_000);
  });
}

test("the reference server passes no more of the suite", async () => {
  const reference = new DurableStreamTestServer({ port: 0 });
  const url = await reference.start();
  try {
    const { passed, skipped } = await runSuite(url);
    assertEquals(skipped.filter((name) => !name.startsWith(SUBSCRIPTIONS)), []);
    assert(passed <= 332, `${passed} pass`);
  } finally {
    await reference.stop();
  }
});
