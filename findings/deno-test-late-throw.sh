#!/usr/bin/env bash
# Deno: a file of `node:test` that throws after its first test counts as passed, and the tests below the throw are gone.
#
# What stands at the top of a test file sets up the rest: it starts a server, reads a fixture. Under Node and Bun a file
# whose top level throws is a failure, and so it is in Deno for a file that uses `Deno.test`, or throws before its first
# test. With `node:test` one registered test is enough: `deno test` prints what ran, no word of the error, and exits with
# 0. CI stays green with a part of the tests.
set -euo pipefail
deno_version=2.9.6
bun_version=1.4.5
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "deno@$deno_version" "bun@$bun_version" "node@$node_version"

cat >late_test.mjs <<'TEST'
import { test } from "node:test";
test("before", () => {});
await Promise.reject(new Error("the fixture of the others cannot be read"));
test("after", () => {});
TEST
sed '2d' late_test.mjs >early_test.mjs
sed '1d; s/^test/Deno.test/' late_test.mjs >own_test.mjs

outcome() { # COMMAND…
  local code=0
  timeout 60 "$@" >log 2>&1 || code=$?
  echo "exits with $code, $(grep -q 'cannot be read' log && echo "tells the error" || echo "does not tell the error")"
}
export NO_COLOR=1
seen="node: $(outcome node_modules/node/bin/node --test late_test.mjs)
bun: $(outcome node_modules/.bin/bun test ./late_test.mjs)
deno: $(outcome node_modules/deno/deno test -A late_test.mjs)
deno, no test before: $(outcome node_modules/deno/deno test -A early_test.mjs)
deno, Deno.test: $(outcome node_modules/deno/deno test -A own_test.mjs)"
echo "Deno $deno_version, Bun $bun_version, Node $node_version"
echo "guess: a test file whose top level throws fails, as everywhere"
echo "seen:"
echo "$seen"
[ "$seen" = "node: exits with 1, tells the error
bun: exits with 1, tells the error
deno: exits with 0, does not tell the error
deno, no test before: exits with 1, tells the error
deno, Deno.test: exits with 1, tells the error" ] || {
  echo "this has changed"
  exit 1
}
