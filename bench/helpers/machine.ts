/** The machine in words: what a reader must know to judge figures. */
import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem } from "node:os";
import type { Kind, ScriptRuntime } from "./processes.ts";
import { scriptCommand, streamCommand } from "./processes.ts";

/** Sentences on processor, memory, kernel, programs and how busy it all was. */
export function describeMachine(servers: readonly Kind[], clients: ScriptRuntime): string[] {
  const [{ model }] = cpus();
  const gib = Math.round(totalmem() / 1024 ** 3);
  return [
    `${cpus().length} × ${model}, ${gib} GiB of memory, Linux ${release()}`,
    `Deno ${versionOf("deno")}, Bun ${
      versionOf("bun")
    }, nodes of yardsticks: Node ${nodeVersion()}`,
    `servers: ${servers.map(programOf).join(", ")}`,
    `clients run on ${clients}; servers and clients share the processors, over the loopback`,
    `load before the run: ${loadavg().map((load) => load.toFixed(2)).join(", ")}`,
  ];
}

function programOf(kind: Kind): string {
  return kind === "binary" ? `binary (${output([...streamCommand(kind), "--version"])})` : kind;
}

function versionOf(runtime: ScriptRuntime): string {
  const [command] = scriptCommand(runtime, "");
  return output([command, "--version"]).replace(/^deno (\S+).*/, "$1");
}

function nodeVersion(): string {
  return output(["node", "--version"]);
}

/** The first line a program says of itself. */
function output([command, ...args]: string[]): string {
  try {
    return execFileSync(command, args, { encoding: "utf8" }).split("\n")[0].trim();
  } catch (error) {
    return `none: ${(error as Error).message.split("\n")[0]}`;
  }
}
