#!/usr/bin/env bash
# tap-xunit, tap-spec, tap-dot, tap-junit: a run of tests that breaks off is a success, in the exit code and in the report.
#
# TAP tells how many tests there are (`1..5`, at the start or at the end), so that a run that was killed can be told from one
# that is over, and "Bail out!" tells that the rest cannot run. Tests are piped into a program that makes a report of JUnit
# or a page of it, and CI goes by the exit code of that: without `pipefail` the last one of a pipe is the one that counts.
# Where two of five tests came, or one and then "Bail out!", tap-xunit writes passed ones, no failure, and ends with 0, and so
# do tap-spec and tap-dot; where there is no count at all tap-dot is content, too. tap-min takes a run that bailed out for a
# good one, and so does the report of tap-junit, whose exit code is 0 whatever happened. A failed test is told by all the
# others. tap-parser and `prove` tell of each of these.
set -euo pipefail
tap_xunit_version=2.4.1
tap_spec_version=5.0.0
tap_dot_version=2.0.0
tap_junit_version=5.0.4
tap_min_version=3.0.0
tap_parser_version=18.3.4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "tap-xunit@$tap_xunit_version" "tap-spec@$tap_spec_version" "tap-dot@$tap_dot_version" \
  "tap-junit@$tap_junit_version" "tap-min@$tap_min_version" "tap-parser@$tap_parser_version"

printf 'TAP version 13\n1..2\nok 1 - reads\nok 2 - writes\n' >whole.tap
printf 'TAP version 13\n1..2\nok 1 - reads\nnot ok 2 - writes\n  ---\n  operator: equal\n  ...\n' >failed.tap
printf 'TAP version 13\n1..5\nok 1 - reads\nok 2 - writes\n' >two-of-five.tap
printf 'TAP version 13\nok 1 - reads\nok 2 - writes\n' >no-count.tap
printf 'TAP version 13\n1..5\nok 1 - reads\nBail out! the database is gone\n' >bail-out.tap
judge() { # NAME COMMAND…
  local name=$1 run status failures told=()
  shift
  for run in whole failed two-of-five no-count bail-out; do
    status=0
    timeout 20 "$@" <"$run.tap" >out 2>/dev/null || status=$?
    failures=$(grep -o '<testsuite .*failures="[0-9]*"' out | grep -o 'failures="[0-9]*"' | head -1 || true)
    told+=("$run $status${failures:+ ($failures)}")
  done
  echo "$name: $(IFS=,; echo "${told[*]}" | sed 's/,/, /g')"
}
seen=$(for program in tap-xunit tap-spec tap-dot tap-junit tap-min tap-parser; do judge "$program" "node_modules/.bin/$program"; done
  judge prove sh -c 'cat >p.tap; prove p.tap')
echo "tap-xunit $tap_xunit_version, tap-spec $tap_spec_version, tap-dot $tap_dot_version, tap-junit $tap_junit_version," \
  "tap-min $tap_min_version, tap-parser $tap_parser_version"
echo "guess: 0 for the whole run and for none of the others, and failures in their reports"
echo "seen:"
echo "$seen"
[ "$seen" = "tap-xunit: whole 0 (failures=\"0\"), failed 1 (failures=\"1\"), two-of-five 0 (failures=\"0\"), no-count 1, bail-out 0 (failures=\"0\")
tap-spec: whole 0, failed 1, two-of-five 0, no-count 1, bail-out 0
tap-dot: whole 0, failed 1, two-of-five 0, no-count 0, bail-out 0
tap-junit: whole 0 (failures=\"0\"), failed 0 (failures=\"1\"), two-of-five 0 (failures=\"1\"), no-count 0 (failures=\"1\"), bail-out 0 (failures=\"0\")
tap-min: whole 0, failed 1, two-of-five 1, no-count 1, bail-out 0
tap-parser: whole 0, failed 1, two-of-five 1, no-count 1, bail-out 1
prove: whole 0, failed 1, two-of-five 1, no-count 1, bail-out 255" ] || {
  echo "this has changed"
  exit 1
}
