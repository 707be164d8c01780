/** Runs every check, whatever the earlier ones said, and ends with the line `N passed, N failed`. */
import config from "../deno.json" with { type: "json" };
import { run } from "./run.ts";
import { binary, leavesModules, setUp } from "./set_up.ts";

const minuteMs = 60_000;
const checkLimitMs = 6 * minuteMs;
const testsLimitMs = 61 * minuteMs;
const totals = "dist/tests/total.json";
const deno = Deno.execPath();

interface Check {
  name: string;
  command: string[];
  env?: Record<string, string>;
}

/** What only computes: one at a time beside the tests, which wait for a quarter of the time, and after them in all else. */
const besideTests: Check[] = [
  {
    name: "types",
    command: [deno, "check", leavesModules, "--doc", ".", "README.md", "docs/embedding.md"],
  },
  { name: "publish", command: [deno, "publish", "--dry-run", "--allow-dirty", leavesModules] },
  {
    // A machine that reaches only npm lacks the base Deno compiles onto; Deno itself stands in for
    // it, and shows that the program embeds, not that it runs.
    name: "compile",
    command: [
      ...[deno, "compile", "-A", "--no-check", leavesModules],
      ...["--output", "dist/compiled/stream", "cli.ts"],
    ],
    env: { DENORT_BIN: deno },
  },
  { name: "format", command: [deno, "fmt", "--check"] },
  { name: "lint", command: [deno, "lint"] },
  { name: "viewer", command: [deno, "run", "-A", leavesModules, "scripts/viewer.ts", "--check"] },
  {
    name: "doc lint",
    command: [deno, "doc", leavesModules, "--lint", ...Object.values(config.exports)],
  },
  { name: "doc lint of the library", command: [deno, "doc", leavesModules, "--lint", "mod.ts"] },
].map((check) => ({ ...check, command: ["nice", "-n", "10", ...check.command] }));

/** What has limits of time, or changes what tests use: two at a time; what takes long begins first. */
const afterTests: Check[] = [
  { name: "bench", command: [deno, "run", "-A", "bench/main.ts", "--smoke"] },
  { name: "package", command: [deno, "run", "-A", "scripts/smoke_package.ts"] },
  { name: "demo", command: ["npx", "-y", "deno@2", "task", "demo"] },
  { name: "binary", command: [deno, "run", "-A", "scripts/smoke.ts", binary] },
];

/** Deno brings its lock up to date by itself; one that was committed stale is different in the end. */
const locks: Check = {
  name: "locks",
  command: ["git", "diff", "--exit-code", "--stat", "deno.lock", "bun.lock"],
};

async function runCheck({ name, command, env }: Check, limitMs = checkLimitMs): Promise<void> {
  const output = await Deno.makeTempFile({ prefix: "stream-check-" });
  const succeeded = await run(command, { env, limitMs, output });
  console.log(`\n=== ${name}\n${await Deno.readTextFile(output)}`);
  await Deno.remove(output);
  if (succeeded) passed++;
  else {
    failed++;
    failures.push(`check ${name}`);
  }
}

async function runInTurn(queue: Iterator<Check>, limitMs?: number): Promise<void> {
  for (let next = queue.next(); !next.done; next = queue.next()) {
    await runCheck(next.value, limitMs);
  }
}

/** The tests count one by one; a run that breaks off is one failure at least. */
async function runTests(): Promise<void> {
  console.log("\n=== tests");
  await Deno.remove(totals).catch(() => {});
  const command = [deno, "task", "test", "--prepared"];
  const succeeded = await run(command, { limitMs: testsLimitMs });
  try {
    const total = JSON.parse(Deno.readTextFileSync(totals));
    passed += total.passed;
    failed += succeeded ? total.failed : Math.max(total.failed, 1);
    failures.push(...total.failures);
  } catch {
    failed++;
    failures.push("the tests ended without a result");
  }
}

let passed = 0;
let failed = 0;
const failures: string[] = [];
await setUp();
await Promise.all([runTests(), runInTurn(besideTests.values(), testsLimitMs)]);
const queue = afterTests.values();
await Promise.all([runInTurn(queue), runInTurn(queue)]);
await runCheck(locks);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`\n${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
