/** Runs every check, whatever the earlier ones said, and ends with the line `N passed, N failed`. */
import config from "../deno.json" with { type: "json" };
import { run } from "./run.ts";

const minuteMs = 60_000;
const checkLimitMs = 6 * minuteMs;
const totals = "dist/tests/total.json";
const deno = Deno.execPath();

interface Check {
  name: string;
  command: string[];
  env?: Record<string, string>;
}

/** Two at a time, as most use one processor; what takes long begins first. */
const checks: Check[] = [
  { name: "package", command: [deno, "run", "-A", "scripts/smoke_package.ts"] },
  { name: "bench", command: [deno, "run", "-A", "bench/main.ts", "--smoke"] },
  { name: "types", command: [deno, "check"] },
  {
    // A machine that reaches only npm lacks the base Deno compiles onto; Deno itself stands in for
    // it, and shows that the program embeds, not that it runs.
    name: "compile",
    command: [deno, "compile", "-A", "--output", "dist/tests/stream", "cli.ts"],
    env: { DENORT_BIN: deno },
  },
  { name: "publish", command: [deno, "publish", "--dry-run", "--allow-dirty"] },
  { name: "format", command: [deno, "fmt", "--check"] },
  { name: "lint", command: [deno, "lint"] },
  { name: "viewer", command: [deno, "run", "-A", "scripts/viewer.ts", "--check"] },
  { name: "doc lint", command: [deno, "doc", "--lint", ...Object.values(config.exports)] },
  { name: "doc lint of the library", command: [deno, "doc", "--lint", "mod.ts"] },
  // The tests compiled it.
  { name: "binary", command: [deno, "run", "-A", "scripts/smoke.ts", "dist/stream-bun"] },
  { name: "demo", command: ["npx", "-y", "deno@2", "task", "demo"] },
];

/** Deno brings its lock up to date by itself; one that was committed stale is different in the end. */
const locks: Check = {
  name: "locks",
  command: ["git", "diff", "--exit-code", "--stat", "deno.lock", "bun.lock"],
};

async function runCheck({ name, command, env }: Check): Promise<void> {
  const output = await Deno.makeTempFile({ prefix: "stream-check-" });
  const succeeded = await run(command, { env, limitMs: checkLimitMs, output });
  console.log(`\n=== ${name}\n${await Deno.readTextFile(output)}`);
  await Deno.remove(output);
  if (succeeded) passed++;
  else {
    failed++;
    failures.push(`check ${name}`);
  }
}

async function runInTurn(queue: Iterator<Check>): Promise<void> {
  for (let next = queue.next(); !next.done; next = queue.next()) await runCheck(next.value);
}

/** The tests count one by one; a run that breaks off is one failure at least. */
async function runTests(): Promise<{ passed: number; failed: number; failures: string[] }> {
  console.log("\n=== tests");
  await Deno.remove(totals).catch(() => {});
  const succeeded = await run(["npx", "-y", "deno@2", "task", "test"], { limitMs: 61 * minuteMs });
  try {
    const { passed, failed, failures } = JSON.parse(Deno.readTextFileSync(totals));
    return { passed, failed: succeeded ? failed : Math.max(failed, 1), failures };
  } catch {
    return { passed: 0, failed: 1, failures: ["the tests ended without a result"] };
  }
}

let { passed, failed, failures } = await runTests();
const queue = checks.values();
await Promise.all([runInTurn(queue), runInTurn(queue)]);
await runCheck(locks);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`\n${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
