/** A stream of Durable Streams that is created at several nodes at once, on a real engine. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { makeServer } from "../helpers/server.ts";
import { startTwo } from "./two_servers.ts";

test("who creates the same stream at several nodes at once makes it once, or is told to come again", async () => {
  await using nodes = await startTwo((parts) => makeServer(parts));
  for (let round = 0; round < 20; round++) {
    const path = `/streams/${crypto.randomUUID()}`;
    const create = async () => {
      const headers = { "content-type": "text/plain" };
      for (;;) {
        const answer = await fetch(nodes.url + path, { method: "PUT", headers, body: "first" });
        await answer.body?.cancel();
        if (answer.status !== 503) return answer.status;
      }
    };
    const statuses = await Promise.all(Array.from({ length: 6 }, create));
    assertEquals(statuses.toSorted(), [200, 200, 200, 200, 200, 201]);
    assertEquals(await (await fetch(`${nodes.url}${path}?offset=-1`)).text(), "first");
  }
});
