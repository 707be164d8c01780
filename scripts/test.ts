/**
 * Runs the tests on both runtimes, from a fresh clone if need be:
 *
 *     scripts/test.ts [deno] [bun] [docs] [--long] [FILE…]
 *
 * No runner's word is taken for a skipped test, an empty file, or an error outside a test: a test
 * that did not run has failed.
 */
import { failuresIn, shortened } from "./failures.ts";
import { ensureNatsServer, ensurePrograms } from "./programs.ts";
import { run } from "./run.ts";

const minuteMs = 60_000;
const setUpLimitMs = 5 * minuteMs;
const reports = "dist/tests";
const binary = "dist/stream-bun";
const progressEveryMs = 15_000;
const startedAtMs = performance.now();

const long = Deno.args.includes("--long");
const suiteLimitMs = (long ? 60 : 30) * minuteMs;
/** Bun alone limits a single test, to 5 s unless told. */
const bunTestLimitMs = (long ? 15 : 1.5) * minuteMs;

/** What a file imports that starts an engine: three members that use up processor time even while nobody asks them, until their lane ends. */
const startsEngine = /from "(?!.*\/src\/).*\/(engine|in_cluster|logs|two_servers)\.ts"/;

/** Tests that start programs, or a browser; more than half of all time is theirs, so their lanes begin first. */
const startsPrograms = /^tests\/(cli|durable_streams|e2e|faults|tus)\//;
const startsBrowser = /^tests\/viewer\//;

/** Tests wait as often as they compute, so three lanes keep two processors busy; with four, limits of time run out. */
const lanesAtOnce = long ? 1 : 3;

/** Files that one process of a runner tests. */
interface Lane {
  suite: string;
  name: string;
  files: string[];
}

interface Result {
  passed: number;
  failed: number;
  /** What failed, a line each. */
  failures: string[];
}

const deno = Deno.execPath();
if (!await ensurePrograms() || !await ensureNatsServer()) Deno.exit(1);
const bun = await realBun();

/** Else each runner of Deno looks after node_modules, and programs that start at that moment miss a package. */
const leavesModules = "--node-modules-dir=manual";

/** The command of each suite. All write a JUnit report, which the counts come from. */
const suites: Record<string, (files: string[], report: string) => string[]> = {
  deno: (files, report) => [
    ...[deno, "test", "-A", leavesModules, "--no-check", "--preload=scripts/uncaught.ts"],
    ...[`--junit-path=${report}`, "scripts/isolate.ts", "--", ...files],
  ],
  bun: (files, report) => [
    ...[bun, "test", `--timeout=${bunTestLimitMs}`],
    ...["--reporter=junit", `--reporter-outfile=${report}`, ...files.map((file) => `./${file}`)],
  ],
  docs: (_files, report) => [
    ...[deno, "test", "-A", leavesModules, "--doc", `--junit-path=${report}`, ...documents()],
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
    [deno, "install", "--quiet"],
    [bun, "install", "--frozen-lockfile"],
    [deno, "task", "--quiet", "compile:bun"],
  ];
  for (const step of steps) {
    console.log(`set-up: ${step.join(" ")}`);
    if (await run(step, { limitMs: setUpLimitMs })) continue;
    console.error(`setting up failed: ${step.join(" ")}`);
    Deno.exit(1);
  }
  await Deno.remove(reports, { recursive: true }).catch(() => {});
  await Deno.mkdir(reports, { recursive: true });
}

function chosenFiles(): string[] {
  const named = Deno.args.filter((argument) => argument.endsWith(".ts"));
  if (named.length > 0) return named;
  return filesBelow("tests").filter((path) => path.endsWith("_test.ts"))
    .filter((path) => path.startsWith("tests/long/") === long).sort();
}

function filesBelow(directory: string): string[] {
  return [...Deno.readDirSync(directory)].flatMap(({ name, isDirectory }) => {
    const path = `${directory}/${name}`;
    return isDirectory ? filesBelow(path) : [path];
  });
}

/** Named one by one: of a folder that holds a member of the workspace Deno takes no examples, and says nothing. */
function documents(): string[] {
  return [
    "README.md",
    "docs/embedding.md",
    "mod.ts",
    ...filesBelow("src").filter((path) => path.endsWith(".ts")),
  ]
    .filter((path) => Deno.readTextFileSync(path).includes("```ts\n"));
}

function chosenSuites(): string[] {
  const named = Object.keys(suites).filter((name) => Deno.args.includes(name));
  if (named.length > 0) return named;
  return long ? ["deno", "bun"] : ["deno", "bun", "docs"];
}

/** What takes longest comes first. */
const kinds = ["programs", "functions", "cluster", "viewer"] as const;

function kindOf(file: string): typeof kinds[number] {
  if (startsEngine.test(Deno.readTextFileSync(file))) return "cluster";
  if (startsBrowser.test(file)) return "viewer";
  return startsPrograms.test(file) ? "programs" : "functions";
}

