/** What tests and checks need on a machine that has only Node, npm and git. */
import { ensureNatsServer, ensurePrograms } from "./programs.ts";
import { run } from "./run.ts";

/** The binary that tests start. */
export const binary = "dist/stream-bun";

/** Else each runner of Deno looks after node_modules, and programs that start at that moment miss a package. */
export const leavesModules = "--node-modules-dir=manual";

const stepLimitMs = 5 * 60_000;

/** Programs that tests start, packages for both runtimes side by side in node_modules, and the binary; ends this process where that cannot be had. */
export async function setUp(): Promise<void> {
  if (!await ensurePrograms() || !await ensureNatsServer()) Deno.exit(1);
  const deno = Deno.execPath();
  const steps = [
    [deno, "install", "--quiet"],
    [await realBun(), "install", "--frozen-lockfile"],
    [deno, "task", "--quiet", "compile:bun"],
  ];
  for (const step of steps) {
    console.log(`set-up: ${step.join(" ")}`);
    if (await run(step, { limitMs: stepLimitMs })) continue;
    console.error(`setting up failed: ${step.join(" ")}`);
    Deno.exit(1);
  }
}

/** `npx` starts a launcher; tests that start and signal Bun want the program itself. */
export async function realBun(): Promise<string> {
  const args = ["-y", "bun@1", "--print", "process.execPath"];
  const { success, stdout } = await new Deno.Command("npx", { args, stderr: "inherit" }).output();
  if (!success) throw new Error("npx -y bun@1 does not start");
  return new TextDecoder().decode(stdout).trim();
}
