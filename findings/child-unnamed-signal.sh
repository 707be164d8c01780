#!/usr/bin/env bash
# Node, Bun: a command that was ended by a signal without a name is a success, with the exit code 0.
#
# Realtime signals (34 to 64 on Linux; profilers, debuggers and supervisors use them) end a process like any other if it does
# not expect them. node:child_process has names for the signals up to 31 and nothing else for the end by one: "exit" tells of
# the code 0 and no signal, which is what a success looks like, and `execFile()` resolves with what was printed so far. A
# `tar` or a test that was ended half way counts as done. `execFileSync()` fails, Bun's own `Bun.spawn` says 162, and so does
# the shell. (Deno's node:child_process ends its own process instead, with an error that nothing can catch.)
set -euo pipefail
node_version=26.10.0
bun_version=1.4.5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "node@$node_version" "bun@$bun_version"

cat >probe.mjs <<'PROBE'
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";

const outcomes = [];
for (const signal of [15, 34]) {
  const command = ["sh", ["-c", `echo half; kill -${signal} $$; echo all`]];
  const told = [];
  const [code, name] = await once(spawn(...command), "exit");
  told.push(`"exit" ${code} ${name}`);
  told.push(`execFile ${await promisify(execFile)(...command).then(({ stdout }) => `success, ${stdout.trim()}`, () => "an error")}`);
  try {
    told.push(`execFileSync success, ${String(execFileSync(...command)).trim()}`);
  } catch {
    told.push("execFileSync an error");
  }
  if (globalThis.Bun) told.push(`Bun.spawn ${await Bun.spawn([command[0], ...command[1]], { stdout: "ignore" }).exited}`);
  outcomes.push(`signal ${signal}: ${told.join("; ")}`);
}
console.log(outcomes.join("\n"));
PROBE
seen="node, $(timeout 30 node_modules/node/bin/node probe.mjs)
bun, $(timeout 30 node_modules/.bin/bun probe.mjs)"
echo "Node $node_version, Bun $bun_version; a command that prints a line, is ended by a signal, and would print another"
echo "guess: it has failed for each, whatever the signal"
echo "seen:"
echo "$seen"
[ "$seen" = 'node, signal 15: "exit" null SIGTERM; execFile an error; execFileSync an error
signal 34: "exit" 0 null; execFile success, half; execFileSync an error
bun, signal 15: "exit" null SIGTERM; execFile an error; execFileSync an error; Bun.spawn 143
signal 34: "exit" 0 null; execFile success, half; execFileSync an error; Bun.spawn 162' ] || {
  echo "this has changed"
  exit 1
}
