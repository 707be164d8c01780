/** The tests of the HTTP interface against two nodes on a real engine, every request to either at random. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { own } from "../helpers/cli.ts";

/** What is one node's alone: its log, its disk, and what it has counted. */
const OF_ONE_NODE = ["access_log", "health", "metrics"];
/** Tests that look into the memory of one server, or at its own address and its own limits. */
const INSIDE_ONE = [
  "a range with a very large end follows",
  "a transfer that ends before the range begins",
  "a transfer that fails before its first byte",
  "whoever leaves, stays or waits counts once",
  "the events of an upload context",
  "readers of events count",
  "HEAD tells the length that GET has",
  "a file that is put becomes a resource of its name",
  "an upload is created, continued and completed",
  "uploads beyond the limit are refused",
  "the document tells the version",
];

test("two nodes that are asked at random answer HTTP as one server does", async () => {
  const names = readdirSync("tests/http").filter((name) =>
    name.endsWith("_test.ts") && !OF_ONE_NODE.some((known) => name.startsWith(known))
  );
  const files = names.map((name) => `./tests/http/${name}`);
  const others = `^(?!.*(${INSIDE_ONE.join("|")}))`;
  const words = own === "deno"
    ? ["test", "-A", "--no-check", `--filter=/${others}/`, ...files]
    : ["test", "--timeout=60000", "-t", others, ...files];
  const env = { ...process.env, STREAM_TEST_NODES: "2" };
  const stdio = ["ignore", "inherit", "inherit"] as const;
  const child = spawn(process.execPath, words, { env, stdio: [...stdio] });
  const [code] = await once(child, "exit");
  assertEquals(code, 0);
});
