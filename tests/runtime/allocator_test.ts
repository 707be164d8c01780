/** Memory that was freed: a process of its own tells whether it is used again. */
import { execFile } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { assertLess } from "@std/assert";
import type { FreedMemory } from "../helpers/freed_memory.ts";

const PROGRAM = fileURLToPath(new URL("../helpers/freed_memory.ts", import.meta.url));

test("some MiB that were freed are used again, without a fault for each page", async () => {
  const run = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
  const { stdout } = await promisify(execFile)(process.execPath, [...run, PROGRAM]);
  const { pages, faults }: FreedMemory = JSON.parse(stdout);
  // Deno had one for nearly each, of 30 720, before some memory was kept, and 8 since.
  assertLess(faults, pages / 2);
});
