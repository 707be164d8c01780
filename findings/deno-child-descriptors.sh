#!/usr/bin/env bash
# Deno: a descriptor that a child gets as its stdout is open in it under a second number, too.
#
# `node:child_process` takes descriptors as stdio of a child. Deno makes a copy for that, which the child inherits as well:
# who reads the pipe is told of no end when the child closes its stdout. A process that `stream run` on Deno leaves behind
# holds the pipe, and so `run` for --linger (5 s), although it closed what it knows of.
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
import { openSync } from "node:fs";

const file = openSync("out", "w");
const count = 'ls -l /proc/self/fd | grep -c "/out$" >&2';
spawn("sh", ["-c", count], { stdio: ["ignore", file, "inherit"] });
PROBE
seen="bun, $(node_modules/.bin/bun probe.mjs 2>&1)
deno, $(node_modules/deno/deno run -A probe.mjs 2>&1 | tail -1)"
echo "Deno $deno_version, Bun $bun_version"
echo "guess: no descriptor of the child but its stdout, which is the pipe to grep here, leads to the file"
echo "seen:"
echo "$seen"
[ "$seen" = "bun, 0
deno, 1" ] || {
  echo "this has changed"
  exit 1
}
