#!/usr/bin/env bash
# dotenv-cli, env-cmd, cross-env, tsx: a command that was ended by a signal is a success, with the exit code 0.
#
# `dotenv -- npm test` runs a command with variables from a file, and hands its exit code on. When the command was killed,
# it sends the same signal to itself, so that whoever looks sees the same death. But it has a handler for SIGTERM, SIGINT,
# SIGHUP, SIGPIPE and others, to pass them on to the command, which is over by then: nothing dies, and Node ends with 0. A
# test that a supervisor ended (`timeout` in the script sends SIGTERM), an export whose reader had left (SIGPIPE) count as
# done; SIGKILL and crashes are told. env-cmd and tsx end with 0 for those that Node ignores or answers
# itself (SIGPIPE, SIGUSR1), cross-env for SIGINT. `npm run` reports each of them.
set -euo pipefail
dotenv_version=11.0.0
env_cmd_version=11.0.0
cross_env_version=10.1.0
tsx_version=4.23.15
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "dotenv-cli@$dotenv_version" "env-cmd@$env_cmd_version" "cross-env@$cross_env_version" \
  "tsx@$tsx_version"
export PATH=$work/node_modules/.bin:$PATH NO_UPDATE_NOTIFIER=1

echo A=1 >.env
cat >step.sh <<'STEP'
#!/bin/sh
kill -s "$1" $$
STEP
chmod +x step.sh
echo 'process.kill(process.pid, `SIG${process.argv[2]}`); setTimeout(() => {}, 5000);' >step.ts
npm pkg set scripts.step=./step.sh

codes() { # NAME COMMAND…
  local name=$1 signal status told=()
  shift
  for signal in KILL TERM INT PIPE USR1; do
    status=0
    setsid -w timeout 20 "$@" "$signal" >/dev/null 2>&1 </dev/null || status=$?
    told+=("$([ "$status" -eq 0 ] && echo 0 || echo failed)")
  done
  echo "$name: ${told[*]}"
}
seen=$( (codes "a shell" sh -c './step.sh "$0"; exit $?'
  codes "dotenv" dotenv -- ./step.sh
  codes "env-cmd" env-cmd -f .env ./step.sh
  codes "cross-env" cross-env A=1 ./step.sh
  codes "tsx" tsx step.ts
  codes "npm run" npm run step --) 2>/dev/null)
echo "dotenv-cli $dotenv_version, env-cmd $env_cmd_version, cross-env $cross_env_version, tsx $tsx_version, Node $(node --version)"
echo "a command that ends by SIGKILL, TERM, INT, PIPE, USR1"
echo "guess: each of them is a failure"
echo "seen:"
echo "$seen"
[ "$seen" = "a shell: failed failed failed failed failed
dotenv: failed 0 0 0 0
env-cmd: failed failed failed 0 0
cross-env: failed failed 0 failed failed
tsx: failed failed failed 0 0
npm run: failed failed failed failed failed" ] || {
  echo "this has changed"
  exit 1
}
