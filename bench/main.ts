/**
 * Measures servers in processes of their own, with yardsticks in the same run (docs/benchmarks.md):
 *
 *     deno task bench [--quick|--smoke] [--part NAME]... [--server deno|bun|binary]... [--clients bun|deno]
 *                     [--against DIR [--rounds N]] [--json FILE] [--markdown FILE]
 */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import { catalog } from "./catalog.ts";
import { commands } from "./commands.ts";
import { cluster } from "./cluster.ts";
import { costCurve } from "./cost_curve.ts";
import { faces } from "./faces.ts";
import { fanout } from "./fanout.ts";
import { Bench, type Extent, type Findings, type Part, type Program } from "./helpers/bench.ts";
import { ClientProcess } from "./helpers/client.ts";
import { describeMachine } from "./helpers/machine.ts";
import { type Kind, ROOT, type ScriptRuntime } from "./helpers/processes.ts";
import { otherColumn, type Setting, toJson, toMarkdown } from "./helpers/report.ts";
import { latency } from "./latency.ts";
import { many } from "./many.ts";
import { randomAccess } from "./random_access.ts";
import { scenario } from "./scenario.ts";
import { start } from "./start.ts";
import { viewer } from "./viewer.ts";

const PARTS: readonly Part[] = [
  scenario,
  latency,
  fanout,
  many,
  randomAccess,
  costCurve,
  start,
  commands,
  catalog,
  viewer,
  faces,
  cluster,
];
const KINDS: readonly Kind[] = ["deno", "bun", "binary"];
const RUNTIMES: readonly ScriptRuntime[] = ["bun", "deno"];

interface Options {
  extent: Extent;
  parts: readonly Part[];
  servers: readonly Kind[];
  clients: ScriptRuntime;
  /** Another checkout, measured in turn with this one. */
  against?: string;
  rounds: number;
  json?: string;
  markdown?: string;
}

function optionsOf(argv: string[]): Options {
  const given = parseArgs(argv, {
    boolean: ["quick", "smoke"],
    string: ["part", "server", "clients", "against", "rounds", "json", "markdown"],
    collect: ["part", "server"],
    default: { clients: "bun", rounds: "3" },
    unknown: (argument) => refuse(`there is no option ${argument}`),
  });
  const extent = given.smoke ? "smoke" : given.quick ? "quick" : "full";
  const names = chosen("--part", given.part, PARTS.map(({ name }) => name), []);
  // The binary is Bun: short forms leave it to what people run.
  const servers = chosen("--server", given.server, KINDS, extent === "full" ? [] : ["bun"]);
  const [clients] = chosen("--clients", [given.clients], RUNTIMES, []);
  const parts = PARTS.filter(({ name }) => names.includes(name));
  const { json, markdown } = given;
  const against = given.against === undefined ? undefined : resolve(given.against);
  const rounds = against === undefined ? 1 : Number(given.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    refuse(`--rounds ${given.rounds}: expected a number`);
  }
  return { extent, parts, servers, clients, against, rounds, json, markdown };
}

/** What was asked for of what there is; without a word all but a few. */
function chosen<T extends string>(
  option: string,
  given: string[],
  all: readonly T[],
  unasked: readonly T[],
): readonly T[] {
  const unknown = given.find((word) => !all.some((one) => one === word));
  if (unknown !== undefined) refuse(`${option} ${unknown}: expected one of ${all.join(", ")}`);
  if (given.length === 0) return all.filter((one) => !unasked.includes(one));
  return all.filter((one) => given.includes(one));
}

function refuse(why: string): never {
  console.error(why);
  process.exit(2);
}

async function measure(options: Options): Promise<Findings> {
  const findings: Findings = { series: [], failures: [] };
  if (options.extent !== "smoke") {
    for (const part of options.parts) {
      await measurePart(part, programsOf(options), options, findings);
    }
    return findings;
  }
  // Nobody judges the times of a smoke run, which says that all parts and all kinds of servers work.
  const { parts, servers } = options;
  const queue = parts.entries();
  const inTurn = async () => {
    for (const [turn, part] of queue) {
      const kind = servers[turn % servers.length];
      const programs = programsOf({ ...options, servers: [kind] });
      await measurePart(part, programs, options, findings);
    }
  };
  await Promise.all([inTurn(), inTurn()]);
  return findings;
}

async function measurePart(
  part: Part,
  programs: Program[],
  { extent, clients, against }: Options,
  findings: Findings,
): Promise<void> {
  for (const program of programs) {
    const bench = new Bench(part.name, program, extent, clients, findings);
    await bench.attempt("begins", () => part.run(bench));
  }
  if (part.others === undefined || against !== undefined) return;
  const bench = new Bench(part.name, null, extent, clients, findings);
  await bench.attempt("yardsticks", () => part.others!(bench));
}

/** The order of the runs: two builds take turns, and which begins does, too. */
function programsOf({ servers, against, rounds }: Options): Program[] {
  return servers.flatMap((kind) => {
    const own: Program = { column: kind, kind, root: ROOT, yardsticks: against === undefined };
    if (against === undefined) return [own];
    const other = { ...own, column: otherColumn(kind), root: against };
    return Array.from({ length: rounds }, (_, round) => round % 2 ? [other, own] : [own, other])
      .flat();
  });
}

const options = optionsOf(process.argv.slice(2));
const startedAt = new Date();
const machine = describeMachine(options.servers, options.clients);
const findings = await measure(options);
const setting: Setting = {
  startedAt,
  seconds: (Date.now() - startedAt.getTime()) / 1000,
  machine,
  clockSkewMs: ClientProcess.clockSkewMs,
  extent: options.extent,
  parts: options.parts,
  servers: [...options.servers],
  against: options.against,
};
const markdown = toMarkdown(setting, findings);
console.log(markdown);
if (options.markdown !== undefined) await writeFile(options.markdown, markdown);
if (options.json !== undefined) await writeFile(options.json, toJson(setting, findings));
process.exit(findings.failures.length === 0 ? 0 : 1);
