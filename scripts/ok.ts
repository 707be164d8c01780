/** Runs every check, whatever the earlier ones said, and ends with the line `N passed, N failed`. */
import config from "../deno.json" with { type: "json" };
import { run } from "./run.ts";

const minuteMs = 60_000;
const totals = "dist/tests/total.json";
const deno = Deno.execPath();

interface Check {
  name: string;
  command: string[];
  env?: Record<string, string>;
  /** 3 minutes unless told. */
  limitMs?: number;
}

const checks: Check[] = [
  { name: "format", command: [deno, "fmt", "--check"] },
  { name: "lint", command: [deno, "lint"] },
  { name: "types", command: [deno, "check"] },
  { name: "viewer", command: [deno, "run", "-A", "scripts/viewer.ts", "--check"] },
  { name: "doc lint", command: [deno, "doc", "--lint", ...Object.values(config.exports)] },
  { name: "doc lint of the library", command: [deno, "doc", "--lint", "mod.ts"] },
  { name: "publish", command: [deno, "publish", "--dry-run", "--allow-dirty"] },
  {
    // A machine that reaches only npm lacks the base Deno compiles onto; Deno itself stands in for
    // it, and shows that the program embeds, not that it runs.
    name: "compile",
    command: [deno, "compile", "-A", "--output", "dist/tests/stream", "cli.ts"],
    env: { DENORT_BIN: deno },
  },
  { name: "compile:bun", command: [deno, "task", "compile:bun"] },
  { name: "binary", command: [deno, "run", "-A", "scripts/smoke.ts", "dist/stream-bun"] },
  { name: "package", command: [deno, "run", "-A", "scripts/smoke_package.ts"] },
  {
    name: "bench",
    command: [deno, "run", "-A", "bench/main.ts", "--smoke"],
    limitMs: 6 * minuteMs,
  },
  { name: "demo", command: ["npx", "-y", "deno@2", "task", "demo"] },
  // Deno brings its lock up to date by itself; one that was committed stale is different by now.
  { name: "locks", command: ["git", "diff", "--exit-code", "--stat", "deno.lock", "bun.lock"] },
];

async function runCheck({ name, command, env, limitMs = 3 * minuteMs }: Check): Promise<boolean> {
  console.log(`\n=== ${name}`);
  return await run(command, { env, limitMs });
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
for (const check of checks) {
  const succeeded = await runCheck(check);
  if (succeeded) passed++;
  else {
    failed++;
    failures.push(`check ${check.name}`);
  }
}
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`\n${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