function lanesOf(suites: string[], files: string[]): Lane[] {
  // Long tests measure, and need the machine.
  if (long) return suites.map((suite) => ({ suite, name: suite, files }));
  const runners = suites.filter((suite) => suite !== "docs");
  const lanes = kinds.flatMap((kind) => {
    const ofKind = files.filter((file) => kindOf(file) === kind);
    return runners.map((suite) => ({ suite, name: `${suite}-${kind}`, files: ofKind }));
  }).filter(({ files }) => files.length > 0);
  if (suites.includes("docs")) lanes.push({ suite: "docs", name: "docs", files });
  return lanes;
}

/** Runs lanes of a queue, one after the other. */
async function runLanes(queue: Iterator<Lane>): Promise<void> {
  for (let next = queue.next(); !next.done; next = queue.next()) {
    results.push([next.value.name, await runLane(next.value)]);
  }
}

async function runLane({ suite, name, files }: Lane): Promise<Result> {
  const report = `${reports}/${name}.xml`;
  const output = `${reports}/${name}.txt`;
  const uncaught = `${reports}/${name}.uncaught`;
  const env = {
    STREAM_DENO: deno,
    STREAM_BUN: bun,
    STREAM_BIN: await Deno.realPath(binary),
    STREAM_UNCAUGHT: uncaught,
  };
  const limitMs = suiteLimitMs;
  const succeeded = await run(suites[suite](files, report), { env, limitMs, output });
  console.log(`\n--- ${name}\n${readOrEmpty(output)}`);
  const expected = suite === "docs" ? documents() : files;
  const told = readOrEmpty(suite === "deno" ? output : report);
  return judge(name, succeeded, readOrEmpty(report), [
    ...lines(readOrEmpty(uncaught)).map((error) => `not caught by any test: ${error}`),
    ...silentFiles(suite, expected, told).map((file) => `no test ran in ${file}`),
  ]);
}

/** Tells every now and then how many tests of each suite have ended, as far as the runner has told: Deno's keeps much back. */
function showProgress(names: string[]): Disposable {
  const show = () => {
    const seconds = Math.round((performance.now() - startedAtMs) / 1000);
    const ended = names.map((name) => {
      const tests = readOrEmpty(`${reports}/${name}.txt`).match(
        /^\((pass|fail)\) |\.\.\. .*\(\d+/gm,
      );
      return `${name} ${tests?.length ?? 0}`;
    });
    console.log(`${seconds} s, tests told of so far: ${ended.join("; ")}`);
  };
  const timer = setInterval(show, progressEveryMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** A runner that broke down leaves no report, and one without stray errors no list of them. */
function readOrEmpty(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** Files without a test: on Deno scripts/isolate.ts tells of them; an example is named by its lines. */
function silentFiles(suite: string, files: string[], told: string): string[] {
  const ran = (file: string) =>
    suite === "deno"
      ? new RegExp(`^declared [1-9]\\d* tests in ${RegExp.escape(file)}$`, "m").test(told)
      : told.includes(`${file}"`) || told.includes(`${file}#`);
  return files.filter((file) => !ran(file));
}

function judge(name: string, succeeded: boolean, report: string, complaints: string[]): Result {
  const count = (pattern: RegExp) => report.match(pattern)?.length ?? 0;
  const tests = count(/<testcase\b/g);
  const failed = count(/<(failure|error)\b/g);
  const skipped = count(/<skipped\b/g);
  if (tests === 0) complaints.push("no test ran");
  if (skipped > 0) complaints.push(`${skipped} skipped`);
  if (!succeeded && failed + complaints.length === 0) complaints.push("the runner failed");
  const failures = [...failuresIn(report), ...complaints].map((line) => `${name}: ${line}`);
  return { passed: tests - failed - skipped, failed: failed + complaints.length, failures };
}

/** Deno counts a test that skips itself as passed; so the word is looked for in the source. */
function judgeSources(files: string[]): Result {
  const marker = /\.(skip|todo|only|failing|ignore)\(|\b(skip|todo|only|expectFailure):/;
  const marked = files.flatMap((file) =>
    lines(Deno.readTextFileSync(file)).filter((line) => marker.test(line))
      .map((line) => `${file}: a test must not be skipped: ${line.trim()}`)
  );
  return { passed: 0, failed: marked.length, failures: marked };
}

function printResult(name: string, { passed, failed }: Result): void {
  console.log(`${name.padEnd(16)} ${passed} passed, ${failed} failed`);
}

await setUp();
const files = chosenFiles();
const lanes = lanesOf(chosenSuites(), files);
const results: [string, Result][] = [];
const progress = showProgress(lanes.map(({ name }) => name));
const queue = lanes.values();
await Promise.all(Array.from({ length: lanesAtOnce }, () => runLanes(queue)));
progress[Symbol.dispose]();
const sources = judgeSources(files);
if (sources.failed > 0) results.push(["source", sources]);

console.log();
const total: Result = { passed: 0, failed: 0, failures: [] };
for (const [name, result] of results) {
  printResult(name, result);
  total.passed += result.passed;
  total.failed += result.failed;
  total.failures.push(...result.failures);
}
total.failures = shortened(total.failures);
for (const failure of total.failures) console.error(failure);
printResult("total", total);
Deno.writeTextFileSync(`${reports}/total.json`, JSON.stringify(total));
Deno.exit(total.failed === 0 ? 0 : 1);
