/**
 * Terminals for commands, by `script` of util-linux: neither runtime can make one.
 * @module
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { type Child, sendSignal, startChild } from "../runtime/child.ts";
import { UsageError } from "./command.ts";

/**
 * Starts a command at a terminal of its own.
 *
 * @param words The command and its arguments.
 * @returns The process; signals go to the command, not to `script`, which would take them for the end and exit with 0.
 * @throws {UsageError} Without a `script` that can do that.
 */
export async function startAtTerminal(words: readonly string[]): Promise<Child> {
  if (!await hasScript()) {
    throw new UsageError(
      "--tty wants the program script of util-linux (Debian: bsdutils; Alpine: util-linux-misc): " +
        "install it, or leave --tty out",
    );
  }
  // Signals to our process group must not reach `script` itself, as they would not if there were no `script`.
  const child = await startChild(commandLine(words), { joined: true, detached: true });
  process.on("SIGWINCH", () => child.kill("SIGWINCH"));
  return { ...child, kill: (signal) => killCommand(child, signal) };
}

function commandLine(words: readonly string[]): string[] {
  // `script` starts the shell that SHELL names; the command is to see what we see.
  const { SHELL } = process.env;
  const shell = SHELL === undefined ? ["env", "-u", "SHELL"] : ["env", `SHELL=${SHELL}`];
  const line = ["exec", ...[...shell, ...words].map(quoted)].join(" ");
  return [
    ...["env", "SHELL=/bin/sh", "script", "--quiet", "--return", "--flush"],
    ...["--command", line, "/dev/null"],
  ];
}

function killCommand(script: Child, signal: NodeJS.Signals): void {
  const pid = commandOf(script);
  if (pid === undefined) script.kill(signal);
  else sendSignal(pid, signal);
}

/** Id of the only child of `script`, where the system tells. */
function commandOf({ pid }: Child): number | undefined {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return /^\d+/.test(children) ? parseInt(children) : undefined;
  } catch {
    return undefined;
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function hasScript(): Promise<boolean> {
  return new Promise((resolve) =>
    execFile(
      "script",
      ["--version"],
      (error, stdout) => resolve(error === null && stdout.includes("util-linux")),
    )
  );
}
