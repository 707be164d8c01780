/**
 * Terminals for commands, by `script` of util-linux: neither runtime can make one.
 * @module
 */
import { execFile } from "node:child_process";
import process from "node:process";
import { UsageError } from "./command.ts";

/**
 * The command that gives another one a terminal.
 *
 * @param words The other command.
 * @returns Words to be started.
 * @throws {UsageError} Without a `script` that can do that.
 */
export async function inTerminal(words: readonly string[]): Promise<string[]> {
  if (!await hasScript()) {
    throw new UsageError(
      "--tty wants the program script of util-linux (Debian: bsdutils; Alpine: util-linux-misc): leave --tty out, or install it",
    );
  }
  // `script` starts a shell, which is whatever SHELL names; the command is to see what we see.
  const { SHELL } = process.env;
  const shell = SHELL === undefined ? ["env", "-u", "SHELL"] : ["env", `SHELL=${SHELL}`];
  const line = ["exec", ...[...shell, ...words].map(quoted)].join(" ");
  return [
    "env",
    "SHELL=/bin/sh",
    "script",
    "--quiet",
    "--return",
    "--flush",
    "--command",
    line,
    "/dev/null",
  ];
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
