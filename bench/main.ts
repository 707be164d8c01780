/**
 * Measures servers in processes of their own, with yardsticks in the same run (docs/benchmarks.md):
 *
 *     deno task bench [--quick|--smoke] [--part NAME]... [--server deno|bun|binary]... [--clients bun|deno]
 *                     [--json FILE] [--markdown FILE]
 */
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import { costCurve } from "./cost_curve.ts";
import { fanout } from "./fanout.ts";
import { Bench, type Extent, type Findings, OTHERS, type Part } from "./helpers/bench.ts";
import { ClientProcess } from "./helpers/client.ts";
import { describeMachine } from "./helpers/machine.ts";
import type { Kind, ScriptRuntime } from "./helpers/processes.ts";
import { type Setting, toJson, toMarkdown } from "./helpers/report.ts";
import { latency } from "./latency.ts";
import { many } from "./many.ts";
import { randomAccess } from "./random_access.ts";
import { scenario } from "./scenario.ts";
import { start } from "./start.ts";

const PARTS: readonly Part[] = [scenario, latency, fanout, many, randomAccess, costCurve, start];
const KINDS: readonly Kind[] = ["deno", "bun", "binary"];
const RUNTIMES: readonly ScriptRuntime[] = ["bun", "deno"];

interface Options {
  extent: Extent;
  parts: readonly Part[];
  servers: readonly Kind[];
  clients: ScriptRuntime;
  json?: string;
  markdown?: string;
}

function optionsOf(argv: string[]): Options {
  const given = parseArgs(argv, {
    boolean: ["quick", "smoke"],
    string: ["part", "server", "clients", "json", "markdown"],
    collect: ["part", "server"],
    default: { clients: "bun" },
    unknown: (argument) => refuse(`there is no option ${argument}`),
  });
  const extent = given.smoke ? "smoke" : given.quick ? "quick" : "full";
  const names = chosen("--part", given.part, PARTS.map(({ name }) => name), []);
  // The binary is Bun: short forms leave it to what people run.
  const servers = chosen("--server", given.server, KINDS, extent === "full" ? [] : ["bun"]);
  const [clients] = chosen("--clients", [given.clients], RUNTIMES, []);
  const parts = PARTS.filter(({ name }) => names.includes(name));
  return { extent, parts, servers, clients, json: given.json, markdown: given.markdown };
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
  const { extent, clients } = options;
  for (const part of options.parts) {
    const runs = options.servers.map((server) => () => {
      const bench = new Bench(part.name, server, extent, clients, findings);
      return bench.attempt("begins", () => part.run(bench));
    });
    // Nobody judges the times of a smoke run.
    if (extent === "smoke") await Promise.all(runs.map((run) => run()));
    else for (const run of runs) await run();
    const bench = new Bench(part.name, OTHERS, extent, clients, findings);
    if (part.others !== undefined) await bench.attempt("yardsticks", () => part.others!(bench));
  }
  return findings;
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
};
const markdown = toMarkdown(setting, findings);
console.log(markdown);
if (options.markdown !== undefined) await writeFile(options.markdown, markdown);
if (options.json !== undefined) await writeFile(options.json, toJson(setting, findings));
process.exit(findings.failures.length === 0 ? 0 : 1);
