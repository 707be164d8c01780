/**
 * Runs the tests on both runtimes, from a fresh clone if need be:
 *
 *     scripts/test.ts [deno] [bun] [docs] [--long] [FILE…]
 *
 * A test that did not run has failed: no runner's word is taken for a skipped test, an empty suite,
 * or an error outside a test.
 */
import { run } from "./run.ts";

const minuteMs = 60_000;
const reports = "dist/tests";
const testDirectory = Deno.args.includes("--long") ? "tests/long" : "tests";
/** Bun alone limits a single test, to 5 s unless told. */
const bunTestLimitMs = Deno.args.includes("--long") ? 15 * minuteMs : minuteMs;
const suiteLimitMs = Deno.args.includes("--long") ? 60 * minuteMs : 5 * minuteMs;
const setUpLimitMs = 5 * minuteMs;

/** How one suite, or all of them, ended. */
interface Result {
  passed: number;
  failed: number;
}

const deno = Deno.execPath();
const bun = await realBun();

/** The command of each suite. All write a JUnit report, which the counts come from. */
const suites: Record<string, (files: string[], report: string) => string[]> = {
  deno: (files, report) => [
    ...[deno, "test", "-A", "--no-check", "--preload=scripts/uncaught.ts"],
    ...[`--junit-path=${report}`, ...files],
  ],
  bun: (files, report) => [
    ...[bun, "test", `--timeout=${bunTestLimitMs}`],
    ...["--reporter=junit", `--reporter-outfile=${report}`, ...files.map((file) => `./${file}`)],
  ],
  docs: (_files, report) => [
    ...[deno, "test", "-A", "--doc", `--junit-path=${report}`, "mod.ts", "src", "README.md"],
  ],
};

/** `npx` starts a launcher; tests that start and signal Bun want the program itself. */
async function realBun(): Promise<string> {
  const args = ["-y", "bun@1", "--print", "process.execPath"];
  const { success, stdout } = await new Deno.Command("npx", { args, stderr: "inherit" }).output();
  if (!success) throw new Error("npx -y bun@1 does not start");
  return new TextDecoder().decode(stdout).trim();
}

/** Packages for both runtimes side by side in node_modules, and the binary that tests start. */
async function setUp(): Promise<void> {
  const steps = [
    [deno, "install", "--frozen", "--quiet"],
    [bun, "install", "--frozen-lockfile", "--silent"],
    [deno, "task", "--quiet", "compile:bun"],
  ];
  for (const step of steps) {
    if (!await run(step, { limitMs: setUpLimitMs })) throw new Error(`failed: ${step.join(" ")}`);
  }
  await Deno.remove(reports, { recursive: true }).catch(() => {});
  await Deno.mkdir(reports, { recursive: true });
}

function testFiles(): string[] {
  const named = Deno.args.filter((argument) => argument.endsWith(".ts"));
  if (named.length > 0) return named;
  const names = [...Deno.readDirSync(testDirectory)].map((entry) => entry.name);
  return names.filter((name) => name.endsWith("_test.ts")).sort()
    .map((name) => `${testDirectory}/${name}`);
}

/** Deno counts a test that skips itself as passed; so the word is looked for in the source. */
function skippedTests(files: string[]): string[] {
  const marker = /\.(skip|todo|only|failing|ignore)\(|\b(skip|todo|only|expectFailure):/;
  return files.flatMap((file) =>
    Deno.readTextFileSync(file).split("\n")
      .flatMap((line, index) => marker.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])
  );
}

async function runSuite(name: string, files: string[]): Promise<Result> {
  console.log(`\n--- ${name}`);
  const report = `${reports}/${name}.xml`;
  const uncaught = `${reports}/${name}.uncaught`;
  const env = {
    STREAM_DENO: deno,
    STREAM_BUN: bun,
    STREAM_BIN: await Deno.realPath("dist/stream-bun"),
    STREAM_UNCAUGHT: uncaught,
  };
  const succeeded = await run(suites[name](files, report), { env, limitMs: suiteLimitMs });
  return judge(name, succeeded, readOrEmpty(report), readOrEmpty(uncaught));
}

function readOrEmpty(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

function judge(name: string, succeeded: boolean, report: string, uncaught: string): Result {
  const count = (pattern: RegExp) => report.match(pattern)?.length ?? 0;
  const tests = count(/<testcase\b/g);
  const failed = count(/<(failure|error)\b/g);
  const skipped = count(/<skipped\b/g);
  const complaints = uncaught.split("\n").filter((line) => line !== "")
    .map((line) => `not caught by any test: ${line}`);
  if (tests === 0) complaints.push("no test ran");
  if (skipped > 0) complaints.push(`${skipped} skipped`);
  if (!succeeded && failed + complaints.length === 0) complaints.push("the runner failed");
  for (const complaint of complaints) console.error(`${name}: ${complaint}`);
  return { passed: tests - failed - skipped, failed: failed + complaints.length };
}

function summary(name: string, { passed, failed }: Result): void {
  console.log(`${name.padEnd(6)} ${passed} passed, ${failed} failed`);
}

await setUp();
const files = testFiles();
const named = Object.keys(suites).filter((name) => Deno.args.includes(name));
const whole = testDirectory === "tests" ? ["deno", "bun", "docs"] : ["deno", "bun"];
const results: Record<string, Result> = {};
for (const name of named.length > 0 ? named : whole) results[name] = await runSuite(name, files);

const skips = skippedTests(files);
for (const skip of skips) console.error(`a test must not be skipped: ${skip}`);

console.log();
const total = { passed: 0, failed: skips.length };
for (const [name, result] of Object.entries(results)) {
  summary(name, result);
  total.passed += result.passed;
  total.failed += result.failed;
}
summary("total", total);
Deno.writeTextFileSync(`${reports}/total.json`, JSON.stringify(total));
Deno.exit(total.failed === 0 ? 0 : 1);
