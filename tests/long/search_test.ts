/** A log of a gibibyte searched beside a live follower; the figures are printed. */
import { test } from "node:test";
import { servers } from "../helpers/step/transfer.ts";
import { searchLog } from "../helpers/search_log.ts";

const LOG_BYTES = 1024 ** 3;

for (const server of servers) {
  test(`a log of 1 GiB is searched: server on ${server}`, async () => {
    await searchLog(server, LOG_BYTES);
  });
}
