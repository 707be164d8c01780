/** What is made of the table of the help: completions of shells, and the manual page. */
import { execFileSync } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import process from "node:process";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { eitherRuntime, quickest, Workspace } from "../helpers/cli.ts";

const test = eitherRuntime();

const COMMANDS = [
  ...[
    "serve",
    "push",
    "run",
    "follow",
    "get",
    "status",
    "search",
    "wait",
    "ls",
    "rm",
    "close",
    "share",
  ],
  ...["token", "check", "adopt", "cluster", "config", "completions", "man"],
];

let completions: Promise<string> | null = null;

/** What bash is given; asked for once. */
async function forBash(): Promise<string> {
  await using workspace = await Workspace.open();
  return (await workspace.run(quickest, ["completions", "bash"])).stdout;
}

/** Completes a command line in bash; `stream` says what it was asked, or fails. */
async function completed(line: string[], answer = ""): Promise<string[]> {
  await using workspace = await Workspace.open();
  await writeFile(workspace.path("completions"), await (completions ??= forBash()));
  await writeFile(workspace.path("stream"), `#!/bin/sh\n${answer}\n`);
  await chmod(workspace.path("stream"), 0o755);
  await writeFile(workspace.path("a file.log"), "");
  const script = 'set -u; source completions; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); ' +
    '_stream; printf "%s\\n" "${COMPREPLY[@]-}"';
  const output = execFileSync("bash", ["-c", script, "bash", ...line], {
    cwd: workspace.path("."),
    env: { PATH: `${workspace.path(".")}:${process.env.PATH}` },
    encoding: "utf8",
  });
  return output.split("\n").filter((word) => word !== "");
}

test("bash completes commands, options and the words of an option", async () => {
  assertEquals(await completed(["stream", ""]), [...COMMANDS, "help"]);
  assertEquals(await completed(["stream", "help", "pus"]), ["push"]);
  assertEquals(await completed(["stream", "push", "a\\ "]), ["a file.log"]);
  assertEquals(await completed(["stream", "pu"]), ["push"]);
  assertEquals(await completed(["stream", "follow", "--no-f"]), ["--no-follow"]);
  assertEquals(await completed(["stream", "follow", "--transport", "h"]), ["http"]);
  assertEquals(await completed(["stream", "completions", "z"]), ["zsh"]);
  assertEquals(await completed(["stream", "ls", "--status", "F"]), ["FAILED"]);
  assertEquals(await completed(["stream", "serve", "--durability", ""]), ["os", "disk"]);
  assertEquals(await completed(["stream", "config", "pu"]), ["push"]);
});

test("bash completes ids and contexts from the server, and does without it", async () => {
  const answer =
    'case "$*" in *--contexts*) echo run-17; echo run-18;; *) printf "%s\\n" 0e9b 17/ "17/a b" \'17/$(touch seen)\';; esac';
  assertEquals(await completed(["stream", "follow", "0"], answer), ["0e9b"]);
  assertEquals(await completed(["stream", "follow", "17/"], answer), [
    "17/",
    "17/a b",
    "17/$(touch seen)",
  ]);
  assertEquals(await completed(["stream", "push", "--context", ""], answer), ["run-17", "run-18"]);
  assertEquals(await completed(["stream", "close", "run-18"], answer), ["run-18"]);
  assertEquals(await completed(["stream", "follow", ""], "exit 4"), []);
});

test("what bash and zsh are given can be read: words with an apostrophe, too", async () => {
  await using workspace = await Workspace.open();
  for (const shell of ["bash", "zsh"]) {
    const { stdout } = await workspace.run(quickest, ["completions", shell]);
    // What zsh is given is the syntax of both.
    execFileSync("bash", ["-n"], { input: stdout });
  }
});

test("every command and option has completions in every shell, and a place in the manual page", async () => {
  await using workspace = await Workspace.open();
  const { stdout: man } = await workspace.run(quickest, ["man"]);
  assert(man.startsWith(".TH STREAM 1"));
  const shells = await Promise.all(
    ["bash", "zsh", "fish"].map(async (shell) =>
      (await workspace.run(quickest, ["completions", shell])).stdout
    ),
  );
  for (const command of COMMANDS) {
    const { stdout: help } = await workspace.run(quickest, [command, "--help"]);
    const options = [...help.matchAll(/^ +(?:-., +)?--([a-z-]+)/gm)].map(([, name]) => name);
    assert(options.length > 1, command);
    for (const text of shells) assertStringIncludes(text, command);
    for (const option of options) {
      assertStringIncludes(shells[0], `--${option}`);
      assertStringIncludes(shells[1], `--${option}[`);
      assertStringIncludes(shells[2], `__fish_seen_subcommand_from ${command}' -l ${option} `);
      assertStringIncludes(man, `\\-\\-${option.replaceAll("-", "\\-")}"`);
    }
  }
  // A line that begins with a dot or an apostrophe is a request.
  const requests = new Set(
    man.split("\n").filter((line) => /^[.']/.test(line)).map((line) => line.split(" ")[0]),
  );
  assertEquals([...requests].filter((name) => !/^\.(TH|SH|SS|TP|PP|B|BR|I|nf|fi)$/.test(name)), []);
});

test("the manual page lists the charsets of push, as the help does", async () => {
  await using workspace = await Workspace.open();
  const [{ stdout: help }, { stdout: man }] = await Promise.all([
    workspace.run(quickest, ["push", "--help"]),
    workspace.run(quickest, ["man"]),
  ]);
  const [, listed] = /^charsets:\n((?: {2}.*\n)+)/m.exec(help)!;
  const lines = listed.replaceAll("-", "\\-").replaceAll(/^/gm, "  ").trimEnd();
  assertStringIncludes(man, `\n.nf\n${lines}\n.fi\n`);
});

test("a shell that nobody knows is named", async () => {
  await using workspace = await Workspace.open();
  const { code, stderr } = await workspace.run(quickest, ["completions", "csh"]);
  assertEquals(code, 2);
  assertStringIncludes(stderr, "completions csh: that is none of bash, zsh, fish");
});
