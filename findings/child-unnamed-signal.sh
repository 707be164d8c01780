#!/usr/bin/env bash
# Deno, Bun: the end of a child process by a signal without a name is a success (Bun), or ends the parent (Deno).
#
# Realtime signals (34 to 64 on Linux) end a process like any other, and node:child_process tells of such an end by the
# event "exit" with a code or a signal. Bun tells the code 0 and no signal, so that whoever runs a command takes its
# violent end for a success; its own `Bun.spawn` knows better. Deno throws in a promise that nobody can catch: the
# parent ends. `stream run -- sh -c 'kill -34 $$'` exits with 0 in the binary, and with 1 on Deno.
set -euo pipefail
deno_version=2.9.6
bun_version=1.4.5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "deno@$deno_version" "bun@$bun_version"

cat >probe.mjs <<'PROBE'
import { spawn } from "node:child_process";

const child = spawn("sh", ["-c", "kill -34 $$"]);
child.once("exit", (code, signal) => console.log(`code ${code}, signal ${signal}`));
if (globalThis.Bun) {
  const { exited } = Bun.spawn(["sh", "-c", "kill -34 $$"]);
  console.log(`Bun.spawn: ${await exited}`);
}
PROBE
seen="bun, $(node_modules/.bin/bun probe.mjs | sort)
deno, $(NO_COLOR=1 node_modules/deno/deno run -A probe.mjs 2>&1 | grep Invalid || true)"
echo "Deno $deno_version, Bun $bun_version"
echo "guess: a child that signal 34 ended is told not to have ended with 0"
echo "seen:"
echo "$seen"
[ "$seen" = "bun, Bun.spawn: 162
code 0, signal null
deno, error: Uncaught (in promise) TypeError: Invalid signal: 34" ] || {
  echo "this has changed"
  exit 1
}
