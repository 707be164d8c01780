/** Programs that are stopped for a while (SIGSTOP), as by a debugger, a frozen container or a machine that sleeps. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { assertEquals } from "@std/assert";
import { type Kind, type Program, Workspace } from "../cli.ts";

/** Which program is stopped. */
export type Stopped = "server" | "push" | "follow";

/** More than all buffers between a push and a follower hold. */
const MUCH_BYTES = 24 * 1024 * 1024;
const DEADLINE_MS = 60_000;

/** Stops a program and waits until it stands still. */
async function stop(program: Program): Promise<void> {
  program.signal("SIGSTOP");
  const state = () => /\) (\w)/.exec(readFileSync(`/proc/${program.pid}/stat`, "latin1"))![1];
  while (state() !== "T") await sleep(5);
}

/**
 * Pushes and follows through such a stop: nothing is lost, and nobody fails.
 * @param kind Which program.
 * @param stopped What is stopped.
 * @param stoppedMs How long, in ms.
 */
export async function throughStop(kind: Kind, stopped: Stopped, stoppedMs: number): Promise<void> {
  await using workspace = await Workspace.open();
  const server = await workspace.serve(kind, ["--resume-window", "5m"]);
  const { push, reference } = await workspace.push(kind, ["-", "--name", "a.log"]);
  await push.write("first\n");
  const follow = workspace.start(kind, ["follow", reference]);
  await follow.stdout.until((text) => text === "first\n");
  await stop({ server, push, follow }[stopped]);
  const much = new Uint8Array(MUCH_BYTES).fill(120);
  const written = push.write(much).then(() => push.end());
  await sleep(stoppedMs);
  // A follower that takes nothing holds no upload up.
  if (stopped === "follow") {
    await written;
    assertEquals((await push.exit(DEADLINE_MS)).code, 0);
  }
  ({ server, push, follow })[stopped].signal("SIGCONT");
  await written;
  for (const program of [push, follow]) {
    const { code, stderr } = await program.exit(DEADLINE_MS);
    assertEquals(code, 0, stderr);
  }
  assertEquals(follow.stdout.bytes.length, "first\n".length + MUCH_BYTES);
  const { transferStatus, currentSize } = await workspace.status(kind, reference);
  assertEquals([transferStatus, currentSize], ["COMPLETED", "first\n".length + MUCH_BYTES]);
}
