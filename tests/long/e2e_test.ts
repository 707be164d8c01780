/** What the suite does in small, by the real program in large: gigabytes, and very long lines. */
import { test } from "node:test";
import { own, pairs } from "../helpers/cli.ts";
import { followLogs } from "../helpers/log.ts";
import { followLongLine } from "../helpers/text.ts";
import { transferRandomBytes } from "../helpers/transfer.ts";

const LOG_WRITTEN_IN_MS = 5000;
const RANDOM_BYTES = 2 * 1024 ** 3;
const DEADLINE_MS = 300_000;
const LINE_BYTES = 100_000_000;

for (const pair of pairs) {
  const where = `server on ${pair.server}, client on ${pair.client}`;

  test(`logs from a pipe and from a file are followed while they are written: ${where}`, async () => {
    await followLogs(pair, LOG_WRITTEN_IN_MS);
  });

  test(`2 GiB arrive unchanged, and a slow follower holds nobody up: ${where}`, async () => {
    await transferRandomBytes(pair, RANDOM_BYTES, DEADLINE_MS);
  });
}

test("a line of 100 MB is one line, live and after the end", async () => {
  await followLongLine(own, LINE_BYTES);
});
