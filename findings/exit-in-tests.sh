#!/usr/bin/env bash
# bun test, deno test: code that ends the process with 0 ends the whole run as a success, with the failures before it.
#
# A command-line program ends with `process.exit(0)` when its help was shown, and a test of it may call that by mistake: a
# mock that was forgotten, a library that ends the process when it is done. `bun test` runs all files in one process. It ends
# there with 0: the files behind it never run, the failures that were printed before it do not count, there is no summary
# and no report of JUnit; CI is green, and shows it the more often the earlier the file comes. `deno test` guards its own
# tests (`Deno.test`) against that; with a file of `node:test` it warns and ends in the same way. `node --test` goes on
# with the other files, and passes the one: what it had not run yet is not missed.
set -euo pipefail
bun_version=1.4.5
deno_version=2.9.6
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "bun@$bun_version" "deno@$deno_version" "node@$node_version"

# a fails; b ends the process in its second test, before its third, which fails; c fails.
write() { # FOLDER IMPORT TEST SUFFIX
  mkdir "$1"
  echo "$2 $3('of a', () => { throw new Error('a has failed'); });" >"$1/a.test.$4"
  echo "$2 $3('one of b', () => {}); $3('two of b', () => process.exit(0));" >"$1/b.test.$4"
  echo "$3('three of b', () => { throw new Error('b has failed'); });" >>"$1/b.test.$4"
  echo "$2 $3('of c', () => { throw new Error('c has failed'); });" >"$1/c.test.$4"
}
write node 'import test from "node:test";' test mjs
write bun 'import { test } from "bun:test";' test ts
write deno 'import process from "node:process";' Deno.test ts
run() { # NAME FOLDER SUFFIX COMMAND…
  local name=$1 folder=$2 suffix=$3 code=0
  shift 3
  (cd "$folder" && NO_COLOR=1 timeout 30 "$@" ./a.test."$suffix" ./b.test."$suffix" ./c.test."$suffix") >printed 2>&1 || code=$?
  local told=()
  for file in a b c; do if grep -qiF "error: $file has failed" printed; then told+=("$file"); fi; done
  echo "$name: exit code $code, and says of ${told[*]:-none} why it failed"
}
bin=$work/node_modules
seen=$(run "node --test" node mjs "$bin/node/bin/node" --test
  run "bun test" bun ts "$bin/bun/bin/bun.exe" test
  run "deno test, Deno.test" deno ts "$bin/deno/deno" test -A --no-check
  run "deno test, node:test" node mjs "$bin/deno/deno" test -A --no-check)
echo "Bun $bun_version, Deno $deno_version, Node $node_version"
echo "guess: exit code 1, as a and c fail, and b ended without its third test"
echo "seen:"
echo "$seen"
[ "$seen" = "node --test: exit code 1, and says of a c why it failed
bun test: exit code 0, and says of a why it failed
deno test, Deno.test: exit code 1, and says of a b c why it failed
deno test, node:test: exit code 0, and says of none why it failed" ] || {
  echo "this has changed"
  exit 1
}
