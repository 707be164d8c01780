/** The output of a command under `stream run`, whole on both sides: to our stdout, and at the server. */
import { createHash } from "node:crypto";
import { assertEquals } from "@std/assert";
import { type Kind, own, Workspace } from "../cli.ts";

/**
 * Runs a command that writes as fast as it can, and compares what arrived.
 * @param kind The program that runs it.
 * @param byteCount How much it writes.
 * @param deadlineMs How long that may take.
 */
export async function runOutput(kind: Kind, byteCount: number, deadlineMs: number): Promise<void> {
  await using workspace = await Workspace.open();
  await workspace.serve(own);
  // Bytes without a pattern that would hide a lost or doubled block: a key stream.
  const script = `openssl enc -aes-128-ctr -nosalt -K ${"00".repeat(16)} -iv ${"01".repeat(16)} ` +
    `< /dev/zero 2>/dev/null | head -c ${byteCount}`;
  const program = workspace.start(kind, ["run", "-q", "--", "sh", "-c", script], {
    collect: false,
  });
  const printed = createHash("sha256");
  let printedBytes = 0;
  for await (const chunk of program.output) {
    printed.update(chunk);
    printedBytes += chunk.length;
  }
  assertEquals((await program.exit(deadlineMs)).code, 0);
  assertEquals(printedBytes, byteCount);
  const [resource] = JSON.parse((await workspace.run(own, ["ls", "--json"])).stdout);
  assertEquals([resource.transferStatus, resource.currentSize], ["COMPLETED", byteCount]);
  assertEquals(resource.outcome, { exitCode: 0, signal: null });
  const stored = createHash("sha256");
  const content = await fetch(`${workspace.server}/resources/${resource.id}/content`);
  for await (const chunk of content.body!) stored.update(chunk);
  assertEquals(stored.digest("hex"), printed.digest("hex"));
}
