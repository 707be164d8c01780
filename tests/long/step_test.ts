/** A Step client's whole upload as one message, and its download as one, in gigabytes. */
import { test } from "node:test";
import { servers, transferFollowed, transferOneMessage } from "../helpers/step/transfer.ts";

const MESSAGE_BYTES = 3 * 1024 ** 3;

for (const server of servers) {
  test(`3 GiB go up and down as one message each: server on ${server}`, async () => {
    await transferOneMessage(server, MESSAGE_BYTES);
  });
}

for (const server of servers) {
  for (const fragmentBytes of [4096, 256 * 1024]) {
    test(`1 GiB in fragments of ${fragmentBytes} is followed, and ${server} takes less than 200 MB`, async () => {
      await transferFollowed(server, { size: 1024 ** 3, fragmentBytes, maxMegabytes: 200 });
    });
  }
}
