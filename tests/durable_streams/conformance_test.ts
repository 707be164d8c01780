/** Durable Streams: the quick part of the published conformance suite; tests/long has all of it. */
import { test } from "node:test";
import { assertEquals, assertGreater } from "@std/assert";
import { runSuite } from "../helpers/durable_streams/conformance.ts";
import { startServer } from "../helpers/server.ts";

/** Groups without a test that waits for a time. */
const QUICK =
  "HTTP Protocol|JSON Mode|Idempotent Producer Operations|Offset Validation Properties" +
  "|Caching and ETag|Fork - Creation|Fork - Reading|Fork - Deletion|Create with Stream-Closed" +
  "|Close Operations";

test("the quick part of the conformance suite passes", async () => {
  await using server = await startServer({ allowOrigins: ["*"] });
  const { passed, failed } = await runSuite(`${server.url}/streams`, QUICK);
  assertEquals(failed, []);
  assertGreater(passed, 120);
});
