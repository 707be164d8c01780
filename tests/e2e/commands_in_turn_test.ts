/** The main job, by the real program: bytes that are still being written reach their followers. */
import { test } from "node:test";
import { pairs } from "../helpers/cli.ts";
import { followLogs } from "../helpers/log.ts";
import { transferRandomBytes } from "../helpers/transfer.ts";

const LOG_WRITTEN_IN_MS = 1500;
/** More than the windows of an upload and of a download. */
const RANDOM_BYTES = 16 * 1024 * 1024;
const DEADLINE_MS = 30_000;

for (const pair of pairs) {
  const where = `server on ${pair.server}, client on ${pair.client}`;

  test(`logs from a pipe and from a file are followed while they are written: ${where}`, async () => {
    await followLogs(pair, LOG_WRITTEN_IN_MS);
  });

  test(`random bytes arrive unchanged, and a slow follower holds nobody up: ${where}`, async () => {
    await transferRandomBytes(pair, RANDOM_BYTES, DEADLINE_MS);
  });
}
