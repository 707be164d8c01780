/**
 * Lets members of the engine and nodes fail in every way, and looks whether a byte or the truth is lost:
 *
 *     deno task bench:cluster-crash [--runtime deno|bun|binary] [--rounds 40] [--seed N]
 *       [--targets leader,node] [--faults "kill -9,SIGTERM"]
 *
 * Each has a network namespace and a disk of its own: on Linux, as root. A round is one fault under five uploads.
 */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "@std/cli/parse-args";
import { type Kind, within } from "../tests/helpers/cli.ts";
import { Chance } from "../tests/helpers/random.ts";
import { ALL, type Fault, FAULTS, TARGETS } from "./helpers/cluster/faults.ts";
import { ACTIVITIES, type Activity, Round } from "./helpers/cluster/round.ts";
import { World } from "./helpers/cluster/world.ts";

const KINDS: readonly string[] = ["deno", "bun", "binary"];
/** Namespaces and disks are gone with the process that had them, however that ends. */
const APART = 'mkdir -p /run/netns && mount -t tmpfs none /run/netns && exec "$0" "$@"';
const MARK = "STREAM_BENCH_APART";
const HEALTHY_MS = 120_000;
const UPLOAD_BYTES = 1_500_000;

/** What was seen of one fault. */
class Row {
  rounds = 0;
  readonly times = new Map<Activity, number[]>(ACTIVITIES.map((activity) => [activity, []]));
}

function refuse(why: string): never {
  console.error(why);
  process.exit(2);
}

function moveApart(): void {
  if (process.env[MARK] !== undefined) return;
  const words = ["--net", "--mount", "sh", "-c", APART, process.execPath];
  const self = [...process.execArgv, ...program()];
  const { status } = spawnSync("unshare", [...words, ...self, ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, [MARK]: "1" },
  });
  process.exit(status ?? 1);
}

function program(): string[] {
  return "Deno" in globalThis ? ["run", "-A", "--no-check", process.argv[1]] : [process.argv[1]];
}

/** All faults in any order, again and again. */
function* inAnyOrder(faults: readonly Fault[], chance: Chance): Generator<Fault, never> {
  for (;;) {
    const left = [...faults];
    while (left.length > 0) yield left.splice(chance.whole(0, left.length - 1), 1)[0];
  }
}

function print(rows: Map<string, Row>): void {
  console.log(`| what fails | rounds | ${ACTIVITIES.join(" | ")} |`);
  console.log(`| --- | --: |${" --: |".repeat(ACTIVITIES.length)}`);
  for (const [name, { rounds, times }] of rows) {
    const cells = ACTIVITIES.map((activity) => spread(times.get(activity)!));
    console.log(`| ${name} | ${rounds} | ${cells.join(" | ")} |`);
  }
}

function spread(values: readonly number[]): string {
  if (values.length === 0) return "–";
  const sorted = values.map(Math.round).sort((a, b) => a - b);
  return `${sorted[Math.ceil(sorted.length / 2) - 1]} / ${sorted[sorted.length - 1]}`;
}

const given = parseArgs(process.argv.slice(2), {
  string: ["runtime", "rounds", "seed", "targets", "faults"],
  default: {
    runtime: "binary",
    rounds: "40",
    seed: String(Math.floor(Math.random() * 2 ** 32)),
    targets: TARGETS.join(","),
    faults: FAULTS.join(","),
  },
  unknown: (argument) => refuse(`there is no option ${argument}`),
});
const [rounds, seed] = [given.rounds, given.seed].map(Number);
if (![rounds, seed].every(Number.isSafeInteger)) refuse("--rounds and --seed want numbers");
const wanted = ALL.filter(({ target, fault }) =>
  given.targets.split(",").includes(target) && given.faults.split(",").includes(fault)
);
if (wanted.length === 0) refuse(`--targets: ${TARGETS.join(",")}; --faults: ${FAULTS.join(",")}`);
if (!KINDS.includes(given.runtime)) refuse(`--runtime wants one of ${KINDS.join(", ")}`);
moveApart();
console.log(JSON.stringify({ runtime: given.runtime, rounds, seed }));
const chance = new Chance(seed);
const rows = new Map<string, Row>();
const violations: string[] = [];
let looks = 0;
{
  await using world = await World.start(given.runtime as Kind, true);
  const next = inAnyOrder(wanted, chance);
  for (let count = 0; count < rounds; count++) {
    const fault = next.next().value;
    const startedAtMs = performance.now();
    const result = await new Round(world, fault, chance, UPLOAD_BYTES).run();
    const healed = within(HEALTHY_MS, world.engine.healthy(), () => new Error("not healthy"));
    await healed.catch((error) => violations.push(`after ${JSON.stringify(fault)}: ${error}`));
    await sleep(500);
    looks += result.looks;
    violations.push(...result.violations);
    for (const name of [fault.fault, fault.target]) {
      const row = rows.get(name) ?? new Row();
      rows.set(name, row);
      row.rounds++;
      for (const [activity, ms] of result.times) row.times.get(activity)!.push(ms);
    }
    const seen = [...result.times].map(([activity, ms]) => `${activity} ${Math.round(ms)}`);
    const seconds = Math.round((performance.now() - startedAtMs) / 1000);
    console.log(
      `${count + 1}: ${fault.fault} of ${fault.target}, ${seconds} s: ${seen.join(", ")}`,
    );
    for (const violation of result.violations) console.log(`  ${violation}`);
  }
  const check = await world.run("check");
  console.log(check.stdout.trimEnd());
  if (check.code !== 0) violations.push(`check: ${check.stdout}${check.stderr}`);
}
print(rows);
console.log(`${looks} statuses and ranges compared, ${violations.length} violations`);
process.exit(violations.length === 0 ? 0 : 1);
