/** The nats-server that tests and the bench start. */
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** Where it is kept on a machine that has none of its own. */
export const NATS_DIRECTORY = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"),
  "stream-tests",
);

/** Path of the program. */
export const NATS_SERVER = process.env.STREAM_NATS ?? join(NATS_DIRECTORY, "nats-server");
