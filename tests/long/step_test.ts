/** A Step client's whole upload as one message, and its download as one, in gigabytes. */
import { test } from "node:test";
import { servers, transferOneMessage } from "../helpers/step/transfer.ts";

const MESSAGE_BYTES = 3 * 1024 ** 3;

for (const server of servers) {
  test(`3 GiB go up and down as one message each: server on ${server}`, async () => {
    await transferOneMessage(server, MESSAGE_BYTES);
  });
}
