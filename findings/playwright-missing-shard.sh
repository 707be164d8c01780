#!/usr/bin/env bash
# Playwright: a report that is merged without one of its shards is a complete one, green, and says nothing of what is missing.
#
# Tests are run in shards on several machines (`--shard=2/3`), each leaves a blob, and a last job merges them with
# `playwright merge-reports`, as the documentation shows it. Each blob knows which of how many it is. One that is not there,
# as its machine was killed or its upload failed, is not missed: HTML and JUnit hold what there is, without a failure or a
# warning, and the tests of the lost shard, those that fail among them, are in no report. The exit code is 0 whatever the
# merged tests did, as the job of each shard is meant to be the one that fails; where those may fail, so that reports are
# made, nobody does. The shards have to be counted before.
set -euo pipefail
playwright_version=1.65.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm install --silent "@playwright/test@$playwright_version"

mkdir tests
for name in a b; do
  echo "require('@playwright/test').test('$name', () => { if ('$name' === 'b') throw new Error('wrong'); });" \
    >"tests/$name.spec.js"
done
echo 'module.exports = { testDir: "tests", workers: 1 };' >playwright.config.js
mkdir all one
failed=()
for shard in 1 2; do
  status=0
  timeout 60 node_modules/.bin/playwright test "--shard=$shard/2" --reporter=blob >/dev/null 2>&1 || status=$?
  failed+=("$status")
  cp blob-report/*.zip all/
done
cp all/*-1.zip one/
merge() { # FOLDER
  local status=0
  timeout 60 node_modules/.bin/playwright merge-reports --reporter=junit "$1" >junit.xml 2>merge.err || status=$?
  echo "$status, $(grep -o '<testsuites.*' junit.xml | grep -oE '(tests|failures|errors)="[0-9]+"' | head -3 | tr '\n' ' ')$(wc -l <merge.err) lines on stderr"
}
seen="the shards: ${failed[*]}
both merged: $(merge all)
one of two merged: $(merge one)"
echo "Playwright $playwright_version, one test in each of two shards, the second one fails"
echo "guess: merging fails for the failed test, and for the missing shard, or tells of it at least"
echo "seen:"
echo "$seen"
[ "$seen" = 'the shards: 0 1
both merged: 0, tests="2" failures="0" errors="1" 0 lines on stderr
one of two merged: 0, tests="1" failures="0" errors="0" 0 lines on stderr' ] || {
  echo "this has changed"
  exit 1
}
