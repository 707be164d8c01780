/**
 * Runs the tests on both runtimes, from a fresh clone if need be:
 *
 *     scripts/test.ts [deno] [bun] [docs] [--long] [--prepared] [FILE…]
 *
 * With --prepared all is there already that tests need (scripts/set_up.ts).
 * No runner's word is taken for a skipped test, an empty file, or an error outside a test: a test
 * that did not run has failed.
 */
import { testsOfExamples } from "./examples.ts";
import { failuresIn, shortened } from "./failures.ts";
import { run } from "./run.ts";
import { binary, leavesModules, realBun, setUp } from "./set_up.ts";

const minuteMs = 60_000;
const reports = "dist/tests";
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

/** Tests wait as often as they compute, so four lanes keep two processors busy. */
const lanesAtOnce = long ? 1 : 4;

/** Tests in the runner's process have the shortest limits of time, so that they go before those that start programs. */
const letsOthers = ["nice", "-n", "5"];

/** Files that one process of a runner tests. */
interface Lane {
  suite: string;
  name: string;
  files: string[];
  /** Whether others go before it. */
  lets: boolean;
}

interface Result {
  passed: number;
  failed: number;
  /** What failed, a line each. */
  failures: string[];
  seconds: number;
}

if (!Deno.args.includes("--prepared")) await setUp();
await Deno.remove(reports, { recursive: true }).catch(() => {});
await Deno.mkdir(reports, { recursive: true });
const deno = Deno.execPath();
const bun = await realBun();

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
};

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

function chosenSuites(): string[] {
  const named = ["deno", "bun", "docs"].filter((name) => Deno.args.includes(name));
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
  if (long) return suites.map((suite) => ({ suite, name: suite, files, lets: false }));
  const runners = suites.filter((suite) => suite !== "docs");
  const lanes = kinds.flatMap((kind) => {
    const ofKind = files.filter((file) => kindOf(file) === kind);
    const lets = kind !== "functions";
    return runners.map((suite) => ({ suite, name: `${suite}-${kind}`, files: ofKind, lets }));
  }).filter(({ files }) => files.length > 0);
  if (!suites.includes("docs")) return lanes;
  return [...lanes, { suite: "deno", name: "docs", files: testsOfExamples(), lets: false }];
}

/** Runs lanes of a queue, one after the other. */
async function runLanes(queue: Iterator<Lane>): Promise<void> {
  for (let next = queue.next(); !next.done; next = queue.next()) {
    results.push([next.value.name, await runLane(next.value)]);
  }
}

async function runLane({ suite, name, files, lets }: Lane): Promise<Result> {
  const report = `${reports}/${name}.xml`;
  const output = `${reports}/${name}.txt`;
  const uncaught = `${reports}/${name}.uncaught`;
  const env = {
    STREAM_DENO: deno,
    STREAM_BUN: bun,
    STREAM_BIN: await Deno.realPath(binary),
    STREAM_UNCAUGHT: uncaught,
  };
  const words = [...lets ? letsOthers : [], ...suites[suite](files, report)];
  const sinceMs = performance.now();
  const succeeded = await run(words, { env, limitMs: suiteLimitMs, output });
  const seconds = Math.round((performance.now() - sinceMs) / 1000);
  console.log(`\n--- ${name}\n${readOrEmpty(output)}`);
  const told = readOrEmpty(suite === "deno" ? output : report);
  const complaints = [
    ...lines(readOrEmpty(uncaught)).map((error) => `not caught by any test: ${error}`),
    ...silentFiles(suite, files, told).map((file) => `no test ran in ${file}`),
  ];
  return { ...judge(name, succeeded, readOrEmpty(report), complaints), seconds };
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

/** Files without a test: on Deno scripts/isolate.ts tells of them. */
function silentFiles(suite: string, files: string[], told: string): string[] {
  const ran = (file: string) =>
    suite === "deno"
      ? new RegExp(`^declared [1-9]\\d* tests in ${RegExp.escape(file)}$`, "m").test(told)
      : told.includes(`${file}"`);
  return files.filter((file) => !ran(file));
}

function judge(
  name: string,
  succeeded: boolean,
  report: string,
  complaints: string[],
): Omit<Result, "seconds"> {
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
  return { passed: 0, failed: marked.length, failures: marked, seconds: 0 };
}

function printResult(name: string, { passed, failed, seconds }: Result): void {
  console.log(`${name.padEnd(16)} ${passed} passed, ${failed} failed, ${seconds} s`);
}

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
const seconds = Math.round((performance.now() - startedAtMs) / 1000);
const total: Result = { passed: 0, failed: 0, failures: [], seconds };
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
