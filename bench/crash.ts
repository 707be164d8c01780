/**
 * Kills the server, then pushers of files, at random moments, and looks whether a byte or the truth is lost:
 *
 *     deno task bench:crash [--runtime deno|bun|binary] [--kills 300] [--uploads 20] [--seed N]
 *                           [--durability os|disk]
 */
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import type { Kind } from "../tests/helpers/cli.ts";
import type { CrashOptions, CrashResult } from "./helpers/crash/run.ts";
import { crashPushers } from "./helpers/crash/pushers.ts";
import { crashServer } from "./helpers/crash/server.ts";

const KINDS: readonly string[] = ["deno", "bun", "binary"];
const DURABILITIES: readonly string[] = ["os", "disk"];

function optionsOf(argv: string[]): CrashOptions {
  const given = parseArgs(argv, {
    string: ["runtime", "kills", "uploads", "seed", "durability"],
    default: {
      runtime: "deno",
      kills: "300",
      uploads: "20",
      seed: String(Math.floor(Math.random() * 2 ** 32)),
      durability: "os",
    },
    unknown: (argument) => refuse(`there is no option ${argument}`),
  });
  const numbers = [given.kills, given.uploads, given.seed].map(Number);
  if (!numbers.every(Number.isSafeInteger)) refuse("--kills, --uploads and --seed want numbers");
  if (!KINDS.includes(given.runtime)) refuse(`--runtime wants one of ${KINDS.join(", ")}`);
  if (!DURABILITIES.includes(given.durability)) refuse("--durability wants os or disk");
  const [kills, uploads, seed] = numbers;
  return {
    kind: given.runtime as Kind,
    durability: given.durability as "os" | "disk",
    ...{ kills, uploads, seed, aliveMs: 1500, uploadMs: 8000 },
  };
}

function refuse(why: string): never {
  console.error(why);
  process.exit(2);
}

function columnOf(result: CrashResult): Record<string, string | number> {
  return {
    "kills": result.kills,
    "uploads completed": result.completed,
    "bytes, MB": Math.round(result.bytes / 1e6),
    "resumes": result.recoveriesMs.length,
    "kill to resumed, ms: p50 / p99 / longest": spread(result.recoveriesMs),
    "kill to listening, ms: p50 / p99 / longest": spread(result.restartsMs),
    "statuses checked": result.looks,
    "logs nobody knows": result.orphans,
    "seconds": Math.round(result.seconds),
    "violations": result.violations.length,
  };
}

function spread(values: number[]): string {
  if (values.length === 0) return "-";
  const sorted = values.map(Math.round).sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.ceil(part * sorted.length) - 1];
  return `${at(0.5)} / ${at(0.99)} / ${at(1)}`;
}

function print(results: Record<string, CrashResult>): void {
  const columns = Object.values(results).map(columnOf);
  console.log(`| kill -9 of … | ${Object.keys(results).join(" | ")} |`);
  console.log(`| --- ${"| --: ".repeat(columns.length)}|`);
  for (const name of Object.keys(columns[0])) {
    console.log(`| ${name} | ${columns.map((column) => column[name]).join(" | ")} |`);
  }
}

const options = optionsOf(process.argv.slice(2));
console.log(JSON.stringify(options));
const server = await crashServer(options);
const pusher = await crashPushers(options);
print({ "the server": server, "the pusher of a file": pusher });
const violations = [...server.violations, ...pusher.violations];
for (const violation of violations) console.error(violation);
process.exit(violations.length === 0 ? 0 : 1);
